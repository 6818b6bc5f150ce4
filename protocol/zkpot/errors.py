"""Errors in three families, by what the caller may do next.

`Rejected` is a peer's fault and carries a reason code that goes on the wire and into
records; `Transient` may be retried; `Fatal` ends the process with its own exit code.
Numbers of removed codes are never reused.
"""

from enum import IntEnum, unique


@unique
class Reason(IntEnum):
    """Why a message, submission or record was rejected. Stable: part of the protocol."""

    # Envelope and codec
    OVERSIZE = 1
    MALFORMED = 2
    UNKNOWN_TYPE = 3
    BAD_SIGNATURE = 4
    WRONG_TOPIC = 5
    LIMIT = 6
    # Round and roster
    UNKNOWN_TASK = 20
    NOT_IN_ROSTER = 21
    OUT_OF_PHASE = 22
    STALE_ROUND = 23
    WRONG_PARENT = 24
    EQUIVOCATION = 25
    DUPLICATE = 26
    # Commitment
    COMMITMENT_MALFORMED = 40
    COMMITMENT_NOT_WELLFORMED = 41
    NOT_COMMITTED = 42
    # Submission
    NO_SUBMISSION = 60
    PROOF_MALFORMED = 61
    CONTEXT_MISMATCH = 62
    COMMITMENT_MISMATCH = 63
    BATCH_MISMATCH = 64
    COUNT_MISMATCH = 65
    PROOF_INVALID = 66
    BELOW_GATE = 67
    OBJECT_UNAVAILABLE = 68
    CANNOT_PROVE = 69
    # Aggregation
    OPENING_INVALID = 80
    OPENING_MISSING = 81
    OUT_OF_RANGE = 82
    SUM_MISMATCH = 83
    GROUP_TOO_SMALL = 84
    GROUP_MISMATCH = 85
    SHARE_INVALID = 86
    DEALING_FALSE = 87
    POLICY_REFUSED = 88
    # Content, record and chain
    CID_MISMATCH = 100
    NOT_FOUND = 101
    RECORD_MALFORMED = 102
    RECORD_LINK = 103
    RECORD_SIGNATURE = 104
    ROSTER_MISMATCH = 105
    SEAL_MISMATCH = 106
    BEACON_MISMATCH = 107
    DRAW_MISMATCH = 108
    REVEAL_INVALID = 109
    VERDICT_MISMATCH = 110
    LEADER_MISMATCH = 111
    MODEL_MISMATCH = 112
    CHAIN_MISMATCH = 113
    TASK_MISMATCH = 114
    OMITTED = 115
    # Bounds of a model or a task
    MODEL_OUT_OF_BOUNDS = 120
    TASK_INVALID = 121
    POOL_EXHAUSTED = 122
    # Offloaded proofs
    PROVER_BUSY = 140
    JOB_REPLACED = 141
    JOB_EXPIRED = 142
    JOB_MISMATCH = 143
    PROVING_FAILED = 144


@unique
class Failure(IntEnum):
    """Why a round was closed as failed; this number stands on chain."""

    TOO_FEW_COMMITMENTS = 1
    TOO_FEW_ACCEPTED = 2
    TOO_FEW_OPENINGS = 3
    MODEL_WORSE = 4
    NOBODY_SIGNED = 5
    POOL_EXHAUSTED = 6
    DRAW_MISSED = 7
    SUM_NOT_OPENED = 8
    TOO_FEW_SURVIVORS = 9
    CHAIN_UNREACHABLE = 10
    INTERNAL = 99


@unique
class ExitCode(IntEnum):
    """Exit status of every program; the same table stands in docs/exit-codes.md."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    CONFIG = 10
    KEY = 11
    STATE = 12
    DEPENDENCY = 13
    CREDENTIALS = 14
    LEDGER = 15
    AUDIT_FAILED = 20
    AUDIT_INCOMPLETE = 21
    INTERNAL = 70
    INTERRUPTED = 130


def reason_text(reason: Reason | None) -> str:
    """The code as people and JSON see it, like `proof-invalid`; `accepted` for none."""
    return "accepted" if reason is None else reason.name.lower().replace("_", "-")


class ZkpotError(Exception):
    """Base of every error the project raises on purpose."""


class Rejected(ZkpotError):
    """A peer's message, proof or record is refused; nothing has changed."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason_text(reason)}: {detail}".rstrip(": "))
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["Rejected"], tuple[object, ...]]:
        return type(self), (self.reason, self.detail)


class Transient(ZkpotError):
    """An outside system failed in a way that a later attempt may not."""


class Fatal(ZkpotError):
    """The process must stop; `exit_code` says why to its supervisor."""

    def __init__(self, exit_code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code

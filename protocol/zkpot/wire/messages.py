"""Every message of the protocol, as a frozen dataclass.

Fields are numbered by their position (see `codec`): append only, and give a message a
new major version for anything else. Bulk content is named by CID and fetched in blocks.
Those of secure aggregation are in `zkpot.secure.exchange`, those between devices and
provers in `prover_messages`.
"""

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Annotated, TypeAlias

from zkpot.cid import BLOCK_BYTES, Cid, cid_text
from zkpot.errors import Reason
from zkpot.ids import Beacon, DeviceId, Digest, Round, TaskId
from zkpot.secure.exchange import (
    Advertisement,
    Confirmation,
    Confirmations,
    Dealing,
    Delivery,
    FromMember,
    KeyList,
    MaskedInput,
    SealedRelease,
    Survivors,
    ToMember,
)
from zkpot.wire.codec import Exactly, Max
from zkpot.wire.prover_messages import (
    MAX_PROOF_SYSTEMS,
    JobOffer,
    JobStatus,
    JobWithdrawal,
    ProverStatus,
)

MAX_COMMITMENT_BYTES = 64 * 1024
"""A row of the native system is 32 bytes: 2,048 rows, a model of two million weights."""

MAX_WANTED_BLOCKS = 64
"""Blocks asked for in one message: 8 MiB under way at most."""


@unique
class Phase(IntEnum):
    """Where a round stands, as announced to devices."""

    COMMIT = 1
    SEAL = 2
    PROVE = 3
    AGGREGATE = 4
    RECORD = 5
    CLOSED = 6
    FAILED = 7


# --- from devices ---------------------------------------------------------------------------


NOT_READY = ("starting", "offline")
"""Activities of a device that cannot take part in a round yet, or any more."""


def has_model(model: Cid) -> str:
    """The activity of a device that has put this global model in its place."""
    return f"has {cid_text(model)}"


@dataclass(frozen=True)
class Status:
    """Retained birth message and last will, on one topic.

    A will carries the session number of its birth, so a stale one cannot bury a newer birth.
    """

    session: int
    online: bool
    activity: Annotated[str, Max(80)]


@dataclass(frozen=True)
class Capabilities:
    """Retained: what a device runs, and the X25519 key others seal to for it."""

    box_key: Annotated[bytes, Exactly(32)]
    software: Annotated[str, Max(40)]
    proof_systems: Annotated[tuple[Annotated[str, Max(40)], ...], Max(MAX_PROOF_SYSTEMS)]


@dataclass(frozen=True)
class Commitment:
    """A device's model of this round, hidden and fixed; `wellformed` names its bounds proof."""

    task: TaskId
    round: Round
    parent: Digest
    commitment: Annotated[bytes, Max(MAX_COMMITMENT_BYTES)]
    wellformed: Cid | None


@dataclass(frozen=True)
class Submission:
    """The proven count on the drawn batch; `proof` names the proof object."""

    task: TaskId
    round: Round
    parent: Digest
    count: int
    proof: Cid


@dataclass(frozen=True)
class Opening:
    """Plain aggregation: names the object that holds the opening, sealed to the aggregator."""

    task: TaskId
    round: Round
    parent: Digest
    sealed: Cid


@dataclass(frozen=True)
class RecordSignature:
    """The leader has checked this record and vouches for it."""

    task: TaskId
    round: Round
    record: Cid


@dataclass(frozen=True)
class RecordRefusal:
    """A leader refuses a record; the refusal itself belongs in the record that follows."""

    task: TaskId
    round: Round
    record: Cid
    reason: Reason
    detail: Annotated[str, Max(200)]


@dataclass(frozen=True)
class Decline:
    """A device that committed will not submit a proof in this round, and why."""

    task: TaskId
    round: Round
    parent: Digest
    reason: Reason
    detail: Annotated[str, Max(200)]


# --- from the aggregator --------------------------------------------------------------------


@dataclass(frozen=True)
class Announcement:
    """Retained: all a device must know to join the round where it stands.

    `model` is the global model the round starts from. `roster`, `sealed`, `batch`,
    `verdicts` and `record` name objects and are there from the phase that makes them on.
    """

    task: TaskId
    round: Round
    phase: Phase
    parent: Digest
    model: Cid
    roster: Cid
    sealed: Cid | None = None
    beacon: Beacon | None = None
    batch: Cid | None = None
    verdicts: Cid | None = None
    record: Cid | None = None
    reason: Annotated[str, Max(200)] | None = None


@dataclass(frozen=True)
class Receipt:
    """Answers every commitment and submission; `reason` is absent if it was taken.

    A receipt for something that is not in the record is transferable evidence of omission.
    """

    task: TaskId
    round: Round
    envelope: Digest
    reason: Reason | None
    detail: Annotated[str, Max(200)]


@dataclass(frozen=True)
class RecordProposal:
    """Asks the leader to check and sign this record."""

    task: TaskId
    round: Round
    record: Cid


# --- both ways ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Want:
    """Asks the other side for blocks."""

    cids: Annotated[tuple[Cid, ...], Max(MAX_WANTED_BLOCKS)]


@dataclass(frozen=True)
class Block:
    """One block, or none if the sender does not have it."""

    cid: Cid
    data: Annotated[bytes, Max(BLOCK_BYTES)] | None


# --- validators -----------------------------------------------------------------------------

MAX_EVIDENCE = 16


@dataclass(frozen=True)
class Endorsement:
    """Retained: a validator has checked an announcement and vouches for it.

    `announcement` is the digest of the announcement's payload: see `zkpot.endorsement`.
    """

    task: TaskId
    round: Round
    phase: Phase
    announcement: Digest


@dataclass(frozen=True)
class FaultReport:
    """Retained, and kept as an object: a validator found a fault in what closed a round.

    `record` is what stands on chain, `check` the check that failed, `device` whose entry it
    was. `evidence` names the objects that show it: the signed record, or what was left out.
    """

    task: TaskId
    round: Round
    record: Digest
    check: Annotated[str, Max(40)]
    reason: Reason
    detail: Annotated[str, Max(200)]
    device: DeviceId | None
    evidence: Annotated[tuple[Cid, ...], Max(MAX_EVIDENCE)]


Message: TypeAlias = (
    Status
    | Capabilities
    | Commitment
    | Submission
    | Opening
    | RecordSignature
    | RecordRefusal
    | Announcement
    | Receipt
    | RecordProposal
    | Want
    | Block
    | Decline
    | ProverStatus
    | JobOffer
    | JobWithdrawal
    | JobStatus
    | FromMember
    | ToMember
    | Endorsement
    | FaultReport
)

MESSAGE_TO_TYPE: dict[type[Message], str] = {
    Status: "zkpot/status/1",
    Capabilities: "zkpot/capabilities/1",
    Commitment: "zkpot/commitment/1",
    Submission: "zkpot/submission/1",
    Opening: "zkpot/opening/1",
    RecordSignature: "zkpot/record-signature/1",
    RecordRefusal: "zkpot/record-refusal/1",
    Announcement: "zkpot/announcement/1",
    Receipt: "zkpot/receipt/1",
    RecordProposal: "zkpot/record-proposal/1",
    Want: "zkpot/want/1",
    Block: "zkpot/block/1",
    Decline: "zkpot/decline/1",
    ProverStatus: "zkpot/prover-status/1",
    JobOffer: "zkpot/job-offer/1",
    JobWithdrawal: "zkpot/job-withdrawal/1",
    JobStatus: "zkpot/job-status/1",
    Advertisement: "zkpot/secure-advertisement/1",
    KeyList: "zkpot/secure-key-list/1",
    Dealing: "zkpot/secure-dealing/1",
    Delivery: "zkpot/secure-delivery/1",
    MaskedInput: "zkpot/secure-masked-input/1",
    Survivors: "zkpot/secure-survivors/1",
    Confirmation: "zkpot/secure-confirmation/1",
    Confirmations: "zkpot/secure-confirmations/1",
    SealedRelease: "zkpot/secure-sealed-release/1",
    Endorsement: "zkpot/endorsement/1",
    FaultReport: "zkpot/fault-report/1",
}

TYPE_TO_MESSAGE: dict[str, type[Message]] = {
    name: message for message, name in MESSAGE_TO_TYPE.items()
}

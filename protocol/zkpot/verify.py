"""Verifying what devices send: one pipeline for aggregator, leader, validator and auditor.

A submission passes these steps in this order, cheap ones first:

1. envelope: size, type, known version, signature;
2. the device is in the round's roster;
3. the message is for this task and round, and its parent digest is ours;
4. a commitment of this device was sealed, and its commit-time proof is valid;
5. no submission of this device was accepted before;
6. the statement is rebuilt from the verifier's own values and the claimed count;
7. the proof verifies for exactly this statement;
8. the count reaches the gate.

Step 4's proof is checked by `verify_commitment`, once, before the commitments are sealed.
The first failure raises `Rejected`. Whether the round is open for such a message at all is
the caller's to know.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias, TypeVar

from zkpot.batch import Batch
from zkpot.cid import Cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, DeviceId, Digest, Round, TaskId, device_text
from zkpot.proof.system import ProofSystem
from zkpot.record import Roster
from zkpot.statement import (
    Statement,
    commitment_context,
    commitment_digest,
    submission_context,
)
from zkpot.task import Task
from zkpot.wire.codec import Max, decode
from zkpot.wire.envelope import Opened, open_as
from zkpot.wire.messages import Commitment, Decline, Opening, Submission

MAX_PROOF_BYTES = 16 * 1024 * 1024

M = TypeVar("M", bound=Commitment | Submission | Decline | Opening)

GetObject: TypeAlias = Callable[[Cid], bytes]
"""Reads an object by CID; raises `Rejected` (NOT_FOUND) if it cannot be had."""


@dataclass(frozen=True)
class ProofObject:
    """The object a submission names: the proof, and the statement it claims to be about.

    The claims are compared with the verifier's own values to give a precise reason; what is
    proven is decided by the proof alone.
    """

    proof_system: Annotated[str, Max(40)]
    commitment: Digest
    batch: Digest
    context: Digest
    count: int
    proof: Annotated[bytes, Max(MAX_PROOF_BYTES)]


@dataclass(frozen=True)
class RoundTerms:
    """What a verifier knows of a round from its own sources when it opens."""

    task_id: TaskId
    task: Task
    round: Round
    parent: Digest
    roster: Roster


@dataclass(frozen=True, eq=False)
class ProofTerms:
    """What a verifier knows once the batch is drawn: sealed commitments, beacon, batch, gate."""

    round: RoundTerms
    sealed: Mapping[DeviceId, Commitment]
    beacon: Beacon
    batch: Batch
    threshold: int


@dataclass(frozen=True, eq=False)
class Claim:
    """What a device says it has proven, restated by the verifier, and its proof."""

    device: DeviceId
    statement: Statement
    proof: bytes


@dataclass(frozen=True)
class Accepted:
    """A device whose count on the batch is proven."""

    device: DeviceId
    count: int


def check_commitment_message(terms: RoundTerms, envelope: bytes) -> Opened[Commitment]:
    """Steps 1 to 3 for a commitment."""
    return _open_of_round(Commitment, terms, envelope)


def verify_commitment(
    terms: RoundTerms, envelope: bytes, get_object: GetObject, system: ProofSystem
) -> Opened[Commitment]:
    """A commitment before it is sealed: steps 1 to 3, its form, and its commit-time proof."""
    opened = check_commitment_message(terms, envelope)
    commitment = opened.message
    public_key = terms.roster.public_keys[opened.signer]
    context = commitment_context(terms.task_id, terms.round, public_key, commitment.commitment)
    proof = None if commitment.wellformed is None else get_object(commitment.wellformed)
    system.verify_wellformed(commitment.commitment, context, proof)
    return opened


def check_submission_message(
    terms: RoundTerms,
    sealed: Collection[DeviceId],
    envelope: bytes,
    accepted: Collection[DeviceId],
) -> Opened[Submission]:
    """Steps 1 to 5: all that can be told before the proof is fetched."""
    # 1 to 4
    opened = _open_of_committed(Submission, terms, sealed, envelope)
    # 5
    if opened.signer in accepted:
        raise Rejected(Reason.DUPLICATE, "a submission of this device was accepted before")
    return opened


def check_decline_message(
    terms: RoundTerms, sealed: Collection[DeviceId], envelope: bytes
) -> Opened[Decline]:
    """Steps 1 to 4 for a device that says it will not submit."""
    return _open_of_committed(Decline, terms, sealed, envelope)


def check_opening_message(
    terms: RoundTerms, accepted: Collection[DeviceId], envelope: bytes
) -> Opened[Opening]:
    """Steps 1 to 3 for a plain opening, which only an accepted device may send."""
    opened = _open_of_round(Opening, terms, envelope)
    if opened.signer not in accepted:
        raise Rejected(Reason.NOT_COMMITTED, f"{device_text(opened.signer)} is not accepted")
    return opened


def verify_submission(
    terms: ProofTerms,
    envelope: bytes,
    get_object: GetObject,
    accepted: Collection[DeviceId],
    system: ProofSystem,
) -> Accepted:
    """The whole pipeline; returns the accepted count or raises `Rejected`."""
    # 1 to 6
    claim = read_claim(terms, envelope, get_object, accepted, system)
    count = claim.statement.count
    # 7
    system.verify(claim.statement, claim.proof)
    # 8
    if count < terms.threshold:
        raise Rejected(Reason.BELOW_GATE, f"count {count}, the gate is {terms.threshold}")
    return Accepted(claim.device, count)


def read_claim(
    terms: ProofTerms,
    envelope: bytes,
    get_object: GetObject,
    accepted: Collection[DeviceId],
    system: ProofSystem,
) -> Claim:
    """Steps 1 to 6: everything that comes before the proof itself is verified."""
    # 1 to 5
    opened = check_submission_message(terms.round, terms.sealed.keys(), envelope, accepted)
    submission = opened.message
    # 6
    proof = read_proof(get_object(submission.proof))
    statement = rebuild_statement(terms, opened.signer, submission.count)
    check_claims(proof, statement, system)
    return Claim(opened.signer, statement, proof.proof)


def read_proof(data: bytes) -> ProofObject:
    """Reads a proof object; raises `Rejected` (PROOF_MALFORMED) if it is not one."""
    try:
        return decode(ProofObject, data, limit=MAX_PROOF_BYTES)
    except Rejected as rejection:
        raise Rejected(Reason.PROOF_MALFORMED, rejection.detail) from rejection


def rebuild_statement(terms: ProofTerms, device: DeviceId, count: int) -> Statement:
    """The statement a device must have proven. Only `count` comes from the device."""
    if not 0 <= count <= terms.batch.size:
        raise Rejected(Reason.COUNT_MISMATCH, f"count {count} of {terms.batch.size}")
    commitment = terms.sealed[device].commitment
    context = submission_context(
        terms.round.task_id,
        terms.round.round,
        terms.round.roster.public_keys[device],
        commitment,
        terms.beacon,
    )
    return Statement(commitment, terms.batch, context, count)


def check_claims(proof: ProofObject, statement: Statement, system: ProofSystem) -> None:
    """Compares what the proof object says it proves with what must be proven."""
    for claimed, expected, reason in (
        (proof.proof_system, system.id, Reason.PROOF_MALFORMED),
        (proof.context, statement.context, Reason.CONTEXT_MISMATCH),
        (proof.commitment, commitment_digest(statement.commitment), Reason.COMMITMENT_MISMATCH),
        (proof.batch, statement.batch.digest, Reason.BATCH_MISMATCH),
        (proof.count, statement.count, Reason.COUNT_MISMATCH),
    ):
        if claimed != expected:
            raise Rejected(reason, "the proof is about something else")


def _open_of_committed(
    message_type: type[M], terms: RoundTerms, sealed: Collection[DeviceId], envelope: bytes
) -> Opened[M]:
    # 1 to 3
    opened = _open_of_round(message_type, terms, envelope)
    # 4
    if opened.signer not in sealed:
        raise Rejected(Reason.NOT_COMMITTED, device_text(opened.signer))
    return opened


def _open_of_round(message_type: type[M], terms: RoundTerms, envelope: bytes) -> Opened[M]:
    # 1, 2
    opened = open_as(message_type, envelope, terms.roster.public_keys)
    # 3
    message = opened.message
    if message.task != terms.task_id:
        raise Rejected(Reason.UNKNOWN_TASK, message.task.hex())
    if message.round != terms.round:
        raise Rejected(Reason.STALE_ROUND, f"for round {message.round}, this is {terms.round}")
    if message.parent != terms.parent:
        raise Rejected(Reason.WRONG_PARENT, f"parent {message.parent.hex()[:16]}")
    return opened

"""A task: everything about one training job that all participants must agree on.

The manifest is immutable. Its object's SHA-256 is the task's id, on the wire and on chain,
and names chain, contract and a nonce, so that nothing replays anywhere else.
"""

from dataclasses import dataclass
from enum import IntEnum, unique
from pathlib import Path
from typing import Annotated

from zkpot.aggregate import SUM_LIMIT
from zkpot.aggregation import Aggregation, GroupTerms, parse_aggregation
from zkpot.batch import MAX_BATCH, MAX_POOL
from zkpot.cid import Cid, cid_digest, object_cid_from_digest
from zkpot.errors import Reason, Rejected
from zkpot.ids import Digest, TaskId
from zkpot.model import WEIGHT_MIN, ModelSpec
from zkpot.proof.jobs import Backend
from zkpot.proof.registry import EZKL
from zkpot.wire.codec import Exactly, Max, Span, decode, encode

MAX_TASK_BYTES = 16 * 1024
MAX_DEVICES = 2_500
"""One object links to the proof of every device: see `cid.MAX_LINKS`."""
MAX_ROUNDS = 100_000
MAX_VALIDATORS = 32
MAX_SECONDS = 30 * 24 * 3600

Seconds = Annotated[int, Span(1, MAX_SECONDS)]

SRS_INSECURE_DEMO = "insecure-demo"
"""A structured reference string whose trapdoor is known to whoever made it."""


@unique
class Weighting(IntEnum):
    """How much each accepted model counts in the sum."""

    EQUAL = 1
    PROVEN_COUNT = 2


@dataclass(frozen=True)
class Pool:
    """The test pool's Merkle root and size, and whether it may be drawn from again."""

    root: Digest
    size: Annotated[int, Span(1, MAX_POOL)]
    reuse: bool


@dataclass(frozen=True)
class Gate:
    """Counts below the gate are not accepted.

    The gate is `minimum`, or the global model's own count on the same batch less `margin`,
    whichever is higher.
    """

    minimum: Annotated[int, Span(0, MAX_BATCH)]
    margin: Annotated[int, Span(0, MAX_BATCH)]

    def threshold(self, global_count: int) -> int:
        """The lowest accepted count, given the count of the model the round starts from."""
        return max(self.minimum, global_count - self.margin)


@dataclass(frozen=True)
class Deadlines:
    """Seconds each phase may take before the round goes on without those who are missing.

    `aggregate` is for each step of aggregation, of which secure mode has five; `record` for
    each leader that is asked; `attest` for the validators, before the next round opens.
    """

    commit: Seconds
    prove: Seconds
    aggregate: Seconds
    record: Seconds
    chain: Seconds
    attest: Seconds


@dataclass(frozen=True)
class LedgerTerms:
    """Where the task lives on chain; `draw_delay` blocks pass between seal and draw."""

    chain_id: int
    contract: Annotated[bytes, Exactly(20)]
    draw_delay: Annotated[int, Span(1, 200)]


@dataclass(frozen=True)
class Validator:
    """Who re-verifies the task's records: its account on chain, and its Ed25519 key."""

    address: Annotated[bytes, Exactly(20)]
    public_key: Annotated[bytes, Exactly(32)]


@dataclass(frozen=True)
class Task:
    """The manifest.

    `operator_key` (Ed25519) signs for the aggregator; `operator_box_key` (X25519) is what
    devices seal plain openings to. `groups` is used in secure mode only. `quorum` votes of
    the validators make a round final, or reject it.
    """

    name: Annotated[str, Max(80)]
    model: ModelSpec
    batch_size: Annotated[int, Span(1, MAX_BATCH)]
    proof_system: Annotated[str, Max(40)]
    srs: Annotated[str, Max(80)]
    pool: Pool
    rounds: Annotated[int, Span(1, MAX_ROUNDS)]
    minimum_devices: Annotated[int, Span(1, MAX_DEVICES)]
    maximum_devices: Annotated[int, Span(1, MAX_DEVICES)]
    gate: Gate
    aggregation: Annotated[str, Max(40)]
    groups: GroupTerms
    weighting: Weighting
    deadlines: Deadlines
    operator_key: Annotated[bytes, Exactly(32)]
    operator_box_key: Annotated[bytes, Exactly(32)]
    genesis: Cid
    ledger: LedgerTerms
    validators: Annotated[tuple[Validator, ...], Max(MAX_VALIDATORS)]
    quorum: Annotated[int, Span(0, MAX_VALIDATORS)]
    nonce: Annotated[bytes, Exactly(16)]

    def __post_init__(self) -> None:
        heaviest = self.batch_size if self.weighting is Weighting.PROVEN_COUNT else 1
        largest = max(-WEIGHT_MIN, 1 << self.model.shape.bias_bits)
        if self.maximum_devices * heaviest * largest >= SUM_LIMIT:
            raise Rejected(
                Reason.TASK_INVALID,
                f"{self.maximum_devices} devices of weight {heaviest} with parameters up to "
                f"{largest} can reach 2^31",
            )
        if self.batch_size > self.pool.size:
            raise Rejected(
                Reason.TASK_INVALID, f"batch of {self.batch_size}, pool of {self.pool.size}"
            )
        if self.weighting is Weighting.PROVEN_COUNT and self.gate.minimum < 1:
            raise Rejected(Reason.TASK_INVALID, "a count of 0 would pass the gate without weight")
        if not self.minimum_devices <= self.maximum_devices:
            raise Rejected(Reason.TASK_INVALID, "more devices needed than allowed")
        self._check_aggregation()
        self._check_validators()

    def _check_aggregation(self) -> None:
        if not parse_aggregation(self.aggregation).is_secure:
            return
        if self.proof_system == EZKL:
            raise Rejected(
                Reason.TASK_INVALID,
                f"secure aggregation with {EZKL}: its proofs do not bound what is summed unseen",
            )
        if self.minimum_devices < self.groups.minimum:
            raise Rejected(
                Reason.TASK_INVALID,
                f"{self.minimum_devices} devices needed, and groups of {self.groups.minimum}",
            )

    def _check_validators(self) -> None:
        number = len(self.validators)
        if self.quorum > number or (self.quorum == 0) != (number == 0):
            raise Rejected(Reason.TASK_INVALID, f"a quorum of {self.quorum} of {number} validators")
        for names in ("address", "public_key"):
            if len({getattr(validator, names) for validator in self.validators}) != number:
                raise Rejected(Reason.TASK_INVALID, "the validators are not distinct")

    @property
    def combination(self) -> Aggregation:
        """How models are combined: `aggregation`, parsed."""
        return parse_aggregation(self.aggregation)

    def backend(self, cache_dir: Path) -> Backend:
        """The proof system of this task, with its keys cached in `cache_dir`."""
        return Backend(self.proof_system, self.model.shape, self.batch_size, cache_dir, self.srs)

    def weight(self, count: int) -> int:
        """Weight in the sum of a model with this proven count."""
        return count if self.weighting is Weighting.PROVEN_COUNT else 1


def encode_task(task: Task) -> bytes:
    """The manifest's bytes; its object's CID is the task's identity."""
    return encode(task)


def decode_task(data: bytes) -> Task:
    """Reads a manifest; raises `Rejected` for anything a task cannot be."""
    return decode(Task, data, limit=MAX_TASK_BYTES)


def task_id(manifest: Cid) -> TaskId:
    """The id of the task whose manifest object has this CID."""
    return TaskId(cid_digest(manifest))


def manifest_cid(task: TaskId) -> Cid:
    """The CID of a task's manifest object."""
    return object_cid_from_digest(task)

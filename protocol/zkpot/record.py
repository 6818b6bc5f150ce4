"""The round's record and the objects it names: what a third party needs to re-verify it.

A record is hash-linked to its parent (`Record.parent` is the digest that stood on chain
before it) and names everything else by CID, so that one pin keeps all of it. What goes on
chain is the digest of the *signed* record: the record, its signatures and refusals.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, TypeVar

from zkpot import merkle
from zkpot.aggregate import MAX_BLINDING_BYTES
from zkpot.cid import Cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, DeviceId, Digest, Round, TaskId, digest
from zkpot.keys import device_id
from zkpot.task import MAX_DEVICES
from zkpot.wire.codec import Exactly, Max, decode, encode
from zkpot.wire.envelope import MAX_MESSAGE_BYTES, envelope_digest, open_as
from zkpot.wire.messages import Commitment

MAX_OBJECT_BYTES = 64 * 1024 * 1024

EnvelopeBytes = Annotated[bytes, Max(MAX_MESSAGE_BYTES)]

T = TypeVar("T")


@dataclass(frozen=True)
class RosterEntry:
    """A device that may take part: its Ed25519 key, and whose it is."""

    public_key: Annotated[bytes, Exactly(32)]
    owner: Annotated[str, Max(80)]

    @property
    def device(self) -> DeviceId:
        """Its id."""
        return device_id(self.public_key)


@dataclass(frozen=True)
class Roster:
    """The devices of a round, sorted by id. Its root goes on chain when the round opens."""

    entries: Annotated[tuple[RosterEntry, ...], Max(MAX_DEVICES)]

    def __post_init__(self) -> None:
        ids = [entry.device for entry in self.entries]
        if ids != sorted(set(ids)):
            raise Rejected(Reason.ROSTER_MISMATCH, "entries are not sorted, or not distinct")

    @classmethod
    def of(cls, entries: Iterable[RosterEntry]) -> "Roster":
        """The roster of these devices, sorted."""
        return cls(tuple(sorted(entries, key=lambda entry: entry.device)))

    @cached_property
    def root(self) -> Digest:
        """Merkle root over the entries."""
        return merkle.root([digest("roster", encode(entry)) for entry in self.entries])

    @cached_property
    def public_keys(self) -> Mapping[DeviceId, bytes]:
        """The Ed25519 key of each device."""
        return {entry.device: entry.public_key for entry in self.entries}


@dataclass(frozen=True)
class SealedList:
    """The commitments of a round as signed by their devices, sorted by device id."""

    envelopes: Annotated[tuple[EnvelopeBytes, ...], Max(MAX_DEVICES)]

    @cached_property
    def root(self) -> Digest:
        """Merkle root over the envelopes' digests, as sealed on chain."""
        return merkle.root([envelope_digest(envelope) for envelope in self.envelopes])

    def open(self, roster: Roster) -> dict[DeviceId, Commitment]:
        """Verifies every envelope; raises `Rejected` unless the list is sorted and distinct."""
        device_to_commitment: dict[DeviceId, Commitment] = {}
        last = DeviceId(b"")
        for envelope in self.envelopes:
            opened = open_as(Commitment, envelope, roster.public_keys)
            if opened.signer <= last:
                raise Rejected(Reason.SEAL_MISMATCH, "commitments are not sorted, or not distinct")
            device_to_commitment[opened.signer] = opened.message
            last = opened.signer
        return device_to_commitment


@dataclass(frozen=True)
class Verdict:
    """What became of one sealed commitment: accepted (no reason) or rejected.

    `submission` is the envelope that was judged, if there was one; `count` the accepted count.
    """

    device: DeviceId
    reason: Reason | None
    count: int
    submission: EnvelopeBytes | None


@dataclass(frozen=True)
class Verdicts:
    """One verdict for every sealed commitment, in the same order."""

    verdicts: Annotated[tuple[Verdict, ...], Max(MAX_DEVICES)]

    @property
    def accepted(self) -> dict[DeviceId, int]:
        """The accepted devices and their proven counts."""
        return {v.device: v.count for v in self.verdicts if v.reason is None}


@dataclass(frozen=True)
class Misconduct:
    """Something only the device itself can have signed, and must not have."""

    device: DeviceId
    reason: Reason
    evidence: Annotated[tuple[EnvelopeBytes, ...], Max(2)]


@dataclass(frozen=True)
class Summand:
    """A device whose model is in the sum, and its weight."""

    device: DeviceId
    weight: int


@dataclass(frozen=True)
class Sum:
    """The opening of the weighted sum of the summands' commitments.

    The sum of theta stands in the new global model; this is the blinding that goes with it,
    empty where the rule is not a sum of the models and only the operator can have applied it.
    """

    summands: Annotated[tuple[Summand, ...], Max(MAX_DEVICES)]
    blinding: Annotated[bytes, Max(MAX_BLINDING_BYTES)]


@dataclass(frozen=True)
class Record:
    """Everything that was decided in a round, and by CID everything it was decided from.

    `groups` are the sums of secure aggregation, a `zkpot.secure.sums.GroupSumObject` each.
    """

    task: TaskId
    round: Round
    parent: Digest
    model_before: Cid
    roster: Cid
    sealed: Cid
    beacon: Beacon
    batch: Cid
    threshold: int
    verdicts: Cid
    misconduct: Annotated[tuple[Misconduct, ...], Max(MAX_DEVICES)]
    leader: DeviceId
    count: int
    sum: Sum
    groups: Annotated[tuple[Cid, ...], Max(MAX_DEVICES)]
    model_after: Cid
    refusals: Annotated[tuple[EnvelopeBytes, ...], Max(MAX_DEVICES)]

    @property
    def references(self) -> tuple[Cid, ...]:
        """What the record's object links to. The parent is not among them: it has its own pin."""
        return (
            self.model_before,
            self.roster,
            self.sealed,
            self.batch,
            self.verdicts,
            *self.groups,
            self.model_after,
        )


@dataclass(frozen=True)
class SignedRecord:
    """A record with the signature of a leader and the operator's (RecordSignature envelopes)."""

    record: Cid
    leader_signature: EnvelopeBytes
    operator_signature: EnvelopeBytes


def decode_object(object_type: type[T], data: bytes) -> T:
    """Reads one of the objects above; raises `Rejected` if it is anything else."""
    return decode(object_type, data, limit=MAX_OBJECT_BYTES)

"""The states of a round, in order. Each holds exactly what the next steps need."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, TypeAlias

from zkpot.aggregation import MAX_GROUP
from zkpot.cid import Cid
from zkpot.errors import Failure
from zkpot.ids import Beacon, DeviceId, Digest, Round, TaskId
from zkpot.record import EnvelopeBytes, Misconduct, Record, Verdict
from zkpot.secure.session import Session
from zkpot.task import MAX_DEVICES
from zkpot.wire.codec import Max, decode, encode

MAX_SESSION_BYTES = 16 * 1024 * 1024
"""192 members that deal to each other take 8 MiB."""

MAX_OFFERS = 3
"""How many answers of one device are looked into in vain before the next is not."""


@dataclass(frozen=True)
class Start:
    """What is fixed when a round opens: its place in the chain, its model and roster."""

    task: TaskId
    round: Round
    parent: Digest
    model: Cid
    roster: Cid


@dataclass(frozen=True)
class Signed:
    """A device and an envelope of its that was accepted or is being checked."""

    device: DeviceId
    envelope: EnvelopeBytes


SignedList = Annotated[tuple[Signed, ...], Max(MAX_DEVICES)]


@dataclass(frozen=True)
class SealedCommitments:
    """The commitments after the deadline: the list's object, who is on it, who cheated.

    `envelopes` are the digests of what `devices` sent, in the same order.
    """

    cid: Cid
    root: Digest
    devices: Annotated[tuple[DeviceId, ...], Max(MAX_DEVICES)]
    envelopes: Annotated[tuple[Digest, ...], Max(MAX_DEVICES)]
    misconduct: Annotated[tuple[Misconduct, ...], Max(MAX_DEVICES)]


@dataclass(frozen=True)
class DrawnBatch:
    """The beacon, the revealed batch, and how the round's own model does on it."""

    beacon: Beacon
    batch: Cid
    global_count: int
    threshold: int


@dataclass(frozen=True)
class Opening:
    """Waiting for `open_round` on chain."""

    start: Start


@dataclass(frozen=True)
class Committing:
    """Taking commitments, one slot per device; `checking` holds those under verification."""

    start: Start
    commitments: SignedList = ()
    checking: SignedList = ()
    misconduct: Annotated[tuple[Misconduct, ...], Max(MAX_DEVICES)] = ()


@dataclass(frozen=True)
class Sealing:
    """Waiting for the list's root on chain."""

    start: Start
    sealed: SealedCommitments


@dataclass(frozen=True)
class Drawing:
    """Waiting for the block that decides the beacon, then for the beacon."""

    start: Start
    sealed: SealedCommitments
    draw_height: int


@dataclass(frozen=True)
class Revealing:
    """The beacon stands on chain; the publisher reveals the batch."""

    start: Start
    sealed: SealedCommitments
    beacon: Beacon


@dataclass(frozen=True)
class Proving:
    """Taking submissions. `verdicts` holds final acceptances and first rejections.

    Once `closed`, only those that came in time are still being checked.
    """

    start: Start
    sealed: SealedCommitments
    drawn: DrawnBatch
    verdicts: Annotated[tuple[Verdict, ...], Max(MAX_DEVICES)] = ()
    checking: SignedList = ()
    closed: bool = False


@dataclass(frozen=True)
class Aggregating:
    """Plain mode: taking the accepted devices' sealed openings."""

    start: Start
    sealed: SealedCommitments
    drawn: DrawnBatch
    verdicts: Annotated[tuple[Verdict, ...], Max(MAX_DEVICES)]
    openings: SignedList = ()
    checking: SignedList = ()


@dataclass(frozen=True)
class Summing:
    """All openings that will come are there; the sum is being formed and checked."""

    start: Start
    sealed: SealedCommitments
    drawn: DrawnBatch
    verdicts: Annotated[tuple[Verdict, ...], Max(MAX_DEVICES)]
    openings: SignedList


@dataclass(frozen=True)
class GroupRun:
    """A group on its way to its sum; `checking` holds the answers that are being looked into.

    Those are the masked inputs whose vectors are fetched, and the releases that are opened.
    `refused` names a device once for each of its answers that came to nothing there, `suspects`
    those of whom one has spoilt the sum.
    It is settled once it has the object of a sum that was checked, or has failed. Its session
    is kept encoded: a state of many groups is written for every message of one of them.
    """

    stored: Annotated[bytes, Max(MAX_SESSION_BYTES)]
    checking: SignedList = ()
    refused: Annotated[tuple[DeviceId, ...], Max(MAX_OFFERS * MAX_GROUP)] = ()
    sum: Cid | None = None
    failed: bool = False
    suspects: Annotated[tuple[DeviceId, ...], Max(MAX_GROUP)] = ()

    @cached_property
    def session(self) -> Session:
        """What the group has said."""
        return decode(Session, self.stored, limit=MAX_SESSION_BYTES)

    def changed(self, session: Session | None = None, **fields: Any) -> "GroupRun":
        """The same group with other values."""
        if session is not None:
            fields["stored"] = encode(session)
        run = replace(self, **fields)
        # Reading it again would cost more than the step that made it.
        vars(run)["session"] = self.session if session is None else session
        return run

    @property
    def settled(self) -> bool:
        """Whether nothing changes any more."""
        return self.failed or self.sum is not None

    @property
    def timer(self) -> str:
        """What the deadline of the open step is called."""
        return f"group-{self.session.group.index}-{self.session.step.name.lower()}"


@dataclass(frozen=True)
class Masking:
    """Secure mode: the groups of the accepted devices, in the order of their indices."""

    start: Start
    sealed: SealedCommitments
    drawn: DrawnBatch
    verdicts: Annotated[tuple[Verdict, ...], Max(MAX_DEVICES)]
    groups: Annotated[tuple[GroupRun, ...], Max(MAX_DEVICES)]


@dataclass(frozen=True)
class Merging:
    """All groups are settled; the sums of those that did not fail are being added up."""

    start: Start
    sealed: SealedCommitments
    drawn: DrawnBatch
    verdicts: Annotated[tuple[Verdict, ...], Max(MAX_DEVICES)]
    sums: Annotated[tuple[Cid, ...], Max(MAX_DEVICES)]
    survivors: Annotated[tuple[DeviceId, ...], Max(MAX_DEVICES)]


@dataclass(frozen=True)
class Recording:
    """The record is made; the device at `rank` in the election's order is asked to sign."""

    start: Start
    record: Record
    order: Annotated[tuple[DeviceId, ...], Max(MAX_DEVICES)]
    rank: int
    total: int


@dataclass(frozen=True)
class Closing:
    """Signed; waiting for the record's digest on chain."""

    start: Start
    record: Record
    leader_signature: EnvelopeBytes
    total: int


@dataclass(frozen=True)
class Attesting:
    """Closed on chain; waiting for the task's validators, if it has any."""

    start: Start
    record: Cid
    signed: Digest
    model_after: Cid
    leader_signature: EnvelopeBytes


@dataclass(frozen=True)
class Failing:
    """The round cannot go on; waiting for that to stand on chain."""

    start: Start
    failure: Failure
    detail: Annotated[str, Max(200)]


@dataclass(frozen=True)
class Ended:
    """Over. `signed` is the digest of the signed record on chain; none if the round failed."""

    start: Start
    signed: Digest | None
    model_after: Cid
    leader_signature: EnvelopeBytes | None = None


State: TypeAlias = (
    Opening
    | Committing
    | Sealing
    | Drawing
    | Revealing
    | Proving
    | Aggregating
    | Summing
    | Masking
    | Merging
    | Recording
    | Closing
    | Attesting
    | Failing
    | Ended
)

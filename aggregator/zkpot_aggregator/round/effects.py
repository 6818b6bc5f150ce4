"""What a round asks its driver to do. Carried out after the state is on disk, in order.

Every effect may be carried out again after a restart, so each looks before it acts.
"""

from dataclasses import dataclass
from typing import TypeAlias

from zkpot.cid import Cid
from zkpot.errors import Failure
from zkpot.ids import Beacon, DeviceId, Digest
from zkpot.record import Record
from zkpot.secure.exchange import ToMember
from zkpot.wire.messages import Announcement, Receipt, RecordProposal
from zkpot_aggregator.round.states import Signed


@dataclass(frozen=True)
class Announce:
    """Publish the round's retained announcement."""

    announcement: Announcement


@dataclass(frozen=True)
class Send:
    """Send a message to one device."""

    device: DeviceId
    message: Receipt | RecordProposal | ToMember


@dataclass(frozen=True)
class LogRejection:
    """Note once that something was rejected, and why; `group`: a whole group's sum."""

    device: DeviceId | None
    code: str
    detail: str
    envelope: Digest
    group: int | None = None


@dataclass(frozen=True)
class StoreObject:
    """Keep an object in the content store."""

    data: bytes
    references: tuple[Cid, ...] = ()


@dataclass(frozen=True)
class StartTimer:
    """Raise `DeadlinePassed(timer)` after `seconds`."""

    timer: str
    seconds: int


@dataclass(frozen=True)
class OpenOnChain:
    """Submit `open_round`."""


@dataclass(frozen=True)
class CheckCommitment:
    """Fetch and verify the commit-time proof."""

    envelope: bytes


@dataclass(frozen=True)
class SealOnChain:
    """Submit `seal_commitments`."""

    root: Digest
    count: int


@dataclass(frozen=True)
class DrawOnChain:
    """Wait for the block after `draw_height`, then submit `draw_beacon`."""

    draw_height: int


@dataclass(frozen=True)
class RevealBatch:
    """Draw, reveal, store, and count the round's own model on the batch."""

    beacon: Beacon


@dataclass(frozen=True)
class CheckSubmission:
    """Fetch the proof and run the pipeline."""

    envelope: bytes


@dataclass(frozen=True)
class CheckOpening:
    """Fetch the sealed opening, open it, and compare it with the commitment."""

    envelope: bytes


@dataclass(frozen=True)
class SumModels:
    """Form the weighted sum of these openings and check it against the commitments."""

    openings: tuple[Signed, ...]


@dataclass(frozen=True)
class FetchVector:
    """Fetch the vector that a masked input names, and check its lengths."""

    envelope: bytes


@dataclass(frozen=True)
class OpenRelease:
    """Open a release that was sealed to the operator."""

    envelope: bytes


@dataclass(frozen=True)
class UnmaskGroup:
    """Take the masks off the sum of a group, check it, and store it."""

    index: int


@dataclass(frozen=True)
class MergeSums:
    """Add the sums of the groups up."""


@dataclass(frozen=True)
class CountStrikes:
    """Remember who can have spoilt the sums of this round; `any_is_good`: not all were."""

    spoilt: tuple[tuple[DeviceId, ...], ...]
    any_is_good: bool


@dataclass(frozen=True)
class CloseOnChain:
    """Sign, pin everything the record names, and submit `close_round`."""

    record: Record
    leader_signature: bytes
    total: int


@dataclass(frozen=True)
class AwaitValidators:
    """Watch the chain until the round is final or rejected."""


@dataclass(frozen=True)
class FailOnChain:
    """Submit `fail_round`."""

    failure: Failure


Effect: TypeAlias = (
    Announce
    | Send
    | LogRejection
    | StoreObject
    | StartTimer
    | OpenOnChain
    | CheckCommitment
    | SealOnChain
    | DrawOnChain
    | RevealBatch
    | CheckSubmission
    | CheckOpening
    | SumModels
    | FetchVector
    | OpenRelease
    | UnmaskGroup
    | MergeSums
    | CountStrikes
    | CloseOnChain
    | AwaitValidators
    | FailOnChain
)

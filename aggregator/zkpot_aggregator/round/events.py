"""What can happen to a round."""

from dataclasses import dataclass
from typing import TypeAlias

from zkpot.cid import Cid
from zkpot.errors import Failure, Reason
from zkpot.ids import Beacon, DeviceId, Digest
from zkpot.secure.exchange import Release


@dataclass(frozen=True)
class OpenedOnChain:
    """`open_round` is confirmed."""


@dataclass(frozen=True)
class CommitmentReceived:
    """An envelope arrived on a device's commitment topic."""

    envelope: bytes


@dataclass(frozen=True)
class CommitmentChecked:
    """The commit-time check of an envelope ended; no reason means it is valid."""

    envelope: bytes
    reason: Reason | None
    detail: str = ""


@dataclass(frozen=True)
class SealedOnChain:
    """`seal_commitments` is confirmed; the beacon comes from the block at `draw_height`."""

    draw_height: int


@dataclass(frozen=True)
class Drawn:
    """`draw_beacon` is confirmed."""

    beacon: Beacon


@dataclass(frozen=True)
class Revealed:
    """The publisher's batch object is stored; `global_count` is the round's model's own count."""

    batch: Cid
    global_count: int


@dataclass(frozen=True)
class SubmissionReceived:
    """An envelope arrived on a device's submission topic."""

    envelope: bytes


@dataclass(frozen=True)
class SubmissionChecked:
    """The pipeline judged a submission."""

    envelope: bytes
    reason: Reason | None
    detail: str = ""


@dataclass(frozen=True)
class DeclineReceived:
    """An envelope arrived on a device's decline topic."""

    envelope: bytes


@dataclass(frozen=True)
class OpeningReceived:
    """An envelope arrived on a device's opening topic."""

    envelope: bytes


@dataclass(frozen=True)
class OpeningChecked:
    """An opening was compared with its commitment."""

    envelope: bytes
    reason: Reason | None
    detail: str = ""


@dataclass(frozen=True)
class SecureReceived:
    """An envelope arrived on a device's topic for secure aggregation."""

    envelope: bytes


@dataclass(frozen=True)
class VectorFetched:
    """The vector of a masked input is there and as long as the model; or why not."""

    envelope: bytes
    reason: Reason | None
    detail: str = ""


@dataclass(frozen=True)
class ReleaseOpened:
    """What a member has released; or why it does not open."""

    envelope: bytes
    release: Release | None
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True)
class GroupSummed:
    """The sum of a group opens its survivors' commitments; `sum` names its object."""

    index: int
    sum: Cid


@dataclass(frozen=True)
class GroupRefused:
    """A group has no sum, or none that opens. `liar` is the member proven false, if one is."""

    index: int
    reason: Reason
    detail: str
    liar: DeviceId | None = None


@dataclass(frozen=True)
class Summed:
    """The sum is formed and opens the sum of the commitments; `count` is the new model's."""

    model: Cid
    blinding: bytes
    count: int


@dataclass(frozen=True)
class RecordAnswered:
    """A signature or refusal arrived on a device's record topic."""

    envelope: bytes


@dataclass(frozen=True)
class DeadlinePassed:
    """The timer that was started under this name ran out."""

    timer: str


@dataclass(frozen=True)
class ClosedOnChain:
    """`close_round` is confirmed, with this digest of the signed record."""

    signed: Digest


@dataclass(frozen=True)
class Settled:
    """A quorum of the validators made the round final, or rejected it."""

    final: bool


@dataclass(frozen=True)
class HeadMoved:
    """The round cannot open on its parent any more: this is the head, and its model."""

    parent: Digest
    model: Cid


@dataclass(frozen=True)
class FailedOnChain:
    """`fail_round` is confirmed."""


@dataclass(frozen=True)
class CannotGoOn:
    """An effect cannot be carried out, now or later."""

    failure: Failure
    detail: str


Event: TypeAlias = (
    OpenedOnChain
    | CommitmentReceived
    | CommitmentChecked
    | SealedOnChain
    | Drawn
    | Revealed
    | SubmissionReceived
    | SubmissionChecked
    | DeclineReceived
    | OpeningReceived
    | OpeningChecked
    | SecureReceived
    | VectorFetched
    | ReleaseOpened
    | GroupSummed
    | GroupRefused
    | Summed
    | RecordAnswered
    | DeadlinePassed
    | ClosedOnChain
    | Settled
    | HeadMoved
    | FailedOnChain
    | CannotGoOn
)

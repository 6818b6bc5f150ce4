"""The states of a device. The announcement it joined with fixes round, parent and model.

Secrets are not here: the opening of the commitment lies in the journal under the round's
number until the round is over.
"""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from zkpot.cid import Cid
from zkpot.ids import Beacon, Round
from zkpot.wire.codec import Max
from zkpot.wire.messages import MAX_COMMITMENT_BYTES, Announcement


@dataclass(frozen=True)
class Idle:
    """Between rounds; `last` is the latest round this device has taken part in or missed."""

    last: Round


@dataclass(frozen=True)
class Training:
    """Fetching the global model, training, and committing to the result."""

    joined: Announcement


@dataclass(frozen=True)
class Committed:
    """The commitment is sent. It will be proven for one beacon only."""

    joined: Announcement
    commitment: Annotated[bytes, Max(MAX_COMMITMENT_BYTES)]
    wellformed: Cid | None


@dataclass(frozen=True)
class Proving:
    """The first batch announced for this commitment is being proven."""

    joined: Announcement
    commitment: Annotated[bytes, Max(MAX_COMMITMENT_BYTES)]
    sealed: Cid
    beacon: Beacon
    batch: Cid


@dataclass(frozen=True)
class Submitted:
    """The proof is sent."""

    joined: Announcement
    commitment: Annotated[bytes, Max(MAX_COMMITMENT_BYTES)]
    sealed: Cid
    beacon: Beacon
    batch: Cid
    count: int
    proof: Cid


@dataclass(frozen=True)
class Opening:
    """Accepted; the opening is being sealed to the aggregator."""

    submitted: Submitted
    verdicts: Cid


@dataclass(frozen=True)
class Opened:
    """The sealed opening is sent; a record may be proposed."""

    submitted: Submitted
    opening: Cid


State: TypeAlias = Idle | Training | Committed | Proving | Submitted | Opening | Opened

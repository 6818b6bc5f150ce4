"""What can happen to a device during a round."""

from dataclasses import dataclass, field
from typing import TypeAlias

from zkpot.cid import Cid
from zkpot.errors import Reason
from zkpot.ids import Round
from zkpot.secure.exchange import Advertisement, FromMember, ToMember
from zkpot.secure.groups import Group
from zkpot.wire.messages import Announcement, Receipt


@dataclass(frozen=True)
class Announced:
    """The aggregator's retained announcement, new or again."""

    announcement: Announcement


@dataclass(frozen=True)
class Trained:
    """Training ended and its opening is in the journal."""

    round: Round
    commitment: bytes
    wellformed: Cid | None


@dataclass(frozen=True)
class Proved:
    """The proof object is in the journal."""

    round: Round
    count: int
    proof: Cid


@dataclass(frozen=True)
class Declined:
    """No way was found to a proof in time; the aggregator is told why."""

    round: Round
    why: str


@dataclass(frozen=True)
class OpeningSealed:
    """The sealed opening is in the journal."""

    round: Round
    sealed: Cid


@dataclass(frozen=True)
class Advertised:
    """Our group is known and our keys in it are made; `member` is what must stay secret."""

    round: Round
    group: Group
    advertisement: Advertisement
    member: bytes = field(repr=False)


@dataclass(frozen=True)
class Told:
    """The aggregator's next message to us as a member of a group."""

    message: ToMember


@dataclass(frozen=True)
class Answered:
    """Our next answer is made; `member` is what must be on disk before it leaves."""

    round: Round
    answer: FromMember
    member: bytes = field(repr=False)


@dataclass(frozen=True)
class Refused:
    """The aggregator's last message to us as a member is not to be answered, and why."""

    round: Round
    why: str


@dataclass(frozen=True)
class GaveUp:
    """This device cannot go on with the round: what it tried, and why it failed."""

    round: Round
    why: str


@dataclass(frozen=True)
class RecordProposed:
    """The aggregator asks for a signature."""

    round: Round
    record: Cid


@dataclass(frozen=True)
class RecordChecked:
    """The proposed record was checked; no reason means it is right."""

    round: Round
    record: Cid
    reason: Reason | None
    detail: str


@dataclass(frozen=True)
class Receipted:
    """The aggregator answered one of our messages."""

    receipt: Receipt


Event: TypeAlias = (
    Announced
    | Trained
    | Proved
    | Declined
    | OpeningSealed
    | Advertised
    | Told
    | Answered
    | Refused
    | GaveUp
    | RecordProposed
    | RecordChecked
    | Receipted
)

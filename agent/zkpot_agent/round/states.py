"""The states of a device. The announcement it joined with fixes round, parent and model.

Secrets are not here: the opening of the commitment, and our keys and shares in a group, lie in
the journal under the round's number until the round is over.
"""

from dataclasses import dataclass, field
from typing import Annotated, TypeAlias, cast, get_args

from zkpot.cid import Cid
from zkpot.ids import Beacon, DeviceId, Round
from zkpot.secure.exchange import FromMember, Survivors, ToMember
from zkpot.secure.groups import Group
from zkpot.secure.member import ORDER
from zkpot.wire.codec import Max, decode_tagged
from zkpot.wire.envelope import MAX_MESSAGE_BYTES
from zkpot.wire.messages import MAX_COMMITMENT_BYTES, Announcement

TaggedMessage = Annotated[bytes, Max(MAX_MESSAGE_BYTES)]
"""A message with its name, as `encode_tagged` writes it."""


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
    """The verdicts are out; our opening is being sealed, or in secure mode our group drawn."""

    submitted: Submitted
    verdicts: Cid


@dataclass(frozen=True)
class Opened:
    """The sealed opening is sent; a record may be proposed."""

    submitted: Submitted
    opening: Cid


@dataclass(frozen=True)
class Seated:
    """Accepted, and in a group of secure aggregation; a record may be proposed too.

    `answers` starts with our advertisement. Each other one answers what was `told` at the
    place before it; while one is missing, it is being made.
    """

    submitted: Submitted
    verdicts: Cid
    group: Group
    told: Annotated[tuple[TaggedMessage, ...], Max(len(ORDER))]
    answers: Annotated[tuple[TaggedMessage, ...], Max(len(ORDER) + 1)] = field(repr=False)

    @property
    def is_answering(self) -> bool:
        """Whether the last message waits for our answer."""
        return len(self.told) == len(self.answers)

    @property
    def last_told(self) -> ToMember:
        """The message to answer; there must be one."""
        return cast("ToMember", decode_tagged(get_args(ToMember), self.told[-1]))

    @property
    def confirmed(self) -> tuple[DeviceId, ...] | None:
        """The list of survivors that we signed, if we did."""
        place = ORDER.index(Survivors)
        if len(self.answers) <= place + 1:
            return None
        return decode_tagged((Survivors,), self.told[place]).devices

    def answer(self, place: int) -> FromMember:
        """One of our answers."""
        return cast("FromMember", decode_tagged(get_args(FromMember), self.answers[place]))


InRound: TypeAlias = Training | Committed | Proving | Submitted | Opening | Opened | Seated

State: TypeAlias = Idle | InRound

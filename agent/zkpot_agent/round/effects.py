"""What a round asks of its driver on the device; carried out after the state is on disk."""

from dataclasses import dataclass, field
from typing import TypeAlias

from zkpot.cid import Cid
from zkpot.ids import Round
from zkpot.secure.exchange import FromMember
from zkpot.wire.messages import (
    Announcement,
    Commitment,
    Decline,
    Opening,
    Receipt,
    RecordRefusal,
    RecordSignature,
    Submission,
)
from zkpot.wire.topics import Kind
from zkpot_agent.round.states import Opened, Proving, Seated, Submitted


@dataclass(frozen=True)
class Send:
    """Send a signed message to the aggregator."""

    kind: Kind
    message: (
        Commitment | Submission | Decline | Opening | FromMember | RecordSignature | RecordRefusal
    )


@dataclass(frozen=True)
class Train:
    """Fetch the model, train, commit; ends in `Trained` or `GaveUp`."""

    joined: Announcement


@dataclass(frozen=True)
class Prove:
    """Check seal and batch, then prove; ends in `Proved` or `GaveUp`."""

    proving: Proving


@dataclass(frozen=True)
class Contribute:
    """If the verdicts accept us, let our model into the next global one, as the task says.

    Ends in `OpeningSealed`, in secure mode in `Advertised`, or in `GaveUp`.
    """

    submitted: Submitted
    verdicts: Cid


@dataclass(frozen=True)
class Answer:
    """Answer the last message to us as a member of a group; ends in `Answered` or `Refused`."""

    seated: Seated


@dataclass(frozen=True)
class KeepMember:
    """Keep what we must remember as a member: on disk together with the state, not after it."""

    round: Round
    member: bytes = field(repr=False)


@dataclass(frozen=True)
class CheckRecord:
    """Check a proposed record against what we know; ends in `RecordChecked`."""

    opened: Opened | Seated
    record: Cid


@dataclass(frozen=True)
class KeepModel:
    """Fetch the global model of a closed round and swap it in."""

    record: Cid


@dataclass(frozen=True)
class Forget:
    """Stop what is under way for this round and earlier ones, and erase their secrets."""

    round: Round


@dataclass(frozen=True)
class LogIncident:
    """Note once, for the owner: something that must not happen, or a rejection."""

    round: Round
    what: str


@dataclass(frozen=True)
class KeepReceipt:
    """Keep a receipt: without an entry in the record it is evidence of omission."""

    receipt: Receipt


Effect: TypeAlias = (
    Send
    | Train
    | Prove
    | Contribute
    | Answer
    | KeepMember
    | CheckRecord
    | KeepModel
    | Forget
    | LogIncident
    | KeepReceipt
)

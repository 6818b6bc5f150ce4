"""What a round asks of its driver on the device; carried out after the state is on disk."""

from dataclasses import dataclass
from typing import TypeAlias

from zkpot.cid import Cid
from zkpot.ids import Round
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
from zkpot_agent.round.states import Opened, Proving, Submitted


@dataclass(frozen=True)
class Send:
    """Send a signed message to the aggregator."""

    kind: Kind
    message: Commitment | Submission | Decline | Opening | RecordSignature | RecordRefusal


@dataclass(frozen=True)
class Train:
    """Fetch the model, train, commit; ends in `Trained` or `GaveUp`."""

    joined: Announcement


@dataclass(frozen=True)
class Prove:
    """Check seal and batch, then prove; ends in `Proved` or `GaveUp`."""

    proving: Proving


@dataclass(frozen=True)
class SealOpening:
    """If the verdicts accept us, seal the opening; ends in `OpeningSealed` or `GaveUp`."""

    submitted: Submitted
    verdicts: Cid


@dataclass(frozen=True)
class CheckRecord:
    """Check a proposed record against what we know; ends in `RecordChecked`."""

    opened: Opened
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
    | SealOpening
    | CheckRecord
    | KeepModel
    | Forget
    | LogIncident
    | KeepReceipt
)

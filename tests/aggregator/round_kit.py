"""A small round for the tests of the pure machine: real keys, real signed envelopes."""

from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from zkpot.aggregation import GroupTerms
from zkpot.cid import Cid, split_object
from zkpot.errors import Reason
from zkpot.ids import Beacon, DeviceId, Digest, Round, TaskId, digest
from zkpot.initial import initial_model
from zkpot.keys import KeyPair
from zkpot.model import ModelSpec, Shape
from zkpot.record import Roster, RosterEntry
from zkpot.task import Deadlines, Gate, LedgerTerms, Pool, Task, Weighting
from zkpot.verify import RoundTerms
from zkpot.wire.codec import encode
from zkpot.wire.envelope import sign
from zkpot.wire.messages import (
    Commitment,
    Decline,
    Message,
    Opening,
    Receipt,
    RecordRefusal,
    RecordSignature,
    Submission,
)
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import machine
from zkpot_aggregator.round import states as at

E = TypeVar("E")

OPERATOR = KeyPair.from_seed(b"o" * 32)
STRANGER = KeyPair.from_seed(b"s" * 32)
DEVICES = tuple(
    sorted((KeyPair.from_seed(bytes([n]) * 32) for n in range(1, 5)), key=lambda key: key.id)
)
"""Four devices in the order of their ids, which is the order of every list in a round."""

SPEC = ModelSpec(Shape((4, 3, 2), (0,), 16), 4, (6, 6))
TASK_ID = TaskId(digest("test-task"))
PARENT = Digest(digest("test-parent"))
ROUND = Round(3)
BEACON = Beacon(digest("test-beacon"))


def named(what: str) -> Cid:
    """The CID of an object that says `what`."""
    return split_object(what.encode())[0]


def make_task(**changes: Any) -> Task:
    """A manifest for four devices, two of which are needed."""
    task = Task(
        name="round machine",
        model=SPEC,
        batch_size=10,
        proof_system="sumcheck/1",
        srs="",
        pool=Pool(Digest(digest("test-pool")), 100, reuse=False),
        rounds=5,
        minimum_devices=2,
        maximum_devices=len(DEVICES),
        gate=Gate(3, 2),
        aggregation="plain:fedavg",
        groups=GroupTerms(5, 2),
        weighting=Weighting.EQUAL,
        deadlines=Deadlines(commit=11, prove=12, aggregate=13, record=14, chain=15, attest=16),
        operator_key=OPERATOR.public_key,
        operator_box_key=OPERATOR.box_key,
        genesis=split_object(initial_model(SPEC, 0).encode())[0],
        ledger=LedgerTerms(1337, bytes(20), 1),
        validators=(),
        quorum=0,
        nonce=bytes(16),
    )
    return replace(task, **changes)


def make_terms(task: Task | None = None) -> RoundTerms:
    """What the aggregator knows when the round opens."""
    roster = Roster.of(RosterEntry(key.public_key, "owner") for key in DEVICES)
    return RoundTerms(TASK_ID, task or make_task(), ROUND, PARENT, roster)


def start_of(terms: RoundTerms) -> at.Start:
    """The round's start."""
    roster = split_object(encode(terms.roster))[0]
    return at.Start(terms.task_id, terms.round, terms.parent, terms.task.genesis, roster)


# --- what devices send ----------------------------------------------------------------------


def commitment(key: KeyPair, text: str = "first", **changes: Any) -> bytes:
    """A signed commitment to `text`."""
    message = Commitment(TASK_ID, ROUND, PARENT, text.encode(), None)
    return sign(replace(message, **changes), key)


def submission(key: KeyPair, count: int = 7, text: str = "proof", **changes: Any) -> bytes:
    """A signed submission."""
    message = Submission(TASK_ID, ROUND, PARENT, count, named(f"{text} of {key.id.hex()}"))
    return sign(replace(message, **changes), key)


def decline(key: KeyPair, text: str = "no prover answered", **changes: Any) -> bytes:
    """A signed decline."""
    message = Decline(TASK_ID, ROUND, PARENT, Reason.CANNOT_PROVE, text)
    return sign(replace(message, **changes), key)


def opening(key: KeyPair, text: str = "sealed", **changes: Any) -> bytes:
    """A signed opening."""
    message = Opening(TASK_ID, ROUND, PARENT, named(f"{text} of {key.id.hex()}"))
    return sign(replace(message, **changes), key)


def signature(key: KeyPair, record: Cid, **changes: Any) -> bytes:
    """A leader's signature."""
    return sign(replace(RecordSignature(TASK_ID, ROUND, record), **changes), key)


def refusal(key: KeyPair, record: Cid, **changes: Any) -> bytes:
    """A leader's refusal."""
    message = RecordRefusal(TASK_ID, ROUND, record, Reason.SUM_MISMATCH, "our model is missing")
    return sign(replace(message, **changes), key)


def signed_by(message: Message, key: KeyPair) -> bytes:
    """Any message in an envelope."""
    return sign(message, key)


# --- a round under test ---------------------------------------------------------------------


@dataclass
class Bench:
    """A machine with its last effects."""

    terms: RoundTerms = field(default_factory=make_terms)
    state: at.State = field(init=False)
    effects: tuple[do.Effect, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._take(machine.begin(start_of(self.terms)))

    def on(self, event: on.Event) -> tuple[do.Effect, ...]:
        """Feeds an event; returns its effects."""
        self._take(machine.step(self.terms, self.state, event))
        return self.effects

    def _take(self, step: machine.Step) -> None:
        self.state, self.effects = step.state, step.effects

    def now(self, kind: type[E]) -> E:
        """The state, which must be of this kind."""
        assert isinstance(self.state, kind), type(self.state).__name__
        return self.state

    def made(self, kind: type[E]) -> list[E]:
        """The last effects of one kind."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def receipts(self) -> dict[DeviceId, Receipt]:
        """The receipts among the last effects."""
        return {
            send.device: send.message
            for send in self.made(do.Send)
            if isinstance(send.message, Receipt)
        }

    # --- shortcuts to a phase, all devices honest unless told otherwise ---------------------

    def to_committing(self) -> "Bench":
        """Opened on chain."""
        self.on(on.OpenedOnChain())
        return self

    def commit(self, key: KeyPair, text: str = "first") -> "Bench":
        """A commitment, received and found valid."""
        envelope = commitment(key, text)
        self.on(on.CommitmentReceived(envelope))
        self.on(on.CommitmentChecked(envelope, None))
        return self

    def to_sealing(self, *keys: KeyPair) -> "Bench":
        """The given devices, or all, have committed."""
        self.to_committing()
        for key in keys or DEVICES:
            self.commit(key)
        if isinstance(self.state, at.Committing):
            self.on(on.DeadlinePassed("commit"))
        return self

    def to_drawing(self, *keys: KeyPair) -> "Bench":
        """Sealed on chain."""
        self.to_sealing(*keys).on(on.SealedOnChain(17))
        return self

    def to_revealing(self, *keys: KeyPair) -> "Bench":
        """Drawn."""
        self.to_drawing(*keys).on(on.Drawn(BEACON))
        return self

    def to_proving(self, *keys: KeyPair) -> "Bench":
        """Revealed; the round's own model counts 6, so the gate is 4."""
        self.to_revealing(*keys).on(on.Revealed(named("batch"), 6))
        return self

    def prove(self, key: KeyPair, count: int = 7) -> "Bench":
        """A submission, received and found valid."""
        envelope = submission(key, count)
        self.on(on.SubmissionReceived(envelope))
        self.on(on.SubmissionChecked(envelope, None))
        return self

    def to_aggregating(self, *counts: int) -> "Bench":
        """Every device has proven its count: 5, 6, 7 and 8 unless told otherwise."""
        self.to_proving()
        for key, count in zip(DEVICES, counts or (5, 6, 7, 8), strict=True):
            self.prove(key, count)
        return self

    def open(self, key: KeyPair) -> "Bench":
        """An opening, received and found right."""
        envelope = opening(key)
        self.on(on.OpeningReceived(envelope))
        self.on(on.OpeningChecked(envelope, None))
        return self

    def to_summing(self, *counts: int) -> "Bench":
        """Every accepted device has opened."""
        self.to_aggregating(*counts)
        for key in DEVICES:
            self.open(key)
        return self

    def to_recording(self, *counts: int) -> "Bench":
        """The sum is right, and the new model counts 6."""
        self.to_summing(*counts).on(on.Summed(named("model"), b"blinding", 6))
        return self

    def to_closing(self) -> "Bench":
        """The leader has signed."""
        self.to_recording()
        self.on(on.RecordAnswered(signature(self.leader, self.record)))
        return self

    def to_ended(self) -> "Bench":
        """Closed on chain."""
        self.to_closing().on(on.ClosedOnChain(Digest(digest("signed"))))
        return self

    def to_failing(self) -> "Bench":
        """Nobody has committed."""
        self.to_committing().on(on.DeadlinePassed("commit"))
        return self

    def to_failed(self) -> "Bench":
        """The failure stands on chain."""
        self.to_failing().on(on.FailedOnChain())
        return self

    @property
    def recording(self) -> at.Recording:
        """The state, which must be RECORD."""
        return self.now(at.Recording)

    @property
    def leader(self) -> KeyPair:
        """Who is asked to sign."""
        wanted = self.recording.order[self.recording.rank]
        return next(key for key in DEVICES if key.id == wanted)

    @property
    def record(self) -> Cid:
        """The CID of the record that is proposed."""
        record = self.recording.record
        return split_object(encode(record), record.references)[0]


PHASES = {
    "opening": lambda bench: bench,
    "committing": Bench.to_committing,
    "sealing": Bench.to_sealing,
    "drawing": Bench.to_drawing,
    "revealing": Bench.to_revealing,
    "proving": Bench.to_proving,
    "aggregating": Bench.to_aggregating,
    "summing": Bench.to_summing,
    "recording": Bench.to_recording,
    "closing": Bench.to_closing,
    "failing": Bench.to_failing,
    "ended": Bench.to_ended,
    "failed": Bench.to_failed,
}
"""How to get a bench into each state."""

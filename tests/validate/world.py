"""A task on a ledger in memory, whose operator plays rounds honestly or not.

Devices are scripts and proofs are fake; every object, signature and call is real. Enough
devices belong to the operator to get any record signed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tests.protocol.fakes import FakeProofSystem
from tests.protocol.rounds import BATCH, OPERATOR, POOL, SPEC, key, make_samples, make_task

from zkpot.aggregate import GlobalModel, decode_global_model
from zkpot.batch import Batch, batch_of, draw, make_reveal
from zkpot.cid import Cid, cid_digest, object_cid_from_digest, split_object
from zkpot.election import rank
from zkpot.errors import Reason
from zkpot.ids import DeviceId, Digest, Round, TaskId, digest
from zkpot.initial import initial_model
from zkpot.keys import KeyPair
from zkpot.model import count_correct
from zkpot.proof.system import ModelOpening, no_progress
from zkpot.record import (
    Record,
    Roster,
    RosterEntry,
    SealedList,
    SignedRecord,
    Sum,
    Summand,
    Verdict,
    Verdicts,
    decode_object,
)
from zkpot.statement import commitment_context, commitment_digest
from zkpot.task import Deadlines, LedgerTerms, Task, Validator, encode_task, task_id
from zkpot.verify import ProofObject, ProofTerms, RoundTerms, rebuild_statement
from zkpot.wire import topics
from zkpot.wire.codec import encode
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Announcement, Block, Commitment, Phase, RecordSignature, Submission
from zkpot.wire.topics import Kind
from zkpot_aggregator.content.base import get_object, put_object
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.ledger.calls import (
    Address,
    CloseRound,
    CreateTask,
    DrawBeacon,
    OpenRound,
    SealCommitments,
    device_word,
)
from zkpot_aggregator.ledger.memory import MemoryLedger, World
from zkpot_aggregator.ledger.views import Phase as OnChain

DEVICES = tuple(sorted((key(number) for number in range(4)), key=lambda each: each.id))
ROSTER = Roster.of(RosterEntry(each.public_key, "owner") for each in DEVICES)
VALIDATORS = tuple(KeyPair.from_seed(bytes([90 + number]) * 32) for number in range(3))
ACCOUNTS = tuple(Address(bytes([90 + number]) * 20) for number in range(3))
DEADLINES = Deadlines(commit=10, prove=10, aggregate=10, record=10, chain=10, attest=10)


@dataclass(frozen=True)
class Said:
    """What a device publishes: its message, and the blocks it serves for it."""

    device: KeyPair
    kind: Kind
    envelope: bytes
    proof: bytes

    @property
    def published(self) -> list[tuple[str, bytes]]:
        """Topics and payloads, as the broker delivers them."""
        blocks = split_object(self.proof)[1]
        ordered = sorted(blocks.items(), key=lambda item: item[0] != split_object(self.proof)[0])
        return [
            (topics.up(self.device.id, self.kind), self.envelope),
            *(
                (topics.up(self.device.id, Kind.BLOCK), sign(Block(cid, block), self.device))
                for cid, block in ordered
            ),
        ]


@dataclass(frozen=True)
class Lie:
    """What a dishonest operator bends, each between making it and committing to it."""

    drop: DeviceId | None = None
    verdicts: Callable[[list[Verdict]], list[Verdict]] = lambda verdicts: verdicts
    total: Callable[[Sum], Sum] = lambda total: total
    record: Callable[[Record], Record] = lambda record: record


HONEST = Lie()


@dataclass
class Operator:
    """Plays one round after the other; every step puts on chain what it says."""

    content: MemoryStore = field(default_factory=MemoryStore)
    chain: World = field(default_factory=World)
    system: FakeProofSystem = field(default_factory=lambda: FakeProofSystem(SPEC.shape, BATCH))
    quorum: int = 2
    number: Round = field(default=Round(0), init=False)

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(world=self.chain)
        self.pool = make_samples()
        genesis = put_object(self.content, initial_model(SPEC, 7).encode())
        identity = self.ledger.identity()
        validators = tuple(
            Validator(account, validator.public_key)
            for account, validator in zip(ACCOUNTS, VALIDATORS, strict=True)
        )
        self.task: Task = make_task(
            self.pool,
            genesis,
            ledger=LedgerTerms(identity.chain_id, identity.contract, 2),
            deadlines=DEADLINES,
            validators=validators if self.quorum else (),
            quorum=self.quorum,
        )
        manifest = put_object(self.content, encode_task(self.task), [genesis])
        self.task_id: TaskId = task_id(manifest)
        accounts = ACCOUNTS if self.quorum else ()
        self.ledger.submit(CreateTask(self.task_id, 2, accounts, self.quorum))
        self.roster = put_object(self.content, encode(ROSTER))

    # --- where the task stands --------------------------------------------------------------

    @property
    def head(self) -> Digest:
        """What the next round builds on."""
        return Digest(self.ledger.task(self.task_id).head)

    def record_of(self, head: Digest) -> Record:
        """The record behind a digest on chain."""
        signed = decode_object(SignedRecord, get_object(self.content, object_cid_from_digest(head)))
        return decode_object(Record, get_object(self.content, signed.record))

    @property
    def indices(self) -> list[int]:
        """What this round's beacon draws."""
        spent: set[int] = set()
        for number in range(1, self.number):
            view = self.ledger.round(self.task_id, Round(number))
            if view.beacon != bytes(32):
                spent.update(draw(view.beacon, POOL, BATCH, spent))
        beacon = self.ledger.round(self.task_id, self.number).beacon
        return draw(beacon, POOL, BATCH, spent)

    @property
    def batch(self) -> Batch:
        """The drawn samples."""
        return batch_of([self.pool[index] for index in self.indices])

    def announce(self, phase: Phase, **fields: Any) -> Announcement:
        """The announcement of this round in `phase`."""
        return Announcement(
            self.task_id, self.number, phase, self.parent, self.model, self.roster, **fields
        )

    # --- a round, step by step --------------------------------------------------------------

    def open(self) -> Announcement:
        """OPEN and COMMIT."""
        self.number = Round(self.number + 1)
        self.parent = self.head
        self.model = (
            self.task.genesis
            if self.parent == Digest(self.task_id)
            else self.record_of(self.parent).model_after
        )
        self.ledger.submit(OpenRound(self.task_id, self.number, self.parent, ROSTER.root))
        self.terms = RoundTerms(self.task_id, self.task, self.number, self.parent, ROSTER)
        self.openings = {each.id: self._trained(each) for each in DEVICES}
        self.commitments = {each.id: self._commitment(each) for each in DEVICES}
        return self.announce(Phase.COMMIT)

    def _trained(self, device: KeyPair) -> ModelOpening:
        seed = int.from_bytes(digest("trained", device.id, bytes([self.number]))[:4], "big")
        theta = np.random.default_rng(seed).integers(-30, 31, SPEC.shape.parameters)
        return ModelOpening(theta.astype(np.int64), seed.to_bytes(16, "big"))

    def _commitment(self, device: KeyPair) -> Said:
        opening = self.openings[device.id]
        commitment = self.system.commitments.commit(opening)
        context = commitment_context(self.task_id, self.terms.round, device.public_key, commitment)
        proof = self.system.prove_wellformed(opening, context)
        assert proof is not None
        message = Commitment(
            self.task_id, self.number, self.parent, commitment, split_object(proof)[0]
        )
        return Said(device, Kind.COMMITMENT, sign(message, device), proof)

    def seal(self, lie: Lie = HONEST) -> Announcement:
        """SEAL: the list on chain."""
        listed = [said for device, said in sorted(self.commitments.items()) if device != lie.drop]
        proofs = [put_object(self.content, said.proof) for said in listed]
        self.listed = SealedList(tuple(said.envelope for said in listed))
        self.sealed = put_object(self.content, encode(self.listed), proofs)
        call = SealCommitments(self.task_id, self.number, self.listed.root, len(listed))
        self.ledger.submit(call)
        return self.announce(Phase.SEAL, sealed=self.sealed)

    def draw(self) -> Announcement:
        """DRAW and the reveal."""
        view = self.ledger.round(self.task_id, self.number)
        self.ledger.wait_for_block(view.draw_height + 1, 1)
        self.ledger.submit(DrawBeacon(self.task_id, self.number))
        self.beacon = self.ledger.round(self.task_id, self.number).beacon
        self.revealed = put_object(self.content, make_reveal(self.pool, self.indices))
        before = decode_global_model(SPEC.shape, get_object(self.content, self.model))
        self.threshold = self.task.gate.threshold(self._count(before.theta))
        sealed = self.listed.open(ROSTER)
        terms = ProofTerms(self.terms, sealed, self.beacon, self.batch, self.threshold)
        self.submissions = {
            each.id: self._submission(each, terms) for each in DEVICES if each.id in sealed
        }
        return self.announce(
            Phase.PROVE, sealed=self.sealed, beacon=self.beacon, batch=self.revealed
        )

    def _count(self, theta: Any) -> int:
        return count_correct(SPEC.shape, theta, self.batch.inputs, self.batch.labels)

    def _submission(self, device: KeyPair, terms: ProofTerms) -> Said:
        opening = self.openings[device.id]
        count = self._count(opening.theta)
        statement = rebuild_statement(terms, device.id, count)
        proof = encode(
            ProofObject(
                self.system.id,
                commitment_digest(statement.commitment),
                statement.batch.digest,
                statement.context,
                count,
                self.system.prove(statement, opening, no_progress),
            )
        )
        message = Submission(self.task_id, self.number, self.parent, count, split_object(proof)[0])
        return Said(device, Kind.SUBMISSION, sign(message, device), proof)

    def judge(self, lie: Lie = HONEST) -> Announcement:
        """VERIFY: the verdicts, by lie or by pipeline."""
        honest = [self._verdict(device) for device in sorted(self.submissions)]
        self.verdicts = Verdicts(tuple(lie.verdicts(honest)))
        proofs = [
            put_object(self.content, self.submissions[verdict.device].proof)
            for verdict in self.verdicts.verdicts
            if verdict.submission is not None
        ]
        self.judged = put_object(self.content, encode(self.verdicts), proofs)
        return self.announce(
            Phase.AGGREGATE,
            sealed=self.sealed,
            beacon=self.beacon,
            batch=self.revealed,
            verdicts=self.judged,
        )

    def _verdict(self, device: DeviceId) -> Verdict:
        count = self._count(self.openings[device].theta)
        envelope = self.submissions[device].envelope
        if count < self.threshold:
            return Verdict(device, Reason.BELOW_GATE, 0, envelope)
        return Verdict(device, None, count, envelope)

    def close(self, lie: Lie = HONEST) -> Announcement:
        """AGGREGATE, RECORD and CLOSE: a record that the operator's own device signs."""
        accepted = self.verdicts.accepted
        weights = {device: self.task.weight(count) for device, count in accepted.items()}
        order = sorted(weights)
        opening = self.system.commitments.add_openings(
            [self.openings[each] for each in order], [weights[each] for each in order]
        )
        model = GlobalModel(opening.theta, sum(weights.values()))
        total = lie.total(Sum(tuple(Summand(e, weights[e]) for e in order), opening.blinding))
        leader = rank(self.beacon, accepted)[0]
        record = lie.record(
            Record(
                task=self.task_id,
                round=self.number,
                parent=self.parent,
                model_before=self.model,
                roster=self.roster,
                sealed=self.sealed,
                beacon=self.beacon,
                batch=self.revealed,
                threshold=self.threshold,
                verdicts=self.judged,
                misconduct=(),
                leader=leader,
                count=accepted[leader],
                sum=total,
                groups=(),
                model_after=put_object(self.content, model.encode()),
                refusals=(),
            )
        )
        name = put_object(self.content, encode(record), record.references)
        message = RecordSignature(self.task_id, self.number, name)
        by_id = {each.id: each for each in DEVICES}
        signed = SignedRecord(name, sign(message, by_id[leader]), sign(message, OPERATOR))
        cid = put_object(self.content, encode(signed), [name])
        self.content.pin(cid)
        call = CloseRound(
            self.task_id,
            self.number,
            cid_digest(cid),
            device_word(leader),
            accepted[leader],
            BATCH,
        )
        self.ledger.submit(call)
        return self.announce(Phase.CLOSED, record=name)

    def phase(self, number: int | None = None) -> OnChain:
        """Where a round, or this one, stands on chain."""
        return self.ledger.round(self.task_id, Round(number or self.number)).phase

    def put(self, item: Any) -> Cid:
        """Stores an object."""
        return put_object(self.content, encode(item))

    def another_model(self) -> Cid:
        """A model that nobody trained."""
        before = decode_global_model(SPEC.shape, get_object(self.content, self.model))
        bent = replace(before, theta_sum=before.theta_sum + 1)
        return put_object(self.content, bent.encode())

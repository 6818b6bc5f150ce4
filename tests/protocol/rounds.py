"""A whole round made by hand: every object a record names, consistent or bent on purpose."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tests.protocol.fakes import FakeProofSystem

from zkpot import merkle
from zkpot.aggregate import GlobalModel, decode_global_model
from zkpot.aggregation import GroupTerms
from zkpot.batch import Batch, Sample, batch_of, draw, make_pool, make_reveal
from zkpot.check_record import CheckedRound, Expected, RecordCheck
from zkpot.cid import Cid, split_object
from zkpot.election import rank
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, DeviceId, Digest, Round, TaskId, digest
from zkpot.initial import initial_model
from zkpot.keys import KeyPair
from zkpot.model import ModelSpec, Shape, count_correct
from zkpot.proof.system import ModelOpening, no_progress
from zkpot.record import Record, Roster, RosterEntry, SealedList, Sum, Summand, Verdict, Verdicts
from zkpot.statement import commitment_context
from zkpot.task import Deadlines, Gate, LedgerTerms, Pool, Task, Weighting, encode_task, task_id
from zkpot.verify import ProofObject, ProofTerms, RoundTerms, check_claims, rebuild_statement
from zkpot.wire.codec import encode
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Commitment, Submission

SPEC = ModelSpec(Shape((3, 4, 2), (4,), 8), 4, (4, 4))
BATCH = 8
POOL = 40
ROUND = Round(3)
PATIENT = Deadlines(200, 200, 200, 200, 200, 200)
"""For work in processes of its own, which start slowly on a busy machine."""
PARENT = digest("test-parent", b"2")
BEACON = Beacon(digest("test-beacon", b"3"))


def key(number: int) -> KeyPair:
    """The same key for the same number, every time."""
    return KeyPair.from_seed(digest("test-key", number.to_bytes(2, "big")))


OPERATOR = key(1000)


def make_task(pool: Sequence[Sample], genesis: Cid, **changes: Any) -> Task:
    """A task over `pool`; `changes` replace fields."""
    task = Task(
        name="test",
        model=SPEC,
        batch_size=BATCH,
        proof_system="fake/1",
        srs="",
        pool=Pool(merkle.root([sample.leaf for sample in pool]), len(pool), reuse=False),
        rounds=5,
        minimum_devices=2,
        maximum_devices=10,
        gate=Gate(2, BATCH),
        aggregation="plain:fedavg",
        groups=GroupTerms(5, 2),
        weighting=Weighting.PROVEN_COUNT,
        deadlines=Deadlines(10, 10, 10, 10, 10, 10),
        operator_key=OPERATOR.public_key,
        operator_box_key=OPERATOR.box_key,
        genesis=genesis,
        ledger=LedgerTerms(31337, bytes(20), 2),
        validators=(),
        quorum=0,
        nonce=bytes(16),
    )
    return replace(task, **changes)


def make_samples() -> list[Sample]:
    """A pool with labels that a model can mostly tell apart."""
    generator = np.random.default_rng(11)
    inputs = generator.integers(0, 256, (POOL, 3)).astype(np.uint8)
    labels = (inputs[:, 0] > inputs[:, 1]).astype(np.uint8)
    salts = [digest("test-salt", index.to_bytes(8, "big")) for index in range(POOL)]
    return make_pool(inputs, labels, salts)


@dataclass(eq=False)
class Device:
    """One honest device: its key, model, commitment and signed messages of the round."""

    key: KeyPair
    opening: ModelOpening
    commitment: Commitment
    envelope: bytes


@dataclass(eq=False)
class MadeRound:
    """The objects of one round. Change what a test bends, then re-make what follows from it."""

    system: FakeProofSystem
    task: Task
    task_id: TaskId
    pool: list[Sample]
    terms: RoundTerms
    model: Cid
    devices: list[Device]
    objects: dict[Cid, bytes] = field(default_factory=dict)

    # --- objects ----------------------------------------------------------------------------

    def put(self, data: bytes) -> Cid:
        """Keeps an object; returns its name."""
        cid, _ = split_object(data)
        self.objects[cid] = data
        return cid

    def get(self, cid: Cid) -> bytes:
        """A `GetObject`."""
        if cid not in self.objects:
            raise Rejected(Reason.NOT_FOUND, cid.hex())
        return self.objects[cid]

    # --- what devices do --------------------------------------------------------------------

    def device(self, number: int, **changes: Any) -> Device:
        """Trains, so to speak, and commits; `changes` replace fields of the commitment."""
        generator = np.random.default_rng(number)
        theta = generator.integers(-30, 31, SPEC.shape.parameters).astype(np.int64)
        blinding = (number + 1).to_bytes(16, "big")
        opening = ModelOpening(theta, blinding)
        commitment = self.system.commitments.commit(opening)
        pair = key(number)
        context = commitment_context(self.task_id, ROUND, pair.public_key, commitment)
        proof = self.system.prove_wellformed(opening, context)
        message = Commitment(
            self.task_id, ROUND, PARENT, commitment, None if proof is None else self.put(proof)
        )
        message = replace(message, **changes)
        return Device(pair, opening, message, sign(message, pair))

    @property
    def indices(self) -> list[int]:
        """What the beacon draws; the first ten samples are spent."""
        return draw(BEACON, POOL, BATCH, range(10))

    @property
    def batch(self) -> Batch:
        """The drawn batch."""
        return batch_of([self.pool[index] for index in self.indices])

    @property
    def before(self) -> GlobalModel:
        """The model the round starts from."""
        return decode_global_model(SPEC.shape, self.get(self.model))

    @property
    def threshold(self) -> int:
        """The gate of this round."""
        return self.task.gate.threshold(self.count(self.before))

    def count(self, model: GlobalModel | Device) -> int:
        """The true count of a model on the batch."""
        theta = model.theta if isinstance(model, GlobalModel) else model.opening.theta
        return count_correct(SPEC.shape, theta, self.batch.inputs, self.batch.labels)

    def proof_terms(self, devices: Iterable[Device] | None = None) -> ProofTerms:
        """What verifiers know after the draw."""
        chosen = self.devices if devices is None else devices
        sealed = {device.key.id: device.commitment for device in chosen}
        return ProofTerms(self.terms, sealed, BEACON, self.batch, self.threshold)

    def proof_object(self, device: Device, count: int | None = None) -> ProofObject:
        """An honest proof object, or with another count one that only looks right."""
        true_count = self.count(device)
        statement = rebuild_statement(self.proof_terms(), device.key.id, true_count)
        proof = self.system.prove(statement, device.opening, no_progress)
        claimed = rebuild_statement(self.proof_terms(), device.key.id, count or true_count)
        made = ProofObject(
            self.system.id,
            digest("commitment", device.commitment.commitment),
            claimed.batch.digest,
            claimed.context,
            claimed.count,
            proof,
        )
        check_claims(made, claimed, self.system)
        return made

    def submission(
        self, device: Device, proof: ProofObject | bytes | None = None, **changes: Any
    ) -> bytes:
        """The signed submission; `proof` and `changes` replace honest parts."""
        made = self.proof_object(device) if proof is None else proof
        data = made if isinstance(made, bytes) else encode(made)
        message = Submission(self.task_id, ROUND, PARENT, self.count(device), self.put(data))
        return sign(replace(message, **changes), device.key)

    # --- what the aggregator does -----------------------------------------------------------

    def sealed_list(self, devices: Iterable[Device] | None = None) -> SealedList:
        """The commitments, sorted."""
        chosen = self.devices if devices is None else devices
        ordered = sorted(chosen, key=lambda device: device.key.id)
        return SealedList(tuple(device.envelope for device in ordered))

    def verdict(self, device: Device) -> Verdict:
        """The honest verdict on an honest submission."""
        count = self.count(device)
        if count < self.threshold:
            return Verdict(device.key.id, Reason.BELOW_GATE, 0, self.submission(device))
        return Verdict(device.key.id, None, count, self.submission(device))

    def verdicts(self) -> list[Verdict]:
        """Honest verdicts, the last device silent."""
        silent = max(device.key.id for device in self.devices)
        made = [
            Verdict(silent, Reason.NO_SUBMISSION, 0, None)
            if device.key.id == silent
            else self.verdict(device)
            for device in self.devices
        ]
        return sorted(made, key=lambda verdict: verdict.device)

    def sum_of(self, weights: Mapping[DeviceId, int]) -> tuple[Sum, GlobalModel]:
        """The opening of a weighted sum, and the model it makes."""
        chosen = sorted(weights)
        by_id = {device.key.id: device for device in self.devices}
        opening = self.system.commitments.add_openings(
            [by_id[each].opening for each in chosen], [weights[each] for each in chosen]
        )
        summands = tuple(Summand(each, weights[each]) for each in chosen)
        model = GlobalModel(opening.theta, sum(weights.values()))
        return Sum(summands, opening.blinding), model

    def record(
        self,
        verdicts: Sequence[Verdict] | None = None,
        weights: Mapping[DeviceId, int] | None = None,
        **changes: Any,
    ) -> Record:
        """The record that follows from `verdicts` and `weights`; `changes` replace fields."""
        listed = Verdicts(tuple(self.verdicts() if verdicts is None else verdicts))
        accepted = listed.accepted
        leader = rank(BEACON, accepted)[0]
        chosen = weights or {each: self.task.weight(accepted[each]) for each in accepted}
        total, after = self.sum_of(chosen)
        record = Record(
            task=self.task_id,
            round=ROUND,
            parent=PARENT,
            model_before=self.model,
            roster=self.put(encode(self.terms.roster)),
            sealed=self.put(encode(self.sealed_list())),
            beacon=BEACON,
            batch=self.put(make_reveal(self.pool, self.indices)),
            threshold=self.threshold,
            verdicts=self.put(encode(listed)),
            misconduct=(),
            leader=leader,
            count=accepted[leader],
            sum=total,
            groups=(),
            model_after=self.put(after.encode()),
            refusals=(),
        )
        return replace(record, **changes)

    # --- what a checker does ----------------------------------------------------------------

    def expected(self, **changes: Any) -> Expected:
        """What an auditor reads on chain."""
        sealed = self.sealed_list()
        expected = Expected(
            task_id=self.task_id,
            task=self.task,
            round=ROUND,
            parent=PARENT,
            model=self.model,
            roster_root=self.terms.roster.root,
            sealed_root=sealed.root,
            sealed_count=len(sealed.envelopes),
            beacon=BEACON,
            indices=self.indices,
        )
        return replace(expected, **changes)

    def check(
        self, record: Record, expected: Expected | None = None, *, proofs: bool = True
    ) -> CheckedRound:
        """Runs all checks."""
        known = expected or self.expected()
        return RecordCheck(known, self.get, self.system, proofs=proofs).run(record)


def make_round(count: int = 5, *, wellformed: bool = True, **task_changes: Any) -> MadeRound:
    """A round in which everything is right; `task_changes` replace fields of its task."""
    pool = make_samples()
    model = initial_model(SPEC, 7).encode()
    genesis, _ = split_object(model)
    task = make_task(pool, genesis, **task_changes)
    name = task_id(split_object(encode_task(task))[0])
    roster = Roster.of(
        RosterEntry(key(number).public_key, f"owner {number}") for number in range(count)
    )
    terms = RoundTerms(name, task, ROUND, PARENT, roster)
    system = FakeProofSystem(SPEC.shape, BATCH, wellformed)
    made = MadeRound(system, task, name, pool, terms, genesis, [], {genesis: model})
    made.devices = [made.device(number) for number in range(count)]
    return made


def another_digest(text: str) -> Digest:
    """Any digest but those of the round."""
    return digest("test-another", text.encode())

"""Checking all proofs of one round's record: one by one, and together.

Every device of the fleet has a random model, a real commitment with its proof and a real
submission. Timed are the checks of `zkpot.check_entries`, as auditors and validators run them:
the best of some passes, with the processor time of that pass.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.cases import shape_of
from bench.machine import machine
from bench.table import Column, print_table
from zkpot.aggregation import GroupTerms
from zkpot.check_entries import Seal, check_seal, check_verdicts
from zkpot.cid import Cid, split_object
from zkpot.ids import Beacon, Digest, Round, TaskId, digest
from zkpot.keys import KeyPair
from zkpot.model import ModelSpec, count_correct
from zkpot.proof.registry import SUMCHECK
from zkpot.proof.sumcheck import SumcheckCommitments, SumcheckSystem
from zkpot.proof.system import ModelOpening, no_progress
from zkpot.record import Roster, RosterEntry, SealedList, Verdict, Verdicts
from zkpot.statement import Statement, commitment_context, commitment_digest
from zkpot.task import Deadlines, Gate, LedgerTerms, Pool, Task, Weighting
from zkpot.verify import ProofObject, ProofTerms, RoundTerms, rebuild_statement
from zkpot.wire.codec import encode
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Commitment, Submission
from zkpot_agent.trial import random_batch, random_theta

COLUMNS = (
    Column("devices", "devices"),
    Column("commitments", "seal_s", "s"),
    Column("verdicts, one by one", "alone_s", "s"),
    Column("together", "together_s", "s"),
    Column("one by one, processor", "alone_cpu_s", "s"),
    Column("together, processor", "together_cpu_s", "s"),
)
_DAY = 24 * 3600
_ROUND = Round(1)
_ZERO = Digest(bytes(32))


class OneByOne:
    """The proof system without what it knows of many proofs at once."""

    def __init__(self, system: SumcheckSystem) -> None:
        self.verify = system.verify
        self.verify_wellformed = system.verify_wellformed
        self.prepare, self.prove = system.prepare, system.prove
        self.prove_wellformed = system.prove_wellformed
        self.id: str = system.id
        self.commitments: SumcheckCommitments = system.commitments


@dataclass
class Fleet:
    """A round's sealed list and verdicts, and every object that they name."""

    shape: str
    batch_size: int
    devices: int
    objects: dict[Cid, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape, generator = shape_of(self.shape), np.random.default_rng(1)
        self.system = SumcheckSystem(shape, self.batch_size)
        thetas = [random_theta(shape, generator) for _ in range(self.devices)]
        self.batch = random_batch(shape, thetas[0], self.batch_size, generator)
        keys = [KeyPair.from_seed(digest("bench", bytes([n]))) for n in range(self.devices)]
        keys.sort(key=lambda key: key.id)
        self.terms = RoundTerms(
            TaskId(_ZERO),
            _task(ModelSpec(shape, 0, (0,) * len(shape.layers)), self.batch_size, self.devices),
            _ROUND,
            _ZERO,
            Roster.of(RosterEntry(key.public_key, "") for key in keys),
        )
        openings = [ModelOpening(t, self.system.commitments.random_blinding()) for t in thetas]
        models = list(zip(keys, openings, strict=True))
        self.listed = SealedList(tuple(self._commitment(*model) for model in models))
        sealed = self.listed.open(self.terms.roster)
        self.proof_terms = ProofTerms(self.terms, sealed, Beacon(_ZERO), self.batch, 0)
        self.verdicts = Verdicts(tuple(self._verdict(*model) for model in models))

    def _put(self, data: bytes) -> Cid:
        cid = split_object(data)[0]
        self.objects[cid] = data
        return cid

    def _commitment(self, key: KeyPair, opening: ModelOpening) -> bytes:
        commitment = self.system.commitments.commit(opening)
        context = commitment_context(self.terms.task_id, _ROUND, key.public_key, commitment)
        proof = self._put(self.system.prove_wellformed(opening, context))
        return sign(Commitment(self.terms.task_id, _ROUND, _ZERO, commitment, proof), key)

    def _verdict(self, key: KeyPair, opening: ModelOpening) -> Verdict:
        shape, batch = shape_of(self.shape), self.batch
        count = count_correct(shape, opening.theta, batch.inputs, batch.labels)
        statement = rebuild_statement(self.proof_terms, key.id, count)
        proof = self._put(encode(self._proof_object(statement, opening)))
        message = Submission(self.terms.task_id, _ROUND, _ZERO, count, proof)
        return Verdict(key.id, None, count, sign(message, key))

    def _proof_object(self, statement: Statement, opening: ModelOpening) -> ProofObject:
        return ProofObject(
            self.system.id,
            commitment_digest(statement.commitment),
            statement.batch.digest,
            statement.context,
            statement.count,
            self.system.prove(statement, opening, no_progress),
        )

    def check_seal(self) -> None:
        """Check 3, with every commit-time proof."""
        seal = Seal(self.listed.root, self.devices)
        check_seal(encode(self.listed), seal, self.terms, self.objects.__getitem__, self.system)

    def check_verdicts(self, *, together: bool) -> None:
        """Check 6, with every proof."""
        system = self.system if together else OneByOne(self.system)
        data, get = encode(self.verdicts), self.objects.__getitem__
        found = check_verdicts(data, self.proof_terms, get, system)
        assert len(found.accepted) == self.devices


def _task(spec: ModelSpec, batch_size: int, devices: int) -> Task:
    return Task(
        name="bench",
        model=spec,
        batch_size=batch_size,
        proof_system=SUMCHECK,
        srs="",
        pool=Pool(_ZERO, batch_size, reuse=False),
        rounds=1,
        minimum_devices=1,
        maximum_devices=devices,
        gate=Gate(0, 0),
        aggregation="plain:fedavg",
        groups=GroupTerms(5, 2),
        weighting=Weighting.EQUAL,
        deadlines=Deadlines(_DAY, _DAY, _DAY, _DAY, _DAY, _DAY),
        operator_key=bytes(32),
        operator_box_key=bytes(32),
        genesis=split_object(b"")[0],
        ledger=LedgerTerms(1, bytes(20), 1),
        validators=(),
        quorum=0,
        nonce=bytes(16),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fleets, shape, batch and passes."""
    parser.add_argument("--devices", type=int, nargs="+", default=[50])
    parser.add_argument("--shape", default="digits")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--json", action="store_true")


def run(options: argparse.Namespace) -> int:
    """Measures and prints."""
    rows = [
        measure(Fleet(options.shape, options.batch, devices), options.passes)
        for devices in options.devices
    ]
    if options.json:
        sys.stdout.write(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")
    else:
        sys.stdout.write(f"{machine()}; {options.shape}, N = {options.batch}\n")
        print_table(COLUMNS, rows)
    return 0


def measure(fleet: Fleet, passes: int) -> dict[str, Any]:
    """One row."""
    seal, _ = _best(fleet.check_seal, passes)
    alone, alone_cpu = _best(lambda: fleet.check_verdicts(together=False), passes)
    together, together_cpu = _best(lambda: fleet.check_verdicts(together=True), passes)
    return {
        "devices": fleet.devices,
        "seal_s": seal,
        "alone_s": alone,
        "alone_cpu_s": alone_cpu,
        "together_s": together,
        "together_cpu_s": together_cpu,
    }


def _best(check: Callable[[], None], passes: int) -> tuple[float, float]:
    """Wall and processor seconds of the fastest pass."""
    times = []
    for _ in range(passes):
        wall, processor = time.perf_counter(), time.process_time()
        check()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(times)

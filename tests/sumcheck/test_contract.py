"""What every proof system promises: the same tests on sumcheck and on ezkl."""

import dataclasses
import secrets
from typing import Any

import numpy as np
import pytest
from tests.sumcheck.conftest import (
    BATCH,
    SMALL,
    Case,
    make_case,
    random_batch,
    random_theta,
)

from zkpot.batch import Batch
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, Digest, Round, TaskId
from zkpot.keys import KeyPair
from zkpot.model import count_correct
from zkpot.proof import registry
from zkpot.proof.system import ModelOpening, Obstacle, ProofSystem, ProvingFailed, no_progress
from zkpot.statement import submission_context

pytestmark = pytest.mark.prover


@pytest.fixture(scope="module", params=[registry.SUMCHECK, registry.EZKL])
def system_id(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip(registry.SYSTEM_TO_PACKAGE[name])
    return name


@pytest.fixture(scope="module")
def system(system_id: str, tmp_path_factory: pytest.TempPathFactory) -> ProofSystem:
    cache = tmp_path_factory.mktemp("cache")
    made = registry.load(system_id, SMALL, BATCH, cache_dir=cache, srs="insecure-demo")
    made.prepare(no_progress)
    return made


def case_with_count(system: ProofSystem, count: int, seed: int) -> Case:
    generator = np.random.default_rng(seed)
    while True:
        theta, batch = random_theta(SMALL, generator), random_batch(SMALL, BATCH, generator)
        if count_correct(SMALL, theta, batch.inputs, batch.labels) == count:
            return make_case(system, SMALL, theta, batch)


@pytest.fixture(scope="module")
def case(system: ProofSystem) -> Case:
    return case_with_count(system, 2, 1)


@pytest.fixture(scope="module")
def other(system: ProofSystem) -> Case:
    return case_with_count(system, 2, 2)


class TestProofSystem:
    def refuse(self, system: ProofSystem, case: Case, **changes: Any) -> Reason:
        statement = dataclasses.replace(case.statement, **changes)
        with pytest.raises(Rejected) as rejected:
            system.verify(statement, case.proof)
        return rejected.value.reason

    def test_it_says_its_name(self, system: ProofSystem, system_id: str) -> None:
        assert system.id == system_id

    def test_a_true_statement_is_proven_and_holds(self, system: ProofSystem, case: Case) -> None:
        system.verify_wellformed(case.statement.commitment, case.statement.context, case.wellformed)
        system.verify(case.statement, case.proof)

    @pytest.mark.parametrize("count", [-1, 0, 1, 3, 4, 5])
    def test_another_count_is_refused(self, system: ProofSystem, case: Case, count: int) -> None:
        self.refuse(system, case, count=count)

    @pytest.mark.parametrize("count", [1, 3])
    def test_a_false_count_is_not_proven(self, system: ProofSystem, case: Case, count: int) -> None:
        statement = dataclasses.replace(case.statement, count=count)
        with pytest.raises(ProvingFailed) as failed:
            system.prove(statement, case.opening, no_progress)
        assert failed.value.obstacle is Obstacle.UNSATISFIED

    def test_another_context_is_refused(self, system: ProofSystem, case: Case) -> None:
        flipped = bytearray(case.statement.context)
        flipped[31] ^= 1
        for context in (bytes(flipped), bytes(32), secrets.token_bytes(32), bytes(31)):
            self.refuse(system, case, context=Digest(context))

    def test_another_devices_proof_is_refused(self, system: ProofSystem, case: Case) -> None:
        task, beacon = TaskId(Digest(bytes(32))), Beacon(Digest(b"b" * 32))
        commitment = case.statement.commitment
        own, foreign = (
            submission_context(
                task, Round(1), KeyPair.from_seed(bytes([n] * 32)).public_key, commitment, beacon
            )
            for n in (1, 2)
        )
        statement = dataclasses.replace(case.statement, context=own)
        proof = system.prove(statement, case.opening, no_progress)
        system.verify(statement, proof)
        with pytest.raises(Rejected):
            system.verify(dataclasses.replace(statement, context=foreign), proof)

    def test_another_batch_is_refused(self, system: ProofSystem, case: Case) -> None:
        inputs, labels = case.statement.batch.inputs, case.statement.batch.labels
        pixel, label = inputs.copy(), labels.copy()
        pixel[3, 3] ^= 1
        label[0] ^= 1
        order = [1, 0, 2, 3]
        others = [Batch(pixel, labels), Batch(inputs, label), Batch(inputs[:3], labels[:3])]
        if not np.array_equal(inputs[0], inputs[1]):
            others.append(Batch(inputs[order], labels[order]))
        for batch in others:
            self.refuse(system, case, batch=batch)

    def test_another_commitment_is_refused(
        self, system: ProofSystem, case: Case, other: Case
    ) -> None:
        scheme = system.commitments
        again = scheme.commit(ModelOpening(case.opening.theta, scheme.random_blinding()))
        doubled = scheme.add([case.statement.commitment], [2])
        for commitment in (other.statement.commitment, again, doubled, b""):
            self.refuse(system, case, commitment=commitment)

    def test_another_opening_does_not_prove(
        self, system: ProofSystem, case: Case, other: Case
    ) -> None:
        """Another model under this commitment gives no proof that would hold."""
        statement = case.statement
        try:
            proof = system.prove(statement, other.opening, no_progress)
        except ProvingFailed:
            return
        with pytest.raises(Rejected):
            system.verify(statement, proof)

    def test_other_lengths_are_refused(self, system: ProofSystem, case: Case) -> None:
        proof = case.proof
        for spoilt in (b"", proof[:-1], proof[:-32], proof + b"\0", proof + bytes(32), proof * 2):
            with pytest.raises(Rejected) as rejected:
                system.verify(case.statement, spoilt)
            assert rejected.value.reason is Reason.PROOF_MALFORMED

    def test_a_flipped_bit_is_refused(self, system: ProofSystem, case: Case) -> None:
        generator = np.random.default_rng(3)
        for position in generator.choice(len(case.proof), 40, replace=False):
            spoilt = bytearray(case.proof)
            spoilt[position] ^= 1 << int(generator.integers(8))
            with pytest.raises(Rejected):
                system.verify(case.statement, bytes(spoilt))

    def test_commitments_and_proofs_of_one_model_differ(
        self, system: ProofSystem, case: Case
    ) -> None:
        statement = case.statement
        again = system.prove(statement, case.opening, no_progress)
        assert again != case.proof
        system.verify(statement, again)
        scheme = system.commitments
        theta = case.opening.theta
        made = {scheme.commit(ModelOpening(theta, scheme.random_blinding())) for _ in range(5)}
        assert len(made) == 5

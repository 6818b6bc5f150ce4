"""On random small models everyone agrees on the count, and on no other.

1,000 models: reference inference and native verifier; of these 60: the independent verifier.
12 models without shifts: ezkl, sumcheck and both verifiers about the same model and batch.
"""

from dataclasses import replace
from pathlib import Path

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

from zkpot.errors import Reason, Rejected
from zkpot.model import Shape
from zkpot.proof.sumcheck import SumcheckSystem
from zkpot.proof.system import ProofSystem, no_progress
from zkpot_aggregator.audit.independent import IndependentSystem

pytestmark = pytest.mark.prover

MODELS = 1000
INDEPENDENT_EVERY = 16
EZKL_MODELS = 12
LARGEST_BATCH = 12


def random_shape(generator: np.random.Generator) -> Shape:
    hidden = int(generator.integers(0, 3))
    widths = tuple(int(width) for width in generator.integers(1, 7, hidden + 1))
    shifts = tuple(int(shift) for shift in generator.integers(0, 9, hidden))
    return Shape((*widths, int(generator.integers(2, 6))), shifts, int(generator.integers(8, 20)))


def agree(verifier: ProofSystem, case: Case) -> None:
    statement, size = case.statement, case.statement.batch.size
    verifier.verify_wellformed(statement.commitment, statement.context, case.wellformed)
    verifier.verify(statement, case.proof)
    for count in (statement.count - 1, statement.count + 1):
        with pytest.raises(Rejected) as rejected:
            verifier.verify(replace(statement, count=count), case.proof)
        if 0 <= count <= size:
            assert rejected.value.reason is Reason.PROOF_INVALID


def test_native_independent_and_reference_agree() -> None:
    generator = np.random.default_rng(2026)
    counts, independent = set(), 0
    for number in range(MODELS):
        shape, size = random_shape(generator), int(generator.integers(1, LARGEST_BATCH + 1))
        native = SumcheckSystem(shape, size)
        theta, batch = random_theta(shape, generator), random_batch(shape, size, generator)
        case = make_case(native, shape, theta, batch)
        agree(native, case)
        counts.add(case.statement.count)
        if number % INDEPENDENT_EVERY == 0:
            agree(IndependentSystem(shape, size), case)
            independent += 1
    assert independent >= 50
    assert counts >= set(range(8))


def test_ezkl_agrees_on_models_without_shifts(tmp_path_factory: pytest.TempPathFactory) -> None:
    backend = pytest.importorskip("zkpot.proof.ezkl.backend")
    pytest.importorskip("ezkl")
    generator = np.random.default_rng(7)
    cache: Path = tmp_path_factory.mktemp("ezkl")
    ezkl = backend.EzklSystem(SMALL, BATCH, cache, "insecure-demo")
    ezkl.prepare(no_progress)
    native, independent = SumcheckSystem(SMALL, BATCH), IndependentSystem(SMALL, BATCH)
    counts = set()
    for _ in range(EZKL_MODELS):
        theta, batch = random_theta(SMALL, generator), random_batch(SMALL, BATCH, generator)
        ours, theirs = (make_case(system, SMALL, theta, batch) for system in (native, ezkl))
        assert ours.statement.count == theirs.statement.count
        for verifier, case in ((native, ours), (independent, ours), (ezkl, theirs)):
            agree(verifier, case)
        counts.add(ours.statement.count)
    assert len(counts) >= 3


@pytest.mark.parametrize("value", [0, 5])
def test_equal_models_count_the_samples_of_label_0_only(value: int) -> None:
    theta = np.full(SMALL.parameters, value, dtype=np.int64)
    generator = np.random.default_rng(value)
    system = SumcheckSystem(SMALL, BATCH)
    for _ in range(5):
        batch = random_batch(SMALL, BATCH, generator)
        case = make_case(system, SMALL, theta, batch)
        assert case.statement.count == int(np.count_nonzero(batch.labels == 0))
        agree(system, case)
        agree(IndependentSystem(SMALL, BATCH), case)

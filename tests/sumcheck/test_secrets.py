"""Weights and blindings show up in no proof, log, error or repr."""

import dataclasses
import logging
import re
from collections.abc import Iterator

import numpy as np
import pytest
from tests.sumcheck.conftest import BATCH, SMALL, Case, make_case, random_batch

from zkpot.errors import ZkpotError
from zkpot.proof.sumcheck import SumcheckSystem
from zkpot.proof.system import ModelOpening, no_progress
from zkpot_agent.jobs import Committed

pytestmark = pytest.mark.prover

BIAS = 54_321
"""A number that stands nowhere else."""


@pytest.fixture
def case() -> Case:
    theta = np.arange(SMALL.parameters, dtype=np.int64)
    theta[-1] = BIAS
    system = SumcheckSystem(SMALL, BATCH)
    return make_case(system, SMALL, theta, random_batch(SMALL, BATCH, np.random.default_rng(1)))


def failures(case: Case) -> Iterator[str]:
    """What the system says when a secret is at the heart of the failure."""
    system = SumcheckSystem(SMALL, BATCH)
    scheme, opening, statement = system.commitments, case.opening, case.statement
    wrong = dataclasses.replace(statement, count=(statement.count + 1) % (BATCH + 1))
    large = opening.theta.copy()
    large[0] = BIAS
    too_large = ModelOpening(large, opening.blinding)
    short = ModelOpening(opening.theta, opening.blinding[:-1])
    unreduced = ModelOpening(opening.theta, b"\xff" * len(opening.blinding))
    for attempt in (
        lambda: system.prove(wrong, opening, no_progress),
        lambda: system.prove(statement, too_large, no_progress),
        lambda: system.prove(statement, short, no_progress),
        lambda: system.prove(statement, unreduced, no_progress),
        lambda: system.prove_wellformed(too_large, statement.context),
        lambda: scheme.commit(too_large),
        lambda: scheme.commit(short),
        lambda: scheme.check_opening(statement.commitment, too_large),
        lambda: scheme.check_opening(statement.commitment, unreduced),
        lambda: scheme.add_openings([opening, short], [1, 1]),
    ):
        with pytest.raises(ZkpotError) as failed:
            attempt()
        yield f"{failed.value} {failed.value!r} {failed.value.__cause__!r}"


def assert_silent(text: str, case: Case) -> None:
    blinding = case.opening.blinding
    text = re.sub(r"object at 0x[0-9a-f]+", "", text)  # an address may hold any digits
    assert str(BIAS) not in text
    for start in range(0, len(blinding), 32):
        scalar = blinding[start : start + 32]
        assert scalar.hex()[:16] not in text
        assert repr(scalar)[2:-1] not in text
        assert str(int.from_bytes(scalar, "little")) not in text


def test_errors_and_logs_are_silent(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = list(failures(case))
    assert len(said) == 10
    for text in (*said, caplog.text):
        assert_silent(text, case)


def test_reprs_are_silent(case: Case) -> None:
    system = SumcheckSystem(SMALL, BATCH)
    committed = Committed(case.opening, case.statement.commitment, case.wellformed)
    for value in (case.opening, committed, system, system.commitments, [case.opening]):
        assert_silent(f"{value} {value!r}", case)


def test_proofs_hold_no_blinding_and_no_parameter(case: Case) -> None:
    """Folding ends in clear scalars: none of them may be a secret one."""
    public = case.proof + (case.wellformed or b"") + case.statement.commitment
    for start in range(0, len(case.opening.blinding), 32):
        assert case.opening.blinding[start : start + 32] not in public
    assert BIAS.to_bytes(32, "little") not in public

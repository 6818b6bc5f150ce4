"""Proof systems by name, and what runs in child processes."""

import asyncio
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zkpot.errors import Reason, Rejected
from zkpot.model import Shape
from zkpot.proof import child, jobs, registry
from zkpot.proof.child import Limits
from zkpot.proof.ezkl.backend import EzklSystem
from zkpot.proof.jobs import Backend
from zkpot.proof.system import Obstacle, ProvingFailed
from zkpot_aggregator import verifying

SMALL = Shape((4, 3, 2), (0,), 16)


def run(job: Any, *args: Any, limits: Limits = child.NO_LIMITS) -> Any:
    return asyncio.run(child.run(job, *args, limits=limits))


@pytest.fixture
def backend(proof_cache: Path, system: EzklSystem) -> Backend:
    return Backend("ezkl/1", SMALL, system.batch_size, proof_cache, "insecure-demo")


def test_names_are_known(tmp_path: Path) -> None:
    assert registry.available() == ("ezkl/1", "sumcheck/1")
    found = registry.load("ezkl/1", SMALL, 4, cache_dir=tmp_path, srs="insecure-demo")
    assert found.id == "ezkl/1"


@pytest.mark.parametrize("name", ["ezkl", "ezkl/2", "", "groth16/1"])
def test_an_unknown_name_is_rejected(name: str, tmp_path: Path) -> None:
    with pytest.raises(Rejected) as rejected:
        registry.load(name, SMALL, 4, cache_dir=tmp_path, srs="insecure-demo")
    assert rejected.value.reason is Reason.TASK_INVALID


def test_a_system_without_its_extra_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zkpot.proof.sumcheck", None)
    with pytest.raises(ProvingFailed, match="zkpot\\[sumcheck\\]") as failed:
        registry.load("sumcheck/1", SMALL, 4, cache_dir=tmp_path, srs="")
    assert failed.value.obstacle is Obstacle.UNAVAILABLE


@pytest.mark.prover
def test_a_round_of_jobs_in_children(
    backend: Backend, case: Any, thetas: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    run(jobs.prepare, backend)
    theta = thetas(SMALL, np.random.default_rng(8))
    commitment, opening = run(jobs.commit, backend, theta)
    assert verifying.judge_opening(backend, commitment, opening) == (None, "")
    proof = run(jobs.prove, backend, case.statement, case.opening, limits=Limits(cores=1))
    wrong = dataclasses.replace(case.statement, count=4)
    verdicts = run(
        jobs.verify,
        backend,
        [(case.statement, proof), (wrong, proof), (case.statement, b"x"), (case.statement, proof)],
    )
    assert [verdict and verdict[0] for verdict in verdicts] == [
        None,
        Reason.PROOF_INVALID,
        Reason.PROOF_MALFORMED,
        None,
    ]
    assert capfd.readouterr().out == ""


@pytest.mark.prover
def test_openings_and_sums_are_judged_as_the_aggregator_does(
    backend: Backend, system: EzklSystem, case: Any, other_case: Any
) -> None:
    cases = (case, other_case)
    first, second = commitments = tuple(each.statement.commitment for each in cases)
    openings = tuple(each.opening for each in cases)
    assert verifying.judge_opening(backend, first, openings[0]) == (None, "")
    assert verifying.judge_opening(backend, second, openings[0])[0] is Reason.OPENING_INVALID
    total = verifying.sum_openings(backend, commitments, openings, (2, 3))
    system.commitments.check_opening(system.commitments.add(commitments, (2, 3)), total)
    with pytest.raises(ValueError, match="does not open"):
        verifying.sum_openings(backend, (second, first), openings, (2, 3))


@pytest.mark.prover
def test_a_false_count_fails_in_a_child_as_itself(backend: Backend, case: Any) -> None:
    statement = dataclasses.replace(case.statement, count=3)
    with pytest.raises(ProvingFailed) as failed:
        run(jobs.prove, backend, statement, case.opening)
    assert failed.value.obstacle is Obstacle.UNSATISFIED


@pytest.mark.prover
def test_a_prover_over_its_memory_limit_is_reported_as_that(backend: Backend, case: Any) -> None:
    with pytest.raises(ProvingFailed) as failed:
        run(jobs.prove, backend, case.statement, case.opening, limits=Limits(memory_bytes=40 << 20))
    assert failed.value.obstacle is Obstacle.OUT_OF_MEMORY


@pytest.mark.prover
def test_two_processes_set_up_once(tmp_path: Path) -> None:
    backend = Backend("ezkl/1", Shape((2, 2), (), 8), 2, tmp_path, "insecure-demo")
    made: list[str] = []

    def progress(what: str, fraction: float) -> None:
        made.append(what)

    async def both() -> None:
        await asyncio.gather(
            *(child.run(jobs.prepare, backend, progress=progress) for _ in range(2))
        )

    asyncio.run(both())
    assert made.count("keys are ready") == 2
    assert made.count("making the keys") == 1

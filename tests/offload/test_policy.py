"""Local, offload or auto: what is tried, in which order, and what is said if all fails."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.offload.rig import LIMITS, check, proof_request

from zkpot.journal import Journal
from zkpot.proof.system import Obstacle, Progress, ProvingFailed, no_progress
from zkpot.wire.codec import decode, encode
from zkpot_agent.config import LimitsConfig, ProveConfig, ProveMode
from zkpot_agent.proving.benchmark import benchmark
from zkpot_agent.proving.estimate import MARGIN, Measured, estimate, obstacle
from zkpot_agent.proving.policy import ProvingPolicy, Way, kept_for, ways
from zkpot_agent.proving.request import ProofRequest

pytest.importorskip("zkpot_prover")

MEASURED = Measured("sumcheck/1", "64-32-10", 1, 100, 2000, 40_000, 50_000)
FAILED = replace(MEASURED, prove_ms=0, interpreter_kb=0, peak_kb=0, problem="out-of-memory")


# --- estimates ------------------------------------------------------------------------------


def test_an_estimate_is_the_measured_proof_with_a_margin() -> None:
    found = estimate(MEASURED, 100)
    assert found.seconds == pytest.approx(2.0 * MARGIN)
    assert found.memory_mb == pytest.approx(40 + 10 * MARGIN)


def test_time_and_memory_grow_with_the_batch_and_the_interpreter_does_not() -> None:
    found = estimate(MEASURED, 1000)
    assert found.seconds == pytest.approx(20.0 * MARGIN)
    assert found.memory_mb == pytest.approx(40 + 100 * MARGIN)


@given(small=st.integers(1, 10_000), more=st.integers(0, 10_000))
def test_a_larger_batch_never_needs_less(small: int, more: int) -> None:
    less, much = estimate(MEASURED, small), estimate(MEASURED, small + more)
    assert less.seconds <= much.seconds
    assert less.memory_mb <= much.memory_mb


@pytest.mark.parametrize(
    ("measured", "batch", "memory_mb", "seconds", "words"),
    [
        (MEASURED, 100, None, 60.0, None),
        (MEASURED, 100, 64, 60.0, None),
        (MEASURED, 100, 48, 60.0, "the limit is 48 MiB"),
        (MEASURED, 1000, 100, 60.0, "the limit is 100 MiB"),
        (MEASURED, 100, None, 2.9, "s are left"),
        (FAILED, 100, None, 60.0, "out-of-memory"),
        (None, 100, None, 60.0, "nothing was measured"),
    ],
)
def test_what_stands_in_the_way(
    measured: Measured | None,
    batch: int,
    memory_mb: int | None,
    seconds: float,
    words: str | None,
) -> None:
    found = obstacle(measured, batch, memory_mb, seconds)
    assert (found is None) == (words is None)
    assert words is None or words in str(found)


def test_a_measurement_survives_the_disk() -> None:
    for each in (MEASURED, FAILED):
        assert decode(Measured, encode(each), limit=4096) == each


# --- the order ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "fits", "provers", "expected"),
    [
        (ProveMode.LOCAL, False, True, (Way.LOCAL,)),
        (ProveMode.OFFLOAD, True, True, (Way.OFFLOAD, Way.LOCAL)),
        (ProveMode.OFFLOAD, False, True, (Way.OFFLOAD,)),
        (ProveMode.AUTO, True, True, (Way.LOCAL, Way.OFFLOAD)),
        (ProveMode.AUTO, True, False, (Way.LOCAL,)),
        (ProveMode.AUTO, False, True, (Way.OFFLOAD,)),
        (ProveMode.AUTO, False, False, ()),
    ],
)
def test_ways(mode: ProveMode, fits: bool, provers: bool, expected: tuple[Way, ...]) -> None:
    assert ways(mode, fits=fits, provers=provers) == expected


@pytest.mark.parametrize(
    ("later", "left", "local_seconds", "kept"),
    [
        ((), 60.0, 5.0, 0.0),
        ((Way.LOCAL,), 60.0, 5.0, 5.0),
        # A device that is slower than it was when it was measured leaves time to ask.
        ((Way.OFFLOAD,), 60.0, 5.0, 30.0),
        ((Way.OFFLOAD,), 60.0, 50.0, 10.0),
        ((Way.OFFLOAD,), 60.0, 70.0, 0.0),
    ],
)
def test_what_is_kept_for_the_way_that_comes_second(
    later: tuple[Way, ...], left: float, local_seconds: float, kept: float
) -> None:
    assert kept_for(later, left, local_seconds) == kept


def test_the_config_refuses_what_cannot_work() -> None:
    with pytest.raises(ValueError, match="is required for mode offload"):
        ProveConfig(ProveMode.OFFLOAD)
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        ProveConfig(provers=("abc",))
    with pytest.raises(ValueError, match="named twice"):
        ProveConfig(provers=("00" * 32, "00" * 32))


# --- with real proofs -----------------------------------------------------------------------


class Helper:
    """An `Offload` that proves at once, or fails; it remembers what it was given."""

    def __init__(self, failure: ProvingFailed | None = None) -> None:
        self.failure = failure
        self.asked: list[ProofRequest] = []

    async def prove(self, request: ProofRequest, progress: Progress) -> bytes:
        """See `Offload.prove`."""
        self.asked.append(request)
        if self.failure is not None:
            raise self.failure
        return request.backend.load().prove(request.statement, request.opening, progress)


UNANSWERED = ProvingFailed(Obstacle.UNAVAILABLE, "all provers have failed")
TINY = LimitsConfig(memory_mb=8, cores=1)
"""Less than Python with numpy needs."""


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(tmp_path / "journal.sqlite")


def prove(
    mode: ProveMode,
    journal: Journal,
    helper: Helper | None,
    *,
    limits: LimitsConfig = LIMITS,
    deadline_s: float = 60.0,
) -> tuple[ProofRequest, bytes]:
    """Measures, then proves."""
    request = replace(proof_request(1, deadline_s), limits=limits)

    async def both() -> bytes:
        policy = ProvingPolicy(mode, journal, helper)
        await policy.prepare(request.backend, limits, 60.0, no_progress)
        return await policy.prove(request, no_progress)

    return request, asyncio.run(both())


@pytest.mark.prover
def test_auto_proves_here_where_it_fits(journal: Journal) -> None:
    helper = Helper()
    check(*prove(ProveMode.AUTO, journal, helper))
    assert helper.asked == []


@pytest.mark.prover
def test_auto_asks_a_prover_where_it_does_not_fit(journal: Journal) -> None:
    helper = Helper()
    check(*prove(ProveMode.AUTO, journal, helper, limits=TINY))
    assert len(helper.asked) == 1


@pytest.mark.prover
def test_auto_asks_a_prover_where_the_deadline_is_too_short(journal: Journal) -> None:
    helper = Helper()
    check(*prove(ProveMode.AUTO, journal, helper, deadline_s=0.003))
    (asked,) = helper.asked
    assert asked.deadline_s < 0.003, "a part of the time is kept for the submission"


@pytest.mark.prover
def test_offload_falls_back_to_this_device_and_keeps_time_for_it(journal: Journal) -> None:
    helper = Helper(UNANSWERED)
    check(*prove(ProveMode.OFFLOAD, journal, helper))
    stored = journal.get("benchmark")
    assert stored is not None
    reserve = estimate(decode(Measured, stored, limit=4096), 32).seconds
    assert helper.asked[0].deadline_s <= 60.0 - reserve


@pytest.mark.prover
@pytest.mark.parametrize("mode", [ProveMode.AUTO, ProveMode.OFFLOAD])
def test_when_nothing_is_left_every_reason_is_named(journal: Journal, mode: ProveMode) -> None:
    with pytest.raises(ProvingFailed) as caught:
        prove(mode, journal, Helper(UNANSWERED), limits=TINY)
    assert "local: the trial proof failed: out-of-memory" in str(caught.value)
    assert "all provers have failed" in str(caught.value)
    with pytest.raises(ProvingFailed, match="no prover is allowed"):
        prove(mode, journal, None, limits=TINY)


@pytest.mark.prover
def test_local_never_asks_anybody(journal: Journal) -> None:
    helper = Helper()
    with pytest.raises(ProvingFailed, match="out-of-memory"):
        prove(ProveMode.LOCAL, journal, helper, limits=TINY)
    assert helper.asked == []
    assert journal.get("benchmark") is None, "and has nothing to measure"


@pytest.mark.prover
def test_the_benchmark_runs_once_for_the_same_device_and_task(journal: Journal) -> None:
    backend = proof_request(1).backend

    def measured(limits: LimitsConfig) -> Measured:
        return asyncio.run(benchmark(journal, backend, limits, 60.0, no_progress))

    first = measured(LIMITS)
    assert (first.problem, first.batch) == ("", 32)
    assert 0 < first.interpreter_kb < first.peak_kb
    marked = replace(first, prove_ms=123_456)
    journal.transition({"benchmark": encode(marked)})
    assert measured(LIMITS) == marked
    assert measured(replace(LIMITS, cores=2)) != marked


@pytest.mark.prover
def test_a_trial_that_failed_is_made_again_at_the_next_start(journal: Journal) -> None:
    """A device that was busy once, or whose limits were raised, is not left without proofs."""
    backend = proof_request(1).backend

    def measured(limits: LimitsConfig, deadline_s: float) -> str:
        return asyncio.run(benchmark(journal, backend, limits, deadline_s, no_progress)).problem

    assert measured(LIMITS, 0.01).startswith("timeout")
    assert measured(TINY, 60.0).startswith("out-of-memory")
    assert measured(LIMITS, 60.0) == ""


@pytest.mark.prover
def test_a_board_that_has_become_slow_is_stopped_while_there_is_time_to_ask(
    journal: Journal,
) -> None:
    """What was measured long ago says that a proof takes no time; it takes more than there is."""
    quick = Measured("sumcheck/1", "64-32-10", 1, 32, 1, 40_000, 40_001)
    journal.transition({"benchmark": encode(quick)})
    helper = Helper(UNANSWERED)
    policy = ProvingPolicy(ProveMode.AUTO, journal, helper, clock=lambda: 1000.0)
    request = proof_request(1, 0.02)
    asyncio.run(policy.prepare(request.backend, LIMITS, 60.0, no_progress))
    with pytest.raises(ProvingFailed, match=r"local: timeout: not done within 0\.00[89]"):
        asyncio.run(policy.prove(request, no_progress))
    assert len(helper.asked) == 1


def test_an_attempt_that_is_made_again_has_what_the_first_left(journal: Journal) -> None:
    """The driver tries again after a passing failure; the round does not get longer by it."""
    now = 1000.0
    helper = Helper(UNANSWERED)
    policy = ProvingPolicy(ProveMode.OFFLOAD, journal, helper, clock=lambda: now)
    for passed in (0.0, 30.0, 100.0):
        now = 1000.0 + passed
        with pytest.raises(ProvingFailed):
            asyncio.run(policy.prove(proof_request(1, 100.0), no_progress))
    assert [round(each.deadline_s) for each in helper.asked] == [90, 60]

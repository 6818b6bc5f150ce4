"""One prover at a real broker: restarts, strangers, bad input, and what it leaves behind."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.offload.rig import (
    Prover,
    Site,
    check,
    device,
    proof_request,
    prover,
    prover_process,
    site,
    write_prover_toml,
)

from zkpot.cid import raw_cid
from zkpot.errors import Reason
from zkpot.keys import KeyPair, seal
from zkpot.offload import make_job, seal_job
from zkpot.proof.system import ProvingFailed, no_progress
from zkpot.wire.codec import encode
from zkpot.wire.prover_messages import JobState
from zkpot_agent.proving.offload import Standing
from zkpot_agent.proving.request import ProofRequest
from zkpot_aggregator.prover.config import JobLimits

pytest.importorskip("zkpot_prover")
pytestmark = [pytest.mark.broker, pytest.mark.prover, pytest.mark.enable_socket]

PATIENT_S = 60
"""A lease that outlives the restart of a prover on a busy machine."""


@dataclass(frozen=True)
class World:
    """Two devices and a prover that both trust, at one broker."""

    place: Site
    anna: KeyPair
    bert: KeyPair
    prover: KeyPair


Scenario = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[[Scenario], None]]:
    anna, bert, key = (KeyPair.generate() for _ in range(3))
    with site(tmp_path, [anna, bert], [key]) as place:
        yield lambda scenario: asyncio.run(scenario(World(place, anna, bert, key)))


async def told(made: Prover, device_key: KeyPair, state: JobState) -> Reason | None:
    """Waits until this device's job is in this state; the reason that is given."""
    async with asyncio.timeout(PATIENT_S):
        while True:
            for status in made.said:
                if (status.device, status.state) == (device_key.id, state):
                    return status.reason
            await asyncio.sleep(0.02)


def seal_for(request: ProofRequest, owner: KeyPair, to: KeyPair) -> bytes:
    backend = request.backend
    job = make_job(
        owner.id,
        to.id,
        backend.system_id,
        backend.srs,
        backend.shape,
        request.statement,
        request.opening,
    )
    return seal_job(to.box_key, job)


def test_a_proof_comes_back_and_nothing_stays(
    play: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The weights are in no message, no file of the prover's, and no line of its log."""
    caplog.set_level(logging.DEBUG)
    request = proof_request(7)

    async def scenario(world: World) -> None:
        async with (
            prover(world.place, world.prover, [world.anna]) as made,
            device(world.place, world.anna, [world.prover], PATIENT_S) as anna,
        ):
            check(request, await anna.client.prove(request, no_progress))
            states = [status.state for status in made.said]
            assert states[0] is JobState.ACCEPTED
            assert JobState.PROVING in states
            assert states[-1] is JobState.DONE
            assert anna.refused == []
            assert anna.journal.get("offload/standing") is None
            haystacks = [*anna.link.sent, *(each.payload for each in anna.queued)]
        files = [path for path in world.place.folder.rglob("*") if path.is_file()]
        assert any(path.name == "journal.sqlite" for path in files)
        haystacks += [path.read_bytes() for path in files]
        haystacks.append(caplog.text.encode())
        assert sum(map(len, haystacks)) > 10_000
        for needle in needles(request):
            assert not any(needle in each for each in haystacks)

    play(scenario)


def needles(request: ProofRequest) -> list[bytes]:
    """Pieces of the weights in every form they have on their way, and of the blinding."""
    theta = request.opening.theta
    whole = [theta.astype("<i4").tobytes(), theta.tobytes(), request.opening.blinding]
    pieces = [data[start : start + 32] for data in whole for start in range(0, 1024, 32)]
    return [piece for piece in pieces if len(set(piece)) > 4]


def test_the_search_for_weights_would_find_them() -> None:
    request = proof_request(7)
    assert any(needle in encode_everything(request) for needle in needles(request))


def encode_everything(request: ProofRequest) -> bytes:
    owner, to = KeyPair.generate(), KeyPair.generate()
    return to.open(seal_for(request, owner, to))


def test_a_prover_killed_mid_proof_and_started_again_goes_on(
    play: Callable[[Scenario], None],
) -> None:
    request = proof_request(1)

    async def scenario(world: World) -> None:
        config = write_prover_toml(world.place, world.prover, [world.anna])
        async with device(world.place, world.anna, [world.prover], PATIENT_S) as anna:
            async with prover_process(config) as first:
                proving = asyncio.create_task(anna.client.prove(request, no_progress))
                await first.until(state="proving")
                await first.kill()
            assert not proving.done()
            async with prover_process(config) as second:
                check(request, await proving)
                await second.until(state="done")

    play(scenario)


def test_a_device_that_was_killed_asks_the_same_prover_and_takes_the_old_offer_back(
    play: Callable[[Scenario], None],
) -> None:
    request = proof_request(2)

    async def scenario(world: World) -> None:
        other = KeyPair.generate()
        async with (
            prover(world.place, world.prover, [world.anna]) as made,
            device(world.place, world.anna, [other, world.prover], PATIENT_S) as anna,
        ):
            standing = Standing(world.prover.id, raw_cid(b"before the crash"))
            anna.journal.transition({"offload/standing": encode(standing)})
            check(request, await anna.client.prove(request, no_progress))
            assert [s.state for s in made.said].count(JobState.DONE) == 1
            (first, *_) = anna.queued
            assert bytes(raw_cid(b"before the crash")) in first.payload

    play(scenario)


def test_only_enrolled_devices_are_served(play: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        async with (
            prover(world.place, world.prover, [world.anna]) as made,
            device(world.place, world.bert, [world.prover]) as bert,
            device(world.place, world.anna, [world.prover], PATIENT_S) as anna,
        ):
            with pytest.raises(ProvingFailed, match="silent for"):
                await bert.client.prove(proof_request(3), no_progress)
            check(request := proof_request(4), await anna.client.prove(request, no_progress))
            assert {status.device for status in made.said} == {world.anna.id}

    play(scenario)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("garbage", Reason.MALFORMED),
        ("garbage inside", Reason.MALFORMED),
        ("for another prover", Reason.MALFORMED),
        ("of another device", Reason.JOB_MISMATCH),
        ("too large", Reason.OVERSIZE),
    ],
)
def test_bad_input_is_answered_with_its_reason_and_good_input_served_after_it(
    play: Callable[[Scenario], None], what: str, reason: Reason
) -> None:
    async def scenario(world: World) -> None:
        request, box_key = proof_request(5), world.prover.box_key
        sealed = {
            "garbage": b"x" * 1000,
            "garbage inside": seal(box_key, b"x" * 1000),
            "for another prover": seal_for(request, world.anna, KeyPair.generate()),
            "of another device": seal_for(request, world.bert, world.prover),
            "too large": seal(box_key, bytes(1 << 20)),
        }[what]
        limits = JobLimits(memory_mb=400, seconds=60, sealed_mb=1)
        async with (
            prover(world.place, world.prover, [world.anna], limits=limits) as made,
            device(world.place, world.anna, [world.prover], PATIENT_S) as anna,
        ):
            job = anna.client.offer(world.prover.id, sealed, PATIENT_S)
            assert await told(made, world.anna, JobState.FAILED) is reason
            anna.client.withdraw(world.prover.id, job)
            check(request, await anna.client.prove(request, no_progress))

    play(scenario)


def test_a_full_queue_is_an_answer(play: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        limits = JobLimits(memory_mb=400, seconds=60, queue=1)
        both = [world.anna, world.bert]
        async with (
            prover(world.place, world.prover, both, limits=limits) as made,
            device(world.place, world.anna, [world.prover], PATIENT_S) as anna,
            device(world.place, world.bert, [world.prover], PATIENT_S) as bert,
        ):
            # The offer of a block that is never served keeps its place.
            held = seal_for(proof_request(6), world.anna, world.prover)
            job = anna.client.offer(world.prover.id, held, PATIENT_S)
            await told(made, world.anna, JobState.ACCEPTED)
            late = bert.client.offer(world.prover.id, b"x", PATIENT_S)
            assert await told(made, world.bert, JobState.FAILED) is Reason.PROVER_BUSY
            bert.client.withdraw(world.prover.id, late)
            anna.client.withdraw(world.prover.id, job)

    play(scenario)


def test_a_job_beyond_the_memory_limit_fails_with_a_reason(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(world: World) -> None:
        limits = JobLimits(memory_mb=8, seconds=60)
        async with (
            prover(world.place, world.prover, [world.anna], limits=limits) as made,
            device(world.place, world.anna, [world.prover], PATIENT_S) as anna,
        ):
            with pytest.raises(ProvingFailed, match="proving-failed out-of-memory"):
                await anna.client.prove(proof_request(8, 120.0), no_progress)
            assert await told(made, world.anna, JobState.FAILED) is Reason.PROVING_FAILED

    play(scenario)

"""Real proofs through real provers at a real broker: who dies, lies or is silent hurts nobody."""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.offload.liar import prove_another
from tests.offload.rig import (
    DEADLINE_S,
    LIMITS,
    Device,
    check,
    device,
    proof_request,
    prover,
    prover_process,
    silent_prover,
    site,
    write_prover_toml,
)

from zkpot.journal import Journal
from zkpot.keys import KeyPair
from zkpot.proof.system import no_progress
from zkpot.wire.prover_messages import JobState
from zkpot_agent.config import ProveMode
from zkpot_agent.proving.benchmark import benchmark
from zkpot_agent.proving.policy import ProvingPolicy
from zkpot_agent.proving.request import ProofRequest

pytest.importorskip("zkpot_prover")
pytestmark = [pytest.mark.broker, pytest.mark.prover, pytest.mark.enable_socket]

AGENTS = 20
DONE_BEFORE_DEATH = 2
PATIENCE_S = 6
"""A lease that a prover on a busy machine keeps while it lives."""


@dataclass
class Outcome:
    """What an agent got, and how."""

    request: ProofRequest
    proof: bytes
    locally: bool


async def get_proof(made: Device, number: int) -> Outcome:
    """As a device with `prove = offload` does it, with the numbers of one measured proof."""
    seen: set[str] = set()
    policy = ProvingPolicy(ProveMode.OFFLOAD, made.journal, made.client)
    request = proof_request(number)
    await policy.prepare(request.backend, LIMITS, DEADLINE_S, no_progress)
    proof = await policy.prove(request, lambda what, _fraction: seen.add(what))
    return Outcome(request, proof, locally="proving" in seen)


async def measured_once(folder: Path) -> bytes:
    """The stored result of one self-benchmark: all these devices are the same machine."""
    with Journal.open(folder / "measured.sqlite") as journal:
        await benchmark(journal, proof_request(0).backend, LIMITS, DEADLINE_S, no_progress)
        stored = journal.get("benchmark")
    assert stored is not None
    return stored


async def twenty_agents(folder: Path) -> None:
    keys = [KeyPair.generate() for _ in range(AGENTS)]
    mortal, liar, mute = provers = [KeyPair.generate() for _ in range(3)]
    stored = await measured_once(folder)
    with site(folder, keys, provers) as place:
        async with contextlib.AsyncExitStack() as stack:
            doomed = await stack.enter_async_context(
                prover_process(write_prover_toml(place, mortal, keys))
            )
            lying = await stack.enter_async_context(prover(place, liar, keys, prove_another))
            await stack.enter_async_context(silent_prover(place, mute))
            working = []
            for number, key in enumerate(keys):
                order = provers[number % 3 :] + provers[: number % 3]
                made = await stack.enter_async_context(device(place, key, order, PATIENCE_S))
                made.journal.transition({"benchmark": stored})
                working.append(asyncio.create_task(get_proof(made, number)))
            for _ in range(DONE_BEFORE_DEATH):
                await doomed.until(state="done")
            await doomed.until(state="proving")
            await doomed.kill()
            outcomes = await asyncio.gather(*working)
    for outcome in outcomes:
        check(outcome.request, outcome.proof)
    how = Counter(outcome.locally for outcome in outcomes)
    assert how[False] >= 1
    assert how[True] >= 1
    assert any(status.state is JobState.DONE for status in lying.said)


def test_who_dies_lies_or_is_silent_hurts_nobody(tmp_path: Path) -> None:
    asyncio.run(twenty_agents(tmp_path))

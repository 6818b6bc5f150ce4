"""What a device offers to its provers, whatever its own disk does meanwhile."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.offload.rig import proof_request

from zkpot.cid import Cid, raw_cid
from zkpot.ids import DeviceId
from zkpot.keys import KeyPair
from zkpot.proof.registry import SUMCHECK
from zkpot.proof.system import ProvingFailed, no_progress
from zkpot.wire.prover_messages import JobState, JobStatus, ProverStatus
from zkpot_agent.proving import errand as errand_module
from zkpot_agent.proving.errand import Errand
from zkpot_agent.proving.placement import (
    Action,
    Happening,
    Placement,
    Reported,
    Sealed,
    Tick,
)

pytest.importorskip("zkpot_prover")

LEASE_S = 0.05


class SlowChannel:
    """Writing an offer down takes longer than its lease; nobody answers."""

    def __init__(self) -> None:
        self.offered: list[tuple[DeviceId, Cid]] = []
        self.withdrawn: list[tuple[DeviceId, Cid]] = []

    def offer(self, prover: DeviceId, sealed: bytes, within_s: int) -> Cid:
        del within_s
        time.sleep(2 * LEASE_S)
        self.offered.append((prover, raw_cid(sealed)))
        return raw_cid(sealed)

    def withdraw(self, prover: DeviceId, job: Cid) -> None:
        self.withdrawn.append((prover, job))

    async def fetch(
        self, proof: Cid, prover: DeviceId, deadline_s: float, arriving: Callable[[], None]
    ) -> bytes:
        raise AssertionError


class Overheard(Placement):
    """Notes what it is told."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.happenings: list[type] = []

    def step(self, happening: Happening, now: float) -> list[Action]:
        """See `Placement.step`."""
        self.happenings.append(type(happening))
        return super().step(happening, now)


def test_a_device_that_was_asleep_hears_its_prover_before_it_asks_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each prover that is asked sees the model, so this is not for a stall of our own."""
    monkeypatch.setattr(errand_module, "HEARING_S", 3.0)
    prover, device, until = KeyPair.generate(), KeyPair.generate().id, time.monotonic() + 60
    status = ProverStatus(1, True, prover.box_key, "", (SUMCHECK,), 1, 0, 5, 0)
    channel = SlowChannel()
    placed = Overheard(
        (prover.id,), {prover.id: status}, SUMCHECK, lease_s=2 * LEASE_S, until=until
    )
    errand = Errand(channel, device, proof_request(1), placed, until)

    async def scenario() -> None:
        running = asyncio.ensure_future(errand.run(no_progress))
        await asyncio.sleep(0)
        ((_, job),) = channel.offered
        time.sleep(3 * LEASE_S)  # noqa: ASYNC251  (the whole device stands still)
        # What the link has received meanwhile takes some turns of the loop to come in.
        for _ in range(10):
            await asyncio.sleep(0)
        errand.tell(Reported(prover.id, JobStatus(device, job, JobState.PROVING, 1, 0)))
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
    assert placed.happenings == [Sealed, Reported, Tick]


def test_every_offer_is_withdrawn_even_if_the_disk_stalls_for_a_lease() -> None:
    provers = [KeyPair.generate() for _ in range(3)]
    statuses = {
        key.id: ProverStatus(1, True, key.box_key, "", (SUMCHECK,), 1, 0, 5, 0) for key in provers
    }
    channel, until = SlowChannel(), time.monotonic() + 60
    order = tuple(key.id for key in provers)
    placed = Placement(order, statuses, SUMCHECK, lease_s=LEASE_S, until=until)
    errand = Errand(channel, KeyPair.generate().id, proof_request(1), placed, until)
    with pytest.raises(ProvingFailed, match="all provers have failed"):
        asyncio.run(errand.run(no_progress))
    assert [prover for prover, _ in channel.offered] == list(order)
    assert channel.withdrawn == channel.offered

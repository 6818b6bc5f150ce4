"""What a device makes of the things its provers say of themselves."""

import asyncio
from pathlib import Path

import pytest
from tests.link.unlinked import Unlinked
from tests.offload.rig import proof_request

from zkpot.journal import Journal
from zkpot.keys import KeyPair
from zkpot.link import Incoming
from zkpot.proof.registry import SUMCHECK
from zkpot.proof.system import ProvingFailed, no_progress
from zkpot.wire import topics
from zkpot.wire.envelope import sign
from zkpot.wire.prover_messages import ProverStatus
from zkpot_agent.proving.offload import OffloadClient

pytest.importorskip("zkpot_prover")

DEVICE, PROVER = KeyPair.generate(), KeyPair.generate()


class NoLink(Unlinked):
    """A device without a connection."""

    async def publish_volatile(self, topic: str, payload: bytes) -> None:
        del topic, payload

    async def stop(self) -> list[str]:
        return []


def offered_after(folder: Path, *sessions: tuple[int, bool]) -> bool:
    """Whether a job is offered to a prover that has said these things, in this order."""
    with Journal.open(folder / "journal.sqlite") as journal:
        client = OffloadClient(NoLink(), DEVICE, journal, [PROVER.public_key], lease_s=1)
        for session, online in sessions:
            status = ProverStatus(session, online, PROVER.box_key, "", (SUMCHECK,), 1, 0, 5, 0)
            topic = topics.prover_status(PROVER.id)
            client.receive(Incoming(topic, sign(status, PROVER), retained=False))
        with pytest.raises(ProvingFailed, match="unavailable"):
            asyncio.run(client.prove(proof_request(1, 0.3), no_progress))
        return bool(journal.outgoing())


@pytest.mark.parametrize(
    ("sessions", "offered"),
    [
        ([(1, True)], True),
        ([(7, True), (7, False)], False),
        # The will of the last process, after the birth of the next.
        ([(7, True), (8, True), (7, False)], True),
        # The state directory was lost with the disk.
        ([(7, True), (7, False), (1, True)], True),
        ([(7, True), (1, True), (1, False)], False),
    ],
)
def test_the_latest_life_of_a_prover_counts(
    tmp_path: Path, sessions: list[tuple[int, bool]], offered: bool
) -> None:
    assert offered_after(tmp_path, *sessions) is offered

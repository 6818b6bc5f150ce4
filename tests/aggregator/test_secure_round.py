"""Whole rounds in secure mode: real devices and a real aggregator, whatever dies when."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("zkpot_prover")

from tests.aggregator.secure_fleet import Fleet, device_key
from tests.asynchronous import in_loop

from zkpot.errors import Failure
from zkpot.ids import device_text
from zkpot.secure.session import STEP_TO_MESSAGE, Step
from zkpot.wire.messages import MESSAGE_TO_TYPE
from zkpot_aggregator.driver import REJECTION, STRIKES_KEY
from zkpot_aggregator.ledger.views import Phase

STEPS = tuple(Step)[:-1]
VICTIM = 2


pytestmark = pytest.mark.usefixtures("in_process")


@in_loop
async def test_everybody_is_in_the_sum_and_nothing_is_rejected(tmp_path: Path) -> None:
    async with Fleet(tmp_path) as fleet:
        await fleet.until_over()
        fleet.check(fleet.devices)
        assert fleet.aggregator.journal.events(REJECTION) == []
        assert fleet.aggregator.journal.get(STRIKES_KEY) is None
        assert len(fleet.record().groups) == 1


def losing(fleet: Fleet, number: int, step: Step) -> Callable[[str, bytes], bool]:
    """Loses what a device says in a step, as if it had died before it could."""
    client = device_text(device_key(number).id)
    kind = MESSAGE_TO_TYPE[STEP_TO_MESSAGE[step]].encode()
    return lambda sender, payload: sender == client and kind in payload


@in_loop
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.lower())
async def test_a_device_that_dies_in_a_step_is_in_the_sum_only_if_it_had_masked(
    tmp_path: Path, step: Step
) -> None:
    async with Fleet(tmp_path) as fleet:
        fleet.broker.loses = losing(fleet, VICTIM, step)
        victim = fleet.agents[VICTIM].key.id
        await fleet.until(lambda: any(said.lost for said in fleet.broker.said))
        await fleet.kill_agent(VICTIM)

        def others_have_answered() -> bool:
            masking = fleet.aggregator.masking
            if masking is None:
                return False
            session = masking.groups[0].session
            return session.step is step and set(session.expected) - {victim} == set(
                session.members(step)
            )

        await fleet.until(others_have_answered)
        fleet.step_ends()
        await fleet.until_over()
        in_the_sum = step > Step.INPUTS
        fleet.check(fleet.devices - (set() if in_the_sum else {victim}))


@in_loop
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.lower())
async def test_a_device_that_starts_again_in_a_step_goes_on(tmp_path: Path, step: Step) -> None:
    async with Fleet(tmp_path) as fleet:
        loses = losing(fleet, VICTIM, step)
        fleet.broker.loses = loses
        await fleet.until(lambda: any(said.lost for said in fleet.broker.said))
        await fleet.kill_agent(VICTIM)
        fleet.broker.loses = lambda _client, _payload: False
        fleet.start_agent(VICTIM)
        await fleet.until_over()
        fleet.check(fleet.devices)


@in_loop
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.lower())
async def test_an_aggregator_that_starts_again_in_a_step_goes_on(
    tmp_path: Path, step: Step
) -> None:
    async with Fleet(tmp_path) as fleet:
        fleet.broker.loses = losing(fleet, VICTIM, step)

        def in_step() -> bool:
            masking = fleet.aggregator.masking
            return masking is not None and len(masking.groups[0].session.members(step)) == 4

        await fleet.until(in_step)
        fleet.broker.loses = lambda _client, _payload: False
        await fleet.restart_aggregator()
        await fleet.kill_agent(
            VICTIM
        )  # what it said was lost; a link that comes back says it again
        fleet.start_agent(VICTIM)
        await fleet.until_over()
        fleet.check(fleet.devices)
        assert fleet.aggregator.journal.events(REJECTION) == []


@in_loop
async def test_below_the_threshold_the_group_fails_and_opens_nothing(tmp_path: Path) -> None:
    async with Fleet(tmp_path) as fleet:
        lost = [losing(fleet, number, Step.CONFIRMATIONS) for number in (1, 2)]
        fleet.broker.loses = lambda client, payload: any(lose(client, payload) for lose in lost)

        def three_have_confirmed() -> bool:
            masking = fleet.aggregator.masking
            return masking is not None and len(masking.groups[0].session.confirmations) == 3

        await fleet.until(three_have_confirmed)
        fleet.step_ends()
        await fleet.until_over()
        assert fleet.view().phase is Phase.FAILED
        assert fleet.view().fail_reason == Failure.TOO_FEW_SURVIVORS
        released = MESSAGE_TO_TYPE[STEP_TO_MESSAGE[Step.RELEASES]].encode()
        assert not any(released in said.payload for said in fleet.broker.said)

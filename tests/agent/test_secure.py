"""Secure aggregation on real devices: whatever dies when, the sum is right and said once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("zkpot_prover")

from tests.agent.fleet import Fleet, Unit
from tests.asynchronous import in_loop
from tests.protocol.rounds import ROUND

from zkpot.cid import split_object
from zkpot.config import parse_config
from zkpot.errors import Fatal
from zkpot.journal import Journal, Outgoing
from zkpot.record import Verdicts
from zkpot.secure.exchange import (
    Advertisement,
    KeyList,
    MaskedInput,
    SealedRelease,
    Survivors,
)
from zkpot.secure.session import STEP_TO_MESSAGE, Step, told
from zkpot.secure.states import Advertised, Confirmed, Dealt, Masked
from zkpot.task import Weighting
from zkpot.wire.codec import decode, encode
from zkpot.wire.messages import MESSAGE_TO_TYPE, Phase
from zkpot_agent.config import PrivacyConfig
from zkpot_agent.driver import INCIDENT, STATE_KEY
from zkpot_agent.round import events as on
from zkpot_agent.round import states as at
from zkpot_agent.round_secrets import kept_member

STEPS = tuple(Step)[:-1]


def switched_on(folder: Path) -> Fleet:
    """A fleet whose devices all run."""
    fleet = Fleet(folder)
    for unit in fleet.units:
        unit.switch_on()
    return fleet


async def play(fleet: Fleet, *, until: Step = Step.DONE) -> None:
    """Everybody answers, until this step is open and nobody has been asked in it yet."""
    while fleet.session.step is not until:
        await ask(fleet)
        fleet.collect()
        fleet.close()


def check(fleet: Fleet) -> None:
    """The sum is that of the survivors, and nobody ever gave two answers in one step."""
    found = fleet.total()
    assert found.survivors == fleet.session.survivors
    assert np.array_equal(found.theta_sum, fleet.expected())
    assert all(len(answers) == 1 for answers in fleet.heard.values())


@in_loop
async def test_over_real_child_processes(tmp_path: Path) -> None:
    fleet = switched_on(tmp_path)
    await play(fleet)
    check(fleet)
    assert len(fleet.session.survivors) == 5
    for unit in fleet.units:
        assert isinstance(unit.state, at.Seated)
        assert unit.state.confirmed == fleet.session.survivors
        await unit.cut()


class Crash(BaseException):
    """The power is cut."""


class DyingJournal(Journal):
    """Cuts the power at the transition that `doomed` picks: before it is on disk, or after."""

    doomed: Callable[[Sequence[Outgoing]], bool] | None = None
    after = False

    def transition(
        self, puts: Mapping[str, bytes | None], outgoing: Sequence[Outgoing] = ()
    ) -> None:
        doomed = self.doomed is not None and STATE_KEY in puts and self.doomed(outgoing)
        if doomed and not self.after:
            raise Crash
        super().transition(puts, outgoing)
        if doomed:
            raise Crash


def sending(message: type) -> Callable[[Sequence[Outgoing]], bool]:
    """The transition that sends a message of this type."""
    name = MESSAGE_TO_TYPE[message].encode()
    return lambda outgoing: any(name in each.payload for each in outgoing)


def taking_down(outgoing: Sequence[Outgoing]) -> bool:
    """The transition that keeps what the aggregator said."""
    return not outgoing


async def ask(fleet: Fleet, *units: Unit) -> None:
    """Begins the open step at some devices, or at all."""
    if fleet.session.step is Step.KEYS:
        await fleet.announce(*units)
    else:
        await fleet.tell(*units)


@in_loop
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("after", [False, True], ids=["before the disk", "after the disk"])
@pytest.mark.parametrize("doomed", ["asked", "answering"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.lower())
async def test_a_power_cut_in_any_step_changes_nothing(
    tmp_path: Path, step: Step, doomed: str, *, after: bool
) -> None:
    fleet = switched_on(tmp_path)
    await play(fleet, until=step)
    victim, others = fleet.units[2], [unit for unit in fleet.units if unit is not fleet.units[2]]
    await ask(fleet, *others)
    await victim.cut()
    victim.switch_on(DyingJournal)
    await victim.rest()
    assert isinstance(victim.journal, DyingJournal)
    victim.journal.doomed = taking_down if doomed == "asked" else sending(STEP_TO_MESSAGE[step])
    victim.journal.after = after
    with pytest.raises(Crash):
        await ask(fleet, victim)
    await victim.cut()
    victim.switch_on()
    await victim.rest()
    if doomed == "asked" and not after:
        await ask(fleet, victim)  # it never heard; the aggregator says it again
    await play(fleet)
    check(fleet)
    assert len(fleet.session.survivors) == 5


@in_loop
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.lower())
async def test_one_that_is_gone_from_a_step_on_is_left_out(tmp_path: Path, step: Step) -> None:
    fleet = switched_on(tmp_path)
    await play(fleet, until=step)
    await ask(fleet, *fleet.units[1:])
    while fleet.session.step is not Step.DONE:
        fleet.collect(without=fleet.units[:1])
        fleet.close()
        await fleet.tell(*fleet.units[1:])
    check(fleet)
    in_the_sum = step > Step.INPUTS
    assert (fleet.units[0].key.id in fleet.session.survivors) == in_the_sum


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_everything_said_twice_is_answered_alike(tmp_path: Path) -> None:
    fleet = switched_on(tmp_path)
    await play(fleet, until=Step.SHARES)
    for _ in STEPS[1:]:
        await fleet.tell()
        before = [len(unit.journal.outgoing()) for unit in fleet.units]
        await fleet.tell()
        assert [len(unit.journal.outgoing()) for unit in fleet.units] == [n + 1 for n in before]
        fleet.collect()
        fleet.close()
    check(fleet)


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_what_is_sent_after_a_restart_is_the_same_to_the_byte(tmp_path: Path) -> None:
    """A release is sealed once: sealed again it would be another answer."""
    fleet = switched_on(tmp_path)
    await play(fleet, until=Step.RELEASES)
    await ask(fleet)
    unit = fleet.units[0]
    first = unit.journal.outgoing()[-1].message
    assert isinstance(unit.outbox()[-1], SealedRelease)
    await unit.cut()
    unit.switch_on()
    assert unit.driver.unanswered() == [first]
    await fleet.tell(unit)
    assert [each.message for each in unit.journal.outgoing()[-3:]] == [first] * 3
    await play(fleet)
    check(fleet)


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_a_second_list_of_survivors_is_never_signed(tmp_path: Path) -> None:
    """Two lists, signed by enough members each, would unmask a single device."""
    fleet = switched_on(tmp_path)
    await play(fleet, until=Step.CONFIRMATIONS)
    await ask(fleet)
    victim = fleet.units[0]
    sent = len(victim.journal.outgoing())
    others = tuple(d for d in fleet.session.survivors if d != fleet.units[4].key.id)
    victim.driver.apply(on.Told(Survivors(fleet.groups[0].digest, others)))
    await victim.rest()
    assert len(victim.journal.outgoing()) == sent
    assert "a second Survivors" in incidents(victim)
    await play(fleet)
    check(fleet)


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_a_false_key_list_is_refused_and_the_true_one_answered(tmp_path: Path) -> None:
    fleet = switched_on(tmp_path)
    await fleet.announce()
    fleet.collect()
    fleet.close()
    victim, asked = fleet.units[0], told(fleet.session)[fleet.units[0].key.id]
    assert isinstance(asked, KeyList)
    for forged in (
        replace(asked, advertisements=asked.advertisements[:2]),
        replace(
            asked,
            advertisements=(
                *asked.advertisements[:-1],
                replace(asked.advertisements[-1], mask_key=bytes([9]) * 32),
            ),
        ),
    ):
        victim.driver.apply(on.Told(forged))
        await victim.rest()
        assert [type(message) for message in victim.outbox()] == [Advertisement]
    assert "refused a KeyList" in incidents(victim)
    await fleet.tell()
    await play(fleet)
    check(fleet)


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_what_was_dealt_to_another_is_refused_and_ours_answered(tmp_path: Path) -> None:
    """A broker may swap what two members are told: the operator signed both."""
    fleet = switched_on(tmp_path)
    await play(fleet, until=Step.INPUTS)
    asked = told(fleet.session)
    for unit, other in zip(fleet.units, reversed(fleet.units), strict=True):
        if unit is not other:
            unit.driver.apply(on.Told(asked[other.key.id]))
            await unit.rest()
            assert not [each for each in unit.outbox() if isinstance(each, MaskedInput)]
            assert "refused a Delivery" in incidents(unit)
    await play(fleet)
    check(fleet)
    assert len(fleet.session.survivors) == 5


def secrets_of(unit: Unit) -> set[bytes]:
    """What only this device may ever know."""
    match kept_member(unit.journal, ROUND):
        case Advertised(_, channel, mask):
            return {channel, mask}
        case Dealt(_, channel, mask, seed):
            return {channel, mask, seed}
        case Masked() | Confirmed() as state:
            return {share for each in state.held for share in (each.seed, each.mask)}
        case _:
            return set()


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_secrets_never_leave_and_end_with_the_round(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    fleet, secrets = switched_on(tmp_path), set[bytes]()
    await fleet.announce()
    while fleet.session.step is not Step.DONE:
        secrets = secrets.union(*map(secrets_of, fleet.units))
        fleet.collect()
        fleet.close()
        await fleet.tell()
    assert len(secrets) == 3 * 5 + 2 * 5 * 5
    sent = b"".join(m.message.payload for unit in fleet.units for m in unit.journal.outgoing())
    blocks = b"".join(block for unit in fleet.units for _, block in unit.journal.items("block/"))
    thetas = [o.theta.astype("<i4").tobytes() for o in fleet.facts.openings]
    assert not any(secret in sent + blocks for secret in (*secrets, *thetas))
    shown = (form for secret in secrets for form in (secret.hex(), repr(secret)[2:-1]))
    assert not any(form in caplog.text for form in shown)
    for unit in fleet.units:
        for number in range(1, 10):
            unit.journal.acknowledge(number)
        unit.driver.apply(on.Announced(replace(fleet.facts.announced, phase=Phase.FAILED)))
        await unit.rest()
        assert unit.journal.items("secret/") == []
        held = unit.content()
        assert not any(secret in held for secret in (*secrets, *thetas))


def incidents(unit: Unit) -> str:
    """What the owner is told."""
    return "; ".join(event.key for event in unit.journal.events(INCIDENT))


@in_loop
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("privacy", "why"),
    [
        (PrivacyConfig(("plain:fedavg",)), "does not allow aggregation secure"),
        (PrivacyConfig(("secure",), minimum_group=6), "a group of 5, we demand 6"),
        (PrivacyConfig(("secure",), minimum_group=3, owners=("owner 9",)), "no member of owner 9"),
        (PrivacyConfig(("secure",), devices=("ab" * 32,)), "not beside us in the group"),
    ],
    ids=["mode", "group", "owners", "devices"],
)
async def test_a_device_takes_part_only_as_its_owner_agrees(
    tmp_path: Path, privacy: PrivacyConfig, why: str
) -> None:
    fleet = Fleet(tmp_path)
    unit = fleet.units[0]
    unit.privacy = privacy
    unit.switch_on()
    await fleet.announce(unit)
    assert unit.state == at.Idle(ROUND)
    assert unit.outbox() == []
    assert why in incidents(unit)
    assert unit.journal.items("secret/") == []


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_owners_and_devices_that_are_in_the_group_are_enough(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    unit = fleet.units[0]
    known = tuple(other.key.public_key.hex() for other in fleet.units[1:3])
    unit.privacy = PrivacyConfig(("secure",), owners=("owner 2", "owner 4"), devices=known)
    unit.switch_on()
    await fleet.announce(unit)
    assert [type(message) for message in unit.outbox()] == [Advertisement]


@pytest.mark.parametrize(
    ("devices", "why"),
    [
        (["ab" * 31], r"devices: expected 64 hexadecimal digits each"),
        (["AB" * 32], r"devices: expected 64 hexadecimal digits each"),
        (["ab" * 32, "ab" * 32], r"devices: one is named twice"),
        ([7], r"devices\[0\]"),
    ],
    ids=["short", "capitals", "twice", "number"],
)
def test_devices_are_named_by_their_keys_or_not_at_all(
    tmp_path: Path, devices: list[object], why: str
) -> None:
    with pytest.raises(Fatal, match=why):
        parse_config(PrivacyConfig, {"devices": devices}, tmp_path, "agent.toml")


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_a_weight_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    unit = fleet.units[0]
    unit.switch_on()
    state = unit.state
    assert isinstance(state, at.Submitted)
    unit.driver.state = replace(state, count=state.count + 1)
    await fleet.announce(unit)
    assert unit.state == at.Idle(ROUND)
    assert "our own count is not as proven" in incidents(unit)


@in_loop
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("count", [0, 10_001, 2**63 - 1])
async def test_verdicts_with_a_weight_that_cannot_be_end_the_round_and_not_the_agent(
    tmp_path: Path, count: int
) -> None:
    fleet = Fleet(tmp_path)
    facts, unit = fleet.facts, fleet.units[0]
    assert facts.task.weighting is Weighting.PROVEN_COUNT
    true = decode(Verdicts, facts.objects[facts.verdicts], limit=1 << 16).verdicts
    data = encode(Verdicts((true[0], replace(true[1], count=count), *true[2:])))
    name = split_object(data)[0]
    facts.objects[name] = data
    unit.switch_on()
    unit.driver.apply(on.Announced(replace(facts.announced, verdicts=name)))
    await unit.rest()
    assert unit.state == at.Idle(ROUND)
    assert f"a weight of {count}" in incidents(unit)

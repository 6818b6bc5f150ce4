"""What a device that may lead refuses to sign about its own group."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.protocol.fakes import FakeProofSystem
from tests.protocol.rounds import BEACON, MadeRound, make_round

from zkpot.aggregation import GroupTerms
from zkpot.check_record import CheckFailed
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId
from zkpot.model import Shape
from zkpot.proof import registry
from zkpot.proof.system import no_progress
from zkpot.record import Record, Verdicts
from zkpot.secure.groups import Group, round_groups
from zkpot.secure.sums import GroupSum, encode_group_sum
from zkpot_agent.jobs import Confirmed, OwnEntry, check_record


@pytest.fixture(autouse=True)
def _fake_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(_name: str, shape: Shape, batch_size: int, **_: object) -> FakeProofSystem:
        return FakeProofSystem(shape, batch_size)

    monkeypatch.setattr(registry, "load", fake)


@pytest.fixture
def made() -> MadeRound:
    """Eight devices, not all of them accepted: one group."""
    return make_round(8, aggregation="secure", groups=GroupTerms(8, 3), minimum_devices=3)


def group_of(made: MadeRound) -> Group:
    """The one group of the round."""
    accepted = Verdicts(tuple(made.verdicts())).accepted
    sealed = [device.key.id for device in made.devices]
    (group,) = round_groups(made.terms, BEACON, sealed, accepted)
    return group


def record_of(made: MadeRound, survivors: tuple[DeviceId, ...]) -> Record:
    """The record of a round in which these devices' models were summed."""
    group = group_of(made)
    weights = {device: group.device_to_weight[device] for device in survivors}
    total, model = made.sum_of(weights)
    found = GroupSum(group.index, survivors, model.theta_sum, total.blinding)
    return made.record(weights=weights, groups=(made.put(encode_group_sum(found)),))


def check(
    made: MadeRound, record: Record, confirmed: tuple[DeviceId, ...] | None, folder: Path
) -> None:
    """The leader's check, by the first member of the group."""
    device = group_of(made).devices[0]
    count = Verdicts(tuple(made.verdicts())).accepted[device]
    signed = None if confirmed is None else Confirmed(0, confirmed)
    own = OwnEntry(device, count, confirmed=signed)
    backend = made.task.backend(folder)
    check_record(no_progress, backend, made.expected(), record, made.objects, own)


def test_the_sum_of_those_we_confirmed_is_signed(made: MadeRound, tmp_path: Path) -> None:
    everybody = group_of(made).devices
    for survivors in (everybody, everybody[:-1]):
        check(made, record_of(made, survivors), survivors, tmp_path)


@pytest.mark.parametrize("there", [slice(0, -1), slice(1, None)], ids=["with us", "without us"])
def test_the_sum_of_others_than_we_confirmed_is_refused(
    made: MadeRound, there: slice, tmp_path: Path
) -> None:
    """It opens its commitments, so whoever confirmed nothing has nothing to say against it."""
    everybody = group_of(made).devices
    record = record_of(made, everybody[there])
    with pytest.raises(Rejected, match="not of those we confirmed") as caught:
        check(made, record, everybody, tmp_path)
    assert caught.value.reason is Reason.SUM_MISMATCH
    check(made, record, None, tmp_path)


def test_a_sum_that_does_not_open_is_refused_whoever_confirmed_it(
    made: MadeRound, tmp_path: Path
) -> None:
    everybody = group_of(made).devices
    other = record_of(made, everybody[:-1])
    record = replace(record_of(made, everybody), groups=other.groups)
    with pytest.raises(CheckFailed, match="sum"):
        check(made, record, everybody[:-1], tmp_path)

"""Differential privacy in a device's rounds: charged before anything can leave, and once."""

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("zkpot_prover")

from tests.agent.announcements import announcement
from tests.agent.devices import FakeObjects, config, spawn, tools
from tests.asynchronous import in_loop
from tests.protocol.rounds import OPERATOR, PATIENT, SPEC, make_samples, make_task

from zkpot.cid import split_object
from zkpot.config import parse_config
from zkpot.errors import ExitCode, Fatal, Rejected
from zkpot.ids import Round
from zkpot.initial import initial_model
from zkpot.journal import Journal
from zkpot.keys import create_key_file
from zkpot.model import check_bounds
from zkpot.proof.system import ModelOpening
from zkpot.wire.messages import Announcement, Phase
from zkpot_agent.check import Device, check_privacy
from zkpot_agent.config import AgentConfig, DataConfig, PrivacyConfig
from zkpot_agent.driver import INCIDENT, Driver
from zkpot_agent.notes import EPSILON
from zkpot_agent.privacy.settings import PrivacySettings
from zkpot_agent.privacy.spending import CHARGED_KEY, SPENT_KEY, Budget
from zkpot_agent.round import events as on
from zkpot_agent.round import states as at
from zkpot_agent.service import AgentService
from zkpot_agent.status import read_status
from zkpot_agent.work import Worker

NOISE = PrivacySettings(clip=0.5, noise_multiplier=4.0, epsilon=3.0, delta=1e-5)
START = initial_model(SPEC, 7)
GENESIS = split_object(START.encode())[0]
FILE = "journal.sqlite"


def settled(folder: Path, noise: PrivacySettings | None) -> AgentConfig:
    """A device with synthetic data."""
    data = DataConfig("synthetic", {"features": 3, "classes": 2, "samples": 40})
    return replace(config(folder), data=data, privacy=PrivacyConfig(differential=noise))


def make_worker(
    folder: Path, journal: Journal, noise: PrivacySettings | None, kind: type[Worker] = Worker
) -> Worker:
    """A real worker on the genesis model."""
    task = make_task(make_samples(), GENESIS, proof_system="sumcheck/1", deadlines=PATIENT)
    objects = FakeObjects(None, OPERATOR.id, {GENESIS: START.encode()})  # type: ignore[arg-type]
    changes = {"task": task, "objects": objects, "config": settled(folder, noise)}
    return kind(**tools(folder, journal, **changes))


def joined(number: int) -> Announcement:
    """A round that starts from the genesis model."""
    return announcement(number, Phase.COMMIT, model=GENESIS)


def epsilons(journal: Journal) -> list[tuple[str, float, float]]:
    """What was noted of each round."""
    return [(event.key, *json.loads(event.value)) for event in journal.events(EPSILON)]


@in_loop
async def test_in_real_child_processes(tmp_path: Path) -> None:
    with Journal.open(tmp_path / FILE) as journal:
        worker = make_worker(tmp_path, journal, NOISE)
        event = await worker.train(joined(1))
        assert isinstance(event, on.Trained)
        check_bounds(SPEC.shape, worker.opening(Round(1)).theta)
        ((number, epsilon, delta),) = epsilons(journal)
        assert (number, delta) == ("1", 1e-5)
        assert 0 < epsilon < NOISE.epsilon


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_each_round_is_charged_once_however_often_it_is_trained(tmp_path: Path) -> None:
    with Journal.open(tmp_path / FILE) as journal:
        await make_worker(tmp_path, journal, NOISE).train(joined(1))
    spent = []
    for number in (1, 2, 2, 3):
        with Journal.open(tmp_path / FILE) as journal:
            await make_worker(tmp_path, journal, NOISE).train(joined(number))
            spent.append(Budget(journal, NOISE).spent)
    assert [sum(item.count for item in each.releases) for each in spent] == [1, 2, 2, 3]
    with Journal.open(tmp_path / FILE) as journal:
        noted = epsilons(journal)
        assert [number for number, _, _ in noted] == ["1", "2", "3"]
        assert sorted(noted, key=lambda each: each[1]) == noted


class Crash(BaseException):
    """The power is cut."""


def dying(*_: Any) -> ModelOpening:
    """Training that does not live to its end."""
    raise Crash


class DyingWorker(Worker):
    """Dies in training."""

    training = staticmethod(dying)


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_the_charge_is_on_disk_before_training_begins(tmp_path: Path) -> None:
    with Journal.open(tmp_path / FILE) as journal, pytest.raises(Crash):
        await make_worker(tmp_path, journal, NOISE, DyingWorker).train(joined(1))
    with Journal.open(tmp_path / FILE) as journal:
        assert journal.get(SPENT_KEY) is not None
        assert journal.get(CHARGED_KEY) == (1).to_bytes(8, "big")


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_a_device_whose_budget_is_spent_sits_out_and_says_why(tmp_path: Path) -> None:
    with Journal.open(tmp_path / FILE) as journal:
        driver = Driver(make_worker(tmp_path, journal, NOISE), spawn)
        committed = []
        for number in range(1, 20):
            driver.apply(on.Announced(joined(number)))
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
            if driver.state == at.Idle(Round(number)):
                break
            committed.append(number)
        assert 2 <= len(committed) < 18
        assert [number for number, _, _ in epsilons(journal)] == list(map(str, committed))
        assert all(epsilon <= NOISE.epsilon for _, epsilon, _ in epsilons(journal))
        incident = journal.events(INCIDENT)[-1].key
        assert f"{number}/policy-refused: one more round would make epsilon" in incident
        assert "the budget is 3" in incident
        assert len(journal.outgoing()) == len(committed)


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_the_update_that_leaves_is_cut_and_noisy(tmp_path: Path) -> None:
    quiet = replace(NOISE, clip=1e-9, epsilon=1000.0)
    models = {}
    for name, noise in (("none", None), ("quiet", quiet), ("loud", NOISE)):
        folder = tmp_path / name
        with Journal.open(folder / FILE) as journal:
            worker = make_worker(folder, journal, noise)
            await worker.train(joined(1))
            models[name] = worker.opening(Round(1)).theta
    assert np.array_equal(models["quiet"], START.theta), "an update of length 0, noise of 0"
    assert not np.array_equal(models["none"], START.theta)
    assert not np.array_equal(models["loud"], models["none"])


@in_loop
@pytest.mark.usefixtures("in_process")
async def test_what_was_spent_is_shown(tmp_path: Path) -> None:
    create_key_file(tmp_path / "device.key")
    with Journal.open(tmp_path / FILE) as journal:
        assert read_status(settled(tmp_path, None))["privacy"] is None
        for number in (1, 2):
            await make_worker(tmp_path, journal, NOISE).train(joined(number))
    shown = read_status(settled(tmp_path, NOISE))["privacy"]
    assert [number for number, _ in shown["epsilon"]] == [2, 1]
    assert shown["delta"] == 1e-5
    assert shown["budget"] == [3.0, 1e-5]


def test_without_the_accountant_the_service_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(Fatal, match=r"pip install zkpot\[dp\]") as caught:
        AgentService(settled(tmp_path, NOISE))
    assert caught.value.exit_code is ExitCode.DEPENDENCY


@pytest.mark.usefixtures("in_process")
def test_the_check_says_what_a_round_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_privacy(Device(settled(tmp_path, None))) == "aggregation secure"
    found = check_privacy(Device(settled(tmp_path, NOISE)))
    assert found == "aggregation secure; a round costs epsilon 1.01 of 3"
    with pytest.raises(Rejected, match=r"the budget is 0\.5"):
        check_privacy(Device(settled(tmp_path, replace(NOISE, epsilon=0.5))))
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(Fatal, match="needs the extra dp"):
        check_privacy(Device(settled(tmp_path, NOISE)))


def test_the_settings_are_read_from_the_config(tmp_path: Path) -> None:
    table = {"differential": {"clip": 1, "noise_multiplier": 2.5, "epsilon": 8.0, "delta": 1e-5}}
    found = parse_config(PrivacyConfig, table, tmp_path, "agent.toml")
    assert found.differential == PrivacySettings(1.0, 2.5, 8.0, 1e-5)
    table["differential"]["delta"] = 0.5
    with pytest.raises(Fatal, match=r"delta is 0\.5, expected 1e-12 to 0\.01"):
        parse_config(PrivacyConfig, table, tmp_path, "agent.toml")
    with pytest.raises(Fatal, match=r"differential.clip: is required"):
        parse_config(PrivacyConfig, {"differential": {"epsilon": 1.0}}, tmp_path, "agent.toml")

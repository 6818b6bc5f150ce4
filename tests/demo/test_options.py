"""What the demonstration refuses before it starts, and what it chooses by itself."""

import importlib.util
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from zkpot.errors import ExitCode, Fatal
from zkpot_agent.hostile import KINDS as AGENT_KINDS
from zkpot_aggregator.demo.options import KINDS, DemoOptions, check_options, who_sees_models


@pytest.fixture(autouse=True)
def everything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None))


def asked(*byzantine: str, **changes: Any) -> DemoOptions:
    options: dict[str, Any] = {
        "devices": 5,
        "rounds": 2,
        "batch": 32,
        "proof_system": None,
        "seed": 0,
        "directory": None,
    }
    return check_options(DemoOptions(**{**options, "byzantine": byzantine, **changes}))


def refused(*byzantine: str, **changes: Any) -> str:
    with pytest.raises(Fatal) as caught:
        asked(*byzantine, **changes)
    assert caught.value.exit_code is ExitCode.USAGE
    return str(caught.value)


def test_the_kinds_are_those_of_the_agent() -> None:
    assert set(KINDS) == set(AGENT_KINDS)


def test_hostile_devices_are_counted_and_the_aggregator_is_none() -> None:
    options = asked("garbage:2", "sign-flip", "lying-aggregator:1")
    assert options.hostile == ("garbage", "garbage", "sign-flip")
    assert (options.honest, options.lying) == (2, True)
    assert not asked("garbage:1").lying


def test_secure_sums_need_sumcheck() -> None:
    assert "do not bound" in refused(proof_system="ezkl", aggregation="secure")
    assert asked(proof_system="ezkl").aggregation == "plain:fedavg"
    assert asked().aggregation == "secure"


@pytest.mark.parametrize(
    ("aggregation", "why"),
    [
        ("plain", "expected one of"),
        ("median", "expected one of"),
        ("plain:trimmed-mean:50", "percent"),
        ("plain:krum:2", "needs 7 devices"),
    ],
)
def test_rules_that_cannot_be(aggregation: str, why: str) -> None:
    assert why in refused(aggregation=aggregation)


@pytest.mark.parametrize(
    ("devices", "aggregation", "byzantine", "minimum"),
    [
        (5, "secure", (), 3),
        (3, "secure", (), 2),
        (4, "secure", ("wrong-sum:1",), 2),
        (20, "secure", ("garbage:3",), 3),
        (3, "plain:fedavg", ("garbage:2",), 1),
        (9, "plain:krum:2", ("garbage:2",), 7),
    ],
)
def test_a_round_needs_few_enough_that_one_honest_device_may_fall_out(
    devices: int, aggregation: str, byzantine: tuple[str, ...], minimum: int
) -> None:
    options = asked(*byzantine, devices=devices, aggregation=aggregation)
    assert options.minimum_devices == minimum


def test_cheats_that_make_no_sense() -> None:
    assert "masked vectors" in refused("wrong-sum:1", aggregation="plain:fedavg")
    assert "one aggregator" in refused("lying-aggregator:2")
    assert "unnoticed" in refused("lying-aggregator", aggregation="plain:median")


def test_it_says_who_sees_models() -> None:
    assert "the aggregator sees" in who_sees_models(asked(aggregation="plain:median"))
    assert "sums of 3 models or more" in who_sees_models(asked(aggregation="secure"))

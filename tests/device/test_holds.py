"""Heat, quiet hours and metered connections: when training waits, and that it does wait."""

import asyncio
import os
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from zkpot.files import replace_file
from zkpot_agent.profile import Schedule, Thermal, load_profile
from zkpot_agent.profile_holds import NO_HOLDS, Holds, Watch, is_metered, pausing
from zkpot_agent.thermal import Thermometer, Zone, read_zones

LIMITS = Thermal(70, 60)


def set_zone(sysfs: Path, number: int, name: str, text: str) -> None:
    """Whoever reads meanwhile sees the old temperature or the new."""
    folder = sysfs / f"class/thermal/thermal_zone{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "type").write_text(name + "\n")
    replace_file(folder / "temp", text.encode())


def test_zones_that_do_not_answer_are_left_out(tmp_path: Path) -> None:
    assert read_zones(tmp_path) == []
    set_zone(tmp_path, 0, "cpu-thermal", "48312\n")
    set_zone(tmp_path, 1, "asleep", "")
    set_zone(tmp_path, 2, "broken", "-273000\n")
    (tmp_path / "class/thermal/thermal_zone3").mkdir()
    assert read_zones(tmp_path) == [Zone("cpu-thermal", 48.312)]


def test_training_pauses_above_and_resumes_below(tmp_path: Path) -> None:
    thermometer = Thermometer(LIMITS, tmp_path)
    said = []
    for celsius in (50, 69, 70, 65, 61, 60, 65, 71):
        set_zone(tmp_path, 0, "cpu-thermal", str(celsius * 1000))
        said.append(thermometer.too_hot() is not None)
    assert said == [False, False, True, True, True, False, False, True]


def test_only_the_named_zones_count(tmp_path: Path) -> None:
    set_zone(tmp_path, 0, "battery", "90000")
    set_zone(tmp_path, 1, "cpu-thermal", "40000")
    named = Thermometer(Thermal(70, 60, ("cpu-thermal",)), tmp_path)
    assert named.too_hot() is None
    anywhere = Thermometer(LIMITS, tmp_path).too_hot()
    assert anywhere == Zone("battery", 90.0)


def test_a_sensor_that_vanishes_does_not_hold_training_for_ever(tmp_path: Path) -> None:
    set_zone(tmp_path, 0, "cpu-thermal", "80000")
    thermometer = Thermometer(LIMITS, tmp_path)
    assert thermometer.too_hot() is not None
    (tmp_path / "class/thermal/thermal_zone0/temp").unlink()
    assert thermometer.too_hot() is None


def at(text: str) -> Callable[[], datetime]:
    return lambda: datetime.fromisoformat(f"2026-05-01 {text}")


def test_reasons_are_named(tmp_path: Path) -> None:
    set_zone(tmp_path, 0, "cpu-thermal", "75400")
    hot = Watch(Holds(thermal=LIMITS, sysfs=tmp_path))
    assert hot.reason() == "cpu-thermal has 75 degrees"
    quiet = Holds(schedule=Schedule(("22:00-06:00",)))
    assert Watch(quiet, now=at("23:00")).reason() == "quiet hours 22:00-06:00"
    assert Watch(quiet, now=at("12:00")).reason() is None
    assert Watch(NO_HOLDS).reason() is None


def test_training_begins_when_the_board_is_cool(tmp_path: Path) -> None:
    set_zone(tmp_path, 0, "cpu-thermal", "75000")
    said: list[str] = []

    async def scenario() -> None:
        watch = Watch(Holds(thermal=LIMITS, sysfs=tmp_path))

        def report(what: str, _fraction: float) -> None:
            said.append(what)
            if len(said) == 3:
                set_zone(tmp_path, 0, "cpu-thermal", "55000")

        async with asyncio.timeout(10):
            await watch.wait(report, poll_s=0.001)

    asyncio.run(scenario())
    assert said == ["waiting: cpu-thermal has 75 degrees"] * 3


def test_training_waits_for_an_unmetered_connection() -> None:
    answers = [True, True, False]

    async def metered() -> bool:
        return answers.pop(0)

    said: list[str] = []
    watch = Watch(Holds(defer_metered=True), metered=metered)
    asyncio.run(watch.wait(lambda what, _: said.append(what), poll_s=0.001))
    assert said == ["waiting: the connection is metered"] * 2
    assert answers == []


def test_training_under_way_pauses_and_says_so(tmp_path: Path) -> None:
    set_zone(tmp_path, 0, "cpu-thermal", "50000")
    said: list[tuple[str, float]] = []
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now > 10:
            set_zone(tmp_path, 0, "cpu-thermal", "59000")

    report = pausing(
        lambda *step: said.append(step),
        Watch(Holds(thermal=LIMITS, sysfs=tmp_path)),
        sleep=sleep,
        clock=lambda: now,
    )
    report("training", 0.25)
    set_zone(tmp_path, 0, "cpu-thermal", "90000")
    report("training", 0.50)
    now += 3
    report("training", 0.75)
    assert said[:2] == [("training", 0.25), ("training", 0.50)]
    assert set(said[2:-1]) == {("paused: cpu-thermal has 90 degrees", 0.75)}
    assert said[-1] == ("training", 0.75)
    assert now > 10


def test_a_profile_says_what_holds() -> None:
    profile = load_profile("raspberry-pi-4")
    assert Holds.of(profile) == Holds(thermal=profile.thermal)
    assert Holds.of(None) == NO_HOLDS


@pytest.mark.parametrize(
    ("script", "metered"),
    [
        ("echo 'u 1'", True),
        ("echo 'u 3'", True),
        ("echo 'u 4'", False),
        ("echo no such service >&2; exit 1", False),
    ],
)
def test_network_manager_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, metered: bool
) -> None:
    program = tmp_path / "busctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert asyncio.run(is_metered()) is metered


def test_without_network_manager_nothing_is_metered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asyncio.run(is_metered()) is False

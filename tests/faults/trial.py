"""Runs cells and random kills in worlds, and judges them when their world has ended."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults import inject
from tests.faults.build import running
from tests.faults.cells import PHASE_TO_STATE, Cell, Component, Fault, Phase
from tests.faults.checks import check_end
from tests.faults.parts import Part
from tests.faults.world import TooSlow, World

AIM_S = 900.0
"""A fault needs a round that comes as far as its phase; on a busy machine not every one does."""
ROUND_S = 300.0
_CHILD_S = 60.0
_LATEST_S = 10.0
"""About as long as a round or two: a kill may come in any phase."""


@dataclass(frozen=True)
class Result:
    """What a fault did. `what` is the cell, or the victim and the state it was killed in."""

    what: tuple[str, str, str]
    round: int
    tries: int
    seconds: float
    outcome: str = ""


def run_cells(folder: Path, cells: Sequence[Cell]) -> list[Result]:
    """All in one world."""
    false_clocks = any(cell.fault is Fault.CLOCK for cell in cells)
    validator = any(cell.component is Component.VALIDATOR for cell in cells)
    with running(folder, false_clocks=false_clocks, validator=validator) as world:
        results = [_run_cell(world, cell) for cell in cells]
        return _judged(world, results)


def run_kills(folder: Path, count: int, seed: int) -> list[Result]:
    """`kill -9` of a random part at a random time, `count` times in one world."""
    with running(folder, false_clocks=False, validator=False) as world:
        chance = random.Random(seed)
        return _judged(world, [_kill_somebody(world, chance) for _ in range(count)])


def _run_cell(world: World, cell: Cell) -> Result:
    end, tries = time.monotonic() + AIM_S, 0
    while time.monotonic() < end:
        tries += 1
        number = _fresh_round(world)
        victim = _aim(world, cell, number)
        if victim is None:
            continue
        began = time.monotonic()
        if isinstance(victim, Part):
            inject.strike(world, victim, cell.fault)
        else:
            inject.strike_child(world, victim, cell.fault)
        _wait_for_next(world, number, str(cell))
        what = (cell.component.value, cell.fault.value, cell.phase.value)
        return Result(what, number, tries, time.monotonic() - began)
    raise TooSlow(f"{cell}: no round came that far in {tries} tries")


def _fresh_round(world: World) -> int:
    """The number of a round that has just begun, with everything in place."""

    def begun() -> bool:
        return world.settled and world.events.last[1] == PHASE_TO_STATE[Phase.COMMIT]

    world.wait_for("round with all devices", begun, ROUND_S)
    return world.events.last[0]


def _aim(world: World, cell: Cell, number: int) -> Part | int | None:
    """Waits for the cell's phase: then the part, or a child's pid; None if it was missed."""
    wanted = (number, PHASE_TO_STATE[cell.phase])

    def there_or_over() -> bool:
        return wanted in world.events.states or world.events.last[0] > number

    world.wait_for(f"{cell.phase} of round {number}", there_or_over, ROUND_S)
    if world.events.last != wanted:
        return None
    if cell.component is not Component.PROVER:
        return world.parts[cell.component]
    found: list[int] = []

    def seen() -> bool:
        found[:] = inject.children(world)
        return bool(found) or world.events.last != wanted

    world.wait_for("child of a device", seen, _CHILD_S)
    return found[0] if found else None


def _wait_for_next(world: World, number: int, what: str) -> None:
    def next_one() -> bool:
        return any(
            later > number and state == PHASE_TO_STATE[Phase.COMMIT]
            for later, state in world.events.states
        )

    world.wait_for(f"round after {number} ({what})", next_one, ROUND_S)


def _kill_somebody(world: World, chance: random.Random) -> Result:
    _fresh_round(world)
    world.pause(chance.uniform(0, _LATEST_S))
    number, state = world.events.last
    child = inject.children(world)
    victim = chance.choice([*world.parts, *([Component.PROVER] if child else [])])
    began = time.monotonic()
    if victim is Component.PROVER:
        inject.strike_child(world, chance.choice(child), Fault.KILL)
    else:
        inject.strike(world, world.parts[victim], Fault.KILL)
    _wait_for_next(world, number, f"kill of {victim}")
    what = (victim.value, Fault.KILL.value, state)
    return Result(what, number, 1, time.monotonic() - began)


def _judged(world: World, results: list[Result]) -> list[Result]:
    world.stop_services()
    ends = check_end(world)
    return [replace(result, outcome=ends[result.round]) for result in results]

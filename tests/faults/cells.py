"""What the fault matrix is made of: a fault of a component in a phase of a round.

The table `COMPONENTS` says which faults a component can have and in which phases it is there;
everything else follows from it.
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, unique


@unique
class Component(StrEnum):
    """What can break. One device of the fleet stands for all."""

    AGENT = "agent"
    AGGREGATOR = "aggregator"
    BROKER = "broker"
    CHAIN = "chain node"
    IPFS = "IPFS daemon"
    PROVER = "prover child"
    VALIDATOR = "validator"


@unique
class Fault(StrEnum):
    """How it breaks."""

    KILL = "kill -9"
    STOP = "stop"
    CUT = "network cut"
    DISK = "disk full"
    CLOCK = "clock jump"


@unique
class Phase(StrEnum):
    """When, by what the aggregator waits for."""

    COMMIT = "commit"
    SEAL = "seal"
    DRAW = "draw"
    PROVE = "prove"
    AGGREGATE = "aggregate"
    RECORD = "record"
    CLOSE = "close"


PHASE_TO_STATE = {
    Phase.COMMIT: "committing",
    Phase.SEAL: "sealing",
    Phase.DRAW: "drawing",
    Phase.PROVE: "proving",
    Phase.AGGREGATE: "aggregating",
    Phase.RECORD: "recording",
    Phase.CLOSE: "closing",
}
"""The aggregator's state, as its events name it, on whose entry a phase's fault begins."""


@dataclass(frozen=True, order=True)
class Cell:
    """One place in the matrix."""

    component: Component
    fault: Fault
    phase: Phase

    def __str__(self) -> str:
        return f"{self.component}, {self.fault}, {self.phase}"


@dataclass(frozen=True)
class _Possible:
    faults: tuple[Fault, ...] = tuple(Fault)
    phases: tuple[Phase, ...] = tuple(Phase)


COMPONENTS: dict[Component, _Possible] = {
    Component.AGENT: _Possible(),
    Component.AGGREGATOR: _Possible(),
    Component.BROKER: _Possible(),
    Component.CHAIN: _Possible(),
    Component.IPFS: _Possible(),
    # It has no connection, keeps nothing on disk, reads no clock, and lives where a device
    # trains, proves or checks a record.
    Component.PROVER: _Possible(
        (Fault.KILL, Fault.STOP), (Phase.COMMIT, Phase.PROVE, Phase.RECORD)
    ),
    Component.VALIDATOR: _Possible(),
}


def all_cells() -> list[Cell]:
    """Every cell that can be."""
    return [
        Cell(component, fault, phase)
        for component, possible in COMPONENTS.items()
        for fault, phase in itertools.product(possible.faults, possible.phases)
    ]


def covering(cells: Sequence[Cell], seed: int) -> list[Cell]:
    """Few cells that show every pair of values that any cell of `cells` shows, greedily."""
    order = sorted(cells)
    random.Random(seed).shuffle(order)
    left = set(itertools.chain.from_iterable(map(pairs, order)))
    chosen = []
    while left:
        best = max(order, key=lambda cell: len(left & pairs(cell)))
        chosen.append(best)
        left -= pairs(best)
    return chosen


def pairs(cell: Cell) -> set[tuple[StrEnum, StrEnum]]:
    """The pairs of values a cell shows."""
    return set(itertools.combinations((cell.component, cell.fault, cell.phase), 2))


def worlds_of(cells: Sequence[Cell], most: int) -> list[list[Cell]]:
    """Cells that share a running world, `most` at a time, in the order of components.

    Those with false clocks are apart, and those of a validator: other tasks have none.
    """

    def kind(cell: Cell) -> tuple[bool, bool]:
        return cell.component is Component.VALIDATOR, cell.fault is Fault.CLOCK

    worlds = []
    for which in sorted(set(map(kind, cells))):
        alike = [cell for cell in cells if kind(cell) == which]
        alike.sort(key=lambda cell: list(Component).index(cell.component))
        worlds += [alike[start : start + most] for start in range(0, len(alike), most)]
    return worlds

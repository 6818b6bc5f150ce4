"""Carries a fault out: into a part, or into a process that a device has started."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.faults.cells import Fault
from tests.faults.parts import Part
from tests.faults.settings import DEADLINE_S
from tests.faults.surroundings import DAY_S
from tests.faults.world import World

FAULT_S = 2 * DEADLINE_S
AWAY_S = 0.5
"""Between kill -9 and the next start."""
_CHILD = b"zkpot.proof.child_entry"


def strike(world: World, part: Part, fault: Fault) -> None:
    """The fault, from its beginning to its end."""
    with _struck(world, part, fault):
        world.pause(AWAY_S if fault is Fault.KILL else FAULT_S)


@contextlib.contextmanager
def _struck(world: World, part: Part, fault: Fault) -> Iterator[None]:
    match fault:
        case Fault.KILL:
            part.kill()
            yield
            part.revive()
        case Fault.STOP:
            part.freeze(frozen=True)
            yield
            part.freeze(frozen=False)
        case Fault.CUT:
            world.network.cut(*part.proxies)
            yield
            world.network.mend(*part.proxies)
        case Fault.DISK:
            assert part.disk is not None
            part.disk.fill()
            yield
            part.disk.free()
        case Fault.CLOCK:
            assert part.clock is not None
            part.clock.set(DAY_S)
            yield
            part.clock.set(0)


def strike_child(world: World, pid: int, fault: Fault) -> None:
    """The same for a child, which nobody but its device starts again."""
    with contextlib.suppress(ProcessLookupError):
        if fault is Fault.KILL:
            os.kill(pid, signal.SIGKILL)
            return
        os.kill(pid, signal.SIGSTOP)
        world.pause(FAULT_S)
        os.kill(pid, signal.SIGCONT)


def children(world: World) -> list[int]:
    """The processes in which devices train, prove or check just now."""
    devices = {device.pid for device in world.devices}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The parent's pid is the second word behind the name, which may hold anything.
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in devices and _CHILD in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found

"""An agent that kills itself, once, where it is told to: `--die DISK:MESSAGE`.

It dies by SIGKILL in the transition that queues its first message of this type, right before
the transition is on disk or right after: what a power cut leaves behind. The service is the
real one. A file in its state directory says that it has died of this already.
"""

import argparse
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from zkpot.journal import Journal, Outgoing
from zkpot.wire.messages import MESSAGE_TO_TYPE
from zkpot_agent.serve import serve

BEFORE, AFTER = "before", "after"
NAME_TO_TYPE = {message.__name__: name.encode() for message, name in MESSAGE_TO_TYPE.items()}


def die_once(mark: Path) -> None:
    """The power is cut, unless it was before."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def doomed(
    transition: Callable[[Journal, Mapping[str, bytes | None], Sequence[Outgoing]], None],
    deaths: Sequence[tuple[str, str]],
    folder: Path,
) -> Callable[[Journal, Mapping[str, bytes | None], Sequence[Outgoing]], None]:
    """`Journal.transition` with the deaths in it."""

    def run(
        journal: Journal, puts: Mapping[str, bytes | None], outgoing: Sequence[Outgoing] = ()
    ) -> None:
        due = [
            (disk, folder / f"died-{disk}-{name}")
            for disk, name in deaths
            if any(NAME_TO_TYPE[name] in each.payload for each in outgoing)
        ]
        for disk, mark in due:
            if disk == BEFORE:
                die_once(mark)
        transition(journal, puts, outgoing)
        for disk, mark in due:
            if disk == AFTER:
                die_once(mark)

    return run


def main() -> None:
    """Runs the agent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--die", action="append", default=[])
    options = parser.parse_args()
    deaths = [(disk, name) for disk, _, name in (each.partition(":") for each in options.die)]
    folder = options.config.parent
    Journal.transition = doomed(Journal.transition, deaths, folder)  # type: ignore[method-assign, assignment]
    raise SystemExit(serve(options.config, verbose=False, hostile=None))


if __name__ == "__main__":
    main()

"""Starts everything, watches it until the task is over, and ends everything.

Order: 1 find every program; 2 chain with the contract on it, content store, broker; 3 the
aggregator; 4 the devices, once the aggregator has named the task. All end with this process,
whichever way it ends, and the same command goes on with the same task.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeAlias

from zkpot.errors import ExitCode, Fatal
from zkpot_aggregator.demo.processes import Events, Process, start
from zkpot_aggregator.up import outside
from zkpot_aggregator.up.config import UpConfig
from zkpot_aggregator.up.files import (
    Member,
    make_aggregator,
    make_device,
    write_agent_config,
    write_aggregator_config,
)
from zkpot_aggregator.up.programs import find_programs

Tell: TypeAlias = Callable[[str, str], None]
"""Takes a part's name and what it is doing now."""


def run_all(config: UpConfig, tell: Tell) -> None:
    """Returns when the task is over; raises `Fatal` if a part is missing or ends early."""
    # 1
    programs = find_programs(config)
    root = config.state_dir
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o700)
    aggregator = make_aggregator(root)
    devices = [make_device(root, index) for index in range(config.devices)]
    with ExitStack() as stack:
        # 2
        chain = content = broker = None
        if "anvil" in programs:
            tell("anvil", "starting")
            chain = outside.start_chain(programs["anvil"], root / "chain", config.block_s, stack)
        if "ipfs" in programs:
            tell("ipfs", "starting")
            content = outside.start_content(programs["ipfs"], root / "ipfs", stack)
        if "mosquitto" in programs:
            tell("mosquitto", "starting")
            clients = [device.key.id for device in devices]
            broker = outside.start_broker(
                programs["mosquitto"], root / "broker", aggregator.key.id, clients, stack
            )
        others = [part.process for part in (chain, content, broker) if part is not None]
        for process in others:
            tell(process.name, f"running, pid {process.popen.pid}")

        def reach(member: Member) -> dict[str, object] | None:
            if broker is None:
                return None
            return outside.client_settings(broker.settings, root / "broker", member.key.id)

        # 3
        path = write_aggregator_config(
            config,
            aggregator,
            devices,
            ledger=None if chain is None else chain.settings,
            content=None if content is None else content.settings,
            broker=reach(aggregator),
        )
        log, arguments = aggregator.folder / "log", ["run", "--config", str(path), "--json"]
        process = stack.enter_context(start("aggregator", "zkpot_aggregator", arguments, log))
        tell("aggregator", "starting")

        # 4
        def start_devices(ready: Mapping[str, Any]) -> list[Process]:
            started = []
            for index, device in enumerate(devices):
                path = write_agent_config(config, device, index, ready, reach(device))
                arguments = ["run", "--config", str(path)]
                name, log = f"device {index}", device.folder / "log"
                started.append(stack.enter_context(start(name, "zkpot_agent", arguments, log)))
            return started

        _watch(process, others, start_devices, tell)


def _watch(
    aggregator: Process,
    others: Sequence[Process],
    start_devices: Callable[[Mapping[str, Any]], list[Process]],
    tell: Tell,
) -> None:
    """Tells what goes on until the aggregator has ended."""
    devices: list[Process] = []

    def look() -> None:
        for process in (*others, *devices):
            _check_runs(process)
        for device in devices:
            tell(device.name, _latest(device))

    events = Events(aggregator)
    while (event := events.next(math.inf, look)) is not None:
        if event["event"] == "ready" and not devices:
            devices += start_devices(event)
        tell("aggregator", _doing(event))
    status = aggregator.popen.wait()
    if status:
        raise Fatal(
            ExitCode(status) if status in list(ExitCode) else ExitCode.FAILURE,
            f"the aggregator ended with {status}:\n{aggregator.tail()}",
        )
    tell("aggregator", "the task is over")


def _check_runs(process: Process) -> None:
    status = process.popen.poll()
    if status is not None:
        text = f"{process.name} ended with {status}:\n{process.tail()}"
        raise Fatal(ExitCode.FAILURE, text)


def _doing(event: Mapping[str, Any]) -> str:
    match event:
        case {"event": "state", "round": number, "state": state}:
            return f"round {number}: {state}"
        case {"event": "ready", "task": task}:
            return f"task {task}"
        case {"event": "progress", "what": what}:
            return str(what)
        case _:
            return str(event["event"])


def _latest(device: Process) -> str:
    """The last line of a device's log, less the time and the logger's name."""
    line = device.tail(1)
    return line.partition(": ")[2] or line

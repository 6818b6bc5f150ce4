"""Starts everything, watches it until the task is over, and ends everything.

Order: 1 find every program; 2 chain with the contract on it, content store, broker; 3 the
aggregator; 4 validator and devices, once the aggregator has named the task. All end with this
process, whichever way it ends, and the same command goes on with the same task.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeAlias

from zkpot.errors import ExitCode, Fatal
from zkpot_aggregator.config import ValidatorConfig
from zkpot_aggregator.demo.processes import Events, Process, start
from zkpot_aggregator.up import outside
from zkpot_aggregator.up.config import UpConfig
from zkpot_aggregator.up.files import (
    Member,
    make_aggregator,
    make_device,
    make_validator,
    write_agent_config,
    write_aggregator_config,
    write_validator_config,
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
    validators = [make_validator(root)] if config.validator else []
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
            broker = outside.start_broker(
                programs["mosquitto"],
                root / "broker",
                aggregator.key.id,
                [device.key.id for device in devices],
                [validator.key.id for validator in validators],
                stack,
            )
        others = [part.process for part in (chain, content, broker) if part is not None]
        for process in others:
            tell(process.name, f"running, pid {process.popen.pid}")

        def reach(member: Member) -> dict[str, object] | None:
            if broker is None:
                return None
            return outside.client_settings(broker.settings, root / "broker", member.key.id)

        if validators:
            assert chain is not None
            config = _appoint(config, validators[0], str(chain.settings["url"]))

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
        def start_others(ready: Mapping[str, Any]) -> list[Process]:
            started = []
            for validator in validators:
                way = reach(validator)
                assert chain is not None
                assert way is not None
                path = write_validator_config(
                    validator,
                    ready,
                    ledger=chain.settings,
                    content=None if content is None else content.settings,
                    broker=way,
                )
                arguments, log = ["validate", "--config", str(path)], validator.folder / "log"
                started.append(
                    stack.enter_context(start("validator", "zkpot_aggregator", arguments, log))
                )
            for index, device in enumerate(devices):
                path = write_agent_config(config, device, index, ready, reach(device))
                arguments = ["run", "--config", str(path)]
                name, log = f"device {index}", device.folder / "log"
                started.append(stack.enter_context(start(name, "zkpot_agent", arguments, log)))
            return started

        _watch(process, others, start_others, tell)


def _appoint(config: UpConfig, validator: Member, url: str) -> UpConfig:
    """The same with a task that this validator has to attest, with an account of its own."""
    address = outside.make_account(url, validator.folder / "ledger.key")
    appointed = ValidatorConfig(address, validator.key.public_key.hex())
    return replace(config, task=replace(config.task, validators=(appointed,), quorum=1))


def _watch(
    aggregator: Process,
    others: Sequence[Process],
    start_others: Callable[[Mapping[str, Any]], list[Process]],
    tell: Tell,
) -> None:
    """Tells what goes on until the aggregator has ended."""
    ours: list[Process] = []

    def look() -> None:
        for process in (*others, *ours):
            _check_runs(process)
        for process in ours:
            tell(process.name, _latest(process))

    events = Events(aggregator)
    while (event := events.next(math.inf, look)) is not None:
        if event["event"] == "ready" and not ours:
            ours += start_others(event)
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


def _latest(process: Process) -> str:
    """The last line of a log, less the time and the logger's name."""
    line = process.tail(1)
    return line.partition(": ")[2] or line

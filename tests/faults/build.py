"""Starts a world: each part behind its own cut of the network, on its own disk and clock."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_account import Account
from tests.faults.cells import Component
from tests.faults.network import Network, Proxy
from tests.faults.parts import Events, Part, service
from tests.faults.settings import (
    BLOCK_S,
    DEVICES,
    Tables,
    agent_toml,
    aggregator_toml,
    broker_settings,
    content_settings,
    ledger_settings,
    validator_toml,
    validators_of,
)
from tests.faults.surroundings import Clock, Disk, StateFile
from tests.faults.world import World
from tests.real.anvil import Anvil, write_key
from tests.real.components import Server, listens, program
from tests.real.ipfs import Ipfs
from tests.real.mosquitto import make_certificates, plan_for
from tests.real.task_rig import command

from zkpot.keys import KeyPair, create_key_file
from zkpot_aggregator.mosquitto import CONFIGURATION, write_broker_files

START_S = 300.0
_OPERATOR_KEY, _VALIDATOR_KEY = b"f" * 32, b"v" * 32
_PERSISTED_S = 1.5
"""anvil writes its state down once a second."""


@contextlib.contextmanager
def running(folder: Path, *, false_clocks: bool, validator: bool) -> Iterator[World]:
    """A world whose first round is about to open, with one validator if asked for."""
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(Network())
        yield _Builder(folder, network, stack, false_clocks).build(validator=validator)


@dataclass
class _Builder:
    folder: Path
    network: Network
    stack: contextlib.ExitStack
    false_clocks: bool
    to_broker: list[Proxy] = field(default_factory=list)

    def build(self, *, validator: bool) -> World:
        """Everything, in the order in which it needs each other."""
        node, chain = self._chain()
        made = self._deploy(node)
        ipfs, content = self._content()
        keys = {
            name: create_key_file(self.folder / name / f"{name.partition('-')[0]}.key")
            for name in ("aggregator", *map(_device, range(DEVICES)), "validator")
        }
        port, broker = self._broker(keys)
        world = World(
            self.folder,
            self.network,
            node,
            ipfs,
            made["contract"],
            made["first_block"],
            {Component.CHAIN: chain, Component.IPFS: content, Component.BROKER: broker},
            [],
            self.to_broker,
            Events(self.folder / "aggregator" / "log"),
        )
        appointed: Tables = {}
        if validator:
            write_key(self.folder / "validator" / "ledger.key", _VALIDATOR_KEY)
            node.fund(_VALIDATOR_KEY)
            address = Account.from_key(_VALIDATOR_KEY).address
            appointed = validators_of(address, keys["validator"])
        self._aggregator(world, made, keys, port, appointed)
        if validator:
            self._validator(world, made, keys["validator"], port)
        for index in range(DEVICES):
            self._agent(world, index, keys[_device(index)], port)
        return world

    # --- the programs of others -------------------------------------------------------------

    def _chain(self) -> tuple[Anvil, Part]:
        disk, clock = self._disk("chain", "state"), self._clock(Component.CHAIN)
        state = StateFile(disk.folder / "state.json")
        options = ("--state", str(state.path), "--state-interval", "1")
        folder = disk.folder.parent
        node = Anvil(folder, *options, block_s=BLOCK_S, environment=_environment(clock))
        self.stack.callback(node.close)

        def start() -> None:
            state.mend()
            node.start()

        start()
        node.fund(_OPERATOR_KEY)
        part = Part("chain node", start, lambda: node.server, [], disk, clock, state.save)
        return node, part

    def _deploy(self, node: Anvil) -> Mapping[str, Any]:
        key_file = write_key(self.folder / "aggregator" / "ledger.key", _OPERATOR_KEY)
        options = ["--rpc", node.url, "--key-file", key_file, "--confirmations", 1, "--json"]
        made: Mapping[str, Any] = json.loads(command("deploy", *options))
        time.sleep(_PERSISTED_S)
        return made

    def _content(self) -> tuple[Ipfs, Part]:
        disk, clock = self._disk("ipfs", "repository"), self._clock(Component.IPFS)
        ipfs = Ipfs(self.folder / "ipfs", _environment(clock))
        self.stack.callback(ipfs.stop)
        ipfs.start()

        def server() -> Server:
            assert ipfs.server is not None
            return ipfs.server

        return ipfs, Part("IPFS daemon", ipfs.start, server, [], disk, clock)

    def _broker(self, keys: Mapping[str, KeyPair]) -> tuple[int, Part]:
        folder, clock = self.folder / "broker", self._clock(Component.BROKER)
        devices = [keys[_device(index)].id for index in range(DEVICES)]
        plan = plan_for(keys["aggregator"].id, devices, [keys["validator"].id])
        write_broker_files(plan, folder)
        make_certificates(folder)
        disk = self._disk("broker", "data")
        words = [str(program("mosquitto")), "-c", str(folder / CONFIGURATION)]
        server = Server(words, folder / "log", environment=_environment(clock))
        self.stack.callback(server.stop)

        def start() -> None:
            server.start(lambda: listens(plan.port))

        start()
        return plan.port, Part("broker", start, lambda: server, self.to_broker, disk, clock)

    # --- our own ----------------------------------------------------------------------------

    def _aggregator(
        self,
        world: World,
        made: Mapping[str, Any],
        keys: Mapping[str, KeyPair],
        port: int,
        appointed: Tables,
    ) -> None:
        proxies, settings = self._outside(world, made, keys["aggregator"], port)
        devices = [keys[_device(index)] for index in range(DEVICES)]
        config = self.folder / "aggregator" / "aggregator.toml"
        config.write_text(aggregator_toml(devices, *settings, appointed))
        world.parts[Component.AGGREGATOR] = self._service(
            Component.AGGREGATOR, config, proxies, ("zkpot_aggregator", "run"), "--json"
        )
        world.wait_for("task", lambda: bool(world.events.ready), START_S)

    def _validator(self, world: World, made: Mapping[str, Any], key: KeyPair, port: int) -> None:
        proxies, settings = self._outside(world, made, key, port)
        config = self.folder / "validator" / "validator.toml"
        config.write_text(validator_toml(world.events.ready, *settings))
        world.parts[Component.VALIDATOR] = self._service(
            Component.VALIDATOR, config, proxies, ("zkpot_aggregator", "validate")
        )

    def _agent(self, world: World, index: int, key: KeyPair, port: int) -> None:
        proxy = self._proxy_to_broker(port)
        config = world.device_folder(index) / "agent.toml"
        broker = broker_settings(self.folder / "broker", proxy.port, key.id)
        config.write_text(agent_toml(index, world.events.ready, broker))
        command_line = ("zkpot_agent", "run")
        if index == 0:
            part = self._service(Component.AGENT, config, [proxy], command_line)
            world.parts[Component.AGENT] = part
            return
        start, server = service(config, {}, *command_line)
        self.stack.callback(server.stop)
        start()
        world.others.append(Part(config.parent.name, start, lambda: server, [proxy]))

    def _service(
        self,
        component: Component,
        config: Path,
        proxies: list[Proxy],
        command_line: tuple[str, str],
        *options: str,
    ) -> Part:
        """One with faults: it has a disk and a clock of its own."""
        disk, clock = self._disk(config.parent.name, "state"), self._clock(component)
        start, server = service(config, _environment(clock), *command_line, *options)
        part = Part(component.value, start, lambda: server, proxies, disk, clock)
        self.stack.callback(part.stop)
        start()
        return part

    def _outside(
        self, world: World, made: Mapping[str, Any], key: KeyPair, port: int
    ) -> tuple[list[Proxy], tuple[Tables, Tables, Tables]]:
        """A client's own way to chain, content store and broker, and its settings for them."""
        chain, content = (
            self.network.proxy(world.node.port),
            self.network.proxy(_port(world.ipfs.url)),
        )
        world.parts[Component.CHAIN].proxies.append(chain)
        world.parts[Component.IPFS].proxies.append(content)
        broker = self._proxy_to_broker(port)
        settings = (
            ledger_settings(chain.port, made),
            content_settings(content.port),
            broker_settings(self.folder / "broker", broker.port, key.id),
        )
        return [chain, content, broker], settings

    def _proxy_to_broker(self, port: int) -> Proxy:
        proxy = self.network.proxy(port)
        self.to_broker.append(proxy)
        return proxy

    # --- surroundings -----------------------------------------------------------------------

    def _disk(self, *names: str) -> Disk:
        disk = Disk(self.folder.joinpath(*names))
        self.stack.enter_context(disk.mounted())
        return disk

    def _clock(self, component: Component) -> Clock | None:
        if not self.false_clocks:
            return None
        folder = self.folder / "clocks"
        folder.mkdir(exist_ok=True)
        return Clock(folder / component.name.lower())


def _environment(clock: Clock | None) -> dict[str, str]:
    return {} if clock is None else clock.environment


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _device(index: int) -> str:
    return f"device-{index}"

"""One running task on mosquitto, anvil and IPFS, each part behind its own cut of the network.

Between the parts stand proxies, their states lie on small disks of their own, and in a world
with false clocks each component has one.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.cells import Component
from tests.faults.network import Network, Proxy
from tests.faults.parts import Events, Part
from tests.real.anvil import CHAIN_ID, Anvil
from tests.real.ipfs import Ipfs
from tests.real.task_rig import command

from zkpot_aggregator.ledger.jsonrpc import JsonRpcLedger
from zkpot_aggregator.ledger.settings import JsonRpcSettings

LOOK_S = 0.01


class TooSlow(AssertionError):
    """Something did not happen in time."""


@dataclass
class World:
    """The parts by component, in the order they start, and where everything is."""

    folder: Path
    network: Network
    node: Anvil
    ipfs: Ipfs
    contract: str
    first_block: int
    parts: dict[Component, Part]
    others: list[Part]
    broker_proxies: list[Proxy]
    events: Events

    @property
    def task(self) -> str:
        """The task's id."""
        task: str = self.events.ready["task"]
        return task

    @property
    def devices(self) -> list[Part]:
        """All agents."""
        return [self.parts[Component.AGENT], *self.others]

    def device_folder(self, index: int) -> Path:
        """Where a device's files are."""
        return self.folder / f"device-{index}"

    def look(self) -> None:
        """Lets dead parts start again and takes in what the aggregator said."""
        for part in (*self.parts.values(), *self.others):
            part.look()
        self.events.read()

    def wait_for(self, what: str, happened: Callable[[], bool], timeout_s: float) -> None:
        """Looks until it has happened; raises `TooSlow`."""
        end = time.monotonic() + timeout_s
        while not happened():
            if time.monotonic() > end:
                aggregator = self.parts[Component.AGGREGATOR]
                raise TooSlow(
                    f"no {what} within {timeout_s:.0f} s; {self.events.last}\n{aggregator.tail()}"
                )
            self.look()
            time.sleep(LOOK_S)

    def pause(self, seconds: float) -> None:
        """Waits, looking."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            time.sleep(LOOK_S)

    def stop_services(self) -> None:
        """Ends what is ours; what the checks read from runs on."""
        ours = (Component.AGGREGATOR, Component.AGENT, Component.VALIDATOR)
        for part in (*(self.parts[each] for each in ours if each in self.parts), *self.others):
            part.stop()

    @property
    def settled(self) -> bool:
        """Whether every part runs and every link to the broker stands."""
        parts = (*self.parts.values(), *self.others)
        return all(part.pid for part in parts) and all(p.connections for p in self.broker_proxies)

    def ledger(self) -> JsonRpcLedger:
        """The chain, past the proxies."""
        return JsonRpcLedger.open(
            JsonRpcSettings(
                chain_id=CHAIN_ID,
                contract=self.contract,
                url=self.node.url,
                first_block=self.first_block,
                confirmations=0,
            )
        )

    def audit(self) -> dict[str, Any]:
        """The audit's report, from chain and IPFS daemon alone."""
        where = ["--ledger", self.node.url, "--contract", self.contract, "--task", self.task]
        first = ["--first-block", self.first_block]
        answer = command("audit", *where, *first, "--content", self.ipfs.url, "--json")
        report: dict[str, Any] = json.loads(answer)
        return report

"""Devices and provers at a broker of their own, in one loop unless they must die for real."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zkpot.datasets import DIGITS_SPEC
from zkpot.errors import Rejected
from zkpot.ids import Round, device_text, digest
from zkpot.journal import Journal, Outgoing
from zkpot.keys import KeyPair
from zkpot.link import BrokerSettings
from zkpot.link.mqtt import MqttLink
from zkpot.proof.jobs import Backend
from zkpot.proof.registry import SUMCHECK
from zkpot.wire import topics
from zkpot.wire.envelope import sign
from zkpot.wire.prover_messages import JobStatus, ProverStatus
from zkpot_agent.config import LimitsConfig
from zkpot_agent.proving.offload import OffloadClient
from zkpot_agent.proving.request import ProofRequest
from zkpot_agent.trial import random_batch, random_theta, subject
from zkpot_aggregator.embedded.access import Account
from zkpot_aggregator.embedded.broker import EmbeddedBroker
from zkpot_aggregator.prover.config import JobLimits, ProverConfig
from zkpot_aggregator.prover.jobs import prove_sealed
from zkpot_aggregator.prover.service import ProverService
from zkpot_aggregator.prover.work import ProveSealed

SHAPE = DIGITS_SPEC.shape
BATCH = 32
LEASE_S = 2
DEADLINE_S = 150.0
"""A digits proof takes a second, most of it Python starting: far more than is needed."""

LIMITS = LimitsConfig(memory_mb=400, cores=1)


def proof_request(seed: int, deadline_s: float = DEADLINE_S) -> ProofRequest:
    """A true statement about a random model of the digits' shape."""
    generator = np.random.default_rng(seed)
    theta = random_theta(SHAPE, generator)
    batch = random_batch(SHAPE, theta, BATCH, generator)
    backend = Backend(SUMCHECK, SHAPE, BATCH, Path("unused"), "")
    made = subject(backend.load(), SHAPE, theta, batch)
    return ProofRequest(Round(1), backend, made.statement, made.opening, LIMITS, deadline_s)


def check(request: ProofRequest, proof: bytes) -> None:
    """Raises `Rejected` unless the proof is for exactly this statement."""
    request.backend.load().verify(request.statement, proof)


# --- a broker -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A broker that knows these keys, and a folder for everybody's files."""

    folder: Path
    broker: EmbeddedBroker

    def settings(self, key: KeyPair) -> BrokerSettings:
        name = device_text(key.id)
        password = self.folder / f"{name}.password"
        password.write_text(name)
        return BrokerSettings(
            self.broker.host, self.broker.port, username=name, password_file=password
        )

    def write_key(self, key: KeyPair) -> Path:
        """Its key file (docs/protocol.md, "Keys and names")."""
        path = self.folder / f"{device_text(key.id)}.key"
        seed = bytes(key.signing)
        path.write_text(f"zkpot-key-1 {seed.hex()} {digest('key-file', seed)[:4].hex()}\n")
        path.chmod(0o600)
        return path


@contextlib.contextmanager
def site(folder: Path, devices: Iterable[KeyPair], provers: Iterable[KeyPair]) -> Iterator[Site]:
    accounts = [Account(key.id, device_text(key.id)) for key in devices]
    accounts += [Account(key.id, device_text(key.id), is_prover=True) for key in provers]
    with EmbeddedBroker(folder / "broker", accounts) as broker:
        yield Site(folder, broker)


# --- devices --------------------------------------------------------------------------------


class OverheardLink(MqttLink):
    """Keeps what is sent through it past the journal: wants and blocks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sent: list[bytes] = []

    async def publish_volatile(self, topic: str, payload: bytes) -> None:
        """See `Link.publish_volatile`."""
        self.sent.append(payload)
        await super().publish_volatile(topic, payload)


@dataclass
class Device:
    """A device's offload client on a link of its own, and all that leaves it."""

    key: KeyPair
    journal: Journal
    link: OverheardLink
    client: OffloadClient
    queued: list[Outgoing] = field(default_factory=list)
    refused: list[Rejected] = field(default_factory=list)

    def overhear(self) -> None:
        """Notes what waits in the journal."""
        self.queued += [each.message for each in self.journal.outgoing()]


@contextlib.asynccontextmanager
async def device(
    site: Site, key: KeyPair, provers: Sequence[KeyPair], lease_s: int = LEASE_S
) -> AsyncIterator[Device]:
    with Journal.open(site.folder / device_text(key.id) / "journal.sqlite") as journal:
        link = OverheardLink(
            site.settings(key),
            client_id=device_text(key.id),
            journal=journal,
            subscriptions=topics.offload_subscriptions(key.id, [each.id for each in provers]),
            births=lambda: client.births(),  # noqa: PLW0108  (it is made below)
        )
        client: OffloadClient = OffloadClient(
            link, key, journal, [each.public_key for each in provers], lease_s=lease_s
        )
        made = Device(key, journal, link, client)
        journal.on_outgoing(made.overhear)

        async def receive() -> None:
            async for incoming in link.incoming():
                try:
                    client.receive(incoming)
                except Rejected as rejection:
                    made.refused.append(rejection)

        tasks = [asyncio.create_task(each) for each in (link.run(), client.run(), receive())]
        try:
            await link.ready()
            yield made
        finally:
            await link.stop()
            await ended(tasks)


# --- provers --------------------------------------------------------------------------------


def prover_config(
    site: Site, key: KeyPair, devices: Iterable[KeyPair], **changes: Any
) -> ProverConfig:
    fields: dict[str, Any] = {
        "key_file": site.write_key(key),
        "state_dir": site.folder / f"prover-{device_text(key.id)}",
        "broker": site.settings(key),
        "devices": tuple(each.public_key.hex() for each in devices),
        "limits": JobLimits(memory_mb=400, seconds=60, queue=32),
    }
    return ProverConfig(**fields | changes)


@dataclass
class Prover:
    """A prover in this loop, and everything it has said of jobs."""

    key: KeyPair
    said: list[JobStatus] = field(default_factory=list)


@contextlib.asynccontextmanager
async def prover(
    site: Site,
    key: KeyPair,
    devices: Iterable[KeyPair],
    prove: ProveSealed = prove_sealed,
    **changes: Any,
) -> AsyncIterator[Prover]:
    made, ready = Prover(key), asyncio.Event()
    service = ProverService(
        prover_config(site, key, devices, **changes),
        prove=prove,
        on_ready=lambda _id, _key: ready.set(),
        on_status=made.said.append,
    )
    running = asyncio.create_task(service.run())
    try:
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        yield made
    finally:
        await ended([running])


@contextlib.asynccontextmanager
async def silent_prover(site: Site, key: KeyPair) -> AsyncIterator[None]:
    """Says that it is there, and never answers anybody."""
    with Journal.open(site.folder / f"silent-{device_text(key.id)}.sqlite") as journal:
        status = ProverStatus(1, True, key.box_key, "silence", (SUMCHECK,), 9, 0, 99, 0)
        birth = Outgoing(topics.prover_status(key.id), sign(status, key), retain=True)
        link = MqttLink(
            site.settings(key),
            client_id=device_text(key.id),
            journal=journal,
            subscriptions=topics.prover_subscriptions(key.id),
            births=lambda: [birth],
        )
        running = asyncio.create_task(link.run())
        try:
            await link.ready()
            yield
        finally:
            await link.stop()
            await ended([running])


def write_prover_toml(
    site: Site, key: KeyPair, devices: Iterable[KeyPair], extra: str = ""
) -> Path:
    """The configuration of a prover that runs as a process."""
    settings, name = site.settings(key), device_text(key.id)
    path = site.folder / f"{name}.toml"
    path.write_text(
        f'key_file = "{site.write_key(key)}"\n'
        f'state_dir = "prover-{name}"\n'
        f"devices = {json.dumps([each.public_key.hex() for each in devices])}\n{extra}\n"
        f'[broker]\nhost = "{settings.host}"\nport = {settings.port}\n'
        f'username = "{name}"\npassword_file = "{settings.password_file}"\n'
        "[limits]\nmemory_mb = 400\nseconds = 60\nqueue = 32\n"
    )
    return path


@contextlib.asynccontextmanager
async def prover_process(config: Path) -> AsyncIterator["ProverProcess"]:
    """`zkpot-aggregator prover` as a process, once it is ready."""
    with config.with_suffix(".log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "zkpot_aggregator", "prover"),
            *("--config", str(config), "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    made = ProverProcess(process)
    try:
        await made.until(event="ready")
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass
class ProverProcess:
    """Its process, and the events it has printed so far."""

    process: asyncio.subprocess.Process
    events: list[dict[str, Any]] = field(default_factory=list)

    async def until(self, timeout_s: float = 300, **wanted: object) -> dict[str, Any]:
        """The next event that has these facts; raises TimeoutError."""
        assert self.process.stdout is not None
        async with asyncio.timeout(timeout_s):
            while True:
                line = await self.process.stdout.readline()
                assert line, "the prover ended"
                event = json.loads(line)
                self.events.append(event)
                if wanted.items() <= event.items():
                    return dict(event)

    async def kill(self) -> None:
        """SIGKILL: no farewell of any kind."""
        self.process.kill()
        await self.process.wait()


async def ended(tasks: list[asyncio.Task[None]]) -> None:
    """Cancels and collects them."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome

"""Aggregator, validators and devices as services, over the embedded broker and ledger."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from eth_account import Account as EthAccount
from eth_utils.address import to_canonical_address

pytest.importorskip("zkpot_prover")

from zkpot.ids import DeviceId, Round, TaskId, device_text
from zkpot.keys import KeyPair, create_key_file
from zkpot.link import BrokerSettings
from zkpot.verify import RoundTerms
from zkpot.wire.codec import decode
from zkpot.wire.envelope import open_envelope
from zkpot_agent.config import (
    Accept,
    AgentConfig,
    DataConfig,
    ExportConfig,
    ModelConfig,
    PrivacyConfig,
    TrainConfig,
)
from zkpot_agent.service import AgentService
from zkpot_agent.train.trainer import TrainSettings
from zkpot_aggregator.audit.report import Standing
from zkpot_aggregator.config import AggregatorConfig, DeviceConfig, TaskConfig, ValidatorConfig
from zkpot_aggregator.embedded.passwords import make_password
from zkpot_aggregator.group_work import GroupWorker
from zkpot_aggregator.layout import Layout
from zkpot_aggregator.ledger.base import Identity, Ledger, Receipt
from zkpot_aggregator.ledger.calls import Call
from zkpot_aggregator.ledger.embedded import EmbeddedLedger
from zkpot_aggregator.ledger.settings import JsonRpcSettings
from zkpot_aggregator.ledger.views import Event, Phase, RoundView, TaskView
from zkpot_aggregator.round import events as on
from zkpot_aggregator.service import AggregatorService, Ready
from zkpot_aggregator.ui.audit import audit_directory
from zkpot_aggregator.validate.config import ValidateConfig
from zkpot_aggregator.validate.hearing import Heard
from zkpot_aggregator.validate.service import ValidatorService

pytestmark = [
    pytest.mark.broker,
    pytest.mark.chain,
    pytest.mark.prover,
    pytest.mark.enable_socket,
]

VALIDATORS = 3
NO_NODE = JsonRpcSettings(chain_id=1, contract="0x" + "00" * 20, url="http://127.0.0.1:1")
"""Validators are handed the embedded chain, and never look at this."""


@dataclass
class Shared:
    """One account on the embedded chain, which several threads share here."""

    ledger: Ledger
    lock: threading.RLock

    def identity(self) -> Identity:
        """See `Ledger`, as all of these."""
        with self.lock:
            return self.ledger.identity()

    def submit(self, call: Call) -> Receipt:
        with self.lock:
            return self.ledger.submit(call)

    def task(self, task: TaskId) -> TaskView:
        with self.lock:
            return self.ledger.task(task)

    def round(self, task: TaskId, number: Round) -> RoundView:
        with self.lock:
            return self.ledger.round(task, number)

    def events(self, task: TaskId) -> tuple[Event, ...]:
        with self.lock:
            return self.ledger.events(task)

    def wait_for_block(self, height: int, timeout_s: float) -> None:
        with self.lock:
            self.ledger.wait_for_block(height, timeout_s)


@dataclass
class Site:
    """Folders, keys and the chain; services are started in it."""

    folder: Path
    chain: EmbeddedLedger
    size: int
    lock: threading.RLock = field(default_factory=threading.RLock)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.devices = [self._keys("device", index) for index in range(self.size)]
        self.validators = [self._keys("validator", index) for index in range(VALIDATORS)]
        self.accounts = [bytes([7 + index]) * 32 for index in range(VALIDATORS)]
        create_key_file(self.folder / "operator.key")

    def _keys(self, role: str, index: int) -> KeyPair:
        folder = self.folder / f"{role}-{index}"
        folder.mkdir()
        make_password(folder / "password")
        return create_key_file(folder / "key")

    def config(self, rounds: int, commit_s: int, prove_s: int) -> AggregatorConfig:
        """The aggregator's, with a quorum of two validators."""
        validators = tuple(
            ValidatorConfig(
                to_canonical_address(EthAccount.from_key(account).address).hex(),
                key.public_key.hex(),
                self.folder / f"validator-{index}" / "password",
            )
            for index, (account, key) in enumerate(zip(self.accounts, self.validators, strict=True))
        )
        devices = tuple(
            DeviceConfig(key.public_key.hex(), "", self.folder / f"device-{index}" / "password")
            for index, key in enumerate(self.devices)
        )
        task = TaskConfig(
            name="validated",
            dataset="digits",
            proof_system="sumcheck/1",
            rounds=rounds,
            batch_size=20,
            gate_margin=20,
            aggregation="plain:fedavg",
            commit_s=commit_s,
            prove_s=prove_s,
            attest_s=120,
            validators=validators,
            quorum=2,
        )
        return AggregatorConfig(
            self.folder / "operator.key", self.folder / "aggregator", task, devices
        )

    def ledger(self, account: bytes | None = None) -> Shared:
        """The chain as the operator or as a validator's account."""
        with self.lock:
            ledger = self.chain if account is None else self.chain.for_key(account)
        return Shared(ledger, self.lock)

    async def aggregator(
        self, config: AggregatorConfig, worker_type: type[GroupWorker] = GroupWorker
    ) -> tuple[Ready, asyncio.Task[None]]:
        """Starts it; returns once devices may come."""
        ready = asyncio.get_running_loop().create_future()
        service = AggregatorService(
            config,
            worker_type=worker_type,
            ledger=lambda _config, _layout, _stack: self.ledger(),
            on_ready=ready.set_result,
        )
        task = self.start(service.run())
        await asyncio.wait([ready, task], return_when=asyncio.FIRST_COMPLETED)
        return ready.result(), task

    def validator(self, index: int, ready: Ready) -> asyncio.Task[None]:
        """Starts a validator."""
        folder = self.folder / f"validator-{index}"
        config = ValidateConfig(
            task=ready.task.id.hex(),
            operator_key=ready.operator_key.hex(),
            key_file=folder / "key",
            state_dir=folder / "state",
            broker=self._broker(ready, self.validators[index].id, folder),
            ledger=NO_NODE,
            margin_s=1.0,
            poll_s=0.2,
        )
        account = self.accounts[index]
        service = ValidatorService(config, ledger=lambda *_: self.ledger(account))
        return self.start(service.run())

    def device(self, index: int, ready: Ready) -> asyncio.Task[None]:
        """Starts a device that takes final records only."""
        folder = self.folder / f"device-{index}"
        config = AgentConfig(
            task=ready.task.id.hex(),
            operator_key=ready.operator_key.hex(),
            key_file=folder / "key",
            state_dir=folder / "state",
            broker=self._broker(ready, self.devices[index].id, folder),
            data=DataConfig(
                "digits", {"devices": self.size, "index": index, "alpha": 0.5, "seed": 0}
            ),
            train=TrainConfig(settings=TrainSettings(epochs=2)),
            privacy=PrivacyConfig(aggregation=("plain:fedavg",)),
            export=ExportConfig(tflite=False),
            model=ModelConfig(Accept.FINAL),
        )
        return self.start(AgentService(config).run())

    def _broker(self, ready: Ready, name: DeviceId, folder: Path) -> BrokerSettings:
        return BrokerSettings(
            ready.broker.host,
            ready.broker.port,
            username=device_text(name),
            password_file=folder / "password",
        )

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs a service until the end of the test."""
        task = asyncio.ensure_future(work)
        self.tasks.append(task)
        return task

    async def kill(self, task: asyncio.Task[None]) -> None:
        """Ends a service before the end of the test."""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def site(folder: Path, devices: int) -> AsyncIterator[Site]:
    """A site whose services end with the block."""
    with EmbeddedLedger.open(Layout(folder / "aggregator").chain) as chain:
        made = Site(folder, chain, devices)
        try:
            yield made
        finally:
            for task in made.tasks:
                task.cancel()
            outcomes = await asyncio.gather(*made.tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def test_an_honest_task_is_endorsed_attested_and_taken_over(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path, 2) as made:
            ready, aggregator = await made.aggregator(made.config(2, commit_s=120, prove_s=120))
            running = [made.validator(index, ready) for index in range(2)]
            for index in range(made.size):
                made.device(index, ready)
            ledger = made.ledger()
            while ledger.round(ready.task.id, Round(1)).phase is not Phase.FINAL:
                await asyncio.sleep(0.2)
                assert not aggregator.done(), aggregator
            # One is replaced by another, which catches up with what is over.
            await made.kill(running[0])
            made.validator(2, ready)
            await aggregator
            second = ledger.round(ready.task.id, Round(2))
            assert second.phase is Phase.FINAL
            assert len(ledger.round(ready.task.id, Round(1)).attested) == 2
            for index in range(made.size):
                assert (tmp_path / f"device-{index}" / "state" / "global-model.json").exists()

    asyncio.run(main())
    report = audit_directory(tmp_path / "aggregator")
    assert report.ok
    assert [finding.standing for finding in report.rounds] == [Standing.FINAL] * 2
    assert "validators: none" not in report.assumptions


class Sealing(GroupWorker):
    """An aggregator that seals before it has looked at one device's commitment."""

    may_seal = False
    others: ClassVar[list[DeviceId]] = []

    async def check_commitment(self, terms: RoundTerms, envelope: bytes) -> on.Event:
        """See `Worker`."""
        checked = await super().check_commitment(terms, envelope)
        devices = terms.roster.public_keys
        signer = open_envelope(envelope, devices).signer
        if signer != min(devices):
            Sealing.others.append(signer)
            return checked
        while not Sealing.may_seal or len(Sealing.others) < len(devices) - 1:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        return on.DeadlinePassed("commit")


def heard_in_time(journal: Path, device: DeviceId) -> bool:
    """Whether a validator that runs has noted this device's commitment as in time."""
    with contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
        keys = connection.execute("SELECT key, value FROM states").fetchall()
    name = f"Commitment/{device_text(device)}"
    found = [decode(Heard, value, limit=1 << 20) for key, value in keys if key.endswith(name)]
    return any(each.in_time for each in found)


def test_no_device_proves_when_a_commitment_was_dropped(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path, 3) as made:
            config = made.config(1, commit_s=240, prove_s=10)
            ready, aggregator = await made.aggregator(config, Sealing)
            for index in range(2):
                made.validator(index, ready)
            for index in range(made.size):
                made.device(index, ready)
            dropped = min(key.id for key in made.devices)
            for index in range(2):
                journal = Layout(tmp_path / f"validator-{index}" / "state").journal
                while not journal.exists() or not heard_in_time(journal, dropped):
                    await asyncio.sleep(0.5)
                    assert not aggregator.done(), aggregator
            Sealing.may_seal = True
            await aggregator
            view = made.ledger().round(ready.task.id, Round(1))
            assert (view.phase, view.count) == (Phase.FAILED, made.size - 1)

    asyncio.run(main())
    report = audit_directory(tmp_path / "aggregator")
    assert report.ok
    assert report.failed_after_seal == 1
    assert report.rounds[0].notes[0].startswith("failed: too-few-accepted")

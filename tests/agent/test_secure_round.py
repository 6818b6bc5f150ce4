"""Secure rounds as users run them: every device a process, killed wherever it hurts."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("zkpot_prover")

from tests.agent.mortal import AFTER, BEFORE

from zkpot.cid import object_cid_from_digest
from zkpot.errors import Failure
from zkpot.ids import DeviceId, Digest, Round, device_text
from zkpot.journal import Journal
from zkpot.keys import KeyPair, create_key_file
from zkpot.record import Record, SignedRecord, decode_object
from zkpot.secure.exchange import Advertisement, Confirmation, Dealing, MaskedInput, SealedRelease
from zkpot.secure.sums import decode_group_sum
from zkpot_aggregator.content.base import get_object
from zkpot_aggregator.demo.processes import Events, Process, start
from zkpot_aggregator.embedded.passwords import make_password
from zkpot_aggregator.ui.audit import audit_directory
from zkpot_aggregator.ui.directory import open_directory

pytestmark = [
    pytest.mark.broker,
    pytest.mark.chain,
    pytest.mark.prover,
    pytest.mark.enable_socket,
    pytest.mark.timeout(1800),
]

DEVICES = 5
MINIMUM = 3
STEPS: tuple[type, ...] = (Advertisement, Dealing, MaskedInput, Confirmation, SealedRelease)
SILENCE_S = 900.0
LEISURE_S = 1200
"""A deadline that nobody meets in a test that goes right."""


@dataclass(eq=False)
class Unit:
    """One device: its folder, and the process if it runs."""

    index: int
    folder: Path
    key: KeyPair
    process: Process | None = None

    def start(self, stack: contextlib.ExitStack, deaths: Sequence[str]) -> None:
        """Runs its agent, which dies of each of `deaths` once."""
        words = ["--config", str(self.folder / "agent.toml")]
        for death in deaths:
            words += ["--die", death]
        log = self.folder / "log"
        self.process = stack.enter_context(
            start(f"device {self.index}", "tests.agent.mortal", words, log)
        )

    @property
    def is_dead(self) -> bool:
        """Whether it was killed, which is all that may end it."""
        status = None if self.process is None else self.process.popen.poll()
        assert status in (None, -signal.SIGKILL), self.process and self.process.tail(20)
        return status is not None


@dataclass(eq=False)
class Network:
    """An aggregator and its devices, in a directory that the audit can read."""

    root: Path
    units: list[Unit] = field(default_factory=list)

    def prepare(self, rounds: int, aggregate_s: int) -> None:
        """Keys, passwords and the aggregator's configuration."""
        folder = self.root / "aggregator"
        create_key_file(folder / "operator.key")
        text = f"""key_file = "operator.key"
state_dir = "state"
[task]
name = "secure rounds"
dataset = "digits"
proof_system = "sumcheck/1"
aggregation = "secure"
group_size = {DEVICES}
group_minimum = {MINIMUM}
minimum_devices = {MINIMUM}
maximum_devices = {DEVICES}
rounds = {rounds}
batch_size = 20
gate_margin = 20
commit_s = {LEISURE_S}
prove_s = {LEISURE_S}
aggregate_s = {aggregate_s}
record_s = 15
"""
        for index in range(DEVICES):
            device = self.root / "devices" / f"{index}"
            unit = Unit(index, device, create_key_file(device / "device.key"))
            make_password(device / "password")
            text += f"""[[devices]]
public_key = "{unit.key.public_key.hex()}"
owner = "owner {index}"
password_file = "../devices/{index}/password"
"""
            self.units.append(unit)
        (folder / "aggregator.toml").write_text(text)

    def configure(self, ready: dict[str, Any]) -> None:
        """The devices' configurations, now that task and broker are known."""
        for unit in self.units:
            (unit.folder / "agent.toml").write_text(f"""task = "{ready["task"]}"
operator_key = "{ready["operator_key"]}"
key_file = "device.key"
state_dir = "state"
[broker]
host = "{ready["host"]}"
port = {ready["port"]}
username = "{device_text(unit.key.id)}"
password_file = "password"
[data]
source = "digits"
parameters = {{ devices = {DEVICES}, index = {unit.index}, alpha = 0.5, seed = 0 }}
[train.settings]
epochs = 3
[limits]
cores = 1
[export]
tflite = false
[privacy]
minimum_group = {MINIMUM}
owners = ["owner {(unit.index + 1) % DEVICES}"]
""")

    @contextlib.contextmanager
    def running(
        self, deaths: Callable[[Unit], Sequence[str]]
    ) -> Iterator[tuple[Events, contextlib.ExitStack]]:
        """Everything started; `deaths` says what each device dies of."""
        config = self.root / "aggregator" / "aggregator.toml"
        words = ["run", "--config", str(config), "--json"]
        log = self.root / "aggregator" / "log"
        with (
            start("aggregator", "zkpot_aggregator", words, log) as aggregator,
            contextlib.ExitStack() as stack,
        ):
            events = Events(aggregator)
            while (event := events.next(SILENCE_S, lambda: None)) is not None:
                if event["event"] == "ready":
                    break
            assert event is not None, aggregator.tail(20)
            self.configure(event)
            for unit in self.units:
                unit.start(stack, deaths(unit))
            yield events, stack

    def outcome(self, number: int) -> "Outcome":
        """What the chain and the store say of a round that is over."""
        opened = open_directory(self.root)
        view = opened.ledger.round(opened.task_id, Round(number))
        if view.fail_reason:
            return Outcome(Failure(view.fail_reason), ())
        signed = get_object(opened.content, object_cid_from_digest(Digest(view.record)))
        name = decode_object(SignedRecord, signed).record
        record = decode_object(Record, get_object(opened.content, name))
        assert len(record.groups) == 1
        found = decode_group_sum(get_object(opened.content, record.groups[0]))
        assert tuple(each.device for each in record.sum.summands) == found.survivors
        return Outcome(None, found.survivors)

    def rejections(self) -> list[str]:
        """What the aggregator refused, and what devices told their owners."""
        folders = [self.root / "aggregator", *(unit.folder for unit in self.units)]
        found = []
        for folder in folders:
            with Journal.open(folder / "state" / "journal.sqlite") as journal:
                for kind in ("rejection", "rejection-other", "incident"):
                    found += [event.key for event in journal.events(kind)]
        return found


@dataclass(frozen=True)
class Outcome:
    """How a round ended: why it failed, or whose models are in its sum."""

    failure: Failure | None
    survivors: tuple[DeviceId, ...]


def test_every_device_is_killed_in_every_step(tmp_path: Path) -> None:
    """Right before or right after the disk has its answer, in turn; the sum is of all."""
    network = Network(tmp_path)
    network.prepare(rounds=1, aggregate_s=LEISURE_S)

    def deaths(unit: Unit) -> list[str]:
        disks = (BEFORE, AFTER) if unit.index % 2 else (AFTER, BEFORE)
        return [f"{disks[n % 2]}:{step.__name__}" for n, step in enumerate(STEPS)]

    with network.running(deaths) as (events, stack):

        def revive() -> None:
            for unit in network.units:
                if unit.is_dead:
                    unit.start(stack, deaths(unit))

        while events.next(SILENCE_S, revive) is not None:
            revive()
    marks = [path.name for unit in network.units for path in unit.folder.glob("died-*")]
    assert len(marks) == DEVICES * len(STEPS)
    everybody = tuple(sorted(unit.key.id for unit in network.units))
    assert network.outcome(1) == Outcome(None, everybody)
    assert network.rejections() == []
    assert audit_directory(tmp_path).ok


def test_a_device_lost_in_any_step_is_left_out_or_its_group_is(tmp_path: Path) -> None:
    """Each step in turn, in a round of its own; the device is back for the next round.

    On a machine that is slower than the deadline more devices may be missing, or the victim may
    not come as far as the step: then the step is tried again.
    """
    network = Network(tmp_path)
    network.prepare(rounds=4 * len(STEPS), aggregate_s=15)
    victim, steps, tried = network.units[0], list(STEPS), dict[int, type]()

    def deaths(unit: Unit) -> list[str]:
        return [f"{BEFORE}:{steps[0].__name__}"] if unit is victim and steps else []

    with network.running(deaths) as (events, stack):
        while steps and (event := events.next(SILENCE_S, lambda: None)) is not None:
            over = event["event"] == "state" and event["state"] in ("merging", "failing")
            if not over or not victim.is_dead:
                continue
            tried[event["round"]] = steps[0]
            if event["state"] == "merging":
                del steps[0]
            else:
                (victim.folder / f"died-{BEFORE}-{steps[0].__name__}").unlink()
            victim.start(stack, deaths(victim))
        last = max(tried)
        while (event := events.next(SILENCE_S, lambda: None)) is not None:
            if event["event"] == "state" and event["round"] > last:
                break
    assert not steps
    others = tuple(sorted(unit.key.id for unit in network.units[1:]))
    everybody = tuple(sorted(unit.key.id for unit in network.units))
    for number, step in tried.items():
        found = network.outcome(number)
        if found.failure is None:
            survivors = everybody if step in (Confirmation, SealedRelease) else others
            assert found.survivors == survivors, step
        else:
            assert found.failure is Failure.TOO_FEW_SURVIVORS
    assert audit_directory(tmp_path).ok

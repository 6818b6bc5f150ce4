"""A whole task in processes: one device hands its proofs over until its prover is killed."""

import asyncio
import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.offload.rig import prover_process

from zkpot.ids import device_text
from zkpot.journal import Journal
from zkpot.keys import KeyPair, create_key_file
from zkpot_agent.driver import INCIDENT
from zkpot_aggregator.demo.processes import Events, Process, start
from zkpot_aggregator.embedded.passwords import make_password

pytest.importorskip("zkpot_prover")
pytestmark = [
    pytest.mark.broker,
    pytest.mark.chain,
    pytest.mark.prover,
    pytest.mark.enable_socket,
]

NAMES = ("anna", "bert")
ROUNDS = 2
SILENCE_S = 600.0


@dataclass(frozen=True)
class Party:
    """Somebody with a key, a password for the broker and a folder."""

    folder: Path
    key: KeyPair

    @classmethod
    def make(cls, folder: Path) -> "Party":
        key = create_key_file(folder / "own.key")
        make_password(folder / "password")
        return cls(folder, key)

    def write(self, text: str) -> Path:
        path = self.folder / "config.toml"
        path.write_text('key_file = "own.key"\nstate_dir = "state"\n' + text)
        return path

    def broker(self, ready: dict[str, Any]) -> str:
        return (
            f'[broker]\nhost = "{ready["host"]}"\nport = {ready["port"]}\n'
            f'username = "{device_text(self.key.id)}"\npassword_file = "password"\n'
        )

    def entry(self, table: str) -> str:
        return (
            f'[[{table}]]\npublic_key = "{self.key.public_key.hex()}"\n'
            f'password_file = "{self.folder}/password"\n'
        )


def aggregator_toml(devices: list[Party], prover: Party) -> str:
    return (
        '[task]\nname = "offload"\ndataset = "digits"\nproof_system = "sumcheck/1"\n'
        'aggregation = "plain:fedavg"\n'
        f"rounds = {ROUNDS}\nbatch_size = 32\ngate_margin = 20\ncommit_s = 90\nprove_s = 90\n"
        + "".join(each.entry("devices") for each in devices)
        + prover.entry("provers")
    )


def agent_toml(party: Party, index: int, ready: dict[str, Any], prove: str) -> str:
    return (
        f'task = "{ready["task"]}"\noperator_key = "{ready["operator_key"]}"\n'
        + party.broker(ready)
        + '[data]\nsource = "digits"\n'
        f"parameters = {{ devices = {len(NAMES)}, index = {index}, alpha = 0.5, seed = 0 }}\n"
        "[train.settings]\nepochs = 5\n[limits]\ncores = 1\n"
        f'[privacy]\naggregation = ["plain:fedavg"]\n{prove}'
    )


def closed_rounds(folder: Path) -> dict[str, Any]:
    """The audit of what the aggregator left."""
    command = [sys.executable, "-m", "zkpot_aggregator", "audit", "--dir", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SILENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def run_task(folder: Path) -> tuple[list[dict[str, Any]], Party]:
    """Runs it to its end; returns what the prover printed, and the device that used it."""
    operator = Party.make(folder / "operator")
    devices = [Party.make(folder / name) for name in NAMES]
    prover = Party.make(folder / "prover")
    config = operator.write(aggregator_toml(devices, prover))
    async with contextlib.AsyncExitStack() as stack:
        words = ["run", "--config", str(config), "--json"]
        aggregator = stack.enter_context(
            start("aggregator", "zkpot_aggregator", words, operator.folder / "log")
        )
        events = Events(aggregator)
        ready = await until(events, aggregator, event="ready")
        served = json.dumps([each.key.public_key.hex() for each in devices])
        proving = await stack.enter_async_context(
            prover_process(prover.write(f"devices = {served}\n" + prover.broker(ready)))
        )
        named = f'provers = ["{prover.key.public_key.hex()}"]'
        offload = f'[prove]\nmode = "offload"\nlease_s = 10\n{named}\n'
        for index, party in enumerate(devices):
            text = agent_toml(party, index, ready, offload if index == 0 else "")
            arguments = ["run", "--config", str(party.write(text))]
            stack.enter_context(start(NAMES[index], "zkpot_agent", arguments, party.folder / "log"))
        await proving.until(timeout_s=SILENCE_S, state="done")
        await proving.kill()
        while await until(events, aggregator) is not None:
            pass
        assert aggregator.popen.wait(60) == 0, aggregator.tail(40)
        return proving.events, devices[0]


async def until(events: Events, process: Process, **wanted: object) -> Any:
    """The next event with these facts; None at the end."""
    while True:
        event = await asyncio.to_thread(events.next, SILENCE_S, lambda: None)
        assert event is not None or not wanted, process.tail(40)
        if event is None or wanted.items() <= event.items():
            return event


def test_a_task_with_a_prover_that_dies_audits_well(tmp_path: Path) -> None:
    events, anna = asyncio.run(run_task(tmp_path))
    jobs = [event for event in events if event["event"] == "job"]
    assert {job["device"] for job in jobs} == {device_text(anna.key.id)}
    assert jobs[-1]["state"] == "done"
    report = closed_rounds(tmp_path / "operator" / "state")
    assert report["ok"], report
    assert [each["phase"] for each in report["rounds"]] == ["closed"] * ROUNDS
    with Journal.open(anna.folder / "state" / "journal.sqlite") as journal:
        # In the second round nobody answered, and the proof was made on the device.
        assert not [each for each in journal.events(INCIDENT) if "declined" in each.key]

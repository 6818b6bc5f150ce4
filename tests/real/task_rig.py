"""A task on mosquitto, anvil and IPFS, each a process of its own."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eth_account import Account as EthAccount
from tests.real.anvil import CHAIN_ID, Anvil, anvil, write_key
from tests.real.components import Server, listens, program
from tests.real.ipfs import Ipfs
from tests.real.mosquitto import make_certificates, plan_for

from zkpot.ids import DeviceId, device_text
from zkpot.keys import KeyPair, create_key_file, load_key_file
from zkpot_aggregator.demo.processes import start
from zkpot_aggregator.mosquitto import CONFIGURATION, write_broker_files

KEY = b"t" * 32
BLOCK_S = 1.0
PLAIN = "plain:fedavg"


@dataclass(frozen=True)
class Rig:
    """The outside systems, and a folder for everything else."""

    folder: Path
    node: Anvil
    ipfs: Ipfs
    broker_folder: Path
    broker_port: int
    contract: str
    first_block: int
    devices: int
    rounds: int
    validators: int = 0
    aggregation: str = PLAIN

    @property
    def aggregator(self) -> Path:
        return self.folder / "aggregator"

    def device(self, index: int) -> Path:
        return self.folder / f"device-{index}"

    def validator(self, index: int) -> Path:
        return self.folder / f"validator-{index}"


def command(*arguments: object, module: str = "zkpot_aggregator") -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def task_rig(
    folder: Path, devices: int, rounds: int, validators: int = 0, aggregation: str = PLAIN
) -> Iterator[Rig]:
    """Broker, chain and IPFS run; aggregator and devices are configured, not started."""
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(anvil(folder / "anvil", block_s=BLOCK_S))
        node.fund(KEY)
        key_file = write_key(folder / "aggregator" / "ledger.key", KEY)
        options = ["--rpc", node.url, "--key-file", key_file, "--confirmations", 1, "--json"]
        made = json.loads(command("deploy", *options))
        assert json.loads(command("deploy", *options)) == made | {"fresh": False}
        ipfs = Ipfs(folder / "ipfs")
        stack.callback(ipfs.stop)
        ipfs.start()
        operator = create_key_file(folder / "aggregator" / "operator.key")
        keys = [create_key_file(folder / f"device-{n}" / "device.key") for n in range(devices)]
        voters = [create_key_file(folder / f"validator-{n}" / "key") for n in range(validators)]
        plan = replace(
            plan_for(operator.id, [key.id for key in keys]),
            validators=tuple(voter.id for voter in voters),
        )
        write_broker_files(plan, folder / "broker")
        make_certificates(folder / "broker")
        broker = Server(
            [program("mosquitto"), "-c", folder / "broker" / CONFIGURATION],
            folder / "broker" / "log",
        )
        stack.callback(broker.stop)
        broker.start(lambda: listens(plan.port))
        rig = Rig(
            folder, node, ipfs, folder / "broker", plan.port, made["contract"],
            made["first_block"], devices, rounds, validators, aggregation,
        )  # fmt: skip
        (rig.aggregator / "aggregator.toml").write_text(
            aggregator_toml(rig, broker_toml(rig, operator.id, "broker.settings"))
            + "".join(f'\n[[devices]]\npublic_key = "{key.public_key.hex()}"\n' for key in keys)
            + "".join(validator_entry(rig, n, voter) for n, voter in enumerate(voters))
        )
        yield rig


def validator_entry(rig: Rig, index: int, voter: KeyPair) -> str:
    """Gives the validator an account with money; returns its entry in the task."""
    account = bytes([ord("v"), index]) * 16
    rig.node.fund(account)
    write_key(rig.validator(index) / "ledger.key", account)
    address = EthAccount.from_key(account).address
    public_key = voter.public_key.hex()
    return f'\n[[task.validators]]\naddress = "{address}"\npublic_key = "{public_key}"\n'


def validator_toml(rig: Rig, ready: dict[str, Any], voter: DeviceId) -> str:
    return f"""
task = "{ready["task"]}"
operator_key = "{ready["operator_key"]}"
key_file = "key"
state_dir = "state"
margin_s = 5
{broker_toml(rig, voter, "broker")}
[ledger]
{ledger_toml(rig)}
[content]
kind = "kubo"
[content.settings]
url = "{rig.ipfs.url}"
lookup_s = 1
"""


def ledger_toml(rig: Rig) -> str:
    return f"""
url = "{rig.node.url}"
chain_id = {CHAIN_ID}
contract = "{rig.contract}"
first_block = {rig.first_block}
key_file = "ledger.key"
confirmations = 1
poll_s = 0.1
"""


def broker_toml(rig: Rig, device: DeviceId, table: str) -> str:
    name, clients = device_text(device), rig.broker_folder / "clients"
    return f"""
[{table}]
host = "127.0.0.1"
port = {rig.broker_port}
[{table}.tls]
ca_file = "{rig.broker_folder}/ca.pem"
certificate_file = "{clients}/{name}.pem"
key_file = "{clients}/{name}.key"
"""


def aggregator_toml(rig: Rig, broker: str) -> str:
    return f"""
key_file = "operator.key"
state_dir = "state"
[task]
name = "small"
dataset = "digits"
proof_system = "sumcheck/1"
aggregation = "{rig.aggregation}"
group_minimum = {rig.devices}
rounds = {rig.rounds}
batch_size = 32
gate_margin = 20
commit_s = 60
prove_s = 60
[ledger]
kind = "jsonrpc"
[ledger.settings]
{ledger_toml(rig)}
[content]
kind = "kubo"
[content.settings]
url = "{rig.ipfs.url}"
lookup_s = 1
[broker]
kind = "external"
{broker}"""


def agent_toml(rig: Rig, index: int, ready: dict[str, Any], device: DeviceId) -> str:
    return f"""
task = "{ready["task"]}"
operator_key = "{ready["operator_key"]}"
key_file = "device.key"
state_dir = "state"
{broker_toml(rig, device, "broker")}
[data]
source = "digits"
parameters = {{ devices = {rig.devices}, index = {index}, alpha = 0.5, seed = 0 }}
[train.settings]
epochs = 5
[limits]
cores = 1
[privacy]
aggregation = ["{rig.aggregation}"]
minimum_group = {rig.devices}
"""


def run_task(rig: Rig) -> str:
    """Runs it to its end; returns the task's id."""
    config = rig.aggregator / "aggregator.toml"
    checked = command("check", "--config", config)
    assert "FAIL" not in checked
    with contextlib.ExitStack() as stack:
        arguments = ["run", "--config", str(config), "--json"]
        log = rig.aggregator / "log"
        process = stack.enter_context(start("aggregator", "zkpot_aggregator", arguments, log))
        task = ""
        assert process.popen.stdout is not None
        for line in process.popen.stdout:
            event = json.loads(line)
            if event["event"] != "ready":
                continue
            task = event["task"]
            for index in range(rig.validators):
                folder = rig.validator(index)
                name = load_key_file(folder / "key").id
                (folder / "validator.toml").write_text(validator_toml(rig, event, name))
                words = ["validate", "--config", str(folder / "validator.toml")]
                stack.enter_context(
                    start(f"validator {index}", "zkpot_aggregator", words, folder / "log")
                )
            for index in range(rig.devices):
                folder = rig.device(index)
                device = load_key_file(folder / "device.key").id
                (folder / "agent.toml").write_text(agent_toml(rig, index, event, device))
                stack.enter_context(
                    start(
                        f"device {index}",
                        "zkpot_agent",
                        ["run", "--config", str(folder / "agent.toml")],
                        folder / "log",
                    )
                )
        assert process.popen.wait(60) == 0, process.tail(40)
    return task

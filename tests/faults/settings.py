"""The task of every world, and the configuration files of its services."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.real.anvil import CHAIN_ID

from zkpot.ids import DeviceId, device_text
from zkpot.keys import KeyPair
from zkpot_aggregator.toml_text import toml_text

AGGREGATION = "plain:fedavg"
DEVICES = 3
ROUNDS = 120
BATCH = 4
DEADLINE_S = 3
WORK_DEADLINE_S = 5
"""For training and proving: a busy machine must not fail every round."""
BLOCK_S = 0.5
_POLL_S = 0.1

Tables = dict[str, Any]


def aggregator_toml(
    keys: Sequence[KeyPair], ledger: Tables, content: Tables, broker: Tables, validators: Tables
) -> str:
    """`validators` are the task's, as `validators_of` gives them."""
    task = {
        "name": "faults",
        "dataset": "digits",
        "proof_system": "sumcheck/1",
        "aggregation": AGGREGATION,
        "rounds": ROUNDS,
        "batch_size": BATCH,
        "gate_margin": BATCH,
        "minimum_devices": 2,
        "commit_s": WORK_DEADLINE_S,
        "prove_s": WORK_DEADLINE_S,
        **dict.fromkeys(("aggregate_s", "record_s", "chain_s", "attest_s"), DEADLINE_S),
    }
    tables = {
        "key_file": "aggregator.key",
        "state_dir": "state",
        "task": task | validators,
        "ledger": {"kind": "jsonrpc", "settings": ledger},
        "content": {"kind": "kubo", "settings": content},
        "broker": {"kind": "external", "settings": broker},
        "devices": [{"public_key": key.public_key.hex()} for key in keys],
    }
    return toml_text(tables)


def agent_toml(index: int, ready: Mapping[str, Any], broker: Tables) -> str:
    """A device with its share of the digits; `ready` is what the aggregator said."""
    split = {"devices": DEVICES, "index": index, "alpha": 0.5, "seed": 0}
    tables = {
        **_task_of(ready),
        "key_file": "device.key",
        "data": {"source": "digits", "parameters": split},
        "train": {"settings": {"epochs": 1}},
        "limits": {"cores": 1},
        "privacy": {"aggregation": [AGGREGATION]},
        "broker": broker,
    }
    return toml_text(tables)


def validator_toml(
    ready: Mapping[str, Any], ledger: Tables, content: Tables, broker: Tables
) -> str:
    """The one validator of a task that has one."""
    tables = {
        **_task_of(ready),
        "key_file": "validator.key",
        "margin_s": 1.0,
        "fetch_s": DEADLINE_S,
        "poll_s": _POLL_S,
        "ledger": ledger,
        "content": {"kind": "kubo", "settings": content},
        "broker": broker,
    }
    return toml_text(tables)


def validators_of(address: str, key: KeyPair) -> Tables:
    """The part of a task that appoints one validator."""
    return {"quorum": 1, "validators": [{"address": address, "public_key": key.public_key.hex()}]}


def ledger_settings(port: int, made: Mapping[str, Any]) -> Tables:
    """The node behind a proxy's port; `made` is what `deploy` said."""
    return {
        "url": f"http://127.0.0.1:{port}",
        "chain_id": CHAIN_ID,
        "contract": made["contract"],
        "first_block": made["first_block"],
        "key_file": "ledger.key",
        "confirmations": 1,
        "poll_s": _POLL_S,
        "request_s": 2,
    }


def content_settings(port: int) -> Tables:
    """The daemon behind a proxy's port."""
    return {"url": f"http://127.0.0.1:{port}", "timeout_s": 3, "lookup_s": 1}


def broker_settings(folder: Path, port: int, client: DeviceId) -> Tables:
    """The broker, whose files are in `folder`, behind a proxy's port."""
    name, clients = device_text(client), folder / "clients"
    return {
        "host": "127.0.0.1",
        "port": port,
        "keepalive_s": 2,
        "connect_timeout_s": 2,
        "tls": {
            "ca_file": str(folder / "ca.pem"),
            "certificate_file": str(clients / f"{name}.pem"),
            "key_file": str(clients / f"{name}.key"),
        },
    }


def _task_of(ready: Mapping[str, Any]) -> Tables:
    return {"task": ready["task"], "operator_key": ready["operator_key"], "state_dir": "state"}

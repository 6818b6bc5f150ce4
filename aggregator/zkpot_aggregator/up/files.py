"""Keys and configuration files of what `up` starts; keys are made once and kept."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zkpot.ids import device_text
from zkpot.keys import KeyPair
from zkpot_aggregator.local_keys import device_key, kept_key
from zkpot_aggregator.toml_text import toml_text
from zkpot_aggregator.up.config import UpConfig

DATA_SEED = 0
EPOCHS = 15
MARGIN_S = 5.0
"""For a validator on the same machine: far longer than a message takes."""


@dataclass(frozen=True)
class Member:
    """The aggregator or a device: its folder and its key."""

    folder: Path
    key: KeyPair

    @property
    def password_file(self) -> Path:
        """For the embedded broker."""
        return self.folder / "password"


def make_aggregator(root: Path) -> Member:
    """The operator's key is made here, by whoever runs `up`."""
    folder = root / "aggregator"
    return Member(folder, kept_key(folder / "operator.key"))


def make_device(root: Path, index: int) -> Member:
    """A device's key is made by the device's own program."""
    folder = root / f"device-{index}"
    return Member(folder, device_key(folder))


def make_validator(root: Path) -> Member:
    """A validator's key belongs to nobody else either, but here one person runs everything."""
    folder = root / "validator"
    return Member(folder, kept_key(folder / "validator.key"))


def write_aggregator_config(
    config: UpConfig,
    aggregator: Member,
    devices: Sequence[Member],
    *,
    ledger: Mapping[str, object] | None,
    content: Mapping[str, object] | None,
    broker: Mapping[str, object] | None,
) -> Path:
    """The aggregator's file; a part without settings is embedded."""
    tables: dict[str, Any] = {
        "key_file": "operator.key",
        "state_dir": "state",
        "task": dataclasses.asdict(config.task),
        "ledger": _part("jsonrpc", "embedded", ledger),
        "content": _part("kubo", "directory", content),
        "broker": _part("external", "embedded", broker),
        "devices": [
            {
                "public_key": device.key.public_key.hex(),
                "owner": f"device {index}",
                "password_file": str(device.password_file),
            }
            for index, device in enumerate(devices)
        ],
    }
    path = aggregator.folder / "aggregator.toml"
    path.write_text(toml_text(tables))
    return path


def write_agent_config(
    config: UpConfig,
    device: Member,
    index: int,
    ready: Mapping[str, Any],
    broker: Mapping[str, object] | None,
) -> Path:
    """A device's file; `ready` is what the aggregator said when it was."""
    embedded = {
        "host": ready["host"],
        "port": ready["port"],
        "username": device_text(device.key.id),
        "password_file": "password",
    }
    split = {"devices": config.devices, "index": index, "alpha": 0.5, "seed": DATA_SEED}
    tables: dict[str, Any] = {
        "task": ready["task"],
        "operator_key": ready["operator_key"],
        "key_file": "device.key",
        "state_dir": "state",
        "broker": embedded if broker is None else broker,
        "data": {"source": "digits", "parameters": split},
        "train": {"settings": {"epochs": EPOCHS}},
        "limits": {"cores": 1},
        "privacy": {
            "aggregation": [config.task.chosen_aggregation],
            "minimum_group": max(2, config.task.group_minimum),
        },
    }
    path = device.folder / "agent.toml"
    path.write_text(toml_text(tables))
    return path


def write_validator_config(
    validator: Member,
    ready: Mapping[str, Any],
    *,
    ledger: Mapping[str, object],
    content: Mapping[str, object] | None,
    broker: Mapping[str, object],
) -> Path:
    """The validator's file; it votes with an account of its own, `ledger.key` beside the file."""
    tables: dict[str, Any] = {
        "task": ready["task"],
        "operator_key": ready["operator_key"],
        "key_file": "validator.key",
        "state_dir": "state",
        "margin_s": MARGIN_S,
        "ledger": {**ledger, "key_file": "ledger.key"},
        "content": _part("kubo", "directory", content),
        "broker": broker,
    }
    path = validator.folder / "validator.toml"
    path.write_text(toml_text(tables))
    return path


def _part(kind: str, embedded: str, settings: Mapping[str, object] | None) -> dict[str, object]:
    if settings is None:
        return {"kind": embedded}
    return {"kind": kind, "settings": settings}

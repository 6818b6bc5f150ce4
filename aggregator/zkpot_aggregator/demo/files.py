"""The demonstration's directory: keys, passwords and the configuration of every process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zkpot.ids import device_text
from zkpot.keys import KeyPair
from zkpot.task import SRS_INSECURE_DEMO
from zkpot_aggregator.demo.options import GROUP_SIZE, DemoOptions
from zkpot_aggregator.local_keys import device_key, kept_key
from zkpot_aggregator.toml_text import toml_text
from zkpot_aggregator.ui.audit import default_cache

_EZKL_VALUE_BITS = 26
"""What the circuit's decomposition takes, see `zkpot.proof.ezkl`."""


@dataclass(frozen=True)
class Device:
    """One device of the demonstration."""

    index: int
    folder: Path
    key: KeyPair
    hostile: str | None

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.folder / "agent.toml"


def make_devices(options: DemoOptions, root: Path) -> list[Device]:
    """Keys and passwords, made on the first run. Hostile devices come last."""
    kinds: list[str | None] = [None] * options.honest + list(options.hostile)
    return [_make_device(root / "devices" / f"{n:02}", n, kind) for n, kind in enumerate(kinds)]


def _make_device(folder: Path, index: int, hostile: str | None) -> Device:
    return Device(index, folder, device_key(folder), hostile)


def write_aggregator_config(options: DemoOptions, root: Path, devices: list[Device]) -> Path:
    """The aggregator's file; the same options give the same file."""
    folder = root / "aggregator"
    kept_key(folder / "operator.key")
    slow = options.proof_system == "ezkl"
    deadline_s = options.deadline_s or 30
    text = toml_text(
        {
            "key_file": "operator.key",
            "state_dir": "state",
            "cache_dir": str(default_cache()),
            "task": {
                "name": "digits demonstration",
                "dataset": "digits",
                "dataset_parameters": {"seed": options.seed},
                "proof_system": options.system_id,
                "srs": SRS_INSECURE_DEMO if slow else "",
                "rounds": options.rounds,
                "batch_size": options.batch,
                "seed": options.seed,
                "minimum_devices": options.minimum_devices,
                "maximum_devices": options.devices,
                "gate_margin": options.batch // 3 + 1,
                "aggregation": options.aggregation,
                "group_size": GROUP_SIZE,
                "group_minimum": options.group_minimum,
                "commit_s": max(90, deadline_s),
                "prove_s": deadline_s + 20 * options.devices if slow else deadline_s,
                "aggregate_s": deadline_s,
                "record_s": deadline_s,
            },
            "broker": {"kind": "embedded"},
            "devices": [
                {
                    "public_key": device.key.public_key.hex(),
                    "owner": f"device {device.index}",
                    "password_file": f"../devices/{device.folder.name}/password",
                }
                for device in devices
            ],
        }
    )
    path = folder / "aggregator.toml"
    path.write_text(text)
    return path


def write_agent_config(options: DemoOptions, device: Device, ready: dict[str, Any]) -> Path:
    """A device's file; the broker's port may change from run to run."""
    settings: dict[str, Any] = {"epochs": 15}
    if options.proof_system == "ezkl":
        settings["value_limit_bits"] = _EZKL_VALUE_BITS
    device.config.write_text(
        toml_text(
            {
                "task": ready["task"],
                "operator_key": ready["operator_key"],
                "key_file": "device.key",
                "state_dir": "state",
                "cache_dir": str(default_cache()),
                "broker": {
                    "host": ready["host"],
                    "port": ready["port"],
                    "username": device_text(device.key.id),
                    "password_file": "password",
                },
                "data": {
                    "source": "digits",
                    "parameters": {
                        "devices": options.devices,
                        "index": device.index,
                        "alpha": 0.5,
                        "seed": options.seed,
                    },
                },
                "train": {"seed": options.seed + 1000 * device.index, "settings": settings},
                "limits": {"cores": 1},
                "privacy": {
                    "aggregation": [options.aggregation],
                    "minimum_group": max(2, options.group_minimum),
                },
            }
        )
    )
    return device.config

"""The compiled contract that ships with the package."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Artifact:
    """Made by scripts/build-contract; the code hash pins what may stand on a chain."""

    abi: list[dict[str, Any]]
    bytecode: bytes
    """Creation code."""
    code_hash: bytes
    """Keccak-256 of the runtime code, 32 bytes."""
    compiler: str
    source_sha256: bytes


@cache
def load_artifact() -> Artifact:
    """Reads the package data, once."""
    raw = json.loads(resources.files(__package__).joinpath("ZkpotLedger.json").read_text())
    return Artifact(
        abi=raw["abi"],
        bytecode=bytes.fromhex(raw["bytecode"][2:]),
        code_hash=bytes.fromhex(raw["code_hash"][2:]),
        compiler=raw["compiler"],
        source_sha256=bytes.fromhex(raw["source_sha256"]),
    )

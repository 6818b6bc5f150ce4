"""The programs that `up` starts: all of them are found before any of them is started."""

import os
import shutil
from pathlib import Path

from zkpot.errors import ExitCode, Fatal
from zkpot.proof.registry import SYSTEM_TO_PACKAGE, installed
from zkpot_aggregator.up.config import Broker, ChainNode, Content, UpConfig

SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where Debian puts servers; not on everybody's PATH."""

INSTALL = {
    "mosquitto": 'apt-get install mosquitto, or broker = "embedded"',
    "openssl": 'apt-get install openssl, or broker = "embedded"',
    "anvil": 'npm install --global @foundry-rs/anvil, or chain = "embedded"',
    "ipfs": 'npm install --global kubo, or content = "directory"',
}


def needed(config: UpConfig) -> list[str]:
    """The names of the programs that this configuration starts."""
    return [
        *(["mosquitto", "openssl"] if config.broker is Broker.MOSQUITTO else []),
        *(["anvil"] if config.chain is ChainNode.ANVIL else []),
        *(["ipfs"] if config.content is Content.IPFS else []),
    ]


def find_programs(config: UpConfig) -> dict[str, Path]:
    """Name to path; raises `Fatal` (DEPENDENCY) naming all that is missing and how to get it."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_FOLDERS])
    found = {name: shutil.which(name, path=path) for name in needed(config)}
    missing = [f"{name}: {INSTALL[name]}" for name, where in found.items() if where is None]
    system = config.task.proof_system
    if system not in installed():
        package = SYSTEM_TO_PACKAGE.get(system, "?")
        missing.append(f"the proof system {system}: pip install {package}")
    if missing:
        raise Fatal(ExitCode.DEPENDENCY, "\n  ".join(["these are not installed:", *missing]))
    return {name: Path(where) for name, where in found.items() if where is not None}

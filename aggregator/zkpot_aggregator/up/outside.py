"""Starts the programs of others: an EVM test node, an IPFS daemon, a broker.

Each listens on a free port of loopback, keeps its data in a folder of its own, and has
answered before it is handed on.
"""

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from eth_account import Account
from web3.types import RPCEndpoint

from zkpot.errors import ExitCode, Fatal
from zkpot.files import create_secret_file
from zkpot.ids import DeviceId, device_text
from zkpot_aggregator.demo.processes import Process, start_program
from zkpot_aggregator.deploy import deploy
from zkpot_aggregator.ledger.endpoint import Endpoint, connect
from zkpot_aggregator.ledger.keyfile import load_key
from zkpot_aggregator.mosquitto import (
    CERTIFICATES,
    CONFIGURATION,
    BrokerPlan,
    write_broker_files,
)

ANSWER_S = 60.0
LOOK_S = 0.05
REQUEST_S = 10.0
_PORTS = range(20_000, 32_000)
_RICH = 10**20
"""Wei, on a chain of our own."""


@dataclass(frozen=True)
class Started:
    """A program that runs, and the settings with which to reach it."""

    process: Process
    settings: dict[str, object]


def start_chain(anvil: Path, folder: Path, block_s: float, stack: ExitStack) -> Started:
    """Anvil with its state on disk, an account with money, and the contract deployed."""
    port = free_port()
    words = [
        *(str(anvil), "--port", str(port), "--silent", "--block-time", str(block_s)),
        *("--mixed-mining", "--state", str(folder / "state.json"), "--state-interval", "1"),
    ]
    process = stack.enter_context(start_program("anvil", words, folder / "log"))
    wait_for_port(process, port)
    key_file, url = folder / "ledger.key", f"http://127.0.0.1:{port}"
    make_account(url, key_file)
    made = deploy(url, load_key(key_file))
    settings: dict[str, object] = {
        "url": url,
        "chain_id": made.chain_id,
        "contract": made.address,
        "first_block": made.block,
        "key_file": str(key_file),
        "confirmations": 1,
        "poll_s": 0.2,
    }
    return Started(process, settings)


def make_account(url: str, key_file: Path) -> str:
    """The address of an account with money on anvil; its key is made once."""
    if not key_file.exists():
        create_secret_file(key_file, secrets.token_hex(32).encode() + b"\n")
    address: str = Account.from_key(load_key(key_file)).address
    provider = connect(url, REQUEST_S).provider
    assert isinstance(provider, Endpoint)
    try:
        provider.make_request(RPCEndpoint("anvil_setBalance"), [address, hex(_RICH)])
    finally:
        provider.close()
    return address


def start_content(ipfs: Path, folder: Path, stack: ExitStack) -> Started:
    """A Kubo daemon that speaks to nobody else."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {"IPFS_PATH": str(folder / "repository")}
    api, gateway = free_port(), free_port()
    if not (folder / "repository" / "config").exists():
        run_to_end([str(ipfs), "init", "--empty-repo"], environment)
    for name, port in (("API", api), ("Gateway", gateway)):
        address = f"/ip4/127.0.0.1/tcp/{port}"
        run_to_end([str(ipfs), "config", f"Addresses.{name}", address], environment)
    words = [str(ipfs), "daemon", "--offline"]
    process = stack.enter_context(start_program("ipfs", words, folder / "log", environment))
    wait_for_port(process, api)
    return Started(process, {"url": f"http://127.0.0.1:{api}"})


def start_broker(
    mosquitto: Path,
    folder: Path,
    aggregator: DeviceId,
    devices: Sequence[DeviceId],
    validators: Sequence[DeviceId],
    stack: ExitStack,
) -> Started:
    """Mosquitto with the files of `broker-config`, and a certificate for each client."""
    # Started by root, mosquitto would become a user who cannot read this folder.
    user = "root" if os.geteuid() == 0 else ""
    plan = BrokerPlan(
        aggregator,
        devices,
        validators=validators,
        port=free_port(),
        bind="127.0.0.1",
        user=user,
    )
    write_broker_files(plan, folder)
    run_to_end(["sh", str(folder / CERTIFICATES)], {})
    words = [str(mosquitto), "-c", str(folder / CONFIGURATION)]
    process = stack.enter_context(start_program("mosquitto", words, folder / "log"))
    wait_for_port(process, plan.port)
    return Started(process, {"host": "127.0.0.1", "port": plan.port})


def client_settings(
    broker: Mapping[str, object], folder: Path, client: DeviceId
) -> dict[str, object]:
    """How one client reaches the broker whose files are in `folder`."""
    name, clients = device_text(client), folder / "clients"
    files = {
        "ca_file": str(folder / "ca.pem"),
        "certificate_file": str(clients / f"{name}.pem"),
        "key_file": str(clients / f"{name}.key"),
    }
    return {**broker, "tls": files}


def free_port() -> int:
    """A port of loopback that nobody listens on; raises `Fatal` if there seems to be none.

    The kernel gives none of these to whoever asks for any, so it is still free when the program
    that it is for has started.
    """
    for _ in range(100):
        port = secrets.choice(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise Fatal(ExitCode.FAILURE, f"no free port between {_PORTS.start} and {_PORTS.stop}")


def run_to_end(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Runs a program; raises `Fatal` with what it said if it fails."""
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise Fatal(ExitCode.FAILURE, f"{' '.join(words)} ended with {done.returncode}: {said}")


def wait_for_port(process: Process, port: int) -> None:
    """Returns once it listens; raises `Fatal` if it ends or takes too long."""
    end = time.monotonic() + ANSWER_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError as error:
            ended = process.popen.poll() is not None
            if ended or time.monotonic() > end:
                raise Fatal(
                    ExitCode.FAILURE, f"{process.name} does not answer:\n{process.tail()}"
                ) from error
        time.sleep(LOOK_S)

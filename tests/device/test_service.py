"""The real service against the embedded broker, as systemd sees it; idle memory."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.device.cage import without_coverage
from tests.real.components import free_port

from zkpot.ids import device_text
from zkpot.keys import create_key_file
from zkpot_aggregator.embedded.access import Account
from zkpot_aggregator.embedded.broker import EmbeddedBroker

IDLE_KB = 60_000
PATIENCE_S = 120.0

pytestmark = [pytest.mark.broker, pytest.mark.enable_socket]


@dataclass
class Rig:
    """A broker, a device's files, and the socket that systemd would listen on."""

    folder: Path
    config: Path
    broker: EmbeddedBroker
    manager: socket.socket

    def start(self, *, covered: bool = True) -> subprocess.Popen[bytes]:
        """The service under a watchdog of 0.4 s."""
        environment = (dict(os.environ) if covered else without_coverage()) | {
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "WATCHDOG_USEC": "400000",
        }
        command = [sys.executable, "-m", "zkpot_agent", "run", "--config", str(self.config)]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stderr=log)

    def hear(self, wanted: str) -> list[str]:
        """What the service says, up to and with a message that starts with `wanted`."""
        heard: list[str] = []
        deadline = time.monotonic() + PATIENCE_S
        while not (heard and heard[-1].startswith(wanted)):
            self.manager.settimeout(max(deadline - time.monotonic(), 0.001))
            heard.append(self.manager.recv(4096).decode())
        return heard

    def forget(self) -> None:
        """Leaves out what was said before: the socket holds few messages, and drops the rest."""
        self.manager.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.manager.recv(4096)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    device, operator = create_key_file(tmp_path / "device.key"), create_key_file(tmp_path / "o.key")
    accounts = [Account(operator.id, "x", is_aggregator=True), Account(device.id, "secret")]
    broker = EmbeddedBroker(tmp_path / "broker", accounts, port=free_port())
    broker.start()
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o600)
    config = tmp_path / "agent.toml"
    config.write_text(
        f'task = "{"00" * 32}"\noperator_key = "{operator.public_key.hex()}"\n'
        'key_file = "device.key"\nstate_dir = "state"\nprofile = "generic-x86-64"\n'
        f'[broker]\nhost = "127.0.0.1"\nport = {broker.port}\n'
        f'username = "{device_text(device.id)}"\npassword_file = "password"\n'
        '[data]\nsource = "synthetic"\n'
    )
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    yield Rig(tmp_path, config, broker, manager)
    manager.close()
    broker.stop()


def test_ready_watched_and_stopped_cleanly(rig: Rig) -> None:
    service = rig.start()
    try:
        heard = rig.hear("READY=1")
        assert "STATUS=connecting to the broker" in heard
        while "STATUS=fetching the task" not in heard:
            heard += rig.hear("")
        rig.hear("WATCHDOG=1")
        rig.hear("WATCHDOG=1")
        shown = subprocess.run(
            [sys.executable, "-m", "zkpot_agent", "status", "--config", str(rig.config), "--json"],
            capture_output=True,
            check=True,
        )
        facts = json.loads(shown.stdout)
        assert (facts["running"], facts["pid"]) == (True, service.pid)
        assert facts["profile"] == "generic-x86-64"
        rig.forget()
        service.send_signal(signal.SIGTERM)
        rig.hear("STOPPING=1")
        assert service.wait(PATIENCE_S) == 0
    finally:
        service.kill()
        service.wait()


def test_small_when_idle(rig: Rig) -> None:
    service = rig.start(covered=False)
    try:
        rig.hear("READY=1")
        rig.hear("WATCHDOG=1")
        status = Path(f"/proc/{service.pid}/status").read_text()
        (resident,) = (int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line)
        assert resident <= IDLE_KB
    finally:
        service.kill()
        service.wait()


def test_not_ready_before_the_broker_accepts_us(rig: Rig) -> None:
    rig.broker.stop()
    service = rig.start()
    try:
        # Alive and patient: a device may be switched on long before its network is.
        heard = rig.hear("WATCHDOG=1") + rig.hear("WATCHDOG=1")
        assert "READY=1" not in heard
        rig.broker.start()
        rig.hear("READY=1")
    finally:
        service.kill()
        service.wait()


def test_a_broken_key_ends_with_its_own_status(rig: Rig) -> None:
    (rig.folder / "device.key").write_text("zkpot-key-1 00 00\n")
    assert rig.start().wait(PATIENCE_S) == 11


def test_a_profile_that_does_not_exist_ends_with_its_own_status(rig: Rig) -> None:
    rig.config.write_text(rig.config.read_text().replace("generic-x86-64", "toaster"))
    assert rig.start().wait(PATIENCE_S) == 10
    assert "no profile 'toaster'" in (rig.folder / "log").read_text()

"""mosquitto on loopback over TLS, as `broker-config` sets it up."""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.link.rigs import KEEPALIVE_S
from tests.real.components import Server, free_port, listens, missing, program

from zkpot.ids import DeviceId, device_text
from zkpot.link import BrokerSettings, Tls
from zkpot_aggregator.mosquitto import (
    CERTIFICATES,
    CONFIGURATION,
    BrokerPlan,
    write_broker_files,
)


def plan_for(
    aggregator: DeviceId, devices: Sequence[DeviceId], validators: Sequence[DeviceId] = ()
) -> BrokerPlan:
    # Started by root, mosquitto would become a user who cannot read a test's folder.
    user = "root" if os.geteuid() == 0 else ""
    return BrokerPlan(
        aggregator,
        tuple(devices),
        validators=tuple(validators),
        port=free_port(),
        bind="127.0.0.1",
        user=user,
    )


def make_certificates(folder: Path) -> None:
    if shutil.which("openssl") is None:
        missing("openssl")
    subprocess.run(["sh", str(folder / CERTIFICATES)], check=True, capture_output=True)


@functools.cache
def _certified(aggregator: DeviceId, devices: tuple[DeviceId, ...]) -> tempfile.TemporaryDirectory:  # type: ignore[type-arg]
    """One set of certificates for all tests: making them takes longer than most of these."""
    folder = tempfile.TemporaryDirectory(prefix="zkpot-certificates-")
    write_broker_files(plan_for(aggregator, devices), Path(folder.name))
    make_certificates(Path(folder.name))
    return folder


class Mosquitto:
    """A broker for these clients; `folder` holds its files and the clients' certificates."""

    def __init__(
        self, folder: Path, aggregator: DeviceId, devices: Sequence[DeviceId], extra: str = ""
    ) -> None:
        found = program("mosquitto")
        self.folder = folder / "broker"
        shutil.copytree(_certified(aggregator, tuple(devices)).name, self.folder)
        self.plan = plan_for(aggregator, devices)
        write_broker_files(self.plan, self.folder)
        with (self.folder / CONFIGURATION).open("a") as file:
            file.write(extra)
        self.server = Server([found, "-c", self.folder / CONFIGURATION], self.folder / "log")

    def start(self) -> None:
        self.server.start(lambda: listens(self.plan.port))

    def stop(self) -> None:
        self.server.stop()

    def tls(self, device: DeviceId) -> Tls:
        clients, name = self.folder / "clients", device_text(device)
        return Tls(self.folder / "ca.pem", clients / f"{name}.pem", clients / f"{name}.key")

    def settings(self, device: DeviceId) -> BrokerSettings:
        return replace(
            BrokerSettings("127.0.0.1", self.plan.port, keepalive_s=KEEPALIVE_S),
            tls=self.tls(device),
        )


MARKS = [
    pytest.mark.broker,
    pytest.mark.enable_socket,
    # paho leaves the socket of a failed handshake to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

"""What the link makes of certificates, with a server that speaks TLS and nothing else."""

import asyncio
import gc
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from zkpot.errors import ExitCode, Fatal
from zkpot.journal import Journal
from zkpot.link import BrokerSettings, Tls
from zkpot.link.mqtt import MqttLink

pytestmark = [
    pytest.mark.broker,
    pytest.mark.enable_socket,
    # paho leaves the socket of a failed handshake to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates"),
]


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _authority(folder: Path, name: str) -> None:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
    _openssl(folder, "req", "-x509", *key, *files, "-subj", f"/CN={name}", "-days", "2")


def _certificate(folder: Path, name: str, authority: str) -> None:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    files = ("-keyout", f"{name}.key", "-out", f"{name}.csr")
    _openssl(folder, "req", *key, *files, "-subj", f"/CN={name}")
    (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    signer = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial")
    paths = ("-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", "extensions")
    _openssl(folder, "x509", "-req", *signer, *paths, "-days", "2")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for authority in ("ours", "rogue"):
        _authority(folder, authority)
        for name in ("server", "client"):
            _certificate(folder, f"{authority}-{name}", authority)
    return folder


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("authority", "client", "expected"),
    [
        ("ours", None, "refuses the client certificate"),
        ("ours", "rogue-client", "refuses the client certificate"),
        ("rogue", "ours-client", "its certificate is not trusted"),
        ("ours", "ours-client", None),
    ],
)
def test_certificates(
    certificates: Path,
    tmp_path: Path,
    version: ssl.TLSVersion,
    authority: str,
    client: str | None,
    expected: str | None,
) -> None:
    server_side = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ours.pem"
    )
    server_side.load_cert_chain(certificates / "ours-server.pem", certificates / "ours-server.key")
    server_side.verify_mode = ssl.CERT_REQUIRED
    server_side.minimum_version = server_side.maximum_version = version
    tls = Tls(
        certificates / f"{authority}.pem",
        certificates / f"{client}.pem" if client else None,
        certificates / f"{client}.key" if client else None,
    )

    def serve(listening: socket.socket) -> None:
        # Not asyncio's server, which closes before the alert is out.
        held = []
        with suppress(OSError):
            while True:
                plain, _ = listening.accept()
                try:
                    held.append(server_side.wrap_socket(plain, server_side=True))
                except OSError:
                    plain.close()
        for each in held:
            each.close()

    async def scenario(journal: Journal, port: int) -> None:
        settings = BrokerSettings("127.0.0.1", port, tls=tls, connect_timeout_s=1)
        link = MqttLink(settings, client_id="x", journal=journal, subscriptions=["t"])
        running = asyncio.ensure_future(link.run())
        await asyncio.wait({running}, timeout=4 if expected is None else 60)
        if expected is None:
            assert not running.done()
        else:
            assert running.done()
            with pytest.raises(Fatal, match=expected) as caught:
                running.result()
            assert caught.value.exit_code is ExitCode.CREDENTIALS
        await link.stop()

    with (
        Journal.open(tmp_path / "state.db") as journal,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        asyncio.run(scenario(journal, listening.getsockname()[1]))
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    # Here, where the warning is expected, and not in a later test.
    gc.collect()

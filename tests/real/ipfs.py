"""An IPFS daemon on loopback: Kubo if there is one, else js-ipfs with the same RPC.

ZKPOT_TEST_IPFS names the RPC address of a daemon that runs already; it should hold nothing
else, for these tests drop what is not pinned.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.real.components import FOLDER, NODE_MODULES, Server, free_port, listens, missing, program

from zkpot.errors import Transient
from zkpot.files import replace_file
from zkpot_aggregator.content.kubo import KuboStore

GIVEN = os.environ.get("ZKPOT_TEST_IPFS")
LOOKUP_S = 0.3
_SCRIPT = "ipfs-daemon.mjs"


class Ipfs:
    """A daemon with a repository of its own; `url` and `gateway` stay over restarts."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = dict(environment or {})
        self.repository = folder / "repository"
        self._api, self._gateway = free_port(), free_port()
        self.url = GIVEN or f"http://127.0.0.1:{self._api}"
        self.gateway = f"http://127.0.0.1:{self._gateway}"
        self.server: Server | None = None

    def start(self) -> None:
        if GIVEN:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        kubo = shutil.which("ipfs")
        self.server = self._kubo(kubo) if kubo else self._javascript()
        with self.store() as store:
            self.server.start(lambda: listens(self._api) and _answers(store), timeout_s=60)

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()

    def store(self) -> KuboStore:
        return KuboStore(self.url, lookup_s=LOOKUP_S)

    def lose_repository(self) -> None:
        """As after a broken disk: everything is gone. The daemon must be stopped."""
        shutil.rmtree(self.repository)

    def _javascript(self) -> Server:
        if not (NODE_MODULES / "ipfs-http-server").exists():
            missing("an IPFS daemon")
        # Modules are looked for beside the script.
        script = FOLDER / _SCRIPT
        ours = Path(__file__).with_name(_SCRIPT).read_text()
        if not script.exists() or script.read_text() != ours:
            replace_file(script, ours.encode())
        ports = [str(self._api), str(self._gateway)]
        command: list[str | Path] = [program("node"), script, self.repository, *ports]
        return Server(command, self.folder / "log", environment=self.environment)

    def _kubo(self, ipfs: str) -> Server:
        command: list[str | Path] = [program("env"), f"IPFS_PATH={self.repository}", ipfs]
        if not (self.repository / "config").exists():
            subprocess.run([*command, "init", "--empty-repo"], check=True, capture_output=True)
            for name, port in (("API", self._api), ("Gateway", self._gateway)):
                value = json.dumps(f"/ip4/127.0.0.1/tcp/{port}")
                setting = ["config", "--json", f"Addresses.{name}", value]
                subprocess.run([*command, *setting], check=True, capture_output=True)
        return Server(
            [*command, "daemon", "--offline"], self.folder / "log", environment=self.environment
        )


def empty(store: KuboStore) -> None:
    """Drops every pin and block."""
    for cid in store.pins():
        store.unpin(cid)
    store.collect_garbage()


def _answers(store: KuboStore) -> bool:
    try:
        store.version()
    except Transient:
        return False
    return True

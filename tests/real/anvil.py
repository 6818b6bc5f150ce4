"""anvil on loopback, with what only a test node can be asked to do."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth_account import Account
from tests.real.components import NODE_MODULES, Server, free_port, listens, program

from zkpot_aggregator.ledger.endpoint import Endpoint, connect

BLOCK_S = 0.05
CHAIN_ID = 31_337
BESIDES = NODE_MODULES / "@foundry-rs/anvil-linux-amd64/bin/anvil"
"""Where it is if not on PATH."""
RICH = 10**20


class Anvil:
    """A node; `url` stays the same over restarts."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        block_s: float = BLOCK_S,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        found = program("anvil", BESIDES)
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        mining = ["--block-time", str(block_s), "--mixed-mining"] if block_s else ["--no-mining"]
        command: Sequence[str | Path] = [
            found, "--port", str(self.port), "--silent", *mining, *options,
        ]  # fmt: skip
        self.server = Server(command, folder / "anvil.log", folder, environment)
        self.web3 = connect(self.url, 10)

    def start(self) -> None:
        self.server.start(lambda: listens(self.port))

    def stop(self) -> None:
        self.server.stop()

    def ask(self, method: str, *params: object) -> Any:
        answer = self.web3.provider.make_request(method, list(params))  # type: ignore[arg-type]
        assert "error" not in answer, answer
        return answer["result"]

    def fund(self, key: bytes) -> None:
        self.ask("anvil_setBalance", Account.from_key(key).address, hex(RICH))

    def mine(self, blocks: int = 1) -> None:
        self.ask("anvil_mine", hex(blocks))

    def stand_still(self) -> None:
        """From now on a block comes with each transaction and with `mine`, never by itself."""
        self.ask("evm_setIntervalMining", 0)
        self.ask("evm_setAutomine", True)

    def go_on(self) -> None:
        """A block a second again; nodes take no shorter time while they run."""
        self.ask("evm_setIntervalMining", 1)

    def reorganise(self, depth: int) -> None:
        """Replaces the last blocks by empty ones; their transactions are gone."""
        self.ask("anvil_reorg", depth, [])

    @property
    def height(self) -> int:
        return self.web3.eth.block_number

    def close(self) -> None:
        assert isinstance(self.web3.provider, Endpoint)
        self.web3.provider.close()
        self.stop()


@contextmanager
def anvil(folder: Path, *options: str, block_s: float = BLOCK_S) -> Iterator[Anvil]:
    node = Anvil(folder, *options, block_s=block_s)
    try:
        node.start()
        yield node
    finally:
        node.close()


def write_key(path: Path, key: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(key.hex() + "\n")
    path.chmod(0o600)
    return path

"""Where a node is, and how transactions are sent to it."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from eth_utils.address import to_canonical_address

from zkpot.errors import ExitCode, Fatal
from zkpot.wire.codec import Span
from zkpot_aggregator.ledger.calls import Address
from zkpot_aggregator.ledger.keyfile import load_key

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
MAX_URL_BYTES = 4096


@dataclass(frozen=True)
class JsonRpcSettings:
    """A node, the contract on its chain, and the account that pays.

    `url_file` holds the address instead of `url` where the address itself is a secret.
    The key is a file (`key_file`), or a systemd credential of the name `key_credential`;
    with neither, nothing is sent: every call is simulated and then refused.
    """

    chain_id: Annotated[int, Span(1, 2**53)]
    contract: str
    url: str = ""
    url_file: Path | None = None
    first_block: Annotated[int, Span(0, 2**53)] = 0
    """The block of the contract's deployment; without it the node must keep old state."""
    key_file: Path | None = None
    key_credential: str = ""
    confirmations: Annotated[int, Span(0, 1000)] = 3
    """Blocks on top of the one that is read, and of the one a transaction is in."""
    gas_limit: Annotated[int, Span(100_000, 30_000_000)] = 2_000_000
    """Of one transaction: also what a wrong estimate can cost."""
    max_fee_gwei: Annotated[float, Span(0, 1_000_000)] = 200.0
    """Fees are raised up to this and no further."""
    resend_s: Annotated[float, Span(0, 86_400)] = 60.0
    """A transaction in no block after this long is sent again with a higher fee."""
    confirm_s: Annotated[float, Span(1, 86_400)] = 600.0
    """How long one attempt waits for its block and confirmations."""
    poll_s: Annotated[float, Span(0, 60)] = 1.0
    request_s: Annotated[float, Span(0, 600)] = 10.0

    def __post_init__(self) -> None:
        if not _ADDRESS.fullmatch(self.contract):
            raise ValueError("contract: expected 0x and 40 hexadecimal digits")
        if bool(self.url) == (self.url_file is not None):
            raise ValueError("exactly one of url and url_file is needed")
        if self.key_file is not None and self.key_credential:
            raise ValueError("only one of key_file and key_credential is needed")

    @property
    def address(self) -> Address:
        """The contract."""
        return Address(to_canonical_address(self.contract))

    def endpoint(self) -> str:
        """The node's URL; raises `Fatal` (CREDENTIALS) if its file cannot be read."""
        if self.url_file is None:
            return self.url
        try:
            return self.url_file.read_text()[:MAX_URL_BYTES].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Fatal(ExitCode.CREDENTIALS, f"cannot read {self.url_file}: {error}") from error

    def key(self) -> bytes | None:
        """The account's private key, or None without one; raises `Fatal` (KEY)."""
        if self.key_file is not None:
            return load_key(self.key_file)
        if not self.key_credential:
            return None
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise Fatal(
                ExitCode.KEY,
                f"key_credential = {self.key_credential!r} needs systemd's LoadCredential=",
            )
        return load_key(Path(folder) / self.key_credential)

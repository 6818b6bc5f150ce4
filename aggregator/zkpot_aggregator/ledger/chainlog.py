"""The file that is the embedded chain: one line per block, appended and fsynced.

The first line names the chain, every other one holds all that decides a block and the hash
that came out. Each carries `link`, the SHA-256 of the link before it and its own content,
so that an edit, a gap or a swap is found without mining anything. Lines are canonical JSON.

A last line without its end was cut off by a power loss before anybody was told of its block:
a writer drops it. Anything else that does not fit is somebody's doing, and fatal. Whole
entries missing from the end cannot be told from blocks that were never mined.
"""

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zkpot.errors import ExitCode, Fatal
from zkpot.files import WORLD, replace_file
from zkpot_aggregator.ledger.calls import ADDRESS_BYTES
from zkpot_aggregator.ledger.evm import Block

_logger = logging.getLogger(__name__)

VERSION = 1

_TIME_END_S = 1 << 63


@dataclass(frozen=True)
class Head:
    """What the chain starts from."""

    chain_id: int
    operator: bytes
    genesis: bytes
    """Hash of the genesis block."""


@dataclass(frozen=True)
class Entry:
    """A mined block."""

    height: int
    block: Block
    block_hash: bytes


class ChainLog:
    """A chain's file; `writable` is needed to append and to repair."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self._writable = writable
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise Fatal(ExitCode.STATE, f"cannot read the chain {path}: {error}") from error
        *lines, torn = raw.split(b"\n")
        if torn:
            self._drop(len(lines), torn, len(raw) - len(torn))
        if not lines:
            raise self.broken(0, "the line that names the chain is missing")
        self._link = bytes(hashlib.sha256().digest_size)
        self.head = self._read_head(lines[0])
        self.entries = tuple(
            self._read_entry(number, line) for number, line in enumerate(lines[1:], start=1)
        )

    @classmethod
    def create(cls, path: Path, head: Head, first: Entry) -> None:
        """Writes a chain of one block, all or nothing."""
        line, link = _encode(_head_fields(head), bytes(hashlib.sha256().digest_size))
        replace_file(path, line + _encode(_entry_fields(first), link)[0], WORLD)

    def append(self, entry: Entry) -> None:
        """Returns once the block will survive a power loss.

        After a failure the chain in memory is ahead of the file, so nothing more is taken.
        """
        if not self._writable:
            raise Fatal(ExitCode.STATE, f"{self.path} cannot be written: open it anew")
        self._writable = False
        line, self._link = _encode(_entry_fields(entry), self._link)
        try:
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Fatal(ExitCode.STATE, f"cannot write {self.path}: {error}") from error
        self._writable = True

    def broken(self, number: int, what: str) -> Fatal:
        """The error for an entry that does not fit; 0 is the line that names the chain."""
        return Fatal(
            ExitCode.STATE,
            f"{self.path}, entry {number}: {what}; restore the file from a backup",
        )

    def _drop(self, number: int, torn: bytes, good_bytes: int) -> None:
        if _is_whole(torn.rstrip(b"\x00")):
            raise self.broken(number, "something else stands where its end should be")
        _logger.warning(
            "%s: the last entry is cut off after %d bytes; %s",
            self.path,
            len(torn),
            "dropped" if self._writable else "not read",
        )
        if self._writable:
            with self.path.open("r+b") as file:
                file.truncate(good_bytes)
                os.fsync(file.fileno())

    def _read(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            fields = json.loads(line)
            claimed = bytes.fromhex(fields.pop("link"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self.broken(number, "not a canonical line") from error
        expected, link = _encode(fields, self._link)
        if claimed != link:
            raise self.broken(number, f"link is {claimed.hex()}, expected {link.hex()}")
        if line + b"\n" != expected:
            raise self.broken(number, "not a canonical line")
        self._link = link
        return fields  # type: ignore[no-any-return]

    def _read_head(self, line: bytes) -> Head:
        fields = self._read(0, line)
        try:
            head = Head(
                fields["chain_id"],
                bytes.fromhex(fields["operator"]),
                bytes.fromhex(fields["genesis"]),
            )
            known = (
                fields == _head_fields(head)
                and type(head.chain_id) is int
                and type(fields["version"]) is int
                and len(head.operator) == ADDRESS_BYTES
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self.broken(0, "malformed") from error
        if not known:
            raise self.broken(0, f"expected version {VERSION}, or unknown fields")
        return head

    def _read_entry(self, number: int, line: bytes) -> Entry:
        fields = self._read(number, line)
        try:
            entry = Entry(
                fields["height"],
                Block(
                    fields["time_s"],
                    bytes.fromhex(fields["mix_hash"]),
                    tuple(bytes.fromhex(raw) for raw in fields["transactions"]),
                ),
                bytes.fromhex(fields["block_hash"]),
            )
            known = fields == _entry_fields(entry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self.broken(number, "malformed") from error
        if not known or not _is_plausible(entry):
            raise self.broken(number, "malformed")
        if entry.height != number:
            raise self.broken(number, f"expected block {number}, got {entry.height}")
        return entry


def _is_whole(torn: bytes) -> bool:
    """Whether a whole entry is there, but followed by what no interrupted write leaves."""
    try:
        _, end = json.JSONDecoder().raw_decode(torn.decode("latin-1"))
    except (ValueError, RecursionError):
        return False
    return end < len(torn)


def _is_plausible(entry: Entry) -> bool:
    """Whether JSON's looser types, such as 1.0 for 1, stayed out of the numbers."""
    return (
        type(entry.height) is int
        and type(entry.block.time_s) is int
        and 0 < entry.block.time_s < _TIME_END_S
    )


def _head_fields(head: Head) -> dict[str, Any]:
    return {
        "version": VERSION,
        "chain_id": head.chain_id,
        "operator": head.operator.hex(),
        "genesis": head.genesis.hex(),
    }


def _entry_fields(entry: Entry) -> dict[str, Any]:
    return {
        "height": entry.height,
        "time_s": entry.block.time_s,
        "mix_hash": entry.block.mix_hash.hex(),
        "transactions": [raw.hex() for raw in entry.block.transactions],
        "block_hash": entry.block_hash.hex(),
    }


def _encode(fields: dict[str, Any], previous: bytes) -> tuple[bytes, bytes]:
    content = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    link = hashlib.sha256(previous + content).digest()
    line = json.dumps(fields | {"link": link.hex()}, sort_keys=True, separators=(",", ":"))
    return line.encode() + b"\n", link

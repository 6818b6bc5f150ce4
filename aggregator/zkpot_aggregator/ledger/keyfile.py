"""The file of an account's private key: 64 hex digits, readable by its owner alone."""

import secrets
from pathlib import Path

from zkpot.errors import ExitCode, Fatal
from zkpot.files import loose_mode, replace_file

KEY_BYTES = 32
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1 (SEC 2, section 2.4.1)."""


def load_or_create_key(path: Path, *, may_create: bool) -> bytes:
    """32 bytes; raises `Fatal` (KEY) for a file that is missing, too open or corrupt."""
    if may_create and not path.exists():
        replace_file(path, _new_key().hex().encode() + b"\n")
    return load_key(path)


def load_key(path: Path) -> bytes:
    """32 bytes; raises `Fatal` (KEY), also for a file that others may read."""
    try:
        loose, text = loose_mode(path), path.read_bytes()
    except OSError as error:
        raise Fatal(ExitCode.KEY, f"cannot read the key {path}: {error}") from error
    if loose:
        raise Fatal(ExitCode.KEY, f"{path} has mode {loose:04o}: run chmod 600 {path}")
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError as error:
        raise _corrupt(path) from error
    if (
        len(text.removesuffix(b"\n")) != 2 * KEY_BYTES
        or not 0 < int.from_bytes(key, "big") < _ORDER
    ):
        raise _corrupt(path)
    return key


def _new_key() -> bytes:
    return (1 + secrets.randbelow(_ORDER - 1)).to_bytes(KEY_BYTES, "big")


def _corrupt(path: Path) -> Fatal:
    return Fatal(ExitCode.KEY, f"{path} is corrupt: restore it from a backup")

"""Passwords of the embedded broker's accounts, each in a file of its own."""

import secrets
from pathlib import Path

from zkpot.errors import ExitCode, Fatal
from zkpot.files import create_secret_file

MAX_BROKER_PASSWORD = 1024


def read_password(path: Path | None) -> str:
    """What the file says; raises `Fatal` if there is none, or if it cannot be read or is empty."""
    if path is None:
        raise Fatal(ExitCode.CONFIG, "the embedded broker needs a password_file per device")
    try:
        password = path.read_text().strip()[:MAX_BROKER_PASSWORD]
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(ExitCode.CREDENTIALS, f"cannot read {path}: {error}") from error
    if not password:
        raise Fatal(ExitCode.CREDENTIALS, f"{path} is empty: delete it, and give out a new one")
    return password


def make_password(path: Path) -> None:
    """Writes a fresh random password, unless there is one."""
    if path.exists():
        return
    create_secret_file(path, secrets.token_hex(16).encode() + b"\n")

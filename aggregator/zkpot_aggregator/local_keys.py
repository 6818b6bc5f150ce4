"""Keys of participants that run on this machine, for `demo` and `up`: made once and kept."""

import subprocess
import sys
from pathlib import Path

from zkpot.errors import ExitCode, Fatal
from zkpot.keys import KeyPair, create_key_file, load_key_file
from zkpot_aggregator.embedded.passwords import make_password


def kept_key(path: Path) -> KeyPair:
    """The key in `path`; made here, by whoever runs the program, if there is none."""
    return load_key_file(path) if path.exists() else create_key_file(path)


def device_key(folder: Path) -> KeyPair:
    """A device's key, made by the device's own program; a password is made beside it."""
    path = folder / "device.key"
    if not path.exists():
        words = [sys.executable, "-m", "zkpot_agent", "keygen", str(path), "--json"]
        made = subprocess.run(words, capture_output=True, text=True, check=False)
        if made.returncode:
            raise Fatal(ExitCode.FAILURE, f"zkpot-agent keygen failed: {made.stderr.strip()}")
    make_password(folder / "password")
    return load_key_file(path)

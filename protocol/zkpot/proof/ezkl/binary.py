"""Proving with an `ezkl` program of the operator's, such as one built for a GPU.

It is asked for one step, `ezkl prove`, and its files stay in the caller's private folder. What
it prints is dropped, because it may quote the model. It runs in the process group of its job,
so it ends with the job's time, and its memory counts as the job's.
"""

import os
import re
import subprocess
from pathlib import Path

from zkpot.errors import ExitCode, Fatal
from zkpot.parent import tie_to_parent
from zkpot.proof.system import Obstacle, ProvingFailed

MAX_PROOF_FILE_BYTES = 1 << 20
"""A proof is 8800 bytes, written twice, as numbers and in hexadecimal: some 50 kB."""

_HEX_PROOF = re.compile(rb'"hex_proof":\s*"0x((?:[0-9a-f]{2})+)"')
"""Searched for, because a JSON parser follows nested brackets until its stack ends."""

_PASSED_ON = (
    "LD_LIBRARY_PATH",
    "RAYON_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "ICICLE_BACKEND_INSTALL_DIR",
    "ENABLE_ICICLE_GPU",
    "ICICLE_SMALL_K",
)
"""The last three are what a GPU build of ezkl reads to find and use its device."""


def check_executable(binary: Path) -> None:
    """Raises `Fatal` (CONFIG) unless `binary` is a file that this user may execute."""
    if not binary.is_file():
        raise Fatal(ExitCode.CONFIG, f"ezkl_binary: {binary} is no file")
    if not os.access(binary, os.X_OK):
        raise Fatal(ExitCode.CONFIG, f"ezkl_binary: {binary} is not executable: chmod +x it")


def prove(
    binary: Path, folder: Path, *, witness: Path, circuit: Path, proving_key: Path, srs: Path
) -> bytes:
    """The proof for `witness`, not verified; `folder` is private and takes all it writes.

    Raises `ProvingFailed`: UNAVAILABLE if `binary` does not start, CRASHED if it fails or
    writes something else than a proof.
    """
    target = folder / "proof.json"
    # Absolute, because it runs in `folder`.
    command: list[str | Path] = [
        *(binary.absolute(), "prove"),
        *("--witness", witness.absolute()),
        *("--compiled-circuit", circuit.absolute()),
        *("--pk-path", proving_key.absolute()),
        *("--proof-path", target.absolute()),
        *("--srs-path", srs.absolute()),
    ]
    try:
        ended = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A job that is killed alone takes its program with it.
            preexec_fn=tie_to_parent(),
        )
    except OSError as error:
        raise ProvingFailed(
            Obstacle.UNAVAILABLE, f"ezkl_binary does not start: {error.strerror}"
        ) from error
    if ended.returncode:
        raise ProvingFailed(Obstacle.CRASHED, f"ezkl_binary ended with status {ended.returncode}")
    return _read_proof(target)


def _read_proof(path: Path) -> bytes:
    """What ezkl's proof file, a JSON object, has as its `hex_proof`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROOF_FILE_BYTES)
    except OSError:
        data = b""
    found = _HEX_PROOF.search(data)
    if found is None:
        raise ProvingFailed(Obstacle.CRASHED, "ezkl_binary wrote no proof")
    return bytes.fromhex(found[1].decode())


def _environment(folder: Path) -> dict[str, str]:
    """What it needs; ezkl looks for its own folder below HOME."""
    chosen = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return chosen | {"HOME": str(folder), "TMPDIR": str(folder)}

"""The calls into ezkl, with their files in a private folder and their errors named.

ezkl reports everything as RuntimeError, or as a Rust panic that is a BaseException; here
they become `ProvingFailed` or, when a proof is being judged, `Rejected`.
"""

import importlib
import importlib.metadata
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zkpot.errors import Reason, Rejected
from zkpot.proof.ezkl import binary as program
from zkpot.proof.system import Obstacle, ProvingFailed

PINNED_VERSION = "23.0.5"
"""Every fact this package relies on was measured with this version; tests hold them."""


def optional_module(name: str) -> Any:
    """A module of the `ezkl` extra; raises `ProvingFailed` (UNAVAILABLE) without it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ProvingFailed(
            Obstacle.UNAVAILABLE, f"{name} is not installed: pip install 'zkpot[ezkl]'"
        ) from error


def ezkl_module() -> Any:
    """Returns ezkl in the version whose behaviour this package knows."""
    module = optional_module("ezkl")
    found = importlib.metadata.version("ezkl")
    if found != PINNED_VERSION:
        raise ProvingFailed(
            Obstacle.UNAVAILABLE,
            f"ezkl {found} is installed, {PINNED_VERSION} is needed: pip install 'zkpot[ezkl]'",
        )
    return module


@dataclass(frozen=True)
class KeyFiles:
    """Where the files of one shape lie."""

    settings: Path
    circuit: Path
    verification_key: Path
    proving_key: Path
    srs: Path


def commit(keys: KeyFiles, message: Sequence[str]) -> bytes:
    """The point, 64 bytes, that commits to `message` (field elements) in one column."""
    points = ezkl_module().kzg_commit(
        list(message), str(keys.verification_key), str(keys.settings), str(keys.srs)
    )
    if len(points) != 1:
        raise ProvingFailed(Obstacle.CRASHED, f"{len(points)} points for one column")
    return bytes.fromhex(points[0].x)[::-1] + bytes.fromhex(points[0].y)[::-1]


def witness(circuit: Path, inputs: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Runs the circuit without proving: its public outputs, as field elements."""
    with _folder() as folder:
        found = _witness(circuit, inputs, Path(folder), ())
    return tuple(value for output in found["outputs"] for value in output)


def prove(keys: KeyFiles, inputs: Sequence[Sequence[str]], binary: Path | None = None) -> bytes:
    """The halo2 proof for `inputs`, by the program `binary` if there is one.

    Raises `ProvingFailed`: UNSATISFIED if there is no proof, or what `binary.prove` raises.
    """
    with _folder() as name:
        folder = Path(name)
        _witness(keys.circuit, inputs, folder, (str(keys.verification_key), str(keys.srs)))
        if binary is not None:
            return program.prove(
                binary,
                folder,
                witness=folder / "witness.json",
                circuit=keys.circuit,
                proving_key=keys.proving_key,
                srs=keys.srs,
            )
        try:
            found = ezkl_module().prove(
                str(folder / "witness.json"),
                str(keys.circuit),
                str(keys.proving_key),
                None,
                str(keys.srs),
            )
        except Exception as error:
            raise ProvingFailed(Obstacle.UNSATISFIED, "ezkl found no proof") from error
    return bytes.fromhex(str(found["proof"]).removeprefix("0x"))


def verify(keys: KeyFiles, instances: Sequence[str], proof: bytes) -> None:
    """Raises `Rejected` (PROOF_INVALID) unless `proof` holds for `instances`."""
    item = {
        "protocol": None,
        "instances": [list(instances)],
        "proof": list(proof),
        "hex_proof": "0x" + proof.hex(),
        "split": None,
        "pretty_public_inputs": None,
        "timestamp": None,
        "version": None,
    }
    with _folder() as folder:
        path = Path(folder) / "proof.json"
        path.write_text(json.dumps(item))
        try:
            valid = ezkl_module().verify(
                str(path), str(keys.settings), str(keys.verification_key), str(keys.srs)
            )
        except (KeyboardInterrupt, SystemExit, MemoryError, ProvingFailed):
            raise
        except BaseException as error:
            # The key files were checked before: what remains is the proof.
            raise Rejected(Reason.PROOF_INVALID, str(error)[:200]) from error
    if valid is not True:
        raise Rejected(Reason.PROOF_INVALID, "ezkl says no")


def _witness(
    circuit: Path, inputs: Sequence[Sequence[str]], folder: Path, keys: tuple[str, ...]
) -> dict[str, Any]:
    """Writes witness.json; without verification key and SRS it holds no commitments."""
    (folder / "input.json").write_text(json.dumps({"input_data": inputs}))
    try:
        return dict(
            ezkl_module().gen_witness(
                str(folder / "input.json"), str(circuit), str(folder / "witness.json"), *keys
            )
        )
    except RuntimeError as error:
        raise ProvingFailed(
            Obstacle.UNSATISFIED, "the circuit has no witness: a value is out of its range"
        ) from error


def _folder() -> tempfile.TemporaryDirectory[str]:
    """Readable by this user only: the model passes through it."""
    return tempfile.TemporaryDirectory(prefix="zkpot-ezkl-")

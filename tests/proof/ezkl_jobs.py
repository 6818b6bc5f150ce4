"""A job that derives a verification key in a fresh process."""

import hashlib
from pathlib import Path

from zkpot.model import Shape
from zkpot.proof.ezkl import srs
from zkpot.proof.ezkl.backend import EzklSystem
from zkpot.proof.system import Progress


def derive_key(
    progress: Progress, shape: Shape, batch_size: int, cache_dir: Path, srs_file: Path
) -> str:
    name = srs.install(cache_dir, srs_file)
    system = EzklSystem(shape, batch_size, cache_dir, name)
    system.prepare(progress)
    return hashlib.sha256(system.keys.for_verifying.verification_key.read_bytes()).hexdigest()

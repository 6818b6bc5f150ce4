"""Which structured reference string a task uses, and where it comes from.

`insecure-demo`: made here, once per cache and size. Whoever made it can forge proofs, and
another cache has another one: for one machine's demonstrations and tests only.
`sha256:<64 hex digits>`: a public ceremony's file, pinned by its digest. The operator puts
it into the cache with `install`; any size from the circuit's up will do. There is no third
kind, and nothing is downloaded.
"""

import os
import re
import shutil
from pathlib import Path

from zkpot.errors import Reason, Rejected
from zkpot.ids import digest
from zkpot.proof.cache import Cache, sha256_file
from zkpot.proof.ezkl.engine import PINNED_VERSION, ezkl_module
from zkpot.proof.system import Obstacle, ProvingFailed

INSECURE_DEMO = "insecure-demo"

_PINNED = re.compile(r"sha256:([0-9a-f]{64})")
_FILE = "kzg.srs"


def check_name(name: str) -> None:
    """Raises `Rejected` (TASK_INVALID) unless `name` is one of the two kinds."""
    if name != INSECURE_DEMO and not _PINNED.fullmatch(name):
        raise Rejected(
            Reason.TASK_INVALID,
            f"srs {name[:80]!r}: expected 'sha256:<64 hex digits>' or {INSECURE_DEMO!r}",
        )


def install(cache_dir: Path, source: Path) -> str:
    """Copies a ceremony's file into the cache; the name by which tasks pin it."""
    name = f"sha256:{sha256_file(source).hex()}"
    target = _pinned_path(cache_dir, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(f".part-{os.getpid()}")
    shutil.copyfile(source, part)
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(target)
    return name


def locate(cache_dir: Path, name: str, logrows: int) -> Path:
    """The file of `name`, checked; for `insecure-demo` it is made if it is not there.

    Raises `ProvingFailed` (UNAVAILABLE) for a pinned file that is missing or different.
    """
    check_name(name)
    if name == INSECURE_DEMO:
        key = digest("ezkl-demo-srs", PINNED_VERSION.encode(), logrows.to_bytes(1, "big"))

        def make(folder: Path) -> None:
            ezkl_module().gen_srs(str(folder / _FILE), logrows)

        return Cache(cache_dir).entry(f"srs-{INSECURE_DEMO}", key, (_FILE,), make) / _FILE
    path = _pinned_path(cache_dir, name)
    if not path.is_file():
        raise ProvingFailed(
            Obstacle.UNAVAILABLE, f"the task's SRS is not in the cache: put {name} at {path}"
        )
    found = f"sha256:{sha256_file(path).hex()}"
    if found != name:
        raise ProvingFailed(Obstacle.UNAVAILABLE, f"{path} is {found}, the task pins {name}")
    return path


def _pinned_path(cache_dir: Path, name: str) -> Path:
    return cache_dir / "srs" / f"{name.removeprefix('sha256:')}.srs"

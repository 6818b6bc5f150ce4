"""The publisher of the test pool: keeps its samples and salts, and reveals what is drawn.

The pool is a file of its own, mode 0600: whoever reads it before the draw can train for the
batch. The publisher must neither take part in the task nor collude with who does.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from zkpot import merkle
from zkpot.batch import MAX_POOL, SALT_BYTES, Batch, Sample, make_pool, make_reveal
from zkpot.errors import ExitCode, Fatal, Rejected
from zkpot.files import replace_file
from zkpot.ids import Digest
from zkpot.wire.codec import Max, decode, encode

MAX_POOL_FILE_BYTES = 1 << 32


@dataclass(frozen=True)
class _PoolFile:
    samples: Annotated[tuple[Sample, ...], Max(MAX_POOL)]


@dataclass(frozen=True)
class Publisher:
    """The pool's samples, index by index."""

    pool: tuple[Sample, ...]

    @property
    def root(self) -> Digest:
        """The Merkle root that stands in the task."""
        return merkle.root([sample.leaf for sample in self.pool])

    def reveal(self, indices: list[int]) -> bytes:
        """The reveal object of the drawn samples."""
        return make_reveal(self.pool, indices)


def create_pool(path: Path, samples: Batch) -> Publisher:
    """Salts `samples` and writes them to `path`; refuses to replace a file."""
    salts = [secrets.token_bytes(SALT_BYTES) for _ in range(samples.size)]
    pool = tuple(make_pool(samples.inputs, samples.labels, salts))
    if path.exists():
        raise Fatal(ExitCode.STATE, f"{path} exists: a pool is never replaced")
    replace_file(path, encode(_PoolFile(pool)))
    return Publisher(pool)


def load_pool(path: Path, expected_root: Digest | None = None) -> Publisher:
    """Reads the pool; raises `Fatal` (STATE) if it is unreadable or not the task's."""
    try:
        publisher = Publisher(
            decode(_PoolFile, path.read_bytes(), limit=MAX_POOL_FILE_BYTES).samples
        )
    except (OSError, Rejected) as error:
        raise Fatal(ExitCode.STATE, f"cannot read the pool {path}: {error}") from error
    if expected_root is not None and publisher.root != expected_root:
        raise Fatal(ExitCode.STATE, f"{path} is not the pool of this task")
    return publisher

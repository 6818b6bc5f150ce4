"""Proving a sealed job, in a process that ends with it.

The sealed box is opened here and nowhere else, so what it holds is never in the service's own
memory, nor in that of a scheduler, and is gone with the process: Python cannot wipe it, the
kernel does.
"""

from dataclasses import dataclass
from pathlib import Path

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId
from zkpot.keys import KeyPair, load_key_file
from zkpot.offload import open_job
from zkpot.proof.jobs import Backend
from zkpot.proof.system import no_progress


@dataclass(frozen=True, repr=False)
class SealedJob:
    """What a process needs to prove for `device`.

    `key` is the prover's seed, for a child that gets it through a pipe, or the file that holds
    it, for a machine elsewhere.
    """

    sealed: bytes
    device: DeviceId
    key: bytes | Path
    proof_systems: tuple[str, ...]
    cache_dir: Path
    ezkl_binary: Path | None = None


def prove_sealed(task: SealedJob) -> bytes:
    """The proof. Raises `Rejected` for what a device got wrong, `ProvingFailed`."""
    key = load_key_file(task.key) if isinstance(task.key, Path) else KeyPair.from_seed(task.key)
    job = open_job(key, task.device, task.sealed)
    if job.proof_system not in task.proof_systems:
        raise Rejected(Reason.TASK_INVALID, f"proof system {job.proof_system!r} is not offered")
    statement = job.statement
    backend = Backend(
        job.proof_system,
        job.shape,
        statement.batch.size,
        task.cache_dir,
        job.srs,
        task.ezkl_binary,
    )
    return backend.prepared().prove(statement, job.model_opening, no_progress)

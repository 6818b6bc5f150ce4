"""What a dishonest prover runs in its children."""

import dataclasses
import secrets

from zkpot.ids import Digest
from zkpot.keys import KeyPair
from zkpot.offload import open_job
from zkpot.proof.jobs import Backend
from zkpot.proof.system import no_progress
from zkpot_aggregator.prover.jobs import SealedJob


def prove_another(task: SealedJob) -> bytes:
    """A valid proof about the right model and batch, in another context."""
    assert isinstance(task.key, bytes)
    job = open_job(KeyPair.from_seed(task.key), task.device, task.sealed)
    statement = dataclasses.replace(job.statement, context=Digest(secrets.token_bytes(32)))
    size = statement.batch.size
    system = Backend(job.proof_system, job.shape, size, task.cache_dir, job.srs).load()
    return system.prove(statement, job.model_opening, no_progress)

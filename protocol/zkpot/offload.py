"""A proof job on its way from a device to the prover it has chosen.

Everything a proof needs, the secret opening too, in one object that is only ever sealed to the
prover's X25519 key. The job names both ends, so that nobody can offer it as their own or pass
it on. A sealed job's CID is the job's name: sealing again, to whomever, makes a new one.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from nacl.exceptions import CryptoError

from zkpot.batch import MAX_BATCH, Batch
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, Digest
from zkpot.keys import KeyPair, seal
from zkpot.model import Shape
from zkpot.opening import decode_opening, encode_opening
from zkpot.proof.system import ModelOpening
from zkpot.statement import Statement
from zkpot.wire.codec import Max, decode, encode
from zkpot.wire.messages import MAX_COMMITMENT_BYTES

MAX_PART_BYTES = 31 * 1024 * 1024
"""Of the batch's inputs, and of the opening: both fit into one object of 64 MiB."""

MAX_JOB_BYTES = 2 * MAX_PART_BYTES + 128 * 1024
"""Both, a commitment, and what else there is."""


@dataclass(frozen=True, repr=False)
class ProofJob:
    """Secret: a statement, row by row, and the opening that proves it."""

    device: DeviceId
    prover: DeviceId
    proof_system: Annotated[str, Max(40)]
    srs: Annotated[str, Max(80)]
    shape: Shape
    commitment: Annotated[bytes, Max(MAX_COMMITMENT_BYTES)]
    context: Digest
    count: int
    inputs: Annotated[bytes, Max(MAX_PART_BYTES)]
    labels: Annotated[bytes, Max(MAX_BATCH)]
    opening: Annotated[bytes, Max(MAX_PART_BYTES)]

    @property
    def statement(self) -> Statement:
        """What is to be proven; raises `Rejected` (JOB_MISMATCH) if its parts do not fit."""
        rows = len(self.labels)
        if not rows or len(self.inputs) != rows * self.shape.features:
            raise Rejected(
                Reason.JOB_MISMATCH, f"{len(self.inputs)} bytes of inputs for {rows} labels"
            )
        if max(self.labels) >= self.shape.classes or self.count > rows:
            raise Rejected(Reason.JOB_MISMATCH, "a label or the count is out of range")
        batch = Batch(
            np.frombuffer(self.inputs, np.uint8).reshape(rows, self.shape.features),
            np.frombuffer(self.labels, np.uint8),
        )
        return Statement(self.commitment, batch, self.context, self.count)

    @property
    def model_opening(self) -> ModelOpening:
        """What opens the commitment; raises `Rejected` (OPENING_INVALID)."""
        return decode_opening(self.shape, self.opening)


def make_job(
    device: DeviceId,
    prover: DeviceId,
    proof_system: str,
    srs: str,
    shape: Shape,
    statement: Statement,
    opening: ModelOpening,
) -> ProofJob:
    """The job by which `prover` can prove `statement` for `device`."""
    return ProofJob(
        device,
        prover,
        proof_system,
        srs,
        shape,
        statement.commitment,
        statement.context,
        statement.count,
        statement.batch.inputs.tobytes(),
        statement.batch.labels.tobytes(),
        encode_opening(opening),
    )


def seal_job(box_key: bytes, job: ProofJob) -> bytes:
    """The job, readable for the holder of `box_key` alone; raises `Rejected` if that cannot be."""
    parts = (len(job.inputs), len(job.opening))
    if max(parts) > MAX_PART_BYTES:
        raise Rejected(Reason.OVERSIZE, f"a part of {max(parts)} bytes, at most {MAX_PART_BYTES}")
    try:
        return seal(box_key, encode(job))
    except CryptoError as error:
        raise Rejected(Reason.MALFORMED, "not a key that can be sealed to") from error


def open_job(key: KeyPair, device: DeviceId, sealed: bytes) -> ProofJob:
    """The job that `device` sealed to us; raises `Rejected`, which quotes nothing of it."""
    job = decode(ProofJob, key.open(sealed), limit=MAX_JOB_BYTES)
    if (job.device, job.prover) != (device, key.id):
        raise Rejected(Reason.JOB_MISMATCH, "sealed by another device, or to another prover")
    return job

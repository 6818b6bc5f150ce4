"""What a proof is about, and the contexts that tie it to one device, round and beacon."""

from dataclasses import dataclass

from zkpot.batch import Batch
from zkpot.ids import Beacon, Digest, Round, TaskId, digest


@dataclass(frozen=True, eq=False)
class Statement:
    """The model inside `commitment` labels `count` samples of `batch` correctly.

    `context` names task, round, device, commitment and beacon; it is bound inside the proof,
    so a proof is worth nothing for anybody else or at any other time.
    """

    commitment: bytes
    batch: Batch
    context: Digest
    count: int


def commitment_digest(commitment: bytes) -> Digest:
    """Names a commitment."""
    return digest("commitment", commitment)


def commitment_context(
    task: TaskId, round_number: Round, public_key: bytes, commitment: bytes
) -> Digest:
    """What the well-formedness proof at COMMIT time is bound to.

    It is also the proof of knowledge that stops copied and shifted commitments.
    """
    return digest(
        "commitment-context",
        task,
        round_number.to_bytes(8, "big"),
        public_key,
        commitment_digest(commitment),
    )


def submission_context(
    task: TaskId, round_number: Round, public_key: bytes, commitment: bytes, beacon: Beacon
) -> Digest:
    """What the accuracy proof is bound to (`public_key`: the device's Ed25519 key)."""
    return digest(
        "submission-context",
        task,
        round_number.to_bytes(8, "big"),
        public_key,
        commitment_digest(commitment),
        beacon,
    )

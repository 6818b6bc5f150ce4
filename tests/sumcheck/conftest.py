"""Statements about random models, proven by the native library."""

import secrets
from dataclasses import dataclass

import numpy as np
import pytest

from zkpot.batch import Batch
from zkpot.ids import Digest
from zkpot.model import Int64Array, Shape, count_correct
from zkpot.proof.system import ModelOpening, ProofSystem, no_progress
from zkpot.statement import Statement

pytest.importorskip("zkpot_prover")

SMALL = Shape((4, 3, 2), (0,), 16)
BATCH = 4


@dataclass(frozen=True)
class Case:
    """A true statement, what opens its commitment, and its proofs."""

    statement: Statement
    opening: ModelOpening
    proof: bytes
    wellformed: bytes | None


def random_theta(shape: Shape, generator: np.random.Generator) -> Int64Array:
    """Often tiny, so that ties and dead neurons occur; sometimes over the whole range."""
    bound = int(generator.choice([1, 2, 16, 127]))
    return generator.integers(-bound, bound + 1, shape.parameters).astype(np.int64)


def random_batch(shape: Shape, size: int, generator: np.random.Generator) -> Batch:
    largest = int(generator.choice([1, 16, 255]))
    inputs = generator.integers(0, largest + 1, (size, shape.features)).astype(np.uint8)
    return Batch(inputs, generator.integers(0, shape.classes, size).astype(np.uint8))


def make_case(system: ProofSystem, shape: Shape, theta: Int64Array, batch: Batch) -> Case:
    opening = ModelOpening(theta, system.commitments.random_blinding())
    count = count_correct(shape, theta, batch.inputs, batch.labels)
    context = Digest(secrets.token_bytes(32))
    statement = Statement(system.commitments.commit(opening), batch, context, count)
    proof = system.prove(statement, opening, no_progress)
    return Case(statement, opening, proof, system.prove_wellformed(opening, context))

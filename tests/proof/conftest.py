"""Small systems with real keys, shared by every test that proves."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from zkpot.batch import Batch
from zkpot.ids import Digest
from zkpot.model import Int64Array, Shape, count_correct
from zkpot.proof.ezkl.backend import EzklSystem
from zkpot.proof.system import ModelOpening, no_progress
from zkpot.statement import Statement

SMALL = Shape((4, 3, 2), (0,), 16)


@dataclass(frozen=True)
class Case:
    """A true statement, what opens its commitment, and its proof."""

    statement: Statement
    opening: ModelOpening
    proof: bytes


SystemFor = Callable[[Shape, int], EzklSystem]


@pytest.fixture(scope="session")
def proof_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proof-cache")


@pytest.fixture(scope="session")
def system_for(proof_cache: Path) -> SystemFor:
    systems: dict[tuple[Shape, int], EzklSystem] = {}

    def get(shape: Shape, batch_size: int) -> EzklSystem:
        key = (shape, batch_size)
        if key not in systems:
            systems[key] = EzklSystem(shape, batch_size, proof_cache, "insecure-demo")
            systems[key].prepare(no_progress)
        return systems[key]

    return get


@pytest.fixture(scope="session")
def system(system_for: SystemFor) -> EzklSystem:
    return system_for(SMALL, 4)


def random_theta(
    shape: Shape, rng: np.random.Generator, low: int = -128, high: int = 128
) -> Int64Array:
    return rng.integers(low, high, shape.parameters).astype(np.int64)


def random_batch(shape: Shape, size: int, rng: np.random.Generator, largest: int = 255) -> Batch:
    inputs = rng.integers(0, largest + 1, (size, shape.features)).astype(np.uint8)
    return Batch(inputs, rng.integers(0, shape.classes, size).astype(np.uint8))


@pytest.fixture(scope="session")
def thetas() -> Callable[..., Int64Array]:
    return random_theta


@pytest.fixture(scope="session")
def batches() -> Callable[..., Batch]:
    return random_batch


MakeStatement = Callable[..., tuple[Statement, ModelOpening]]


@pytest.fixture(scope="session")
def make_statement() -> MakeStatement:
    def make(
        system: EzklSystem, theta: Int64Array, batch: Batch, context: bytes | None = None
    ) -> tuple[Statement, ModelOpening]:
        opening = ModelOpening(theta, system.commitments.random_blinding())
        count = count_correct(system.shape, theta, batch.inputs, batch.labels)
        statement = Statement(
            system.commitments.commit(opening),
            batch,
            Digest(context or secrets.token_bytes(32)),
            count,
        )
        return statement, opening

    return make


@pytest.fixture(scope="session")
def case(system: EzklSystem, make_statement: MakeStatement) -> Case:
    """A model that is right on some samples, not on all."""
    rng = np.random.default_rng(5)
    while True:
        theta, batch = random_theta(SMALL, rng), random_batch(SMALL, 4, rng)
        if count_correct(SMALL, theta, batch.inputs, batch.labels) == 2:
            break
    statement, opening = make_statement(system, theta, batch)
    return Case(statement, opening, system.prove(statement, opening, no_progress))


@pytest.fixture(scope="session")
def other_case(system: EzklSystem, make_statement: MakeStatement, case: Case) -> Case:
    """Another model with the same count on the same batch in the same context."""
    rng = np.random.default_rng(6)
    batch = case.statement.batch
    while True:
        theta = random_theta(SMALL, rng)
        if count_correct(SMALL, theta, batch.inputs, batch.labels) == case.statement.count:
            break
    statement, opening = make_statement(system, theta, batch, case.statement.context)
    return Case(statement, opening, system.prove(statement, opening, no_progress))

"""Sums of openings open sums of commitments, and nothing else does."""

from typing import Any

import numpy as np
import pytest

from zkpot.errors import Reason, Rejected
from zkpot.proof.ezkl.backend import EzklSystem
from zkpot.proof.ezkl.commitments import BLINDING_BYTES, EzklCommitments
from zkpot.proof.ezkl.points import (
    SCALAR_BYTES,
    SCALAR_MODULUS,
    read_point,
    read_scalars,
    weighted_sum,
    write_point,
    write_scalars,
)
from zkpot.proof.system import ModelOpening

pytestmark = pytest.mark.prover


@pytest.fixture
def scheme(system: EzklSystem) -> EzklCommitments:
    return system.commitments


@pytest.fixture
def openings(system: EzklSystem, thetas: Any) -> list[ModelOpening]:
    rng = np.random.default_rng(3)
    return [
        ModelOpening(thetas(system.shape, rng), system.commitments.random_blinding())
        for _ in range(3)
    ]


def assert_refused(scheme: EzklCommitments, commitment: bytes, opening: ModelOpening) -> None:
    with pytest.raises(Rejected) as rejected:
        scheme.check_opening(commitment, opening)
    assert rejected.value.reason is Reason.OPENING_INVALID


@pytest.mark.parametrize("weights", [(1, 1, 1), (2, 1, 30), (1, 100, 7)])
def test_the_sum_of_openings_opens_the_sum_of_commitments(
    weights: tuple[int, ...], scheme: EzklCommitments, openings: list[ModelOpening]
) -> None:
    commitments = [scheme.commit(opening) for opening in openings]
    total = scheme.add(commitments, weights)
    opening = scheme.add_openings(openings, weights)
    expected = sum(w * each.theta for w, each in zip(weights, openings, strict=True))
    assert np.array_equal(opening.theta, expected)
    scheme.check_opening(total, opening)

    changed = opening.theta.copy()
    changed[7] += 1
    assert_refused(scheme, total, ModelOpening(changed, opening.blinding))
    assert_refused(scheme, total, ModelOpening(opening.theta, openings[0].blinding))
    assert_refused(scheme, total, openings[0])
    other_weights = (weights[0] + 1, *weights[1:])
    assert_refused(scheme, total, scheme.add_openings(openings, other_weights))
    assert_refused(scheme, scheme.add(commitments, other_weights), opening)
    assert_refused(scheme, scheme.add(commitments[:2], weights[:2]), opening)
    swapped = [commitments[0], commitments[0], commitments[2]]
    assert_refused(scheme, scheme.add(swapped, weights), opening)


def test_one_commitment_is_its_own_sum(
    scheme: EzklCommitments, openings: list[ModelOpening]
) -> None:
    commitment = scheme.commit(openings[0])
    assert scheme.add([commitment], [1]) == commitment
    scheme.check_opening(commitment, openings[0])


def test_order_does_not_matter_and_doubling_is_adding_twice(
    scheme: EzklCommitments, openings: list[ModelOpening]
) -> None:
    first, second = (scheme.commit(opening) for opening in openings[:2])
    assert scheme.add([first, second], [1, 1]) == scheme.add([second, first], [1, 1])
    assert scheme.add([first], [2]) == scheme.add([first, first], [1, 1])


def test_salt_is_distinct_per_commitment(
    scheme: EzklCommitments, openings: list[ModelOpening]
) -> None:
    salts = [scheme.random_blinding() for _ in range(20)]
    elements = [value for salt in salts for value in read_scalars(salt)]
    assert len(set(elements)) == len(elements)
    assert min(elements) < SCALAR_MODULUS // 2 < max(elements)
    theta = openings[0].theta
    assert len({scheme.commit(ModelOpening(theta, salt)) for salt in salts[:5]}) == 5


@pytest.mark.parametrize("element", range(BLINDING_BYTES // SCALAR_BYTES))
def test_every_element_of_the_salt_is_bound(
    element: int, scheme: EzklCommitments, openings: list[ModelOpening]
) -> None:
    commitment = scheme.commit(openings[0])
    salt = bytearray(openings[0].blinding)
    salt[element * SCALAR_BYTES] ^= 1
    assert_refused(scheme, commitment, ModelOpening(openings[0].theta, bytes(salt)))


def test_weights_and_items_must_fit(scheme: EzklCommitments, openings: list[ModelOpening]) -> None:
    commitment = scheme.commit(openings[0])
    for commitments, weights in (([], []), ([commitment], [0]), ([commitment], [1, 1])):
        with pytest.raises(ValueError, match="weights"):
            scheme.add(commitments, weights)
    with pytest.raises(ValueError, match="weights"):
        scheme.add_openings(openings, [1, -1, 1])


def test_a_sum_that_is_the_identity_is_refused(
    scheme: EzklCommitments, openings: list[ModelOpening]
) -> None:
    """A crafted second commitment: U - C, so that C + (U - C) - U is the identity."""
    first = scheme.commit(openings[0])
    point = read_point(first, Reason.COMMITMENT_MALFORMED, "commitment")
    crafted = write_point(weighted_sum([scheme.zero, point], [1, -1]))
    with pytest.raises(Rejected, match="identity") as rejected:
        scheme.add([first, crafted], [1, 1])
    assert rejected.value.reason is Reason.COMMITMENT_MALFORMED


@pytest.mark.parametrize("bad", [b"", bytes(64), b"\xff" * 64, (1).to_bytes(32, "big") * 2])
def test_malformed_commitments_are_refused(bad: bytes, scheme: EzklCommitments) -> None:
    with pytest.raises(Rejected) as rejected:
        scheme.add([bad], [1])
    assert rejected.value.reason is Reason.COMMITMENT_MALFORMED
    opening = ModelOpening(np.zeros(scheme.keys.shape.parameters, dtype=np.int64), bytes(256))
    assert_refused(scheme, bad, opening)


def test_scalars_round_trip_and_must_be_reduced() -> None:
    values = [0, 1, SCALAR_MODULUS - 1]
    assert read_scalars(write_scalars(values)) == values
    with pytest.raises(ValueError, match="reduced"):
        read_scalars(SCALAR_MODULUS.to_bytes(32, "little"))
    with pytest.raises(ValueError, match="whole"):
        read_scalars(bytes(33))

"""KZG commitments to theta and salt, one point each, and sums of them.

ezkl fills the rows below the message with ones, so C(m) = L(m) + U with L linear and
U = C(0). Therefore sum(w_k C(m_k)) = C(sum(w_k m_k)) + (sum(w_k) - 1) U [assumption test].
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zkpot.errors import Reason, Rejected
from zkpot.proof.ezkl import engine
from zkpot.proof.ezkl.circuit import SALT_ELEMENTS
from zkpot.proof.ezkl.keys import Keys
from zkpot.proof.ezkl.points import (
    SCALAR_BYTES,
    SCALAR_MODULUS,
    Point,
    felts,
    read_point,
    read_scalars,
    weighted_sum,
    write_point,
    write_scalars,
)
from zkpot.proof.system import ModelOpening

BLINDING_BYTES = SALT_ELEMENTS * SCALAR_BYTES


@dataclass(frozen=True)
class EzklCommitments:
    """Commitments of 64 bytes; blinding is SALT_ELEMENTS field elements, little-endian."""

    keys: Keys

    def random_blinding(self) -> bytes:
        """Salt, uniform in the field."""
        return write_scalars(secrets.randbelow(SCALAR_MODULUS) for _ in range(SALT_ELEMENTS))

    def commit(self, opening: ModelOpening) -> bytes:
        """The commitment; raises `Rejected` (OPENING_INVALID) for a malformed opening."""
        return engine.commit(self.keys.for_verifying, self.message(opening))

    def message(self, opening: ModelOpening) -> list[str]:
        """What is committed to: theta, then the salt."""
        return felts(self._theta(opening)) + felts(self._salt(opening))

    def add(self, commitments: Sequence[bytes], weights: Sequence[int]) -> bytes:
        """Sum of weights[k] · commitments[k]; weights are at least 1."""
        _check_weights(commitments, weights)
        points = [
            read_point(each, Reason.COMMITMENT_MALFORMED, "commitment") for each in commitments
        ]
        try:
            total = weighted_sum([*points, self.zero], [*weights, 1 - sum(weights)])
        except ValueError as error:
            raise Rejected(Reason.COMMITMENT_MALFORMED, str(error)) from error
        return write_point(total)

    def add_openings(
        self, openings: Sequence[ModelOpening], weights: Sequence[int]
    ) -> ModelOpening:
        """Sum of weights[k] · openings[k]: theta in int64, salt in the field."""
        _check_weights(openings, weights)
        theta = np.zeros(self.keys.shape.parameters, dtype=np.int64)
        salt = [0] * SALT_ELEMENTS
        for opening, weight in zip(openings, weights, strict=True):
            theta += weight * self._theta(opening)
            salt = [a + weight * b for a, b in zip(salt, self._salt(opening), strict=True)]
        return ModelOpening(theta, write_scalars(salt))

    def check_opening(self, commitment: bytes, opening: ModelOpening) -> None:
        """Raises `Rejected` (OPENING_INVALID) unless `opening` opens `commitment`."""
        read_point(commitment, Reason.OPENING_INVALID, "commitment")
        if self.commit(opening) != commitment:
            raise Rejected(Reason.OPENING_INVALID, "it opens another commitment")

    @cached_property
    def zero(self) -> Point:
        """U, the commitment to zeros; its length does not matter."""
        return self.point(felts([0]))

    def point(self, message: Sequence[str]) -> Point:
        """The commitment to any message that fits one column."""
        data = engine.commit(self.keys.for_verifying, message)
        return read_point(data, Reason.COMMITMENT_MALFORMED, "commitment by ezkl")

    def _theta(self, opening: ModelOpening) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        expected = (self.keys.shape.parameters,)
        if opening.theta.shape != expected or opening.theta.dtype != np.int64:
            raise Rejected(
                Reason.OPENING_INVALID,
                f"theta {opening.theta.dtype} {opening.theta.shape}, expected int64 {expected}",
            )
        return opening.theta

    def _salt(self, opening: ModelOpening) -> list[int]:
        if len(opening.blinding) != BLINDING_BYTES:
            raise Rejected(
                Reason.OPENING_INVALID,
                f"{len(opening.blinding)} bytes of salt, expected {BLINDING_BYTES}",
            )
        try:
            return read_scalars(opening.blinding)
        except ValueError as error:
            raise Rejected(Reason.OPENING_INVALID, str(error)) from error


def _check_weights(items: Sequence[object], weights: Sequence[int]) -> None:
    if not items or len(items) != len(weights) or any(weight < 1 for weight in weights):
        raise ValueError(f"{len(items)} items, weights {list(weights)[:8]}")

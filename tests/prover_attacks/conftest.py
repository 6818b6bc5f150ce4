"""Honest proofs to attack."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.prover_attacks.owner import Owner


@pytest.fixture(scope="session")
def owner() -> Owner:
    """Two layers, nine samples."""
    # Not at the top: `test_crate` needs no Python module.
    from tests.prover_attacks.owner import Owner

    return Owner.make([6, 5, 3], [4], 9, seed=1)


@pytest.fixture(scope="session")
def rival(owner: Owner) -> Owner:
    """Another model on the same batch."""
    import zkpot_prover as native

    other = type(owner).make([6, 5, 3], [4], 9, seed=2)
    count, accuracy = native.prove(
        other.shape, other.theta, other.blinding, owner.inputs, owner.labels, other.context
    )
    return replace(other, inputs=owner.inputs, labels=owner.labels, count=count, accuracy=accuracy)

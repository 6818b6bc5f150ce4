"""What the backend refuses about batches before the native verifier sees them."""

from pathlib import Path

import numpy as np
import pytest

from zkpot.batch import Batch
from zkpot.errors import Reason, Rejected
from zkpot.ids import Digest
from zkpot.model import Shape
from zkpot.proof.registry import SUMCHECK, load
from zkpot.proof.sumcheck import SumcheckSystem
from zkpot.statement import Statement

SHAPE = Shape((3, 2), (), 8)


def _batch(size: int, fill: int = 1) -> Batch:
    return Batch(np.full((size, 3), fill, np.uint8), np.zeros(size, np.uint8))


@pytest.fixture
def system(tmp_path: Path) -> SumcheckSystem:
    found = load(SUMCHECK, SHAPE, 4, cache_dir=tmp_path, srs="")
    assert isinstance(found, SumcheckSystem)
    return found


def test_a_batch_of_another_size_is_another_batch(system: SumcheckSystem) -> None:
    statement = Statement(b"", _batch(5), Digest(bytes(32)), 0)
    with pytest.raises(Rejected) as caught:
        system.verify(statement, bytes(system.proof_bytes))
    assert caught.value.reason is Reason.BATCH_MISMATCH


def test_only_one_batch_at_a_time_is_verified_together(system: SumcheckSystem) -> None:
    statements = [Statement(b"", _batch(4, n), Digest(bytes(32)), 0) for n in (1, 2)]
    with pytest.raises(ValueError, match="different batches"):
        system.verify_many(statements, [b"", b""])
    assert system.verify_many([], []) == []

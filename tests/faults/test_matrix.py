"""A sample of the fault matrix: every pair of values. `scripts/faults --full` runs all of it."""

from pathlib import Path

import pytest
from tests.faults.__main__ import SAMPLE_SEED
from tests.faults.cells import Cell, all_cells, covering, worlds_of
from tests.faults.jobs import CELLS_PER_WORLD
from tests.faults.trial import run_cells

pytest.importorskip("zkpot_prover")
pytestmark = [
    pytest.mark.broker,
    pytest.mark.chain,
    pytest.mark.ipfs,
    pytest.mark.prover,
    pytest.mark.enable_socket,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore:The 'strict' parameter:FutureWarning"),
]
WORLDS = worlds_of(covering(all_cells(), SAMPLE_SEED), CELLS_PER_WORLD)


@pytest.mark.parametrize("cells", WORLDS, ids=[str(number) for number in range(len(WORLDS))])
def test_a_task_survives_every_fault(cells: list[Cell], tmp_path: Path) -> None:
    """The pass conditions are in checks.py; a fault that is not survived raises there."""
    results = run_cells(tmp_path, cells)
    assert [result.what for result in results] == [
        (cell.component, cell.fault, cell.phase) for cell in cells
    ]

"""How `scripts/bench round` splits the time of a round."""

import pytest
from bench.round import split


def test_what_is_neither_chain_nor_work_is_overhead() -> None:
    own = [
        ("phase-opening", 100.0, 101.0),
        ("phase-committing", 101.0, 110.0),
        ("check-commitment", 107.0, 109.0),
        ("phase-closing", 110.0, 114.0),
        ("pin", 110.0, 111.5),
    ]
    others = [
        ("train", 95.0, 105.0),  # began before the round
        ("train", 102.0, 104.0),
        ("prove", 104.5, 106.0),
        ("deal", 106.25, 106.75),
        ("mask", 106.5, 107.0),
        ("waiting", 100.0, 114.0),
    ]
    assert split(own, others, 0.25) == pytest.approx(
        {
            "total_s": 14.0,
            "chain_s": 3.5,
            "work_s": 8.0,
            "pin_s": 1.5,
            "masking_s": 0.75,
            # 106 to 107 with the masking, 109 to 110, and the pin.
            "overhead_s": 3.5,
            "all_overhead_s": 4.25,
        }
    )

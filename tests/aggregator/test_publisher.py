"""The pool's file: written once, for its owner alone, and never trusted blindly."""

from pathlib import Path

import pytest
from tests.aggregator.rig import task_data

from zkpot.batch import Reveal
from zkpot.errors import ExitCode, Fatal
from zkpot.ids import Digest
from zkpot.wire.codec import decode
from zkpot_aggregator.publisher import create_pool, load_pool

SAMPLES = task_data(10).pool


def test_a_pool_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "pool.cbor"
    made = create_pool(path, SAMPLES)
    assert load_pool(path, made.root) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["pool.cbor"]


def test_salts_are_fresh(tmp_path: Path) -> None:
    first, second = (create_pool(tmp_path / name, SAMPLES) for name in ("a", "b"))
    assert first.root != second.root
    assert len({sample.salt for sample in (*first.pool, *second.pool)}) == 20


def test_a_pool_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pool.cbor"
    made = create_pool(path, SAMPLES)
    with pytest.raises(Fatal, match="never replaced") as caught:
        create_pool(path, SAMPLES)
    assert caught.value.exit_code is ExitCode.STATE
    assert load_pool(path) == made


def test_what_a_killed_process_left_half_written_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "pool.cbor"
    (tmp_path / "pool.cbor.new").write_bytes(b"half")
    made = create_pool(path, SAMPLES)
    assert load_pool(path) == made


def test_the_pool_of_another_task_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pool.cbor"
    create_pool(path, SAMPLES)
    with pytest.raises(Fatal, match="not the pool of this task") as caught:
        load_pool(path, Digest(bytes(32)))
    assert caught.value.exit_code is ExitCode.STATE


@pytest.mark.parametrize("damage", [None, b"", b"junk", "cut", "longer"])
def test_a_corrupt_or_missing_file_is_named(tmp_path: Path, damage: bytes | str | None) -> None:
    path = tmp_path / "pool.cbor"
    if damage is not None:
        create_pool(path, SAMPLES)
        whole = path.read_bytes()
        forms = {"cut": whole[:-3], "longer": whole + b"\x00"}
        path.write_bytes(forms[damage] if isinstance(damage, str) else damage)
    with pytest.raises(Fatal) as caught:
        load_pool(path)
    assert caught.value.exit_code is ExitCode.STATE
    assert str(path) in str(caught.value)


def test_a_reveal_opens_the_drawn_samples_alone(tmp_path: Path) -> None:
    made = create_pool(tmp_path / "pool.cbor", SAMPLES)
    revealed = decode(Reveal, made.reveal([2, 7]), limit=1 << 20)
    assert [each.sample for each in revealed.samples] == [made.pool[2], made.pool[7]]

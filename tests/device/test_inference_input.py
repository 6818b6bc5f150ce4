"""Input files of `zkpot-agent infer` as people have them."""

import io
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from zkpot.errors import Fatal
from zkpot_agent.data.files import CsvSource, NpzSource
from zkpot_agent.inference_input import read_inputs


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_tables_of_spreadsheets(tmp_path: Path, start: bytes, end: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(start + end.join((b"label,x", b"1,2", b"", b"0,9", b"")))
    found, samples = read_inputs(path), CsvSource(str(path), 2).load()
    assert found.labels is not None
    assert found.labels.tolist() == samples.labels.tolist() == [1, 0]
    assert found.values.tolist() == samples.inputs.tolist() == [[2], [9]]


@pytest.mark.parametrize("text", ["x,y\n1,2\n3,nan\n", "x,y\n1,2\n1,2,3\n", "x,y\n1,2\n3,-1\n"])
def test_the_line_that_is_wrong_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(Fatal, match="cannot be used: line 3: "):
        read_inputs(path)


def test_a_large_table_takes_its_bytes_and_not_a_list_of_numbers(tmp_path: Path) -> None:
    path, rows, columns = tmp_path / "a.csv", 2000, 100
    path.write_text("\n".join([",".join(["7"] * columns)] * (rows + 1)))
    tracemalloc.start()
    try:
        assert read_inputs(path).values.shape == (rows, columns)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * rows * columns


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_archive_is_an_error_of_the_file(tmp_path: Path, save: np.ufunc) -> None:
    buffer, path, chance = io.BytesIO(), tmp_path / "a.npz", random.Random(0)
    values = np.random.default_rng(0).integers(0, 256, (20, 8)).astype(np.uint8)
    save(buffer, inputs=values, labels=np.zeros(20, np.uint8))
    whole, refused = buffer.getvalue(), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        for read in (read_inputs, lambda path: NpzSource(str(path), 10).load()):
            try:
                read(path)
            except Fatal:
                refused += 1
    assert refused > 300


def test_an_archive_larger_than_the_memory_is_an_error_of_the_file(tmp_path: Path) -> None:
    buffer, path = io.BytesIO(), tmp_path / "a.npz"
    np.savez(buffer, inputs=np.zeros((10**3, 10**3), np.uint8))
    # The header is padded to 64 bytes, so a longer shape fits in.
    claim = buffer.getvalue().replace(b"(1000, 1000), }        ", b"(1000, 10000000000000)}")
    assert claim != buffer.getvalue()
    path.write_bytes(claim)
    with pytest.raises(Fatal, match="cannot be used"):
        read_inputs(path)

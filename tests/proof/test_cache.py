import asyncio
import importlib
import json
import logging
from pathlib import Path

import pytest

from zkpot.ids import digest
from zkpot.proof import child
from zkpot.proof.cache import MANIFEST, Cache

KEY = digest("cache-test")
FILES = ("a", "b")


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "a").write_bytes(b"first")
        (folder / "b").write_bytes(b"second")


def get(cache: Cache, maker: Maker) -> Path:
    return cache.entry("kind", KEY, FILES, maker)


def test_an_entry_is_made_once_and_kept(tmp_path: Path) -> None:
    maker = Maker()
    first = get(Cache(tmp_path), maker)
    assert get(Cache(tmp_path), maker) == first
    assert maker.calls == 1
    assert set(json.loads((first / MANIFEST).read_bytes())) == set(FILES)


def test_kind_and_key_name_different_entries(tmp_path: Path) -> None:
    maker = Maker()
    cache = Cache(tmp_path)
    folders = {
        get(cache, maker),
        cache.entry("other", KEY, FILES, maker),
        cache.entry("kind", digest("cache-test-2"), FILES, maker),
    }
    assert len(folders) == maker.calls == 3


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["a", "b", MANIFEST])
@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_corrupt_entry_is_made_again_with_a_warning(
    tmp_path: Path, name: str, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(damage)
    maker = Maker()
    folder = get(Cache(tmp_path), maker)
    damage(folder / name)
    with caplog.at_level(logging.WARNING):
        assert get(Cache(tmp_path), maker) == folder
    assert maker.calls == 2
    assert "corrupt" in caplog.text
    assert (folder / "a").read_bytes() == b"first"
    get(Cache(tmp_path), maker)
    assert maker.calls == 2


def test_a_failed_make_leaves_nothing(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        (folder / "a").write_bytes(b"half")
        raise RuntimeError("disk full")

    cache = Cache(tmp_path)
    with pytest.raises(RuntimeError, match="disk full"):
        cache.entry("kind", KEY, FILES, broken)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    maker = Maker()
    get(cache, maker)
    assert maker.calls == 1


def test_a_make_that_forgets_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'c'"):
        Cache(tmp_path).entry("kind", KEY, ("a", "c"), Maker())


def test_a_torn_entry_of_a_killed_process_is_swept(tmp_path: Path) -> None:
    torn = tmp_path / f"kind-{KEY.hex()}.part-dead"
    torn.mkdir()
    (torn / "a").write_bytes(b"half")
    get(Cache(tmp_path), Maker())
    assert not torn.exists()


def test_concurrent_processes_make_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    jobs = importlib.import_module("child_jobs")
    log = tmp_path / "log"

    async def both() -> list[bytes]:
        runs = [child.run(jobs.make_entry, tmp_path / "cache", log) for _ in range(3)]
        return list(await asyncio.gather(*runs))

    assert asyncio.run(both()) == [b"costly"] * 3
    assert log.read_text() == "made\n"

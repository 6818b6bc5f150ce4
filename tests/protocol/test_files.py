"""Files appear whole, with the mode they were given, or not at all."""

import os
from pathlib import Path

import pytest

from zkpot.files import (
    PRIVATE,
    SHARED,
    TEMPORARY,
    WORLD,
    create_secret_file,
    remove_unfinished,
    replace_file,
)


def names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def disk_is_full(_handle: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("mode", [PRIVATE, SHARED, WORLD])
@pytest.mark.parametrize("umask", [0, 0o077])
def test_the_mode_is_exact(tmp_path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        replace_file(tmp_path / "file", b"data", mode)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode
    assert names(tmp_path) == ["file"]


def test_old_content_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", disk_is_full)
        with pytest.raises(OSError, match="No space"):
            replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"


def test_what_a_power_loss_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY}0123").write_bytes(b"half")
    replace_file(tmp_path / "file", b"whole")
    remove_unfinished(tmp_path)
    assert names(tmp_path) == ["file"]


def test_a_reader_of_the_old_file_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    with path.open("rb") as reader:
        replace_file(path, b"new and longer")
        assert reader.read() == b"old"


def test_a_secret_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "secret"
    create_secret_file(path, b"first")
    with pytest.raises(FileExistsError):
        create_secret_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == PRIVATE


def test_a_full_disk_leaves_no_secret_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", disk_is_full)
        with pytest.raises(OSError, match="No space"):
            create_secret_file(path, b"first")
    assert names(tmp_path) == []
    create_secret_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert names(tmp_path) == ["secret"]


def test_a_secret_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        create_secret_file(tmp_path / "link", b"secret")
    assert names(tmp_path) == ["link"]

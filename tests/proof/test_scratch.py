import fcntl
import os
from pathlib import Path

import pytest

from zkpot.proof.scratch import GRACE_SECONDS, PREFIX, scratch_folder


def make_old(path: Path) -> Path:
    path.mkdir()
    (path / "input.json").write_text("weights")
    os.utime(path, (0, 0))
    return path


def test_a_folder_is_private_and_goes_away(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "input.json").write_text("weights")
    assert not list(tmp_path.iterdir())


def test_a_folder_goes_away_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), scratch_folder(tmp_path):
        raise ValueError("broken")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_caller_left_is_swept(tmp_path: Path) -> None:
    left = make_old(tmp_path / f"{PREFIX}dead")
    foreign = make_old(tmp_path / "another-program")
    young = tmp_path / f"{PREFIX}young"
    young.mkdir()
    with scratch_folder(tmp_path):
        assert not left.exists()
        assert young.exists()
    assert (foreign / "input.json").exists()
    assert GRACE_SECONDS > 1


def test_a_folder_in_use_is_not_swept(tmp_path: Path) -> None:
    used = make_old(tmp_path / f"{PREFIX}used")
    descriptor = os.open(used, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with scratch_folder(tmp_path):
        assert (used / "input.json").exists()
    os.close(descriptor)
    with scratch_folder(tmp_path):
        assert not used.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "precious").write_text("kept")
    base = tmp_path / "base"
    base.mkdir()
    (base / f"{PREFIX}link").symlink_to(target)
    os.utime(base / f"{PREFIX}link", (0, 0), follow_symlinks=False)
    with scratch_folder(base):
        assert (target / "precious").exists()

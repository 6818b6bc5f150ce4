"""Install and uninstall that a power cut ends in any step: doing it again heals."""

import itertools
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.device.test_install import COMMAND, CONFIG, tree

from zkpot_agent.install import UNIT, Report, install, uninstall


class PowerCutError(BaseException):
    """No clause that handles errors sees it."""


def cut_off_after(monkeypatch: pytest.MonkeyPatch, steps: int, work: Callable[[], Report]) -> bool:
    """Runs `work` until so many files and folders were touched; True if it got to its end."""
    left = steps

    def mortal(call: Callable[..., object], *, writes: bool = True) -> Callable[..., object]:
        def step(*args: object, **kwargs: object) -> object:
            nonlocal left
            if writes or (isinstance(args[1], int) and args[1] & (os.O_WRONLY | os.O_CREAT)):
                if left == 0:
                    raise PowerCutError
                left -= 1
            return call(*args, **kwargs)

        return step

    with monkeypatch.context() as patched:
        for name in ("mkdir", "chmod", "fchmod", "replace", "unlink", "rmdir"):
            patched.setattr(os, name, mortal(getattr(os, name)))
        patched.setattr(os, "open", mortal(os.open, writes=False))
        try:
            work()
        except PowerCutError:
            return False
    return True


def a_board(folder: Path) -> Path:
    """With the folders that every system has, and the one that the first step would make."""
    for name in ("etc/systemd/system", "etc/sysusers.d", "etc/tmpfiles.d", "etc/zkpot"):
        (folder / name).mkdir(parents=True)
    return folder


def unfinished(found: dict[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    """Without what is half written in the folders of the system or before the manifest is there."""
    return {path: each for path, each in found.items() if "/.tmp-" not in path}


@pytest.mark.parametrize("upgrade", [False, True])
def test_installing_goes_on_after_a_power_cut_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upgrade: bool
) -> None:
    for steps in itertools.count():
        root = a_board(tmp_path / str(steps))
        before = tree(root)
        if upgrade:
            install(root, "raspberry-pi-4", CONFIG, COMMAND)
        ended = cut_off_after(
            monkeypatch, steps, partial(install, root, "raspberry-pi-5", CONFIG, COMMAND)
        )
        credentials = root / "etc/zkpot/agent.credentials"
        assert not credentials.exists() or credentials.stat().st_mode & 0o777 == 0o700
        assert install(root, "raspberry-pi-5", CONFIG, COMMAND).kept == []
        drop_in = root / "etc/systemd/system" / f"{UNIT}.d/50-profile.conf"
        assert "raspberry-pi-5" in drop_in.read_text()
        assert uninstall(root).kept == []
        assert unfinished(tree(root)) == before
        if ended:
            break
    assert steps > 10


def test_uninstalling_goes_on_after_a_power_cut_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for steps in itertools.count():
        root = a_board(tmp_path / str(steps))
        before = tree(root)
        install(root, "raspberry-pi-5", CONFIG, COMMAND)
        ended = cut_off_after(monkeypatch, steps, partial(uninstall, root))
        if ended:
            break
        assert uninstall(root).kept == []
        assert unfinished(tree(root)) == before
    assert steps > 5

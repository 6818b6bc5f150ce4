import asyncio
import importlib
import os
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from zkpot.errors import Reason, Rejected
from zkpot.proof import child
from zkpot.proof.child import Limits
from zkpot.proof.system import Obstacle, ProvingFailed


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("child_jobs")


def run(job: Any, *args: Any, limits: Limits = child.NO_LIMITS) -> Any:
    return asyncio.run(child.run(job, *args, limits=limits))


def test_result_and_progress_come_back(jobs: Any) -> None:
    seen = []

    def progress(what: str, fraction: float) -> None:
        seen.append((what, fraction))

    assert asyncio.run(child.run(jobs.add, 2, 3, progress=progress)) == 5
    assert seen == [("adding", 0.5)]


def test_environment_is_chosen_and_limits_apply(jobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "geheim")
    limits = Limits(cores=1, nice=3)
    environment, argv, processors, nice = run(jobs.environment, limits=limits)
    assert "geheim" not in str(environment)
    assert not any("environment" in each for each in argv)
    assert environment["RAYON_NUM_THREADS"] == "1"
    assert processors == 1
    assert nice == os.nice(0) + 3


def test_a_crash_leaves_no_image_of_memory(jobs: Any) -> None:
    assert run(jobs.core_limit) == (0, 0)


def test_noise_stays_in_the_child(jobs: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(jobs.print_noise) == 7
    assert capfd.readouterr() == ("", "")


def test_own_errors_come_back_as_themselves(jobs: Any) -> None:
    with pytest.raises(Rejected) as rejected:
        run(jobs.reject)
    assert rejected.value.reason is Reason.POOL_EXHAUSTED
    assert rejected.value.detail == "no samples: left"
    with pytest.raises(ProvingFailed, match=r"^unsatisfied: not true: really$"):
        run(jobs.fail)


def test_other_errors_are_crashes_without_their_message(jobs: Any) -> None:
    with pytest.raises(ProvingFailed, match="KeyError") as failed:
        run(jobs.crash_in_python)
    assert failed.value.obstacle is Obstacle.CRASHED
    assert "weights" not in str(failed.value)


@pytest.mark.parametrize(
    ("number", "obstacle"),
    [
        (signal.SIGKILL, Obstacle.OUT_OF_MEMORY),
        (signal.SIGSEGV, Obstacle.CRASHED),
        (signal.SIGABRT, Obstacle.CRASHED),
    ],
)
def test_signals_are_told_apart(jobs: Any, number: int, obstacle: Obstacle) -> None:
    with pytest.raises(ProvingFailed) as failed:
        run(jobs.raise_signal, int(number))
    assert failed.value.obstacle is obstacle


def test_silent_exit_is_a_crash(jobs: Any) -> None:
    with pytest.raises(ProvingFailed, match="status 3") as failed:
        run(jobs.exit_silently)
    assert failed.value.obstacle is Obstacle.CRASHED


def test_memory_limit_ends_the_child(jobs: Any) -> None:
    with pytest.raises(ProvingFailed, match="limit of 104857600") as failed:
        run(jobs.grow, limits=Limits(memory_bytes=100 << 20))
    assert failed.value.obstacle is Obstacle.OUT_OF_MEMORY


def test_reserved_address_space_is_not_memory(jobs: Any) -> None:
    assert run(jobs.reserve, limits=Limits(memory_bytes=100 << 20)) == 4 << 30


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def assert_nothing_is_left(pid_file: Path) -> None:
    first, second, scratch = pid_file.read_text().split()
    wait_until(lambda: not is_alive(int(first)) and not is_alive(int(second)))
    assert not Path(scratch).exists()


async def cancel_once(begun: Callable[[], bool], work: Coroutine[Any, Any, Any]) -> None:
    """Cancels the work as soon as it has begun."""
    task = asyncio.create_task(work)
    while not begun():
        assert not task.done()
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_timeout_kills_the_whole_group(jobs: Any, tmp_path: Path) -> None:
    pid_file, seconds = tmp_path / "pids", 1.0
    while not pid_file.exists():  # a busy machine may take longer to start it
        seconds *= 2
        with pytest.raises(ProvingFailed) as failed:
            run(jobs.sleep, pid_file, 600.0, limits=Limits(wall_seconds=seconds))
        assert failed.value.obstacle is Obstacle.TIMEOUT
    assert_nothing_is_left(pid_file)


def test_cancellation_kills_the_whole_group(jobs: Any, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    asyncio.run(cancel_once(pid_file.exists, child.run(jobs.sleep, pid_file, 600.0)))
    assert_nothing_is_left(pid_file)


def test_child_dies_with_its_caller(jobs: Any, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    asyncio.run(cancel_once(pid_file.exists, child.run(jobs.run_orphan, pid_file)))
    first = int(pid_file.read_text().split()[0])
    wait_until(lambda: not is_alive(first))
    os.kill(int(pid_file.read_text().split()[1]), signal.SIGKILL)


def test_job_must_have_an_import_path() -> None:
    with pytest.raises((AttributeError, TypeError, Exception), match="local"):
        run(lambda progress: progress("no", 0.0))

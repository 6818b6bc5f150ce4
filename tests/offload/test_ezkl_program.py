"""Programs in place of `ezkl` that write garbage, do not start, hang, or take too much."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.offload.ezkl_stand_in import write_program

from zkpot.proof import child
from zkpot.proof.child import Limits
from zkpot.proof.ezkl.binary import prove
from zkpot.proof.system import Obstacle, Progress, ProvingFailed

pytestmark = pytest.mark.prover

PATIENT_S = 300.0


def run(binary: Path, folder: Path) -> bytes:
    """Calls the program with files that it does not read."""
    unread = folder / "unread"
    return prove(binary, folder, witness=unread, circuit=unread, proving_key=unread, srs=unread)


def run_in_child(_progress: Progress, binary: Path, folder: Path) -> bytes:
    return run(binary, folder)


@pytest.mark.parametrize(
    "written",
    [
        None,
        "",
        "not a proof",
        "[]",
        "{}",
        '{"hex_proof": null}',
        '{"hex_proof": "0xzz"}',
        '{"hex_proof": 7}',
        "[" * 100_000,
        " " * (1 << 20) + '{"hex_proof": "0x00"}',
    ],
)
def test_garbage_in_place_of_a_proof_is_refused(tmp_path: Path, written: str | None) -> None:
    source = "" if written is None else f"open('proof.json', 'w').write({written!r})\n"
    with pytest.raises(ProvingFailed) as caught:
        run(write_program(tmp_path / "ezkl", source), tmp_path)
    assert str(caught.value) == "crashed: ezkl_binary wrote no proof"


@pytest.mark.parametrize("content", [None, "#!/nowhere/python\n", "\0"])
def test_a_program_that_does_not_start_is_named(tmp_path: Path, content: str | None) -> None:
    """Where the start of the service could not tell: removed since, or on another machine."""
    path = tmp_path / "ezkl"
    if content is not None:
        path.write_text(content)
        path.chmod(0o755)
    with pytest.raises(ProvingFailed) as caught:
        run(path, tmp_path)
    assert caught.value.obstacle is Obstacle.UNAVAILABLE
    assert "ezkl_binary does not start" in caught.value.detail


# --- limits ---------------------------------------------------------------------------------


def hanging(folder: Path) -> Path:
    """Writes its process id, and never ends."""
    source = (
        "import os, time\n"
        "open('pid.part', 'w').write(str(os.getpid()))\n"
        "os.rename('pid.part', 'pid')\n"
        "while True:\n    time.sleep(60)\n"
    )
    return write_program(folder / "ezkl", source)


def written_pid(folder: Path) -> int:
    """Waits for what `hanging` writes."""
    path, end = folder / "pid", time.monotonic() + PATIENT_S
    while not path.exists():
        assert time.monotonic() < end, "the program does not start"
        time.sleep(0.02)
    return int(path.read_text())


def lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def is_gone(pid: int) -> bool:
    end = time.monotonic() + PATIENT_S
    while lives(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not lives(pid)


def test_a_program_that_hangs_ends_with_its_job(tmp_path: Path) -> None:
    async def scenario() -> int:
        job = asyncio.create_task(child.run(run_in_child, hanging(tmp_path), tmp_path))
        pid = await asyncio.to_thread(written_pid, tmp_path)
        assert lives(pid)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        return pid

    assert is_gone(asyncio.run(scenario()))


def test_the_jobs_time_is_the_programs(tmp_path: Path) -> None:
    with pytest.raises(ProvingFailed) as caught:
        asyncio.run(
            child.run(run_in_child, hanging(tmp_path), tmp_path, limits=Limits(wall_seconds=3))
        )
    assert caught.value.obstacle is Obstacle.TIMEOUT


def test_a_program_that_is_alone_ends_too(tmp_path: Path) -> None:
    """The kernel or its owner may kill a job without its process group."""
    script = (
        "from pathlib import Path; from tests.offload.test_ezkl_program import run; "
        f"run(Path({str(hanging(tmp_path))!r}), Path({str(tmp_path)!r}))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as process:
        pid = written_pid(tmp_path)
        assert lives(pid)
        process.kill()
    assert is_gone(pid)


def test_the_jobs_memory_is_the_programs(tmp_path: Path) -> None:
    source = "import time\nheld = b'x' * (600 << 20)\nwhile True:\n    time.sleep(60)\n"
    binary = write_program(tmp_path / "ezkl", source)
    limits = Limits(memory_bytes=400 << 20, wall_seconds=PATIENT_S)
    with pytest.raises(ProvingFailed) as caught:
        asyncio.run(child.run(run_in_child, binary, tmp_path, limits=limits))
    assert caught.value.obstacle is Obstacle.OUT_OF_MEMORY

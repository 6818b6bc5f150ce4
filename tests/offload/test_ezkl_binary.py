"""A prover that has an `ezkl` program prove: with a stand-in, and with programs that fail."""

import asyncio
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.offload.ezkl_stand_in import write_program, write_stand_in

from zkpot.errors import ExitCode, Fatal, Rejected
from zkpot.keys import KeyPair, create_key_file
from zkpot.link import BrokerSettings
from zkpot.model import Shape
from zkpot.offload import make_job, seal_job
from zkpot.proof import child
from zkpot.proof.child import Limits
from zkpot.proof.jobs import Backend
from zkpot.proof.registry import EZKL, SUMCHECK
from zkpot.proof.system import Obstacle, Progress, ProvingFailed, no_progress
from zkpot_agent.trial import Subject, random_batch, random_theta, subject
from zkpot_aggregator.prover.config import ProverConfig
from zkpot_aggregator.prover.jobs import SealedJob, prove_sealed
from zkpot_aggregator.prover.service import ProverService

pytest.importorskip("ezkl")
pytestmark = pytest.mark.prover

DEVICE, PROVER = (KeyPair.from_seed(bytes([n]) * 32) for n in (1, 2))
SHAPE = Shape((4, 3, 2), (0,), 16)
BATCH = 4
PATIENT_S = 60.0
SECRET = "2bd806c97f0e00af1a1fc3328fa763a9"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Backend:
    return Backend(EZKL, SHAPE, BATCH, tmp_path_factory.mktemp("keys"), "insecure-demo")


@pytest.fixture(scope="module")
def made(backend: Backend) -> Subject:
    system, generator = backend.load(), np.random.default_rng(11)
    system.prepare(no_progress)
    theta = random_theta(SHAPE, generator)
    return subject(system, SHAPE, theta, random_batch(SHAPE, theta, BATCH, generator))


def task(backend: Backend, made: Subject, binary: Path) -> SealedJob:
    job = make_job(DEVICE.id, PROVER.id, EZKL, backend.srs, SHAPE, made.statement, made.opening)
    sealed = seal_job(PROVER.box_key, job)
    return SealedJob(sealed, DEVICE.id, bytes(PROVER.signing), (EZKL,), backend.cache_dir, binary)


def failure(task: SealedJob) -> ProvingFailed:
    with pytest.raises(ProvingFailed) as caught:
        prove_sealed(task)
    return caught.value


# --- a program that proves ------------------------------------------------------------------


def in_child(_progress: Progress, task: SealedJob) -> bytes:
    return prove_sealed(task)


def test_the_program_makes_the_proof(
    backend: Backend, made: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of the pool's: in its folder, which goes with it, and knowing little."""
    monkeypatch.setenv("ZKPOT_TEST_SECRET", SECRET)
    monkeypatch.setenv("ICICLE_BACKEND_INSTALL_DIR", "/nowhere")
    sealed = task(backend, made, write_stand_in(tmp_path / "ezkl"))
    proof = asyncio.run(child.run(in_child, sealed, limits=Limits(cores=1)))
    backend.load().verify(made.statement, proof)
    folder, *names = (tmp_path / "ezkl.noted").read_text().splitlines()
    assert "zkpot-scratch-" in folder
    assert not Path(folder).exists()
    assert set(names) - {"LC_CTYPE", "LD_LIBRARY_PATH"} == {
        *("HOME", "TMPDIR", "RAYON_NUM_THREADS", "ICICLE_BACKEND_INSTALL_DIR")
    }


def test_paths_may_be_relative(
    backend: Backend, made: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are when the configuration is named by a relative path."""
    write_stand_in(tmp_path / "ezkl")
    monkeypatch.chdir(tmp_path)
    near = replace(backend, cache_dir=Path(os.path.relpath(backend.cache_dir)))
    proof = prove_sealed(task(near, made, Path("ezkl")))
    backend.load().verify(made.statement, proof)
    assert Path("ezkl.noted").exists()


def test_what_it_prints_goes_nowhere(
    backend: Backend,
    made: Subject,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The stand-in prints its witness, as no program should."""
    caplog.set_level(logging.DEBUG)
    prove_sealed(task(backend, made, write_stand_in(tmp_path / "ezkl")))
    assert capfd.readouterr() == ("", "")
    assert "outputs" not in caplog.text
    assert (tmp_path / "ezkl.noted").exists()


# --- programs that do not -------------------------------------------------------------------


def test_a_failing_program_is_named_by_its_status(
    backend: Backend, made: Subject, tmp_path: Path
) -> None:
    source = f"import sys\nprint({SECRET!r}, file=sys.stderr)\nsys.exit(3)\n"
    failed = failure(task(backend, made, write_program(tmp_path / "ezkl", source)))
    assert failed.obstacle is Obstacle.CRASHED
    assert failed.detail == "ezkl_binary ended with status 3"


def test_a_proof_of_another_length_is_refused(
    backend: Backend, made: Subject, tmp_path: Path
) -> None:
    source = """open('proof.json', 'w').write('{"hex_proof": "0x00"}')\n"""
    failed = failure(task(backend, made, write_program(tmp_path / "ezkl", source)))
    assert failed.obstacle is Obstacle.CRASHED
    assert "1 bytes" in failed.detail


def test_a_proof_that_does_not_hold_is_not_returned(
    backend: Backend, made: Subject, tmp_path: Path
) -> None:
    """The last byte of a good proof is changed, so only the verifier can tell."""
    proof = bytearray(prove_sealed(task(backend, made, write_stand_in(tmp_path / "good"))))
    backend.load().verify(made.statement, bytes(proof))
    proof[-1] ^= 1
    with pytest.raises(Rejected):
        backend.load().verify(made.statement, bytes(proof))
    source = f"""open('proof.json', 'w').write('{{"hex_proof": "0x{proof.hex()}"}}')\n"""
    failed = failure(task(backend, made, write_program(tmp_path / "bad", source)))
    assert failed.obstacle is Obstacle.UNSATISFIED
    assert "does not hold" in failed.detail


# --- configuration --------------------------------------------------------------------------


def config(folder: Path, binary: Path, systems: tuple[str, ...] = (EZKL,)) -> ProverConfig:
    key_file = folder / "prover.key"
    if not key_file.exists():
        create_key_file(key_file)
    return ProverConfig(
        key_file,
        folder / "state",
        BrokerSettings("127.0.0.1", 1),
        (DEVICE.public_key.hex(),),
        systems,
        ezkl_binary=binary,
    )


@pytest.mark.parametrize("kind", ["missing", "folder", "not executable"])
def test_a_binary_that_cannot_run_ends_the_start(tmp_path: Path, kind: str) -> None:
    binary = tmp_path / "ezkl"
    if kind == "folder":
        binary.mkdir()
    elif kind == "not executable":
        write_stand_in(binary).chmod(0o644)
    with pytest.raises(Fatal) as caught:
        ProverService(config(tmp_path, binary))
    assert caught.value.exit_code is ExitCode.CONFIG
    assert str(binary) in str(caught.value)


def test_one_that_can_run_does_not(tmp_path: Path) -> None:
    ProverService(config(tmp_path, write_stand_in(tmp_path / "ezkl")))


def test_the_command_ends_with_the_code_of_a_bad_configuration(tmp_path: Path) -> None:
    create_key_file(tmp_path / "prover.key")
    (tmp_path / "prover.toml").write_text(
        'key_file = "prover.key"\nstate_dir = "state"\nezkl_binary = "missing/ezkl"\n'
        f'devices = ["{DEVICE.public_key.hex()}"]\nproof_systems = ["{EZKL}"]\n'
        '[broker]\nhost = "127.0.0.1"\nport = 1\n'
    )
    ended = subprocess.run(
        [sys.executable, "-m", "zkpot_aggregator", "prover", "--config", "prover.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENT_S,
        check=False,
    )
    assert ended.returncode == ExitCode.CONFIG
    assert "ezkl_binary" in ended.stderr
    assert "missing/ezkl is no file" in ended.stderr


def test_a_binary_without_its_proof_system_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ezkl_binary"):
        config(tmp_path, write_stand_in(tmp_path / "ezkl"), (SUMCHECK,))

"""One round's proofs about a random model, made, checked and measured in this process.

Used by `zkpot-agent selftest` in a child process, and by the benchmarks.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from zkpot.batch import Batch
from zkpot.errors import Rejected
from zkpot.ids import Digest
from zkpot.model import (
    INPUT_MAX,
    WEIGHT_MAX,
    WEIGHT_MIN,
    Int64Array,
    Layer,
    Shape,
    count_correct,
    join_theta,
    predict,
)
from zkpot.proof.jobs import Backend
from zkpot.proof.system import ModelOpening, Obstacle, Progress, ProofSystem, ProvingFailed
from zkpot.statement import Statement

_BIAS_BITS = 10
_SPREAD = 24
_INK = 0.2
_RIGHT = 0.75


@dataclass(frozen=True)
class Trial:
    """Seconds of each step, sizes in bytes, and resident memory in MB (10^6 bytes).

    `interpreter_mb` is what the process held with everything imported, `peak_mb` the most it
    held at once while it committed, proved and verified; `prove_cpu_s` counts all threads.
    """

    count: int
    proof_bytes: int
    wellformed_bytes: int
    setup_s: float
    commit_s: float
    wellformed_s: float
    prove_s: float
    prove_cpu_s: float
    wellformed_verify_s: float
    verify_s: float
    interpreter_mb: float
    peak_mb: float


@dataclass(frozen=True, eq=False)
class Subject:
    """A committed random model and the true statement about it."""

    opening: ModelOpening
    statement: Statement


def random_theta(shape: Shape, generator: np.random.Generator) -> Int64Array:
    """Bell-shaped weights, as training makes them, and small biases."""
    bias = 1 << min(_BIAS_BITS, shape.bias_bits)
    return join_theta(
        tuple(
            Layer(
                np.clip(
                    np.rint(generator.normal(0, _SPREAD, (inputs, outputs))), WEIGHT_MIN, WEIGHT_MAX
                ).astype(np.int64),
                generator.integers(-bias, bias, outputs),
            )
            for inputs, outputs in shape.layers
        )
    )


def random_batch(
    shape: Shape, theta: Int64Array, size: int, generator: np.random.Generator
) -> Batch:
    """Mostly black pictures, of which the model gets about three quarters right."""
    inputs = generator.integers(0, INPUT_MAX + 1, (size, shape.features)).astype(np.uint8)
    inputs[generator.random(inputs.shape) > _INK] = 0
    labels = generator.integers(0, shape.classes, size)
    right = generator.random(size) < _RIGHT
    labels[right] = predict(shape, theta, inputs)[right]
    return Batch(inputs, labels.astype(np.uint8))


def subject(system: ProofSystem, shape: Shape, theta: Int64Array, batch: Batch) -> Subject:
    """Commits to `theta` with fresh blinding, under a random context."""
    opening = ModelOpening(theta, system.commitments.random_blinding())
    count = count_correct(shape, theta, batch.inputs, batch.labels)
    context = Digest(secrets.token_bytes(32))
    return Subject(opening, Statement(system.commitments.commit(opening), batch, context, count))


def trial(progress: Progress, backend: Backend, seed: int) -> Trial:
    """Commits, proves both statements, verifies both, and sees a false count refused.

    Raises `ProvingFailed`, also if the verifier accepts what is false; `Rejected` for a shape
    that the system cannot take, or if it refuses its own proofs.
    """
    system, clock = backend.load(), _Clock()
    with clock("setup"):
        system.prepare(progress)
    generator = np.random.default_rng(seed)
    theta = random_theta(backend.shape, generator)
    batch = random_batch(backend.shape, theta, backend.batch_size, generator)
    interpreter_mb = _start_peak()
    with clock("commit"):
        made = subject(system, backend.shape, theta, batch)
    statement = made.statement
    with clock("wellformed"):
        wellformed = system.prove_wellformed(made.opening, statement.context)
    with clock("prove"):
        proof = system.prove(statement, made.opening, progress)
    with clock("wellformed_verify"):
        system.verify_wellformed(statement.commitment, statement.context, wellformed)
    with clock("verify"):
        system.verify(statement, proof)
    peak_mb = _resident_mb("VmHWM")
    _see_refused(system, statement, proof)
    return Trial(
        count=statement.count,
        proof_bytes=len(proof),
        wellformed_bytes=len(wellformed or b""),
        prove_cpu_s=clock.processor["prove"],
        interpreter_mb=interpreter_mb,
        peak_mb=peak_mb,
        **{f"{step}_s": seconds for step, seconds in clock.wall.items()},
    )


def _see_refused(system: ProofSystem, statement: Statement, proof: bytes) -> None:
    other = statement.count + (1 if statement.count < statement.batch.size else -1)
    try:
        system.verify(replace(statement, count=other), proof)
    except Rejected:
        return
    raise ProvingFailed(Obstacle.CRASHED, "the verifier accepts a false count on this machine")


@dataclass
class _Clock:
    wall: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall[step] = time.perf_counter() - wall
        self.processor[step] = time.process_time() - processor


def _start_peak() -> float:
    """Resident memory now; the kernel's high-water mark starts again from it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _resident_mb("VmRSS")


def _resident_mb(name: str) -> float:
    status = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    kib = next((int(line.split()[1]) for line in status if line.startswith(f"{name}:")), 0)
    return kib * 1024 / 1e6

"""The measuring process: reads one job from standard input, writes its result as JSON.

Nothing is shared with the process that prints the table, so memory and first-time costs are
those of a device's own child process.
"""

import contextlib
import importlib
import json
import os
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.cases import shape_of
from zkpot.errors import ZkpotError
from zkpot.proof.jobs import Backend
from zkpot.proof.registry import NAME_TO_SYSTEM, SYSTEM_TO_PACKAGE
from zkpot.proof.system import no_progress
from zkpot.task import SRS_INSECURE_DEMO
from zkpot_agent.trial import Trial, random_batch, random_theta, subject, trial

_SECONDS = (
    "commit_s",
    "wellformed_s",
    "prove_s",
    "prove_cpu_s",
    "wellformed_verify_s",
    "verify_s",
)
_SEED = 1


def measured(job: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row; each time is the best of the job's repeats."""
    backend = _backend(job)
    trials = [trial(no_progress, backend, _SEED + number) for number in range(job["repeats"])]
    first = trials[0]
    row: dict[str, Any] = {name: min(_values(trials, name)) for name in _SECONDS}
    if not first.wellformed_bytes:
        row["wellformed_s"] = row["wellformed_verify_s"] = None
    return row | {
        "proof_bytes": first.proof_bytes,
        "wellformed_bytes": first.wellformed_bytes,
        "peak_mb": first.peak_mb - first.interpreter_mb,
        "interpreter_mb": first.interpreter_mb,
        "prove_first_s": first.prove_s,
        "prove_median_s": statistics.median(_values(trials, "prove_s")),
        "verify_median_s": statistics.median(_values(trials, "verify_s")),
        "repeats": len(trials),
    }


def verified_together(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds per proof when `together` proofs of different models are verified at once."""
    backend, number = _backend(job), job["together"]
    system = backend.load()
    generator = np.random.default_rng(_SEED)
    theta = random_theta(backend.shape, generator)
    batch = random_batch(backend.shape, theta, backend.batch_size, generator)
    subjects = [subject(system, backend.shape, theta, batch) for _ in range(number)]
    statements = [each.statement for each in subjects]
    proofs = [system.prove(each.statement, each.opening, no_progress) for each in subjects]
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        verdicts = system.verify_many(statements, proofs)  # type: ignore[attr-defined]
        best = min(best, (time.perf_counter() - start) / number)
        if any(verdicts):
            raise AssertionError(f"a true proof is refused: {verdicts}")
    return {"verify_many_s": best, "verify_many": number}


def prepared(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds that the keys of the shape cost once; they stay in the job's cache."""
    system = _backend(job).load()
    start = time.perf_counter()
    system.prepare(no_progress)
    return {"setup_s": time.perf_counter() - start}


_NAME_TO_TASK = {"prepare": prepared, "measure": measured, "together": verified_together}


def main() -> None:
    """Answers with the result or with the reason why there is none."""
    # Libraries print: the answer goes to what was standard output, they get standard error.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = json.load(sys.stdin)
    importlib.import_module(SYSTEM_TO_PACKAGE[NAME_TO_SYSTEM[job["system"]]])
    try:
        result = _NAME_TO_TASK[job["task"]](job)
    except ZkpotError as error:
        result = {"error": str(error)}
    with contextlib.closing(answer):
        json.dump(result, answer)


def _backend(job: dict[str, Any]) -> Backend:
    return Backend(
        NAME_TO_SYSTEM[job["system"]],
        shape_of(job["shape"]),
        job["batch"],
        Path(job["cache"]),
        SRS_INSECURE_DEMO,
    )


def _values(trials: list[Trial], name: str) -> list[float]:
    return [asdict(each)[name] for each in trials]


if __name__ == "__main__":
    main()

"""Runs one job of `bench.measure` in a fresh process and reads its answer."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.cases import Case

TIMEOUT_SECONDS = 1500
_ROOT = Path(__file__).parent.parent


def run_fresh(task: str, case: Case, cache: Path, **options: int) -> dict[str, Any]:
    """The result of `task`; `error` holds the reason if there is none."""
    job = {"task": task, "cache": str(cache), **asdict(case), **options}
    threads = str(case.threads)
    # Threads of the provers, and of numpy, which plays no part in what is timed.
    limits = {"RAYON_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.measure"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            check=False,
            cwd=_ROOT,
            env={**os.environ, **limits},
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done within {TIMEOUT_SECONDS} s"}
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return {"error": f"exit status {done.returncode}: {lines[-1] if lines else ''}"}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer

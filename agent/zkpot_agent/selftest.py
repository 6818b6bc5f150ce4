"""`zkpot-agent selftest`: whether this very device can prove what its task asks for.

A child process with the limits that the agent itself would set commits to a random model of
the task's shape, proves, and verifies. Nothing is sent, and no key or data is read.
"""

import asyncio
import contextlib
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zkpot.cid import Cid, cid_text, join_object
from zkpot.datasets import DIGITS_SPEC, MNIST_SPEC
from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.model import Shape
from zkpot.proof import child
from zkpot.proof.jobs import Backend
from zkpot.proof.registry import SUMCHECK
from zkpot.proof.system import ProvingFailed
from zkpot.task import SRS_INSECURE_DEMO, Task, decode_task, manifest_cid
from zkpot_agent.blocks import BLOCK_PREFIX
from zkpot_agent.config import AgentConfig, LimitsConfig
from zkpot_agent.trial import Trial, trial
from zkpot_agent.work import cache_dir

NAME_TO_SHAPE = {"digits": DIGITS_SPEC.shape, "mnist": MNIST_SPEC.shape}
DEFAULT_BATCH = 100
LONGEST_SECONDS = 3600.0
"""For a device whose task, and so whose deadline, is not known yet."""


@dataclass(frozen=True)
class Plan:
    """What to prove, and within which limits; without a deadline only memory is judged."""

    system_id: str
    shape: Shape
    batch_size: int
    limits: LimitsConfig
    prove_deadline_s: float | None
    srs: str = SRS_INSECURE_DEMO
    cache_dir: Path | None = None


@dataclass(frozen=True)
class SelfTest:
    """What was measured, or why there is nothing to measure."""

    plan: Plan
    trial: Trial | None
    problem: str | None

    @property
    def ok(self) -> bool:
        """Whether the device can take part."""
        return self.problem is None

    def facts(self) -> dict[str, Any]:
        """The documented JSON object."""
        plan = self.plan
        return {
            "ok": self.ok,
            "problem": self.problem,
            "proof_system": plan.system_id,
            "shape": "-".join(map(str, plan.shape.widths)),
            "batch": plan.batch_size,
            "memory_limit_mb": plan.limits.memory_mb,
            "prove_deadline_s": plan.prove_deadline_s,
            "cores": plan.limits.cores,
            **({} if self.trial is None else self.trial.__dict__),
        }


def plan_for(config: AgentConfig | None, shape_name: str | None, batch: int | None) -> Plan:
    """The task's shape, or the named one, within the configured limits.

    Raises `Fatal` (USAGE) if neither says what to prove.
    """
    limits = LimitsConfig() if config is None else config.limits
    if shape_name is not None:
        shape = NAME_TO_SHAPE.get(shape_name)
        if shape is None:
            raise Fatal(
                ExitCode.USAGE, f"--shape {shape_name}: expected {' or '.join(NAME_TO_SHAPE)}"
            )
        return Plan(SUMCHECK, shape, batch or DEFAULT_BATCH, limits, None)
    if config is None:
        raise Fatal(ExitCode.USAGE, "give --config or --shape")
    task = known_task(config)
    if task is None:
        raise Fatal(
            ExitCode.USAGE,
            "this device has not fetched its task yet: let the agent run once, or give --shape",
        )
    return Plan(
        task.proof_system,
        task.model.shape,
        batch or task.batch_size,
        limits,
        float(task.deadlines.prove),
        task.srs,
        cache_dir(config),
    )


def known_task(config: AgentConfig) -> Task | None:
    """The task's manifest, if the journal holds it; reads beside a running service."""
    try:
        with contextlib.closing(sqlite3.connect(config.journal_uri, uri=True)) as connection:
            return decode_task(
                join_object(manifest_cid(config.task_id), lambda cid: _block(connection, cid))
            )
    except (sqlite3.Error, Rejected):
        return None


def _block(connection: sqlite3.Connection, cid: Cid) -> bytes:
    found = connection.execute(
        "SELECT value FROM states WHERE key = ?", (BLOCK_PREFIX + cid_text(cid),)
    ).fetchone()
    if found is None:
        raise Rejected(Reason.NOT_FOUND, cid_text(cid))
    return bytes(found[0])


def run_selftest(plan: Plan) -> SelfTest:
    """Runs the trial in a child process within the plan's limits."""
    with TemporaryDirectory(prefix="zkpot-selftest-") as scratch:
        backend = Backend(
            plan.system_id, plan.shape, plan.batch_size, plan.cache_dir or Path(scratch), plan.srs
        )
        limits = plan.limits.of(plan.prove_deadline_s or LONGEST_SECONDS)
        try:
            found = asyncio.run(child.run(trial, backend, secrets.randbits(32), limits=limits))
        except (ProvingFailed, Rejected) as error:
            return SelfTest(plan, None, str(error))
    deadline = plan.prove_deadline_s
    problem = None
    if deadline is not None and found.prove_s > deadline:
        problem = f"proving took {found.prove_s:.1f} s, the task allows {deadline:.0f} s"
    return SelfTest(plan, found, problem)

"""`prover`: runs the service and prints what becomes of jobs."""

import json
from pathlib import Path
from typing import Any

from zkpot.config import load_config
from zkpot.errors import ExitCode, reason_text
from zkpot.ids import DeviceId, device_text
from zkpot.process import log_to_stderr, run_until_signalled
from zkpot.wire.prover_messages import JobState, JobStatus
from zkpot_aggregator.prover.config import ProverConfig
from zkpot_aggregator.prover.service import ProverService


def run_prover(config: Path, *, json_output: bool, verbose: bool) -> ExitCode:
    """Runs until stopped."""
    log_to_stderr(verbose=verbose)

    def say(event: str, text: str, **facts: Any) -> None:
        print(json.dumps({"event": event, **facts}) if json_output else text, flush=True)  # noqa: T201

    def on_ready(prover: DeviceId, public_key: bytes) -> None:
        name, key = device_text(prover), public_key.hex()
        say("ready", f"prover {name}\npublic key {key}", prover=name, public_key=key)

    def on_status(status: JobStatus) -> None:
        device, state = device_text(status.device), status.state.name.lower()
        facts: dict[str, Any] = {"device": device, "state": state}
        if status.state is JobState.FAILED:
            facts |= {"reason": reason_text(status.reason), "detail": status.detail}
        progress = f" {status.progress_per_mille / 10:.0f} %"
        shown = facts.get("reason", progress if status.state is JobState.PROVING else "")
        say("job", f"{device}: {state} {shown}".rstrip(), **facts)

    loaded = load_config(ProverConfig, config)

    async def run() -> None:
        await ProverService(loaded, on_ready=on_ready, on_status=on_status).run()

    return run_until_signalled(run)

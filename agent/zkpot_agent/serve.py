"""`zkpot-agent run`, in a process that has not loaded what parses command lines.

That is 25 MB which a device would hold for as long as the service runs.
"""

import argparse
from pathlib import Path

from zkpot.config import load_config
from zkpot.errors import ExitCode
from zkpot.process import exit_with, log_to_stderr, run_until_signalled
from zkpot_agent.config import AgentConfig
from zkpot_agent.service import AgentService
from zkpot_agent.work import Worker


def serve(config: Path, *, verbose: bool, hostile: str | None) -> ExitCode:
    """Runs the service until it is stopped."""
    log_to_stderr(verbose=verbose)
    worker_type = Worker
    if hostile is not None:
        from zkpot_agent.hostile import hostile_worker  # noqa: PLC0415 - never on a device

        worker_type = hostile_worker(hostile)
    loaded = load_config(AgentConfig, config)

    async def run() -> None:
        await AgentService(loaded, worker_type=worker_type).run()

    return run_until_signalled(run)


def main() -> None:
    """Takes the options of the command, as it passes them on."""
    parser = argparse.ArgumentParser(prog="zkpot-agent run", allow_abbrev=False)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--hostile")
    options = parser.parse_args()
    exit_with(lambda: serve(options.config, verbose=options.verbose, hostile=options.hostile))


if __name__ == "__main__":
    main()

"""`validate`: runs a validator."""

from pathlib import Path

from zkpot.config import load_config
from zkpot.errors import ExitCode
from zkpot.process import log_to_stderr, run_until_signalled
from zkpot_aggregator.validate.config import ValidateConfig
from zkpot_aggregator.validate.service import ValidatorService


def run_validator(config: Path, *, verbose: bool) -> ExitCode:
    """Runs until stopped."""
    log_to_stderr(verbose=verbose)
    loaded = load_config(ValidateConfig, config)

    async def run() -> None:
        await ValidatorService(loaded).run()

    return run_until_signalled(run)

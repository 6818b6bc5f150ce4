"""The `zkpot-agent` command: parses, calls one function, prints."""

import json
from pathlib import Path
from typing import Annotated

import typer

from zkpot.errors import ExitCode
from zkpot.process import exit_with, log_to_stderr, run_until_signalled

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The device's side of a federated task: trains, commits, proves.",
)

ConfigOption = Annotated[Path, typer.Option("--config", help="The agent's TOML file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", help="Log every step.")]


@app.command()
def run(
    config: ConfigOption,
    verbose: VerboseOption = False,
    hostile: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Take part in the task until stopped."""

    def work() -> ExitCode:
        from zkpot.config import load_config
        from zkpot_agent.config import AgentConfig
        from zkpot_agent.service import AgentService
        from zkpot_agent.work import Worker

        log_to_stderr(verbose=verbose)
        worker_type = Worker
        if hostile is not None:
            from zkpot_agent.hostile import hostile_worker

            worker_type = hostile_worker(hostile)
        loaded = load_config(AgentConfig, config)

        async def serve() -> None:
            await AgentService(loaded, worker_type=worker_type).run()

        return run_until_signalled(serve)

    exit_with(work)


@app.command()
def keygen(
    key_file: Annotated[Path, typer.Argument(help="Where to write the key; never replaced.")],
    json_output: JsonOption = False,
) -> None:
    """Make this device's key and print what the operator must enrol."""

    def work() -> ExitCode:
        from zkpot.ids import device_text
        from zkpot.keys import create_key_file

        key = create_key_file(key_file)
        facts = {"device": device_text(key.id), "public_key": key.public_key.hex()}
        if json_output:
            typer.echo(json.dumps(facts))
        else:
            typer.echo(f"device      {facts['device']}\npublic key  {facts['public_key']}")
        return ExitCode.OK

    exit_with(work)


@app.command()
def check(config: ConfigOption, json_output: JsonOption = False) -> None:
    """Try everything the agent needs for real, and say what to mend."""

    def work() -> ExitCode:
        from zkpot_agent.check import check_device

        findings = check_device(config)
        if json_output:
            typer.echo(json.dumps([finding.__dict__ for finding in findings]))
        else:
            for finding in findings:
                mark = "ok  " if finding.ok else "FAIL"
                typer.echo(f"{mark}  {finding.what:<10} {finding.detail}")
        return ExitCode.OK if all(f.ok for f in findings) else ExitCode.FAILURE

    exit_with(work)


@app.command()
def status(config: ConfigOption, json_output: JsonOption = False) -> None:
    """Show where this device stands: its round, its last results, its incidents."""

    def work() -> ExitCode:
        from zkpot.config import load_config
        from zkpot_agent.config import AgentConfig
        from zkpot_agent.status import read_status

        found = read_status(load_config(AgentConfig, config))
        if json_output:
            typer.echo(json.dumps(found))
        else:
            for name, value in found.items():
                typer.echo(f"{name:<10} {value}")
        return ExitCode.OK

    exit_with(work)


@app.command()
def selftest(
    config: Annotated[
        Path | None, typer.Option("--config", help="The agent's TOML file: task and limits.")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="digits or mnist; default: the shape of the task.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Samples; default: the task's, or 100.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Prove and verify with a random model, to see whether this device can.

    A child process, within the configured limits, does what a round asks for: it commits to a
    random model of the task's shape, proves it well formed, proves its accuracy on random
    samples, and verifies both. Printed are the time of each step, the memory, and whether that
    is within limits.memory_mb and the task's deadline for proving. Nothing is sent. Exit
    status 0 if the device can take part, 1 if not.
    """

    def work() -> ExitCode:
        from zkpot.config import load_config
        from zkpot_agent.config import AgentConfig
        from zkpot_agent.selftest import plan_for, run_selftest

        loaded = None if config is None else load_config(AgentConfig, config)
        result = run_selftest(plan_for(loaded, shape, batch))
        facts = result.facts()
        if json_output:
            typer.echo(json.dumps(facts))
        else:
            for name, value in facts.items():
                text = f"{value:.3f}" if isinstance(value, float) else value
                typer.echo(f"{name:<20} {text}")
        return ExitCode.OK if result.ok else ExitCode.FAILURE

    exit_with(work)


def main() -> None:
    """Entry point of the console script."""
    app()

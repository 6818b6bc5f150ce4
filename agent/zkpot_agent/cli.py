"""The `zkpot-agent` command: parses, calls one function, prints."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from zkpot.errors import ExitCode

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
    command = [sys.executable, "-P", "-m", "zkpot_agent.serve", "--config", str(config)]
    if verbose:
        command.append("--verbose")
    if hostile is not None:
        command += ["--hostile", hostile]
    # The same pid, without the memory that reading the command line took: see `serve`.
    os.execv(sys.executable, command)  # noqa: S606  (no shell, on purpose)


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

    _exit_with(work)


@app.command()
def check(config: ConfigOption, json_output: JsonOption = False) -> None:
    """Try everything the agent needs for real, and say what to mend."""

    def work() -> ExitCode:
        from zkpot.findings import lines
        from zkpot_agent.check import check_device

        findings = check_device(config)
        if json_output:
            typer.echo(json.dumps([finding.__dict__ for finding in findings]))
        else:
            typer.echo("\n".join(lines(findings)))
        return ExitCode.OK if all(f.ok for f in findings) else ExitCode.FAILURE

    _exit_with(work)


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

    _exit_with(work)


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
        from zkpot_agent.profile import bounded, profile_of
        from zkpot_agent.selftest import plan_for, run_selftest

        loaded = None if config is None else load_config(AgentConfig, config)
        if loaded is not None:
            loaded = bounded(loaded, profile_of(loaded))
        result = run_selftest(plan_for(loaded, shape, batch))
        facts = result.facts()
        if json_output:
            typer.echo(json.dumps(facts))
        else:
            for name, value in facts.items():
                text = f"{value:.3f}" if isinstance(value, float) else value
                typer.echo(f"{name:<20} {text}")
        return ExitCode.OK if result.ok else ExitCode.FAILURE

    _exit_with(work)


@app.command()
def infer(
    model: Annotated[str, typer.Option(help="global-model.cbor, .tflite, .onnx, or a CID.")],
    input_file: Annotated[Path, typer.Option("--input", help=".npz or .csv; bytes 0 to 255.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="The agent's TOML file; needed for a CID.")
    ] = None,
    task: Annotated[
        Path | None, typer.Option(help="The task's manifest; default: task.cbor by the model.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Print the labels a model gives to samples, one a line."""

    def work() -> ExitCode:
        from zkpot.config import load_config
        from zkpot_agent import inference
        from zkpot_agent.config import AgentConfig
        from zkpot_agent.inference_input import read_inputs

        loaded = None if config is None else load_config(AgentConfig, config)
        facts = inference.infer(model, read_inputs(input_file), loaded, task)
        if json_output:
            typer.echo(json.dumps(facts))
        else:
            typer.echo("\n".join(map(str, facts["labels"])))
            if "correct" in facts:
                typer.echo(f"{facts['correct']} of {facts['samples']} are right", err=True)
        return ExitCode.OK

    _exit_with(work)


@app.command()
def export(
    to: Annotated[str, typer.Option("--format", help="tflite or onnx.")],
    output: Annotated[Path, typer.Option(help="Where to write the model.")],
    model: Annotated[
        str | None, typer.Option(help="global-model.cbor or a CID; default: the latest.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="The agent's TOML file: where models lie.")
    ] = None,
    task: Annotated[
        Path | None, typer.Option(help="The task's manifest; default: task.cbor by the model.")
    ] = None,
) -> None:
    """Write a global model for another runtime, exact to the last bit."""

    def work() -> ExitCode:
        from zkpot.config import load_config
        from zkpot_agent.config import AgentConfig
        from zkpot_agent.inference_convert import export_model

        loaded = None if config is None else load_config(AgentConfig, config)
        size = export_model(to, output, model, loaded, task)
        typer.echo(f"{output}: {size} bytes")
        return ExitCode.OK

    _exit_with(work)


@app.command()
def install(
    profile: Annotated[str, typer.Option(help="A firmware profile, or auto.")] = "auto",
    root: Annotated[Path, typer.Option(help="Write below this folder, as a dry run.")] = Path("/"),
    config: Annotated[
        str, typer.Option("--config", help="Where the config will lie on the device.")
    ] = "/etc/zkpot/agent.toml",
) -> None:
    """Make the agent a service: unit, limits of this board, folders, config to fill in."""

    def work() -> ExitCode:
        import subprocess

        from zkpot_agent.install import activate
        from zkpot_agent.install import install as install_files

        report = install_files(root, profile, config)

        def call(command: list[str]) -> None:
            subprocess.run(command, check=False)

        report.done += activate(root, call)
        _print_report(report.done, report.kept)
        for number, hint in enumerate(report.hints, 1):
            typer.echo(f"next {number}  {hint}")
        return ExitCode.OK

    _exit_with(work)


@app.command()
def uninstall(
    root: Annotated[Path, typer.Option(help="The folder `install` wrote below.")] = Path("/"),
) -> None:
    """Remove what install wrote. Keys, state and what you changed stay."""

    def work() -> ExitCode:
        from zkpot_agent.install import uninstall as uninstall_files

        report = uninstall_files(root)
        _print_report(report.done, report.kept)
        return ExitCode.OK

    _exit_with(work)


def _print_report(done: list[str], kept: list[str]) -> None:
    for line in done:
        typer.echo(f"done    {line}")
    for line in kept:
        typer.echo(f"kept    {line}")


def _exit_with(work: Callable[[], ExitCode]) -> None:
    # Imported when a command runs: asyncio would be a sixth of the time of --help.
    from zkpot.process import exit_with

    exit_with(work)


def main() -> None:
    """Entry point of the console script."""
    app()

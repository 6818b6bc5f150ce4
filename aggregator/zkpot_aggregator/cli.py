"""The `zkpot-aggregator` command: parses, calls one function, prints."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from zkpot.errors import ExitCode
from zkpot.process import exit_with, log_to_stderr, run_until_signalled

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The aggregator's side of a federated task: rounds, verification, record, audit.",
)
round_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at rounds.")
app.add_typer(round_app, name="round")

ConfigOption = Annotated[Path, typer.Option("--config", help="The aggregator's TOML file.")]
DirOption = Annotated[
    Path, typer.Option("--dir", help="A state directory, or what `demo --dir` made.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", help="Log every step.")]


@app.command()
def run(
    config: ConfigOption, json_output: JsonOption = False, verbose: VerboseOption = False
) -> None:
    """Run the task's rounds until the last one or until stopped."""

    def work() -> ExitCode:
        from zkpot.config import load_config
        from zkpot_aggregator.config import AggregatorConfig
        from zkpot_aggregator.service import AggregatorService
        from zkpot_aggregator.ui.events import event_printer

        log_to_stderr(verbose=verbose)
        service = AggregatorService(
            load_config(AggregatorConfig, config), **event_printer(json_output=json_output)
        )
        return run_until_signalled(service.run)

    exit_with(work)


@app.command()
def check(config: ConfigOption, json_output: JsonOption = False) -> None:
    """Try everything the aggregator needs for real, and say what to mend."""

    def work() -> ExitCode:
        from zkpot.findings import lines
        from zkpot_aggregator.check import check_aggregator

        findings = check_aggregator(config)
        if json_output:
            _print_json([dataclasses.asdict(finding) for finding in findings])
        else:
            typer.echo("\n".join(lines(findings)))
        return ExitCode.OK if all(f.ok for f in findings) else ExitCode.FAILURE

    exit_with(work)


@app.command()
def audit(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="A state directory, or what `demo --dir` made.")
    ] = None,
    json_output: JsonOption = False,
    task: Annotated[
        str | None, typer.Option(help="The task's id; default: the directory's.")
    ] = None,
    independent: Annotated[
        bool,
        typer.Option(
            "--independent",
            help="Verify sumcheck proofs with the second verifier, in plain Python: slow.",
        ),
    ] = False,
    ledger: Annotated[
        str | None, typer.Option(help="Instead of --dir: a node's JSON-RPC URL.")
    ] = None,
    contract: Annotated[str | None, typer.Option(help="With --ledger: 0x and 40 digits.")] = None,
    first_block: Annotated[
        int, typer.Option(min=0, help="With --ledger: the contract's first block.")
    ] = 0,
    content: Annotated[
        str | None, typer.Option(help="With --ledger: an IPFS daemon's RPC URL.")
    ] = None,
    gateway: Annotated[
        str | None, typer.Option(help="With --ledger: an IPFS gateway's URL.")
    ] = None,
    fault_report: Annotated[
        str | None,
        typer.Option(
            "--fault-report",
            metavar="CID|FILE",
            help="Only replay the check that this report of a validator names.",
        ),
    ] = None,
) -> None:
    """Re-verify every round of a task from its chain and content store alone."""

    def work() -> ExitCode:
        from zkpot.errors import Fatal
        from zkpot_aggregator.ui.audit import run_audit
        from zkpot_aggregator.ui.remote import Remote

        if (directory is None) == (ledger is None) or (ledger is None) != (contract is None):
            raise Fatal(ExitCode.USAGE, "either --dir, or --ledger and --contract are needed")
        source: Path | Remote
        if directory is not None:
            source = directory
        else:
            assert ledger is not None
            assert contract is not None
            source = Remote(ledger, contract, content, gateway, first_block)
        return run_audit(
            source,
            task,
            independent=independent,
            fault_report=fault_report,
            json_output=json_output,
        )

    exit_with(work)


@app.command()
def deploy(
    config: Annotated[
        Path | None, typer.Option("--config", help="Take node and key from this file.")
    ] = None,
    rpc: Annotated[str | None, typer.Option(help="A node's JSON-RPC URL.")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="The account's key; without one nothing is sent.")
    ] = None,
    confirmations: Annotated[int, typer.Option(min=0, max=1000)] = 3,
    json_output: JsonOption = False,
) -> None:
    """Deploy the ledger's contract, or find this account's earlier deployment."""

    def work() -> ExitCode:
        from zkpot_aggregator.ui.deploy import run_deploy

        return run_deploy(config, rpc, key_file, confirmations, json_output=json_output)

    exit_with(work)


@app.command()
def validate(
    config: Annotated[Path, typer.Option("--config", help="The validator's TOML file.")],
    verbose: VerboseOption = False,
) -> None:
    """Re-verify a task's rounds as they close, attest them, and report faults."""

    def work() -> ExitCode:
        from zkpot_aggregator.ui.validate import run_validator

        return run_validator(config, verbose=verbose)

    exit_with(work)


@app.command("broker-config")
def broker_config(
    config: ConfigOption,
    directory: Annotated[Path, typer.Option("--dir", help="Where to write the broker's files.")],
    name: Annotated[
        list[str] | None, typer.Option(help="A host name or address of the broker; repeatable.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8883,
    bind: Annotated[str, typer.Option(help="The address to listen on.")] = "0.0.0.0",  # noqa: S104
    user: Annotated[str, typer.Option(help="As whom mosquitto runs if root starts it.")] = "",
) -> None:
    """Write mosquitto's configuration, access list and certificate commands for these devices."""

    def work() -> ExitCode:
        from zkpot_aggregator.ui.broker import run_broker_config

        names = tuple(name or ("localhost", "127.0.0.1"))
        return run_broker_config(config, directory, names, port=port, bind=bind, user=user)

    exit_with(work)


@round_app.command("show")
def round_show(
    directory: DirOption,
    number: Annotated[int | None, typer.Argument(help="Which round; default: all.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Show who led, who was accepted or rejected, and how the model did."""

    def work() -> ExitCode:
        from zkpot_aggregator.ui.rounds import show_rounds

        return show_rounds(directory, number, json_output=json_output)

    exit_with(work)


@app.command()
def prover(
    config: Annotated[Path, typer.Option("--config", help="The prover's TOML file.")],
    json_output: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make proofs for devices that hand them over, until stopped."""

    def work() -> ExitCode:
        from zkpot_aggregator.ui.prover import run_prover

        return run_prover(config, json_output=json_output, verbose=verbose)

    exit_with(work)


@app.command()
def demo(
    devices: Annotated[int, typer.Option(min=2, max=50, help="Honest and hostile together.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, max=10)] = 2,
    batch: Annotated[int, typer.Option(min=1, max=250, help="Samples drawn per round.")] = 32,
    proof_system: Annotated[
        str | None,
        typer.Option("--proof-system", help="sumcheck or ezkl; default: sumcheck if installed."),
    ] = None,
    aggregation: Annotated[
        str | None,
        typer.Option(
            metavar="secure|plain:RULE",
            help="How models are combined; default: secure, plain:fedavg with ezkl.",
        ),
    ] = None,
    byzantine: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND:COUNT", help="Make so many of the devices cheat this way."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of data split and training.")] = 0,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where to keep everything; default: a new one.")
    ] = None,
    deadline_s: Annotated[int | None, typer.Option(min=1, hidden=True)] = None,
    json_output: JsonOption = False,
) -> None:
    """Run a whole federated task on this machine, then audit it."""

    def work() -> ExitCode:
        from zkpot_aggregator.demo.options import DemoOptions
        from zkpot_aggregator.demo.run import run_demo

        options = DemoOptions(
            devices=devices,
            rounds=rounds,
            batch=batch,
            proof_system=proof_system,
            byzantine=tuple(byzantine or ()),
            seed=seed,
            directory=directory,
            aggregation=aggregation,
            deadline_s=deadline_s,
        )
        return run_demo(options, json_output=json_output)

    exit_with(work)


@app.command()
def up(
    config: Annotated[Path, typer.Option("--config", help="Like deploy/local.toml.")],
    json_output: JsonOption = False,
) -> None:
    """Run a task on this machine with real parts: mosquitto, anvil, IPFS, devices."""

    def work() -> ExitCode:
        from zkpot_aggregator.ui.up import run_up

        return run_up(config, json_output=json_output)

    exit_with(work)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def main() -> None:
    """Entry point of the console script."""
    app()

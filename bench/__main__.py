"""`scripts/bench`: one subcommand per benchmark."""

import argparse
import sys

from bench import aggregation, gas, growth, proof, prover, record, robustness
from bench import round as round_


def main() -> int:
    """Exit status of the chosen benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (proof, growth, aggregation, robustness, gas, round_, record, prover):
        name = command.__name__.rpartition(".")[2]
        own = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        command.add_arguments(own)
        own.set_defaults(run=command.run)
    options = parser.parse_args()
    status: int = options.run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())

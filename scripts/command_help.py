"""Writes docs/commands.md from the programs' own help, or checks that it is up to date."""

import os
import subprocess
import sys
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs" / "commands.md"
PROGRAMS = {
    "zkpot-aggregator": (
        "",
        "run",
        "check",
        "deploy",
        "broker-config",
        "audit",
        "validate",
        "round show",
        "prover",
        "demo",
        "up",
    ),
    "zkpot-agent": ("", "run", "check", "keygen", "selftest", "status"),
}


def help_text(program: str, command: str) -> str:
    """What `program command --help` prints, 90 columns wide."""
    arguments = [str(Path(sys.executable).parent / program), *command.split(), "--help"]
    environment = {**os.environ, "COLUMNS": "90", "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def document() -> str:
    """The whole document."""
    parts = ["# Commands", "", "Made by `python scripts/command_help.py` from the programs' help."]
    for program, commands in PROGRAMS.items():
        for command in commands:
            title = f"{program} {command}".strip()
            parts += ["", f"## {title}", "", "```", help_text(program, command), "```"]
    return "\n".join(parts) + "\n"


def main() -> int:
    """Exit status 1 if `--check` finds the document stale."""
    wanted = document()
    if "--check" not in sys.argv:
        DOCUMENT.write_text(wanted)
        return 0
    if DOCUMENT.exists() and DOCUMENT.read_text() == wanted:
        return 0
    sys.stderr.write(f"{DOCUMENT} is stale: run python scripts/command_help.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

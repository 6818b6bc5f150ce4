"""What the demonstration is asked to do, checked before anything starts."""

import importlib.util
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from zkpot.errors import ExitCode, Fatal

KINDS = (
    "false-count",
    "stolen-proof",
    "other-model",
    "equivocate",
    "replay",
    "garbage",
    "silent-after-commit",
)
"""Ways to cheat, as `zkpot_agent.hostile` knows them."""

_NAME_TO_SYSTEM = {"ezkl": "ezkl/1", "sumcheck": "sumcheck/1"}
_SYSTEM_TO_PACKAGE = {"ezkl": "ezkl", "sumcheck": "zkpot_prover"}
OPTIONS_FILE = "demo.json"


@dataclass(frozen=True)
class DemoOptions:
    """As given on the command line."""

    devices: int
    rounds: int
    batch: int
    proof_system: str | None
    byzantine: tuple[str, ...]
    seed: int
    directory: Path | None

    @property
    def system_id(self) -> str:
        """The proof system's id in the task."""
        assert self.proof_system is not None
        return _NAME_TO_SYSTEM[self.proof_system]

    @property
    def hostile(self) -> tuple[str, ...]:
        """The kind of each hostile device, one entry per device."""
        kinds: list[str] = []
        for entry in self.byzantine:
            kind, _, count = entry.partition(":")
            kinds += [kind] * int(count or 1)
        return tuple(kinds)


def check_options(options: DemoOptions) -> DemoOptions:
    """Fills in the proof system; raises `Fatal` naming everything that cannot be done."""
    if options.proof_system is None:
        options = replace(options, proof_system=_default_system())
    problems = []
    if options.proof_system not in _NAME_TO_SYSTEM:
        problems.append(f"--proof-system: {options.proof_system!r} is not sumcheck or ezkl")
    elif importlib.util.find_spec(_SYSTEM_TO_PACKAGE[options.proof_system]) is None:
        raise Fatal(
            ExitCode.DEPENDENCY,
            f"the proof system {options.proof_system} is not installed: "
            f"pip install 'zkpot[{options.proof_system}]'",
        )
    for entry in options.byzantine:
        kind, _, count = entry.partition(":")
        if kind not in KINDS:
            problems.append(f"--byzantine: {kind!r} is not one of {', '.join(KINDS)}")
        if count and not (count.isdecimal() and int(count) > 0):
            problems.append(f"--byzantine: {entry!r} has no positive count")
    if not problems and len(options.hostile) >= options.devices:
        problems.append("--byzantine: at least one device must be honest")
    if problems:
        raise Fatal(ExitCode.USAGE, "\n  ".join(["the demonstration cannot start:", *problems]))
    return options


def remember(options: DemoOptions, directory: Path) -> None:
    """Notes the options in `directory`; raises `Fatal` if it holds another demonstration."""
    path = directory / OPTIONS_FILE
    text = json.dumps({**asdict(options), "directory": None, "byzantine": list(options.byzantine)})
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    elif path.read_text().strip() != text:
        raise Fatal(
            ExitCode.USAGE,
            f"{directory} holds a demonstration with other options: {path.read_text().strip()}",
        )


def _default_system() -> str:
    for name in ("sumcheck", "ezkl"):
        if importlib.util.find_spec(_SYSTEM_TO_PACKAGE[name]) is not None:
            return name
    raise Fatal(
        ExitCode.DEPENDENCY,
        "no proof system is installed: pip install 'zkpot[sumcheck]' or 'zkpot[ezkl]'",
    )

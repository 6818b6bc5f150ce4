"""What the demonstration is asked to do, checked before anything starts."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from zkpot.aggregation import FEDAVG, SECURE, Aggregation, parse_aggregation
from zkpot.errors import ExitCode, Fatal, Rejected
from zkpot.proof.registry import NAME_TO_SYSTEM, installed
from zkpot_aggregator.rules.registry import models_needed

PLAIN = f"plain:{FEDAVG}"

WRONG_SUM = "wrong-sum"

KINDS = (
    "false-count",
    "stolen-proof",
    "other-model",
    "equivocate",
    "replay",
    "garbage",
    "silent-after-commit",
    WRONG_SUM,
    "sign-flip",
    "gaussian",
    "label-flip",
    "free-rider",
)
"""Ways to cheat, as `zkpot_agent.hostile` knows them."""

LYING = "lying-aggregator"
"""The one way in which the aggregator cheats, see `zkpot_aggregator.demo.lying`."""

GROUP_SIZE = 5
"""So that six devices make two groups: one that fails need not fail the round."""

OPTIONS_FILE = "demo.json"


@dataclass(frozen=True)
class DemoOptions:
    """As given on the command line; `deadline_s` is for each step but training."""

    devices: int
    rounds: int
    batch: int
    proof_system: str | None
    byzantine: tuple[str, ...]
    seed: int
    directory: Path | None
    aggregation: str | None = None
    deadline_s: int | None = None

    @property
    def system_id(self) -> str:
        """The proof system's id in the task."""
        assert self.proof_system is not None
        return NAME_TO_SYSTEM[self.proof_system]

    @property
    def combination(self) -> Aggregation:
        """How models are combined."""
        assert self.aggregation is not None
        return parse_aggregation(self.aggregation)

    @property
    def hostile(self) -> tuple[str, ...]:
        """The kind of each hostile device, one entry per device."""
        kinds: list[str] = []
        for entry in self.byzantine:
            kind, _, count = entry.partition(":")
            kinds += [kind] * int(count or 1)
        return tuple(kind for kind in kinds if kind != LYING)

    @property
    def lying(self) -> bool:
        """Whether the aggregator cheats."""
        return any(entry.partition(":")[0] == LYING for entry in self.byzantine)

    @property
    def honest(self) -> int:
        """How many devices do not cheat."""
        return self.devices - len(self.hostile)

    @property
    def minimum_devices(self) -> int:
        """Models a round needs: one honest device may fall below the gate if there are three."""
        if self.combination.is_secure:
            return max(2, min(3, self.honest - 1))
        return max(min(2, self.honest), models_needed(self.combination))

    @property
    def group_minimum(self) -> int:
        """Members below which no group is summed."""
        return min(self.minimum_devices, GROUP_SIZE)


def check_options(options: DemoOptions) -> DemoOptions:
    """Fills in the defaults; raises `Fatal` naming everything that cannot be done."""
    if options.proof_system is None:
        options = replace(options, proof_system=_default_system())
    if options.aggregation is None:
        default = SECURE if options.proof_system == "sumcheck" else PLAIN
        options = replace(options, aggregation=default)
    problems = [*_system_problems(options), *_byzantine_problems(options)]
    if not problems:
        problems = _aggregation_problems(options)
    if problems:
        raise Fatal(ExitCode.USAGE, "\n  ".join(["the demonstration cannot start:", *problems]))
    return options


def who_sees_models(options: DemoOptions) -> str:
    """In one line: what the aggregation hides, and from whom."""
    if not options.combination.is_secure:
        return "the aggregator sees every accepted model, everybody else the global one"
    return (
        f"everybody sees sums of {options.group_minimum} models or more, nobody a single one, "
        "unless all others in a sum, or the aggregator and more than a third of a group, collude"
    )


def _system_problems(options: DemoOptions) -> list[str]:
    assert options.proof_system is not None
    if options.proof_system not in NAME_TO_SYSTEM:
        return [f"--proof-system: {options.proof_system!r} is not sumcheck or ezkl"]
    if options.system_id not in installed():
        raise Fatal(
            ExitCode.DEPENDENCY,
            f"the proof system {options.proof_system} is not installed: "
            f"pip install 'zkpot[{options.proof_system}]'",
        )
    return []


def _byzantine_problems(options: DemoOptions) -> list[str]:
    problems = []
    for entry in options.byzantine:
        kind, _, count = entry.partition(":")
        if kind not in (*KINDS, LYING):
            problems.append(f"--byzantine: {kind!r} is not one of {', '.join((*KINDS, LYING))}")
        if count and not (count.isdecimal() and int(count) > 0):
            problems.append(f"--byzantine: {entry!r} has no positive count")
        elif kind == LYING and count not in ("", "1"):
            problems.append(f"--byzantine: {entry!r}, but there is one aggregator")
    if not problems and options.honest < 1:
        problems.append("--byzantine: at least one device must be honest")
    return problems


def _aggregation_problems(options: DemoOptions) -> list[str]:
    assert options.aggregation is not None
    try:
        needed = models_needed(parse_aggregation(options.aggregation))
    except Rejected as rejection:
        return [f"--aggregation: {rejection.detail}"]
    if options.aggregation == SECURE and options.proof_system == "ezkl":
        return ["--aggregation: secure needs sumcheck: ezkl's proofs do not bound unseen models"]
    if options.lying and not parse_aggregation(options.aggregation).is_sum:
        return [f"--byzantine: {LYING} would go unnoticed, {options.aggregation} is its word"]
    if WRONG_SUM in options.hostile and options.aggregation != SECURE:
        return [f"--byzantine: {WRONG_SUM} is about masked vectors, which only secure has"]
    if options.devices < needed:
        return [f"--aggregation: {options.aggregation} needs {needed} devices"]
    return []


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
    for name, system in NAME_TO_SYSTEM.items():
        if system in installed():
            return name
    raise Fatal(
        ExitCode.DEPENDENCY,
        "no proof system is installed: pip install 'zkpot[sumcheck]' or 'zkpot[ezkl]'",
    )

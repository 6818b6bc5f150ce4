"""The report of a run: docs/reliability.md's tables, made from what was measured."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.cells import COMPONENTS, Cell
from tests.faults.trial import Result

BEGIN, END = "<!-- begin: made by scripts/faults -->", "<!-- end -->"
_NOT_RUN = "not run"


@dataclass(frozen=True)
class Run:
    """Where and how the results came about."""

    facts: Mapping[str, str]
    cells: Sequence[Result]
    kills: Sequence[Result]
    faulty: Sequence[str]
    """Worlds that did not pass, with the reason."""


def write_results(run: Run, path: Path) -> None:
    """Every result, for whoever wants to look closer."""
    path.write_text(json.dumps(asdict(run), indent=1) + "\n")


def tables(run: Run) -> str:
    """Markdown: the facts, one table per component, the random kills."""
    lines = [f"- {name}: {value}" for name, value in run.facts.items()]
    lines += [f"- **failed**: {text}" for text in run.faulty]
    what_to_result = {result.what: result for result in run.cells}
    for component, possible in COMPONENTS.items():
        lines += ["", f"### {component[0].upper()}{component[1:]}", ""]
        lines += ["| phase | " + " | ".join(possible.faults) + " |"]
        lines += ["|---" * (len(possible.faults) + 1) + "|"]
        for phase in possible.phases:
            cells = [Cell(component, fault, phase) for fault in possible.faults]
            texts = [_text(what_to_result.get(_key(cell))) for cell in cells]
            lines.append(f"| {phase} | " + " | ".join(texts) + " |")
    return "\n".join([*lines, "", *_kill_lines(run.kills)]) + "\n"


def put_into(text: str, made: str) -> str:
    """`text` with what stands between the marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{made}\n{END}{after}"


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.component.value, cell.fault.value, cell.phase.value


def _text(result: Result | None) -> str:
    if result is None:
        return _NOT_RUN
    return f"{result.outcome}, {result.seconds:.0f} s"


def _kill_lines(kills: Sequence[Result]) -> list[str]:
    if not kills:
        return ["No random kills were run."]
    victims = list(dict.fromkeys(result.what[0] for result in kills))
    outcomes = sorted({result.outcome for result in kills})
    counts = Counter((result.what[0], result.outcome) for result in kills)
    return [
        f"### {len(kills)} random kills",
        "",
        "| killed | " + " | ".join(outcomes) + " |",
        "|---" * (len(outcomes) + 1) + "|",
        *(
            f"| {victim} | " + " | ".join(str(counts[victim, each]) for each in outcomes) + " |"
            for victim in victims
        ),
    ]

"""What the `check` commands of both roles report: one finding for each thing they tried."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from zkpot.errors import ZkpotError

Subject = TypeVar("Subject")

Check: TypeAlias = tuple[str, Callable[[Subject], str], str]
"""Its name, a test, and what to do if that fails.

The test says what it found; it raises `ZkpotError` or `OSError` if that will not do.
"""


@dataclass(frozen=True)
class Finding:
    """Whether one thing works; if not, why, and what to do."""

    what: str
    ok: bool
    detail: str
    fix: str = ""


def attempt(check: Check[Subject], subject: Subject) -> Finding:
    """Runs one test on what is checked."""
    what, test, fix = check
    try:
        return Finding(what, ok=True, detail=test(subject))
    except (ZkpotError, OSError) as error:
        return Finding(what, ok=False, detail=str(error), fix=fix)


def lines(findings: Iterable[Finding]) -> Iterator[str]:
    """The findings for people."""
    for finding in findings:
        yield f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what:<11} {finding.detail}"
        if finding.fix:
            yield f"      {'':<11} to do: {finding.fix}"

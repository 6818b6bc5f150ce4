"""Every way a program can end has its documented exit status."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable

import pytest

from zkpot.errors import ExitCode, Fatal, Reason, Rejected, Transient, reason_text
from zkpot.process import exit_with, log_to_stderr, run_until_signalled


def _raising(error: BaseException) -> Callable[[], ExitCode]:
    def work() -> ExitCode:
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "status"),
    [
        (lambda: ExitCode.OK, 0),
        (lambda: ExitCode.AUDIT_FAILED, 20),
        (_raising(Fatal(ExitCode.KEY, "no key")), 11),
        (_raising(Fatal(ExitCode.STATE, "no state")), 12),
        (_raising(Rejected(Reason.MALFORMED, "bytes")), 1),
        (_raising(Transient("later")), 1),
        (_raising(KeyboardInterrupt()), 130),
        (_raising(RuntimeError("a mistake")), 70),
    ],
)
def test_exit_status(work: Callable[[], ExitCode], status: int) -> None:
    with pytest.raises(SystemExit) as caught:
        exit_with(work)
    assert caught.value.code == status


def test_errors_are_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        exit_with(_raising(Fatal(ExitCode.CONFIG, "line 3: unknown")))
    assert capsys.readouterr() == ("", "error: line 3: unknown\n")


def test_a_mistake_of_ours_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit), caplog.at_level(logging.ERROR):
        exit_with(_raising(RuntimeError("a mistake")))
    assert "a mistake" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.OK)],
)
def test_signals_end_the_work_cleanly(number: signal.Signals, code: ExitCode) -> None:
    cleaned = []

    async def main() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(30)
        finally:
            cleaned.append(number)

    assert run_until_signalled(main) is code
    assert cleaned == [number]


def test_work_that_ends_by_itself_is_ok() -> None:
    async def main() -> None:
        await asyncio.sleep(0)

    assert run_until_signalled(main) is ExitCode.OK


def test_errors_come_through() -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        raise Fatal(ExitCode.LEDGER, "no chain")

    with pytest.raises(Fatal, match="no chain"):
        run_until_signalled(main)


def test_a_cancellation_that_is_no_signal_comes_through() -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_until_signalled(main)


@pytest.mark.parametrize(("verbose", "level"), [(True, logging.DEBUG), (False, logging.INFO)])
def test_logging_goes_to_standard_error(verbose: bool, level: int) -> None:
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    try:
        log_to_stderr(verbose=verbose)
        assert root.level == level
        assert logging.getLogger("web3").level == logging.WARNING
    finally:
        root.handlers[:] = before[1]
        root.setLevel(before[0])


def test_what_others_say_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    try:
        log_to_stderr(verbose=False)
        words = "x\n2026 ERROR key: \x1b[2Jlost \udc80ü"
        logging.getLogger("a").error("no proof: %s", words, exc_info=Rejected(Reason.MALFORMED))
    finally:
        root.handlers[:] = before[1]
        root.setLevel(before[0])
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first.endswith(r"ERROR a: no proof: x\n2026 ERROR key: \x1b[2Jlost \udc80ü")
    assert second == "zkpot.errors.Rejected: malformed"


def test_codes_are_stable_text() -> None:
    assert reason_text(Reason.PROOF_INVALID) == "proof-invalid"
    assert reason_text(None) == "accepted"
    assert str(Rejected(Reason.MALFORMED)) == "malformed"
    assert str(Rejected(Reason.MALFORMED, "why")) == "malformed: why"

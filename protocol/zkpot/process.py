"""Running a program: signals end it cleanly, errors become the documented exit status."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from zkpot.errors import ExitCode, Fatal, ZkpotError

_logger = logging.getLogger(__name__)


def run_until_signalled(main: Callable[[], Coroutine[Any, Any, None]]) -> ExitCode:
    """Runs `main` to its end, or cancels it on SIGINT or SIGTERM."""

    async def guarded() -> ExitCode:
        task = asyncio.ensure_future(main())
        loop = asyncio.get_running_loop()
        signalled: list[signal.Signals] = []

        def stop(which: signal.Signals) -> None:
            signalled.append(which)
            task.cancel()

        for which in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(which, stop, which)
        try:
            await task
        except asyncio.CancelledError:
            if not signalled:
                raise
            return ExitCode.INTERRUPTED if signalled[0] is signal.SIGINT else ExitCode.OK
        return ExitCode.OK

    return asyncio.run(guarded())


def exit_with(work: Callable[[], ExitCode]) -> None:
    """Ends the process with what `work` returns or raises; errors go to standard error."""
    try:
        code = work()
    except Fatal as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        code = error.exit_code
    except ZkpotError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        code = ExitCode.FAILURE
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except Exception:
        _logger.exception("unexpected error")
        code = ExitCode.INTERNAL
    sys.exit(int(code))


class _OneLine(logging.Formatter):
    """A record is one line, whatever others have put into the words it quotes."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (the base's name)
        text = super().formatMessage(record)
        return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def log_to_stderr(*, verbose: bool) -> None:
    """Plain lines that a service manager can take as they are."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("asyncio", "urllib3", "web3", "eth", "amqtt"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

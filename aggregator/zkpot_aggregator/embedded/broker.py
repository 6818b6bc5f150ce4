"""The broker inside the aggregator's process, on loopback, with passwords and access list.

It runs in a thread with a loop of its own, so that keep-alives and deliveries go on while
the aggregator's loop is busy. It remembers nothing over a restart: links send their births
and outboxes again.
"""

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from amqtt.errors import AMQTTError

from zkpot.errors import ExitCode, Fatal
from zkpot_aggregator.embedded.access import Account, access_list, write_password_file
from zkpot_aggregator.embedded.guard import GuardedBroker

_logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
PASSWORD_FILE = "broker-passwords"  # noqa: S105
_STOP_TIMEOUT_S = 5.0
_SIGNALS_S = 0.1


class EmbeddedBroker:
    """amqtt for `accounts`, with its password file in `folder`. Start and stop as often as needed.

    With port 0 the first `start` picks a free one, and later ones use the same again.
    """

    def __init__(self, folder: Path, accounts: Sequence[Account], *, port: int = 0) -> None:
        self._folder = folder
        self._accounts = tuple(accounts)
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._failure: Exception | None = None

    @property
    def host(self) -> str:
        """Always loopback."""
        return HOST

    @property
    def port(self) -> int:
        """The port in use; 0 before the first start."""
        return self._port

    def start(self) -> int:
        """Starts listening and returns the port; raises `Fatal` if it cannot."""
        if self._thread is not None:
            raise RuntimeError("already started")
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        logging.getLogger("transitions").setLevel(logging.ERROR)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_password_file(self._folder / PASSWORD_FILE, self._accounts)
        self._started.clear()
        self._failure = None
        self._thread = threading.Thread(target=self._run, name="embedded-broker", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            self._thread = None
            raise Fatal(
                ExitCode.DEPENDENCY,
                f"embedded broker cannot listen on {HOST}:{self._port}: {self._failure}",
            ) from self._failure
        return self._port

    def stop(self) -> None:
        """Cuts all connections and ends the thread; does nothing if not started."""
        if self._thread is None or self._loop is None:
            return
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        while self._thread.is_alive():
            # In short waits, between which this thread takes its signals: CPython 3.11 can let
            # the other one, where it is traced, spin until somebody has.
            self._thread.join(_SIGNALS_S)
        self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            _logger.exception("the embedded broker ended")
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_log_quietly)
        self._stop = asyncio.Event()
        access = access_list(self._accounts)
        broker = GuardedBroker(self._configuration(access), access["publish_acl"])
        try:
            await broker.start()
        except (AMQTTError, OSError) as error:
            self._failure = error
            return
        self._port = broker.port
        self._started.set()
        await self._stop.wait()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await broker.shutdown()
        except TimeoutError:
            _logger.warning("the embedded broker did not stop within %s s", _STOP_TIMEOUT_S)

    def _configuration(self, access: dict[str, dict[str, Sequence[str]]]) -> dict[str, Any]:
        return {
            "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{self._port}"}},
            "plugins": {
                "amqtt.plugins.authentication.FileAuthPlugin": {
                    "password_file": str(self._folder / PASSWORD_FILE)
                },
                "amqtt.plugins.topic_checking.TopicAccessControlListPlugin": access,
            },
        }


def _log_quietly(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _logger.debug("in amqtt: %s", context.get("exception") or context.get("message"))

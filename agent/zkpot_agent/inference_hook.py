"""Tells an application on the device that there is a new model.

Whatever the application does, the service goes on: a hook has a time limit, its output is
dropped, and its failure is a line in the log.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from zkpot_agent.config import HookConfig

_logger = logging.getLogger(__name__)


async def tell(hook: HookConfig, line: bytes) -> None:
    """Gives `line` to the command and to the socket of `hook`; returns when both are done."""
    if hook.command:
        await _guarded("command", _run(hook.command, line), hook.timeout_s)
    if hook.socket is not None:
        await _guarded("socket", _send(hook.socket, line), hook.timeout_s)


async def _guarded(what: str, telling: Coroutine[Any, Any, None], timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await telling
    except TimeoutError:
        _logger.warning("the hook's %s took longer than %.0f s", what, timeout_s)
    except (OSError, ValueError) as error:
        _logger.warning("the hook's %s failed: %s", what, error)


async def _run(command: Sequence[str], line: bytes) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await process.communicate(line)
    finally:
        # Its group, so that nothing it started stays behind with our limits used up.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
    if process.returncode:
        _logger.warning("the hook's command ended with status %d", process.returncode)


async def _send(path: Path, line: bytes) -> None:
    _, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(line)
        await writer.drain()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

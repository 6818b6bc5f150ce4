"""`zkpot-agent check`: tries what the agent needs for real, one thing after the other."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zkpot.config import load_config
from zkpot.errors import ZkpotError
from zkpot.ids import device_text
from zkpot.journal import Journal
from zkpot.keys import load_key_file
from zkpot.link.mqtt import MqttLink
from zkpot.proof.registry import SYSTEM_TO_PACKAGE, installed
from zkpot.wire import topics
from zkpot_agent.config import AgentConfig
from zkpot_agent.data.source import open_source

BROKER_SECONDS = 10.0
DISK_BYTES = 100 * 1024 * 1024
EARLIEST_CLOCK = 1_735_689_600
"""2025-01-01: a clock before it has never been set, and TLS certificates will not be valid."""


@dataclass(frozen=True)
class Finding:
    """Whether one thing works, and if not, what to do."""

    what: str
    ok: bool
    detail: str


def check_device(path: Path) -> list[Finding]:
    """Checks the configuration and everything it names."""
    try:
        config = load_config(AgentConfig, path)
    except ZkpotError as error:
        return [Finding("config", ok=False, detail=str(error))]
    tests: tuple[tuple[str, Callable[[AgentConfig], str]], ...] = (
        ("key", _key),
        ("clock", _clock),
        ("disk", _disk),
        ("data", _data),
        ("prover", _prover),
        ("broker", _broker),
    )
    return [Finding("config", ok=True, detail=str(path)), *(_try(*t, config) for t in tests)]


def _try(what: str, test: Callable[[AgentConfig], str], config: AgentConfig) -> Finding:
    try:
        return Finding(what, ok=True, detail=test(config))
    except (ZkpotError, OSError) as error:
        return Finding(what, ok=False, detail=str(error))


def _key(config: AgentConfig) -> str:
    return device_text(load_key_file(config.key_file).id)


def _clock(_config: AgentConfig) -> str:
    now = time.time()
    if now < EARLIEST_CLOCK:
        raise OSError("the clock was never set: enable time synchronisation")
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))


def _disk(config: AgentConfig) -> str:
    config.state_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=config.state_dir) as file:
        file.write(b"x")
    free = shutil.disk_usage(config.state_dir).free
    if free < DISK_BYTES:
        raise OSError(f"{free >> 20} MiB free in {config.state_dir}: make room")
    return f"{free >> 20} MiB free in {config.state_dir}"


def _data(config: AgentConfig) -> str:
    samples = open_source(config.data.source, config.data.parameters).load()
    return f"{samples.size} samples of {samples.inputs.shape[1]} features"


def _prover(_config: AgentConfig) -> str:
    found = installed()
    if not found:
        names = ", ".join(f"{system} needs {p}" for system, p in SYSTEM_TO_PACKAGE.items())
        raise OSError(f"no proof system is installed: {names}")
    return ", ".join(found)


def _broker(config: AgentConfig) -> str:
    key = load_key_file(config.key_file)

    async def connect() -> None:
        with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "j") as journal:
            link = MqttLink(
                config.broker,
                client_id=device_text(key.id),
                journal=journal,
                subscriptions=topics.device_subscriptions(key.id, config.task_id),
            )
            running = asyncio.ensure_future(link.run())
            ready = asyncio.ensure_future(link.ready())
            await asyncio.wait(
                {running, ready}, timeout=BROKER_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            connected = ready.done()
            if running.done():
                running.result()
            await link.stop()
            for task in (running, ready):
                task.cancel()
            await asyncio.gather(running, ready, return_exceptions=True)
            if not connected:
                raise OSError(f"no answer within {BROKER_SECONDS:.0f} s: is it running?")

    asyncio.run(connect())
    return f"{config.broker.host}:{config.broker.port} accepts this device"

"""Small files beside the state: whole or not at all, and refused when they are damaged."""

import asyncio
from pathlib import Path

import pytest

from zkpot.config import load_config
from zkpot.errors import ExitCode, Fatal
from zkpot_aggregator.config import AggregatorConfig
from zkpot_aggregator.embedded.passwords import read_password
from zkpot_aggregator.service import AggregatorService, Ready


@pytest.mark.parametrize("content", [b"", b" \n", bytes.fromhex("fffe00d8")])
def test_a_damaged_password_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(Fatal, match="password") as caught:
        read_password(path)
    assert caught.value.exit_code is ExitCode.CREDENTIALS


@pytest.mark.enable_socket
def test_the_task_s_name_is_never_half_written(config_file: Path) -> None:
    """Else `audit` finds no task if power is lost, or if it looks while the service starts."""
    config = load_config(AggregatorConfig, config_file)
    config.state_dir.mkdir()
    name, before = config.state_dir / "task", config_file.with_name("before")
    name.write_text("before")
    before.hardlink_to(name)

    async def start() -> Ready:
        ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        service = AggregatorService(config, on_ready=ready.set_result)
        running = asyncio.create_task(service.run())
        running.add_done_callback(lambda _: ready.cancel())
        found = await ready
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return found

    assert name.read_text() == "before"
    assert asyncio.run(start()).task.id.hex() == name.read_text().strip()
    assert before.read_text() == "before"

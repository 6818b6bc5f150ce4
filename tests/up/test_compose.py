"""deploy/compose.yaml: its structure, and that each command is one that its program takes.

Containers do not run here: what they are asked to do is parsed by the programs themselves.
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml  # type: ignore[import-untyped]
from tests.real.anvil import BESIDES
from tests.real.components import program
from typer.core import TyperGroup

from zkpot_agent.cli import app as agent_app
from zkpot_aggregator.cli import app as aggregator_app

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
APPS = {"zkpot-agent": agent_app, "zkpot-aggregator": aggregator_app}
OURS = [name for name, each in SERVICES.items() if each.get("command", [""])[0] in APPS]


def folders(service: dict[str, Any]) -> list[str]:
    """Where its volumes are mounted."""
    return [volume.split(":")[1] for volume in service["volumes"]]


def test_it_has_every_part_and_three_devices() -> None:
    others = {"broker", "chain", "ipfs"}
    assert set(SERVICES) == others | {"aggregator", "validator", "device-0", "device-1", "device-2"}
    assert set(OURS) == set(SERVICES) - others
    for service in SERVICES.values():
        assert set(service.get("depends_on", [])) <= set(SERVICES)


@pytest.mark.parametrize("name", OURS)
def test_our_commands_are_taken_by_our_programs(name: str) -> None:
    program_name, *words = SERVICES[name]["command"]
    group = typer.main.get_command(APPS[program_name])
    assert isinstance(group, TyperGroup)
    with group.make_context(program_name, words, resilient_parsing=False) as context:
        command_name, command, rest = group.resolve_command(context, words)
        assert command is not None
        parsed = command.make_context(command_name, rest, parent=context)
    config = parsed.params["config"]
    assert any(config.is_relative_to(folder) for folder in folders(SERVICES[name]))


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["user"] != "0"
    assert "ports" not in service


def test_only_the_broker_and_the_swarm_are_published() -> None:
    ports = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
    assert ports == {"broker": ["8883:8883"], "ipfs": ["4001:4001"]}


def test_anvil_takes_its_options_and_keeps_its_state() -> None:
    words = SERVICES["chain"]["command"]
    said = subprocess.run(
        [program("anvil", BESIDES), "--help"], capture_output=True, text=True, check=True
    ).stdout
    options = [word for word in words if word.startswith("--")]
    assert options
    assert all(f"{option} " in said for option in options)
    assert Path(words[words.index("--state") + 1]).parent == Path(folders(SERVICES["chain"])[0])


def test_the_brokers_configuration_is_in_its_volume() -> None:
    _, option, path = SERVICES["broker"]["command"]
    assert option == "-c"
    assert Path(path).parent == Path(folders(SERVICES["broker"])[0])


def test_a_typing_mistake_would_be_found() -> None:
    group = typer.main.get_command(aggregator_app)
    assert isinstance(group, TyperGroup)
    with group.make_context("zkpot-aggregator", ["run", "--confg", "x"]) as context:
        name, command, rest = group.resolve_command(context, ["run", "--confg", "x"])
        assert command is not None
        with pytest.raises(Exception, match="No such option"):
            command.make_context(name, rest, parent=context)

"""Who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTOCOL, AGENT, AGGREGATOR = (
    ROOT / "protocol" / "zkpot",
    ROOT / "agent" / "zkpot_agent",
    ROOT / "aggregator" / "zkpot_aggregator",
)


def imported(path: Path) -> set[str]:
    """Top-level packages that a module names in its imports, wherever they stand."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        (PROTOCOL, {"zkpot_agent", "zkpot_aggregator", "web3", "ipfshttpclient", "amqtt"}),
        (AGENT, {"zkpot_aggregator", "web3", "ipfshttpclient", "eth_tester", "amqtt"}),
        (AGGREGATOR, {"zkpot_agent"}),
    ],
    ids=["protocol", "agent", "aggregator"],
)
def test_roles_stay_apart(package: Path, forbidden: set[str]) -> None:
    modules = list(package.rglob("*.py"))
    assert modules
    for module in modules:
        assert not imported(module) & forbidden, module

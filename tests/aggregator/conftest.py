"""A configuration file as an operator has it; devices whose long steps run in this process."""

from pathlib import Path

import pytest

from zkpot.keys import create_key_file
from zkpot_aggregator.embedded.passwords import make_password


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """Two devices, embedded parts, digits."""
    create_key_file(tmp_path / "operator.key")
    text = """
key_file = "operator.key"
state_dir = "state"

[task]
name = "test"
dataset = "digits"
proof_system = "sumcheck/1"
aggregation = "plain:fedavg"
rounds = 2
batch_size = 20
"""
    for number in range(2):
        key = create_key_file(tmp_path / f"device-{number}.key")
        make_password(tmp_path / f"password-{number}")
        text += f"""
[[devices]]
public_key = "{key.public_key.hex()}"
password_file = "password-{number}"
"""
    path = tmp_path / "aggregator.toml"
    path.write_text(text)
    return path

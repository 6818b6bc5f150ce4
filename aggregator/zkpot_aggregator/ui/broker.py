"""`broker-config`: writes mosquitto's files for the devices of a configuration."""

from collections.abc import Sequence
from pathlib import Path

from zkpot.config import load_config
from zkpot.errors import ExitCode
from zkpot.keys import device_id, load_key_file
from zkpot.link import BrokerSettings
from zkpot_aggregator.config import AggregatorConfig
from zkpot_aggregator.mosquitto import (
    CERTIFICATES,
    CONFIGURATION,
    BrokerPlan,
    write_broker_files,
)


def run_broker_config(
    config: Path, directory: Path, names: Sequence[str], *, port: int, bind: str, user: str
) -> ExitCode:
    """Writes the files and says what to do with them."""
    loaded = load_config(AggregatorConfig, config)
    settings = loaded.broker.settings
    plan = BrokerPlan(
        load_key_file(loaded.key_file).id,
        [device_id(bytes.fromhex(device.public_key)) for device in loaded.devices],
        [device_id(bytes.fromhex(prover.public_key)) for prover in loaded.provers],
        [device_id(bytes.fromhex(each.public_key)) for each in loaded.task.validators],
        tuple(names),
        port,
        bind,
        BrokerSettings.packet_limit_bytes if settings is None else settings.packet_limit_bytes,
        user=user,
    )
    for path in write_broker_files(plan, directory):
        print(path)  # noqa: T201
    print(  # noqa: T201
        f"make the certificates:  sh {directory / CERTIFICATES}\n"
        f"start the broker:       mosquitto -c {directory / CONFIGURATION}\n"
        "and let the user that mosquitto runs as read broker.key and write data/"
    )
    return ExitCode.OK

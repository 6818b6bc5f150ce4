"""The configuration file: read as written, and every error of it at once."""

from pathlib import Path

import pytest

from zkpot.config import load_config
from zkpot.errors import ExitCode, Fatal
from zkpot_aggregator.config import AggregatorConfig, BrokerKind, ContentKind, LedgerKind


def changed(path: Path, *changes: tuple[str, str]) -> Path:
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def refused(path: Path) -> str:
    with pytest.raises(Fatal) as caught:
        load_config(AggregatorConfig, path)
    assert caught.value.exit_code is ExitCode.CONFIG
    return str(caught.value)


def test_what_is_not_said_is_embedded(config_file: Path) -> None:
    config = load_config(AggregatorConfig, config_file)
    assert config.key_file == config_file.parent / "operator.key"
    assert config.broker.kind is BrokerKind.EMBEDDED
    assert config.ledger.kind is LedgerKind.EMBEDDED
    assert config.content.kind is ContentKind.DIRECTORY
    assert [device.password_file for device in config.devices] == [
        config_file.parent / f"password-{number}" for number in range(2)
    ]


def test_all_errors_are_named_at_once(config_file: Path) -> None:
    said = refused(
        changed(
            config_file,
            ('key_file = "operator.key"\n', ""),
            ("rounds = 2", "rounds = 0"),
            ("batch_size = 20", 'batch_size = "many"'),
            ('name = "test"', "colour = 1"),
            ('password_file = "password-1"', "password_file = 5"),
        )
    )
    for where in (
        "key_file",
        "task.rounds",
        "task.batch_size",
        "task.name",
        "task.colour",
        "devices[1].password_file",
    ):
        assert where in said, said


def test_no_more_devices_are_enrolled_than_the_task_takes(config_file: Path) -> None:
    """Their sum could wrap: then no group's sum opens, and honest devices get the strikes."""
    said = refused(changed(config_file, ("rounds = 2", "rounds = 2\nmaximum_devices = 1")))
    assert "2 devices, the task's maximum_devices is 1" in said


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('[broker]\nkind = "external"', "an external broker needs settings"),
        ('[ledger]\nkind = "jsonrpc"', "a jsonrpc ledger needs settings"),
        ('[content]\nkind = "kubo"', "a kubo store needs settings"),
        ('[content.settings]\nurl = "http://127.0.0.1:5001"', "a directory takes none"),
        ('[broker]\nkind = "carrier pigeon"', "broker.kind"),
        ('[[devices]]\npublic_key = "ab"', "64 hexadecimal digits"),
        ('[[devices]]\npublic_key = "xyz"', "devices[2]"),
    ],
)
def test_tables_that_do_not_go_together(config_file: Path, table: str, problem: str) -> None:
    config_file.write_text(f"{config_file.read_text()}\n{table}\n")
    assert problem in refused(config_file)


@pytest.mark.parametrize("content", [None, "= broken", "\udcff"], ids=["missing", "toml", "utf-8"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "aggregator.toml"
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert f"cannot read {path}" in refused(path)

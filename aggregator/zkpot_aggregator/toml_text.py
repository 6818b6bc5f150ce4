"""TOML as text, for the configuration files that programs write for programs."""

from collections.abc import Mapping
from typing import Any

from zkpot.config import toml_value


def toml_text(tables: Mapping[str, Any], prefix: str = "") -> str:
    """Values, tables in tables, and lists of tables, which come last; None is left out."""
    text = _values(tables)
    for key, value in tables.items():
        if isinstance(value, Mapping):
            text += f"\n[{prefix}{key}]\n" + toml_text(value, f"{prefix}{key}.")
    for key, value in tables.items():
        if _is_tables(value):
            text += "".join(f"\n[[{prefix}{key}]]\n" + _values(each) for each in value)
    return text


def _values(table: Mapping[str, Any]) -> str:
    return "".join(
        f"{key} = {toml_value(value)}\n"
        for key, value in table.items()
        if value is not None and not isinstance(value, Mapping) and not _is_tables(value)
    )


def _is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)

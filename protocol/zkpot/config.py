"""Configuration files: TOML into frozen dataclasses, every error reported at once.

The dataclass is the schema: a field without a default is required, an unknown key is an
error, `Annotated[int, Span(…)]` bounds a number, relative paths start at the file's folder.
"""

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from zkpot.errors import ExitCode, Fatal, Rejected
from zkpot.wire.codec import Span, without_none

T = TypeVar("T")

_MISSING = object()


def toml_value(value: object) -> str:
    """A string, a number or a list of them as TOML, where they look the same as in JSON.

    But TOML has no halves of characters, and none of its files may hold a DEL.
    """
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"[^ -~]", lambda each: f"\\U{ord(each[0]):08x}", text)


def load_config(config_type: type[T], path: Path) -> T:
    """Reads `path` as `config_type`; raises `Fatal` (CONFIG) naming all that is wrong."""
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Fatal(ExitCode.CONFIG, f"cannot read {path}: {error}") from error
    return parse_config(config_type, table, path.parent, str(path))


def parse_config(config_type: type[T], table: Mapping[str, Any], folder: Path, name: str) -> T:
    """Like `load_config`, for a table that is already read."""
    reader = _Reader(folder)
    value = reader.read(config_type, table, "")
    if reader.errors:
        raise Fatal(ExitCode.CONFIG, "\n  ".join([f"{name} has errors:", *reader.errors]))
    return cast("T", value)


class _Reader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.errors: list[str] = []

    def read(self, hint: Any, value: Any, where: str) -> Any:
        span = None
        hint = without_none(hint)
        if get_origin(hint) is Annotated:
            hint, *limits = get_args(hint)
            span = next((limit for limit in limits if isinstance(limit, Span)), None)
        if dataclasses.is_dataclass(hint):
            return self._table(cast("type", hint), value, where)
        if get_origin(hint) is tuple:
            return self._array(get_args(hint)[0], value, where)
        if get_origin(hint) is Mapping:
            return self._typed(dict, value, where)
        if hint is Path:
            text = self._typed(str, value, where)
            return None if text is None else self._folder / text
        if issubclass(hint, StrEnum):
            return self._choice(hint, value, where)
        if hint is float and type(value) is int:
            value = float(value)
        number = self._typed(hint, value, where)
        if number is not None and span is not None and not span.low <= number <= span.high:
            self.errors.append(f"{where}: {number} is outside [{span.low}, {span.high}]")
        return number

    def _table(self, config_type: type, value: Any, where: str) -> Any:
        table = self._typed(dict, value, where)
        if table is None:
            return None
        hints = get_type_hints(config_type, include_extras=True)
        values, before = {}, len(self.errors)
        for field in dataclasses.fields(config_type):
            key = f"{where}.{field.name}".lstrip(".")
            given = table.get(field.name, _MISSING)
            if given is not _MISSING:
                values[field.name] = self.read(hints[field.name], given, key)
            elif (
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            ):
                self.errors.append(f"{key}: is required")
        known = {field.name for field in dataclasses.fields(config_type)}
        self.errors += [
            f"{where}.{key}".lstrip(".") + ": is unknown" for key in table if key not in known
        ]
        if len(self.errors) > before:
            return None
        try:
            return config_type(**values)
        except (Rejected, ValueError) as error:
            self.errors.append(f"{where or 'file'}: {error}")
            return None

    def _array(self, element: Any, value: Any, where: str) -> Any:
        items = self._typed(list, value, where)
        if items is None:
            return None
        return tuple(
            self.read(element, item, f"{where}[{index}]") for index, item in enumerate(items)
        )

    def _choice(self, choices: type[StrEnum], value: Any, where: str) -> Any:
        if value in list(choices):
            return choices(value)
        self.errors.append(f"{where}: {value!r} is not one of {', '.join(choices)}")
        return None

    def _typed(self, expected: type, value: Any, where: str) -> Any:
        if type(value) is expected:
            return value
        self.errors.append(
            f"{where}: expected {expected.__name__}, got {type(value).__name__} {value!r}"[:160]
        )
        return None

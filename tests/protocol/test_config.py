"""A configuration is read whole, or every error in it is named."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest

from zkpot.config import load_config
from zkpot.errors import ExitCode, Fatal
from zkpot.wire.codec import Span


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Part:
    size: Annotated[int, Span(1, 9)]
    colour: Colour = Colour.RED

    def __post_init__(self) -> None:
        if self.size == 7:
            raise ValueError("seven is taken")


@dataclass(frozen=True)
class Config:
    name: str
    file: Path
    part: Part
    ratio: float = 0.5
    deep: bool = False
    limit: Annotated[int, Span(0, 5)] | None = None
    colours: tuple[Colour, ...] = ()
    parts: tuple[Part, ...] = ()
    free: Mapping[str, object] = field(default_factory=dict)


GOOD = 'name = "n"\nfile = "a/b"\n[part]\nsize = 3\n'


def _load(folder: Path, text: str | bytes) -> Config:
    path = folder / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(Config, path)


def _errors(folder: Path, text: str | bytes) -> list[str]:
    with pytest.raises(Fatal) as caught:
        _load(folder, text)
    assert caught.value.exit_code is ExitCode.CONFIG
    first, *rest = str(caught.value).split("\n  ")
    assert "config.toml" in first
    return rest


def test_defaults_fill_in_and_paths_start_at_the_file(tmp_path: Path) -> None:
    assert _load(tmp_path, GOOD) == Config("n", tmp_path / "a/b", Part(3))


def test_every_kind_of_field_is_read(tmp_path: Path) -> None:
    text = (
        'name = "n"\nfile = "/abs"\nratio = 2\ndeep = true\nlimit = 5\n'
        'colours = ["red", "blue"]\nparts = [{size = 1}, {size = 2, colour = "blue"}]\n'
        "[free]\nany = [1, {x = 2}]\n[part]\nsize = 9\n"
    )
    assert _load(tmp_path, text) == Config(
        "n",
        Path("/abs"),
        Part(9),
        2.0,
        deep=True,
        limit=5,
        colours=(Colour.RED, Colour.BLUE),
        parts=(Part(1), Part(2, Colour.BLUE)),
        free={"any": [1, {"x": 2}]},
    )


def test_all_errors_are_named_at_once(tmp_path: Path) -> None:
    text = (
        'name = 5\nratio = "x"\ndeep = 1\nlimit = 6\ncolours = ["green", "red", 3]\nextra = 1\n'
        'parts = [{size = 0}, {colour = "red"}, 4]\nfree = 3\n[part]\nsize = true\nbits = 2\n'
    )
    found = "\n".join(_errors(tmp_path, text))
    for expected in (
        "name: expected str, got int 5",
        "file: is required",
        "ratio: expected float",
        "deep: expected bool",
        "limit: 6 is outside [0, 5]",
        "colours[0]: 'green' is not one of red, blue",
        "colours[2]: 3 is not one of",
        "extra: is unknown",
        "parts[0].size: 0 is outside [1, 9]",
        "parts[1].size: is required",
        "parts[2]: expected dict",
        "free: expected dict",
        "part.size: expected int, got bool",
        "part.bits: is unknown",
    ):
        assert expected in found


def test_what_a_part_itself_refuses_is_named_with_its_place(tmp_path: Path) -> None:
    assert _errors(tmp_path, GOOD.replace("3", "7")) == ["part: seven is taken"]


@pytest.mark.parametrize("text", ["name = ", b"\xff\xfe", "a = 1\na = 2\n"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, text: str | bytes) -> None:
    assert _errors(tmp_path, text) == []


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(Fatal) as caught:
            load_config(Config, path)
        assert caught.value.exit_code is ExitCode.CONFIG

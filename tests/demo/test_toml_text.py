"""Whatever is written as TOML reads the same again."""

import tomllib
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from zkpot_aggregator.toml_text import toml_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUE = TEXT | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.lists(TEXT, min_size=1)
TABLE = st.dictionaries(st.sampled_from("abcd"), VALUE)


@given(st.dictionaries(st.sampled_from("efgh"), VALUE | TABLE | st.lists(TABLE, min_size=1)))
@example({"state_dir": "/home/ada/\U0001f680/state"})
@example({"owner": "\x7f"})
def test_values_are_read_as_they_were_written(tables: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(tables)) == tables

"""The JSON schema of a configuration class, for editors and for other tools."""

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from zkpot.wire.codec import Span, without_none
from zkpot_agent.profile import Profile

SCHEMA_FILE = "profile.schema.json"

_PLAIN: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def profile_schema() -> dict[str, Any]:
    """The schema that lies beside the firmware profiles."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "zkpot firmware profile",
    }
    return head | json_schema(Profile)


def json_schema(hint: Any) -> dict[str, Any]:
    """What `zkpot.config` accepts for `hint`, but for the checks in `__post_init__`."""
    hint = without_none(hint)
    if get_origin(hint) is Annotated:
        hint, *limits = get_args(hint)
        spans = [limit for limit in limits if isinstance(limit, Span)]
        bounds = {"minimum": spans[0].low, "maximum": spans[0].high} if spans else {}
        return json_schema(hint) | bounds
    if dataclasses.is_dataclass(hint):
        return _table(hint)
    if get_origin(hint) is tuple:
        return {"type": "array", "items": json_schema(get_args(hint)[0])}
    if get_origin(hint) is Mapping:
        return {"type": "object"}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {"enum": [str(choice) for choice in hint]}
    return {"type": "string" if hint is Path else _PLAIN[hint]}


def _table(config_type: Any) -> dict[str, Any]:
    hints = get_type_hints(config_type, include_extras=True)
    fields = dataclasses.fields(config_type)
    required = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    return {
        "type": "object",
        "description": " ".join((config_type.__doc__ or "").split()),
        "additionalProperties": False,
        "required": required,
        "properties": {field.name: json_schema(hints[field.name]) for field in fields},
    }

"""Strict deterministic CBOR (RFC 8949, section 4.2) for frozen dataclasses.

A dataclass is a map whose integer keys are the positions of its fields, from 1; fields
that are None are left out. What a field may hold follows from its type, and every byte
string, text and array has an upper limit. Decoding accepts exactly the bytes that encoding
would have written: anything else, whatever it is, raises `Rejected`.
"""

import dataclasses
import operator
import types
from collections.abc import Callable, Hashable
from enum import IntEnum
from functools import cache
from typing import (
    Annotated,
    Any,
    NewType,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import cbor2

from zkpot.cid import CID_BYTES, Cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import DEVICE_ID_BYTES, DIGEST_BYTES, Beacon, DeviceId, Digest, TaskId

T = TypeVar("T")

MAX_DEPTH = 8
"""Nesting of the deepest message is 4; twice that leaves room within a major version."""

MAX_INT = 2**63 - 1
"""Integers are stored in SQLite and compared on chain: both hold 63 bits."""

MAX_TEXT = 256
"""Characters of a text without a limit of its own: names and reasons, not documents."""


@dataclasses.dataclass(frozen=True)
class Max:
    """Most bytes, characters or elements a field may hold."""

    value: int


@dataclasses.dataclass(frozen=True)
class Exactly:
    """The one length in bytes a field may have."""

    value: int


@dataclasses.dataclass(frozen=True)
class Span:
    """Smallest and largest value of an integer."""

    low: int
    high: int


_NEWTYPE_TO_BYTES: dict[object, int] = {
    Digest: DIGEST_BYTES,
    TaskId: DIGEST_BYTES,
    Beacon: DIGEST_BYTES,
    DeviceId: DEVICE_ID_BYTES,
    Cid: CID_BYTES,
}


def _refuse_tag(*_: object) -> None:
    raise ValueError("tags are refused")


_REFUSED_TAGS = dict.fromkeys((25, 28, 29, 256), _refuse_tag)
"""Tags with which a few bytes stand for many. The canonical form refuses every other tag."""


@dataclasses.dataclass(frozen=True)
class _Kind:
    """How one type travels: `read` checks and converts what CBOR gave, `write` the reverse."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


def encode(message: object) -> bytes:
    """The one encoding of `message`; raises ValueError for values its type does not allow."""
    kind = _kind_of(cast("Hashable", type(message)))
    item = kind.write(message)
    kind.read(item)
    return cbor2.dumps(item, canonical=True)


def decode(message_type: type[T], data: bytes, *, limit: int) -> T:
    """Reads `data` of at most `limit` bytes as `message_type`; raises `Rejected` otherwise."""
    if len(data) > limit:
        raise Rejected(Reason.OVERSIZE, f"{len(data)} bytes, at most {limit}")
    try:
        item = cbor2.loads(
            data,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=_REFUSED_TAGS,
        )
        message = _kind_of(cast("Hashable", message_type)).read(item)
        canonical = encode(message) == data
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Rejected(Reason.MALFORMED, f"{message_type.__name__}: {error}"[:200]) from error
    if not canonical:
        raise Rejected(Reason.MALFORMED, f"{message_type.__name__}: not in canonical form")
    return cast("T", message)


@cache
def _kind_of(hint: Any) -> _Kind:
    limits: tuple[object, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        limits = tuple(rest)
    if isinstance(hint, NewType):
        size = _NEWTYPE_TO_BYTES.get(hint)
        if size is not None:
            return _bytes_kind(Exactly(size))
        hint = hint.__supertype__
    if get_origin(hint) is tuple:
        return _array_kind(get_args(hint), limits)
    if dataclasses.is_dataclass(hint):
        return _map_kind(cast("type", hint))
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return _Kind(read=lambda item: hint(_typed(item, int)), write=int)
    if hint is bool:
        return _Kind(read=lambda item: _typed(item, bool), write=lambda value: value)
    if hint is int:
        return _int_kind(limits)
    if hint is str:
        return _text_kind(limits)
    if hint is bytes:
        return _bytes_kind(*limits)
    raise TypeError(f"no wire form for {hint!r}")


def _typed(item: Any, expected: type) -> Any:
    if type(item) is not expected:
        raise ValueError(f"expected {expected.__name__}, got {type(item).__name__}")
    return item


def _int_kind(limits: tuple[object, ...]) -> _Kind:
    span = next((limit for limit in limits if isinstance(limit, Span)), Span(0, MAX_INT))

    def read(item: Any) -> int:
        if not span.low <= _typed(item, int) <= span.high:
            raise ValueError(f"integer outside [{span.low}, {span.high}]")
        return cast("int", item)

    def write(value: Any) -> int:
        try:
            return int(operator.index(value))
        except TypeError as error:
            raise ValueError(f"expected int, got {type(value).__name__}") from error

    return _Kind(read, write)


def _text_kind(limits: tuple[object, ...]) -> _Kind:
    most = next((limit.value for limit in limits if isinstance(limit, Max)), MAX_TEXT)

    def read(item: Any) -> str:
        if len(_typed(item, str)) > most:
            raise ValueError(f"text of {len(item)} characters, at most {most}")
        return cast("str", item)

    return _Kind(read, write=lambda value: value)


def _bytes_kind(*limits: object) -> _Kind:
    bound = next(limit for limit in limits if isinstance(limit, Max | Exactly))

    def read(item: Any) -> bytes:
        size = len(_typed(item, bytes))
        if size > bound.value or (isinstance(bound, Exactly) and size != bound.value):
            raise ValueError(f"{size} bytes, expected {bound}")
        return cast("bytes", item)

    return _Kind(read, write=lambda value: value)


def _array_kind(arguments: tuple[Any, ...], limits: tuple[object, ...]) -> _Kind:
    element = _kind_of(arguments[0])
    most = next(limit.value for limit in limits if isinstance(limit, Max))

    def read(item: Any) -> tuple[Any, ...]:
        if len(_typed(item, list)) > most:
            raise ValueError(f"array of {len(item)}, at most {most}")
        return tuple(element.read(each) for each in item)

    return _Kind(read, write=lambda value: [element.write(each) for each in value])


def _map_kind(message_type: type) -> _Kind:
    hints = get_type_hints(message_type, include_extras=True)
    names = [field.name for field in dataclasses.fields(message_type)]
    optional = {name for name in names if without_none(hints[name]) is not hints[name]}
    kinds = [(key, name, _kind_of(without_none(hints[name]))) for key, name in enumerate(names, 1)]

    def read(item: Any) -> Any:
        fields = dict(_typed(item, dict))
        values = {}
        for key, name, kind in kinds:
            if key in fields:
                values[name] = kind.read(fields.pop(key))
            elif name in optional:
                values[name] = None
            else:
                raise ValueError(f"field {key} ({name}) is missing")
        if fields:
            raise ValueError(f"{len(fields)} unknown fields")
        return message_type(**values)

    def write(message: Any) -> dict[int, Any]:
        return {
            key: kind.write(getattr(message, name))
            for key, name, kind in kinds
            if getattr(message, name) is not None
        }

    return _Kind(read, write)


def without_none(hint: Any) -> Any:
    """The type inside `X | None`; any other type as it is."""
    if get_origin(hint) in (types.UnionType, Union):
        (inner,) = (each for each in get_args(hint) if each is not type(None))
        return inner
    return hint


@dataclasses.dataclass(frozen=True)
class _Tagged:
    name: Annotated[str, Max(64)]
    payload: Annotated[bytes, Max(1 << 30)]


def encode_tagged(value: object) -> bytes:
    """Encodes one of several types together with its name: for states on disk."""
    return encode(_Tagged(type(value).__name__, encode(value)))


def decode_tagged(types_to_choose: tuple[type[T], ...], data: bytes) -> T:
    """Reads what `encode_tagged` wrote, as the one of `types_to_choose` it names."""
    tagged = decode(_Tagged, data, limit=1 << 30)
    for candidate in types_to_choose:
        if candidate.__name__ == tagged.name:
            return decode(candidate, tagged.payload, limit=1 << 30)
    raise Rejected(Reason.UNKNOWN_TYPE, tagged.name)

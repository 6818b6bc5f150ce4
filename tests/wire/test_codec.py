"""The codec takes the one encoding of a value, and refuses everything else by name."""

import dataclasses
from typing import Annotated, Any

import cbor2
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.wire.strategies import WIRE_TYPES, values

from zkpot.errors import Reason, Rejected
from zkpot.ids import Round
from zkpot.wire.codec import (
    MAX_DEPTH,
    MAX_INT,
    MAX_TEXT,
    Exactly,
    Max,
    Span,
    decode,
    decode_tagged,
    encode,
    encode_tagged,
)
from zkpot.wire.messages import Capabilities, RecordProposal, Status, Want

LIMIT = 1 << 20

every_type = pytest.mark.parametrize("wire_type", WIRE_TYPES, ids=lambda each: each.__name__)


@dataclasses.dataclass(frozen=True)
class Inner:
    number: Annotated[int, Span(-5, 5)]


@dataclasses.dataclass(frozen=True)
class Outer:
    flag: bool
    text: Annotated[str, Max(3)]
    exact: Annotated[bytes, Exactly(2)]
    inner: Inner | None
    many: Annotated[tuple[Inner, ...], Max(2)]


@dataclasses.dataclass(frozen=True)
class OneInt:
    number: int


@dataclasses.dataclass(frozen=True)
class OneText:
    text: str


@dataclasses.dataclass(frozen=True)
class ManyBlobs:
    blobs: Annotated[tuple[Annotated[bytes, Max(1000)], ...], Max(1000)]


VALUE = Outer(flag=True, text="abc", exact=b"xy", inner=Inner(-5), many=(Inner(1),))
ENCODED = {1: True, 2: "abc", 3: b"xy", 4: {1: -5}, 5: [{1: 1}]}


def _rejected(wire_type: type, data: bytes, reason: Reason = Reason.MALFORMED) -> Rejected:
    with pytest.raises(Rejected) as caught:
        decode(wire_type, data, limit=LIMIT)
    assert caught.value.reason is reason
    return caught.value


# --- round trip -----------------------------------------------------------------------------


@every_type
@settings(max_examples=30)
@given(data=st.data())
def test_every_type_survives_the_wire(wire_type: type, data: st.DataObject) -> None:
    value = data.draw(values(wire_type))
    encoded = encode(value)
    assert decode(wire_type, encoded, limit=len(encoded)) == value
    assert encode(decode(wire_type, encoded, limit=LIMIT)) == encoded
    assert decode_tagged((OneInt, wire_type), encode_tagged(value)) == value


def test_encoding_is_a_map_of_field_positions_in_deterministic_cbor() -> None:
    assert encode(VALUE) == cbor2.dumps(ENCODED, canonical=True)
    assert encode(VALUE).hex() == "a501f502636162630342787904a10124058" + "1a10101"


def test_absent_fields_are_left_out() -> None:
    value = dataclasses.replace(VALUE, inner=None)
    assert cbor2.loads(encode(value)) == {key: ENCODED[key] for key in (1, 2, 3, 5)}
    assert decode(Outer, encode(value), limit=LIMIT) == value


# --- what is refused ------------------------------------------------------------------------


def test_one_byte_over_the_limit_is_oversize_whatever_it_is() -> None:
    data = encode(VALUE)
    with pytest.raises(Rejected) as caught:
        decode(Outer, data, limit=len(data) - 1)
    assert caught.value.reason is Reason.OVERSIZE


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({1: 1}, "expected bool"),
        ({1: None}, "expected bool"),
        ({2: "abcd"}, "at most 3"),
        ({2: b"abc"}, "expected str"),
        ({3: b"x"}, "1 bytes"),
        ({3: b"xyz"}, "3 bytes"),
        ({3: "xy"}, "expected bytes"),
        ({4: {1: 6}}, "outside"),
        ({4: {1: -6}}, "outside"),
        ({4: {1: 1.0}}, "expected int"),
        ({4: {1: True}}, "expected int"),
        ({4: {}}, "missing"),
        ({4: {1: 0, 2: 0}}, "unknown"),
        ({4: None}, "expected dict"),
        ({4: [1]}, "expected dict"),
        ({5: [{1: 1}] * 3}, "array of 3"),
        ({5: {1: 1}}, "expected list"),
        ({6: 0}, "unknown"),
        ({0: 0}, "unknown"),
        ({-1: 0}, "unknown"),
        ({"1": 0}, "unknown"),
        ({5: 1 << 64}, "expected list"),
        ({4: {1: 1 << 64}}, "outside"),
        ({1: cbor2.CBORTag(99, True)}, "expected bool"),
        ({1: cbor2.undefined}, "expected bool"),
        ({1: cbor2.CBORSimpleValue(99)}, "expected bool"),
    ],
    ids=str,
)
def test_a_wrong_field_is_malformed_and_named(change: dict[Any, Any], why: str) -> None:
    rejection = _rejected(Outer, cbor2.dumps(ENCODED | change, canonical=True))
    assert why in rejection.detail


@pytest.mark.parametrize("key", [1, 2, 3, 5])
def test_a_missing_field_is_malformed_and_named(key: int) -> None:
    rest = {number: item for number, item in ENCODED.items() if number != key}
    assert f"field {key} " in _rejected(Outer, cbor2.dumps(rest, canonical=True)).detail


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty", ""),
        ("trailing byte", "a1010500"),
        ("two items", "a10105a10105"),
        ("truncated", "a101"),
        ("not a map", "8105"),
        ("longer integer than needed", "a1011805"),
        ("longer key than needed", "a1180105"),
        ("longer map header than needed", "b8010105"),
        ("indefinite map", "bf0105ff"),
        ("duplicate key", "a201050105"),
        ("duplicate key as a bool", "a2010501f5"),
        ("key as a bool", "a1f505"),
        ("key as a float", "a1f93c0005"),
        ("key as a bignum", "a1c2410105"),
        ("value as a float", "a101f94500"),
        ("value as a bignum", "a101c24105"),
        ("self-described", "d9d9f7a10105"),
        ("a tag inside", "a101d9010005"),
        ("value as a rational", "a101d81e820501"),
        ("rational over zero", "a101d81e820500"),
        ("value as a decimal", "a101c4820005"),
        ("decimal out of range", "a101c4821b7fffffffffffffff01"),
        ("bigfloat out of range", "a101c5821b7fffffffffffffff01"),
        ("a date", "a101c100"),
        ("no date", "a101c0617a"),
        ("no regular expression", "a101d823615b"),
        ("a set as a key", "a1d90102810105"),
        ("a map as a key", "a1a005"),
        ("a shared value", "a101d81c05"),
        ("a cycle", "d81ca101d81d00"),
        ("a dangling reference", "a101d81d07"),
        ("an undefined value", "a101f7"),
        ("null", "a101f6"),
        ("not a number", "a101f97e00"),
        ("a reserved simple value", "a101f81f"),
        ("a break code", "ff"),
        ("array of 2^63 - 1", "9b7fffffffffffffff"),
        ("map of 2^64 - 1", "bbffffffffffffffff"),
        ("bytes of 2^63 - 1", "a1015b7fffffffffffffff"),
        ("text of 2^63 - 1", "a1017b7fffffffffffffff"),
        ("an integer of 64 bits", "a1011bffffffffffffffff"),
    ],
)
def test_forms_that_encoding_never_writes_are_malformed(name: str, data: str) -> None:
    _rejected(OneInt, bytes.fromhex(data))


@pytest.mark.parametrize(
    "data",
    ["a101" + "61ff", "a101" + "62c328", "a101" + "63eda080", "a1017f6161ff"],
    ids=["invalid byte", "invalid continuation", "surrogate", "indefinite"],
)
def test_text_that_is_not_utf8_is_malformed(data: str) -> None:
    _rejected(OneText, bytes.fromhex(data))


@pytest.mark.parametrize("opening", [b"\x81", b"\xa1\x01", b"\xd8\x63", b"\xa1"])
def test_deep_nesting_is_malformed(opening: bytes) -> None:
    _rejected(OneInt, opening * 100_000)


def test_nesting_is_bounded_far_above_what_messages_need() -> None:
    assert cbor2.loads(b"\x81" * (MAX_DEPTH - 1) + b"\x00", max_depth=MAX_DEPTH)
    with pytest.raises(cbor2.CBORDecodeError):
        cbor2.loads(b"\x81" * (MAX_DEPTH + 1) + b"\x00", max_depth=MAX_DEPTH)


def test_a_small_message_cannot_stand_for_a_large_one() -> None:
    """Back references (tags 25, 28, 29, 256) would let 3 bytes be written out as 1,000."""
    blob = cbor2.dumps(bytes(1000))
    references = b"\xd8\x19\x00" * 999
    strings = b"\xd9\x01\x00\xa1\x01\x99\x03\xe8" + blob + references
    assert "tag" in _rejected(ManyBlobs, strings).detail
    shared = b"\xa1\x01\x99\x03\xe8\xd8\x1c" + blob + b"\xd8\x1d\x00" * 999
    assert "tag" in _rejected(ManyBlobs, shared).detail


@every_type
@settings(max_examples=40)
@given(data=st.binary(max_size=200))
def test_random_bytes_are_read_or_rejected(wire_type: type, data: bytes) -> None:
    value: object
    try:
        value = decode(wire_type, data, limit=LIMIT)
    except Rejected:
        return
    assert encode(value) == data


cbor_items = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.binary(max_size=40)
    | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(0, 8) | st.text(max_size=2), inner, max_size=5)
        | st.builds(cbor2.CBORTag, st.integers(0, 300), inner)
    ),
    max_leaves=20,
)


@every_type
@settings(max_examples=40)
@given(item=cbor_items)
def test_well_formed_cbor_is_read_or_rejected(wire_type: type, item: object) -> None:
    data = cbor2.dumps(item, canonical=True)
    value: object
    try:
        value = decode(wire_type, data, limit=LIMIT)
    except Rejected:
        return
    assert encode(value) == data


@every_type
@settings(max_examples=40)
@given(data=st.data())
def test_a_mutated_encoding_is_another_value_or_rejected(
    wire_type: type, data: st.DataObject
) -> None:
    value = data.draw(values(wire_type))
    mutated = bytearray(encode(value))
    assume(mutated)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(mutated) - 1))
        match data.draw(st.sampled_from(("flip", "cut", "insert", "repeat"))):
            case "flip":
                mutated[position] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del mutated[position + 1 :]
            case "insert":
                mutated[position:position] = data.draw(st.binary(min_size=1, max_size=9))
            case _:
                mutated[position:position] = mutated[: position + 1]
    found: object
    try:
        found = decode(wire_type, bytes(mutated), limit=LIMIT)
    except Rejected:
        return
    assert encode(found) == mutated
    assert (found == value) == (bytes(mutated) == encode(value))


# --- encoding -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        OneInt(-1),
        OneInt(MAX_INT + 1),
        OneInt(1.5),  # type: ignore[arg-type]
        OneInt("5"),  # type: ignore[arg-type]
        OneText("x" * (MAX_TEXT + 1)),
        OneText("\ud800"),
        OneText(b"x"),  # type: ignore[arg-type]
        Status(1, online=1, activity=""),  # type: ignore[arg-type]
        Status(1, online=True, activity="x" * 81),
        Capabilities(bytes(31), "", ()),
        Capabilities(bytes(32), "", ("x",) * 9),
        Want((b"short",)),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_values_that_their_type_does_not_allow_are_not_written(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode(value)


@pytest.mark.parametrize("number", [0, MAX_INT])
def test_integers_reach_from_0_to_63_bits(number: int) -> None:
    assert decode(OneInt, encode(OneInt(number)), limit=LIMIT) == OneInt(number)


def test_limits_are_inclusive() -> None:
    for value in (
        OneText("x" * MAX_TEXT),
        Want((b"\x01\x55\x12\x20" + bytes(32),) * 64),  # type: ignore[arg-type]
    ):
        assert decode(type(value), encode(value), limit=LIMIT) == value


def test_types_without_a_wire_form_are_a_programming_error() -> None:
    @dataclasses.dataclass(frozen=True)
    class Wrong:
        ratio: float

    with pytest.raises(TypeError, match="no wire form"):
        encode(Wrong(0.5))


def test_tagged_values_name_their_type() -> None:
    data = encode_tagged(OneInt(1))
    with pytest.raises(Rejected) as caught:
        decode_tagged((OneText,), data)
    assert caught.value.reason is Reason.UNKNOWN_TYPE
    assert decode_tagged((OneText, OneInt), data) == OneInt(1)


def test_a_new_type_has_the_limits_of_its_name() -> None:
    proposal = RecordProposal(b"x", Round(1), b"y")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected Exactly"):
        encode(proposal)

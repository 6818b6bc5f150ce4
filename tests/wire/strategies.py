"""Hypothesis strategies for everything that crosses the wire, read off the types."""

import dataclasses
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from typing import Annotated, Any, NewType, cast, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from zkpot.aggregate import GlobalModelObject
from zkpot.aggregation import GroupTerms
from zkpot.batch import Reveal
from zkpot.cid import CID_BYTES, Cid
from zkpot.errors import Rejected
from zkpot.ids import DEVICE_ID_BYTES, DIGEST_BYTES, Beacon, DeviceId, Digest, TaskId
from zkpot.model import MAX_LAYERS, MAX_VALUE_BITS, ModelSpec, Shape
from zkpot.offload import ProofJob
from zkpot.record import Record, Roster, RosterEntry, SealedList, SignedRecord, Verdicts
from zkpot.secure.exchange import MaskedVector
from zkpot.secure.sums import GroupSumObject
from zkpot.task import Gate, Pool, Task, Validator, Weighting
from zkpot.verify import ProofObject
from zkpot.wire.codec import MAX_INT, MAX_TEXT, Exactly, Max, Span, without_none
from zkpot.wire.envelope import Envelope
from zkpot.wire.messages import MESSAGE_TO_TYPE

OBJECTS: tuple[type, ...] = (
    Envelope,
    Task,
    Roster,
    SealedList,
    Verdicts,
    Record,
    SignedRecord,
    Reveal,
    ProofObject,
    GlobalModelObject,
    ProofJob,
    MaskedVector,
    GroupSumObject,
)
"""What is encoded besides messages: the envelope, and the objects that CIDs name."""

WIRE_TYPES: tuple[type, ...] = (*MESSAGE_TO_TYPE, *OBJECTS)

_NEWTYPE_TO_BYTES: dict[object, int] = {
    Digest: DIGEST_BYTES,
    TaskId: DIGEST_BYTES,
    Beacon: DIGEST_BYTES,
    DeviceId: DEVICE_ID_BYTES,
    Cid: CID_BYTES,
}

_SMALL = 40
"""Bytes, characters and elements drawn where more are allowed: bounds have their own test."""


@cache
def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values that a field of type `hint` may hold, its bounds among them."""
    limits: tuple[object, ...] = ()
    inner = without_none(hint)
    if inner is not hint:
        return st.none() | values(inner)
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        limits = tuple(rest)
    if hint in _NEWTYPE_TO_BYTES:
        size = _NEWTYPE_TO_BYTES[hint]
        return st.binary(min_size=size, max_size=size)
    if isinstance(hint, NewType):
        hint = hint.__supertype__
    if hint in _CUSTOM:
        return _CUSTOM[hint]()
    if get_origin(hint) is tuple:
        most = min(_one(limits, Max, Max(4)).value, 4)
        return st.lists(values(get_args(hint)[0]), max_size=most).map(tuple)
    if dataclasses.is_dataclass(hint):
        return dataclass_values(cast("type", hint))
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return st.sampled_from(list(hint))
    if hint is bool:
        return st.booleans()
    if hint is int:
        span = _one(limits, Span, Span(0, MAX_INT))
        return st.integers(span.low, span.high) | st.sampled_from((span.low, span.high))
    if hint is str:
        return st.text(max_size=min(_one(limits, Max, Max(MAX_TEXT)).value, _SMALL))
    assert hint is bytes
    exact = _one(limits, Exactly, None)
    if exact is not None:
        return st.binary(min_size=exact.value, max_size=exact.value)
    return st.binary(max_size=min(_one(limits, Max, Max(0)).value, _SMALL))


def dataclass_values(message_type: type) -> st.SearchStrategy[Any]:
    """Instances with every field drawn on its own."""
    hints = get_type_hints(message_type, include_extras=True)
    fields = {field.name: values(hints[field.name]) for field in dataclasses.fields(message_type)}
    return st.builds(message_type, **fields)


def _one(limits: tuple[object, ...], kind: type, default: Any) -> Any:
    return next((limit for limit in limits if isinstance(limit, kind)), default)


@st.composite
def shapes(draw: st.DrawFn, max_width: int = 12) -> Shape:
    """Admissible shapes with narrow layers."""
    widths = draw(st.lists(st.integers(1, max_width), min_size=2, max_size=MAX_LAYERS + 1))
    bias_bits = draw(st.integers(1, 20))
    shifts: list[int] = []
    for layer in range(len(widths) - 2):
        # The shortest admissible shift keeps a deep model within its bits.
        options = []
        for shift in range(MAX_VALUE_BITS):
            try:
                Shape((*widths[: layer + 2], 1), (*shifts, shift), bias_bits)
            except Rejected:
                continue
            options.append(shift)
        shifts.append(draw(st.sampled_from(options)))
    return Shape(tuple(widths), tuple(shifts), bias_bits)


@st.composite
def model_specs(draw: st.DrawFn) -> ModelSpec:
    """Specs over admissible shapes."""
    shape = draw(shapes())
    exponents = st.integers(0, 16)
    count = len(shape.layers)
    weights = draw(st.lists(exponents, min_size=count, max_size=count))
    return ModelSpec(shape, draw(exponents), tuple(weights))


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    """Tasks that are not refused."""
    hints = get_type_hints(Task, include_extras=True)
    fields = {name: draw(values(hint)) for name, hint in hints.items() if name != "pool"}
    weighting = draw(st.sampled_from(Weighting))
    batch_size = draw(st.integers(1, 100))
    most = draw(st.integers(1, 5))
    validators = draw(distinct_validators())
    fields |= {
        "batch_size": batch_size,
        "pool": Pool(
            draw(values(Digest)), draw(st.integers(batch_size, 1 << 24)), draw(values(bool))
        ),
        "minimum_devices": draw(st.integers(1, most)),
        "maximum_devices": most,
        "weighting": weighting,
        "gate": Gate(draw(st.integers(1, batch_size)), draw(st.integers(0, batch_size))),
        "aggregation": draw(st.sampled_from(["plain:fedavg", "plain:krum:1"])),
        "validators": validators,
        "quorum": draw(st.integers(min(1, len(validators)), len(validators))),
    }
    return Task(**fields)


def distinct_validators() -> st.SearchStrategy[tuple[Validator, ...]]:
    """Validators that share neither account nor key."""
    listed = st.lists(
        dataclass_values(Validator),
        max_size=3,
        unique_by=(lambda each: each.address, lambda each: each.public_key),
    )
    return listed.map(tuple)


def group_terms() -> st.SearchStrategy[GroupTerms]:
    """Groups whose minimum fits."""
    sizes = st.tuples(st.integers(1, 64), st.integers(1, 64))
    return sizes.map(lambda pair: GroupTerms(max(pair), min(pair)))


def rosters() -> st.SearchStrategy[Roster]:
    """Rosters in their order."""
    entries = st.lists(
        dataclass_values(RosterEntry), max_size=4, unique_by=lambda entry: entry.public_key
    )
    return entries.map(Roster.of)


_CUSTOM: dict[object, Callable[[], st.SearchStrategy[Any]]] = {
    Shape: shapes,
    ModelSpec: model_specs,
    GroupTerms: group_terms,
    Task: tasks,
    Roster: rosters,
}

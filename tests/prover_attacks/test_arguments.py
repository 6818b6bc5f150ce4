"""Arguments no honest caller passes: refused with the library's own errors, never a panic."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import zkpot_prover as native
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.prover_attacks.owner import Owner

HUGE = [2**31, 2**32, 2**63, 2**64 - 1, 2**64, 2**200]
BEYOND = [-1, -(2**70), *HUGE]
ORDER = (2**252 + 27742317777372353535851937790883648493).to_bytes(32, "little")


@pytest.mark.parametrize("number", [0, *BEYOND])
def test_dims(number: int) -> None:
    for dims in ([number, 5, 3], [6, number, 3], [6, 5, number]):
        with pytest.raises(native.ShapeError):
            native.Shape(dims, [4], 8)


@pytest.mark.parametrize("number", BEYOND)
def test_shifts_and_bias_bits(number: int) -> None:
    with pytest.raises(native.ShapeError, match="shift"):
        native.Shape([6, 5, 3], [number], 8)
    with pytest.raises(native.ShapeError, match="bias bits"):
        native.Shape([6, 5, 3], [4], number)


def test_lengths_of_shapes() -> None:
    # A range claims a length that nobody can allocate; only its first items are looked at.
    endless: Any = range(1, 10**18)
    for dims in ([], [6], [1] * 66, [1] * 100_000, endless):
        with pytest.raises(native.ShapeError, match="layers"):
            native.Shape(dims, [], 8)
    for shifts in ([], [4, 4], [0] * 100_000, endless):
        with pytest.raises(native.ShapeError, match="one shift per"):
            native.Shape([6, 5, 3], shifts, 8)


@pytest.mark.parametrize("value", ["6", None, 6.0, b"6", [6], object()])
def test_types_of_shapes(value: Any) -> None:
    cases: list[tuple[Any, Any, Any]] = [
        ([value, 3], [], 8),
        ([6, 5, 3], [value], 8),
        ([6, 3], [], value),
    ]
    for arguments in cases:
        with pytest.raises(TypeError):
            native.Shape(*arguments)


@pytest.mark.parametrize("batch", [0, 2**16 + 1, *BEYOND])
def test_batch_sizes(owner: Owner, batch: int) -> None:
    with pytest.raises(native.ShapeError, match="batch"):
        owner.shape.proof_bytes(batch)


@pytest.mark.parametrize("count", [10, *BEYOND])
def test_counts(owner: Owner, rival: Owner, count: int) -> None:
    with pytest.raises(native.ProofError, match="count"):
        owner.verify(count=count)
    # Among other proofs only the one with that count is refused.
    bad = (owner.commitment, owner.context, count, owner.accuracy)
    reasons = native.verify_many(
        owner.shape, owner.inputs, owner.labels, [owner.item, bad, rival.item]
    )
    assert reasons[0] is None
    assert reasons[1] is not None
    assert reasons[2] is None


@pytest.mark.parametrize("threads", [0, 257, *BEYOND])
def test_threads(owner: Owner, threads: int) -> None:
    with pytest.raises(native.ProofError, match="threads"):
        native.verify_wellformed(
            owner.shape, owner.commitment, owner.context, owner.wellformed, threads=threads
        )


def test_batches(owner: Owner) -> None:
    with pytest.raises(native.ShapeError):
        owner.verify(inputs=b"", labels=b"")
    with pytest.raises(native.ShapeError):
        owner.verify(labels=bytes(2**16 + 1))
    for inputs in (b"", owner.inputs[1:], owner.inputs + b"\0", bytes(2**20)):
        with pytest.raises(native.ProofError, match="inputs"):
            owner.verify(inputs=inputs)
    for label in (3, 4, 255):
        with pytest.raises(native.ProofError, match="label"):
            owner.verify(labels=bytes([label]) + owner.labels[1:])
        with pytest.raises(native.ProofError, match="label"):
            native.prove(
                owner.shape,
                owner.theta,
                owner.blinding,
                owner.inputs,
                bytes([label]) * 9,
                owner.context,
            )
    assert native.verify_many(owner.shape, owner.inputs, owner.labels, []) == []
    assert native.verify_wellformed_many(owner.shape, []) == []


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64, 2**16])
def test_contexts(owner: Owner, length: int) -> None:
    context = bytes(length)
    with pytest.raises(native.ProofError, match="context"):
        owner.verify(context=context)
    with pytest.raises(native.ProofError, match="context"):
        owner.verify_wellformed(context=context)
    with pytest.raises(native.ProofError, match="context"):
        native.prove_wellformed(owner.shape, owner.theta, owner.blinding, context)
    with pytest.raises(native.ProofError, match="context"):
        native.prove(owner.shape, owner.theta, owner.blinding, owner.inputs, owner.labels, context)


@pytest.mark.parametrize(
    "change",
    [lambda _: b"", lambda old: old[:-1], lambda old: old + old, lambda _: bytes(2**20)],
)
def test_lengths(owner: Owner, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(native.ProofError, match="commitment has the wrong length"):
        owner.verify(commitment=change(owner.commitment), accuracy=b"")
    with pytest.raises(native.ProofError, match="proof has the wrong length"):
        owner.verify(accuracy=change(owner.accuracy))
    with pytest.raises(native.ProofError, match="proof has the wrong length"):
        owner.verify_wellformed(wellformed=change(owner.wellformed))
    with pytest.raises(native.ProofError, match="theta"):
        native.commit(owner.shape, change(owner.theta), owner.blinding)
    with pytest.raises(native.ProofError, match="blinding"):
        native.commit(owner.shape, owner.theta, change(owner.blinding))


@pytest.mark.parametrize("scalar", [ORDER, b"\xff" * 32, bytes(31) + b"\x80"])
def test_blindings_that_are_not_canonical(owner: Owner, scalar: bytes) -> None:
    blinding = owner.blinding[:-32] + scalar
    calls: list[Callable[[], object]] = [
        lambda: native.commit(owner.shape, owner.theta, blinding),
        lambda: native.prove_wellformed(owner.shape, owner.theta, blinding, owner.context),
        lambda: native.add_blindings(owner.shape, [owner.blinding, blinding]),
        lambda: native.check_opening(
            owner.shape, owner.commitment, bytes(2 * len(owner.theta)), blinding
        ),
    ]
    for call in calls:
        with pytest.raises(native.ProofError, match="not canonical"):
            call()


@pytest.mark.parametrize("weight", [2**63, -(2**63) - 1, 2**64, 2**200])
def test_weights(owner: Owner, rival: Owner, weight: int) -> None:
    pair = [owner.commitment, rival.commitment]
    with pytest.raises(native.ProofError, match="weights must be"):
        native.add(owner.shape, pair, [1, weight])
    with pytest.raises(native.ProofError, match="weights must be"):
        native.add_blindings(owner.shape, [owner.blinding, rival.blinding], [weight, 1])


def test_lists_of_summands(owner: Owner, rival: Owner) -> None:
    pair = [owner.commitment, rival.commitment]
    endless: Any = range(10**18)
    for weights in ([], [1], [1, 2, 3], endless):
        with pytest.raises(native.ProofError, match="one weight per summand"):
            native.add(owner.shape, pair, weights)
    for add in (native.add, native.add_blindings):
        with pytest.raises(native.ProofError, match="at least one"):
            add(owner.shape, [])
        with pytest.raises(native.ProofError, match="at least one"):
            add(owner.shape, [], [])
    with pytest.raises(TypeError):
        native.add(owner.shape, endless)
    for other in (b"", owner.commitment[32:], owner.commitment + owner.commitment):
        with pytest.raises(native.ProofError, match="commitment has the wrong length"):
            native.add(owner.shape, [owner.commitment, other])
    nothing = native.add(owner.shape, pair, [0, 0])
    assert nothing == bytes(len(owner.commitment)), "the commitment to zeros, without blinding"


ANYTHING = st.one_of(
    st.none(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.binary(max_size=300),
    st.text(max_size=5),
    st.lists(st.integers(-2, 300), max_size=5),
    st.lists(st.binary(max_size=70), max_size=3),
    st.floats(),
)


@settings(max_examples=300)
@given(data=st.data())
def test_anything(owner: Owner, data: st.DataObject) -> None:
    """One argument of a good call replaced by anything: a panic would be no Exception."""
    calls: list[tuple[Callable[..., object], list[object]]] = [
        (native.Shape, [[6, 5, 3], [4], 8]),
        (native.random_blinding, [owner.shape]),
        (native.commit, [owner.shape, owner.theta, owner.blinding]),
        (
            native.verify,
            [
                owner.shape,
                owner.commitment,
                owner.inputs,
                owner.labels,
                owner.context,
                owner.count,
                owner.accuracy,
            ],
        ),
        (
            native.verify_wellformed,
            [owner.shape, owner.commitment, owner.context, owner.wellformed],
        ),
        (native.verify_many, [owner.shape, owner.inputs, owner.labels, [owner.item]]),
        (native.add, [owner.shape, [owner.commitment], [1]]),
        (native.add_blindings, [owner.shape, [owner.blinding], [1]]),
        (
            native.check_opening,
            [owner.shape, owner.commitment, bytes(2 * len(owner.theta)), owner.blinding],
        ),
        (native.count, [owner.shape, owner.theta, owner.inputs, owner.labels]),
    ]
    call, arguments = data.draw(st.sampled_from(calls))
    place = data.draw(st.integers(0, len(arguments) - 1))
    arguments[place] = data.draw(ANYTHING)
    with suppress(native.ProofError, native.ShapeError, TypeError):
        call(*arguments)

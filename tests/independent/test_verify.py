"""Honest proofs of odd small shapes are accepted; whatever is spoilt is refused."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkpot.errors import Reason, Rejected
from zkpot_aggregator.independent import verify, verify_wellformed
from zkpot_aggregator.independent.edwards import add
from zkpot_aggregator.independent.generators import generator
from zkpot_aggregator.independent.layout import Sizes, accuracy_sizes, wellformed_sizes
from zkpot_aggregator.independent.multilinear import ORDER
from zkpot_aggregator.independent.ristretto import decode, encode
from zkpot_aggregator.independent.shape import checked_shape

CASES = {
    "one-layer": ((4, 3), (), 3, 5),
    "smallest": ((1, 1), (), 0, 1),
    "one-class": ((5, 1), (), 0, 3),
    "one-class-hidden": ((3, 2, 1), (4,), 2, 4),
    "one-sample": ((6, 4, 3), (5,), 6, 1),
    "hidden-width-1": ((3, 1, 2), (0,), 4, 3),
    "shift-0": ((4, 3, 2), (0,), 5, 7),
    "largest-shift": ((4, 3, 2), (16,), 5, 7),
    "more-samples-than-columns": ((3, 2), (), 2, 130),
    "samples-fill-columns": ((2, 2, 2), (5,), 2, 128),
    "three-layers": ((2, 3, 4, 5), (2, 4), 6, 9),
    "largest-bias": ((1, 2, 2), (5,), 30, 65),
    "masked-in-two-columns": ((70, 3, 2), (7,), 8, 3),
    "columns-by-padded-inputs": ((2049, 1, 1), (5,), 2, 2),
    "many-classes": ((2, 256), (), 4, 3),
    "digits": ((64, 16, 10), (9,), 12, 50),
}

SECTIONS = ["rows", "pads", "messages", "deltas", "sigmas", "z2", "blinds", "crosses", "z1"]


@pytest.mark.prover
@pytest.mark.parametrize("name", CASES)
def test_honest_proofs(name: str, make_honest: Any) -> None:
    made = make_honest(*CASES[name])
    verify_wellformed(*made.shape, **made.wellformed_arguments)
    verify(*made.shape, **made.accuracy_arguments)


def refuse(honest: Any, reason: Reason = Reason.PROOF_INVALID, **changes: Any) -> None:
    with pytest.raises(Rejected) as rejection:
        verify(*honest.shape, **(honest.accuracy_arguments | changes))
    assert rejection.value.reason is reason


def refuse_wellformed(honest: Any, reason: Reason, **changes: Any) -> None:
    with pytest.raises(Rejected) as rejection:
        verify_wellformed(*honest.shape, **(honest.wellformed_arguments | changes))
    assert rejection.value.reason is reason


@pytest.mark.parametrize("change", [-1, 1])
def test_other_count(honest: Any, change: int) -> None:
    refuse(honest, count=honest.count + change)


@pytest.mark.parametrize("count", [-1, 8, 2**64])
def test_impossible_count(honest: Any, count: int) -> None:
    refuse(honest, count=count)


def test_other_context(honest: Any) -> None:
    other = bytes(32)
    refuse(honest, context=other)
    refuse_wellformed(honest, Reason.COMMITMENT_NOT_WELLFORMED, context=other)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_context_of_a_wrong_length(honest: Any, size: int) -> None:
    refuse(honest, context=bytes(size))
    refuse_wellformed(honest, Reason.PROOF_INVALID, context=bytes(size))


def test_other_inputs(honest: Any) -> None:
    inputs = bytearray(honest.inputs)
    inputs[-1] ^= 1
    refuse(honest, inputs=bytes(inputs))


def test_other_label(honest: Any) -> None:
    labels = bytearray(honest.labels)
    labels[0] = (labels[0] + 1) % 4
    refuse(honest, labels=bytes(labels))


def test_swapped_samples(honest: Any) -> None:
    inputs = honest.inputs[9:] + honest.inputs[:9]
    refuse(honest, inputs=inputs, labels=honest.labels[1:] + honest.labels[:1])


def test_batches_that_no_statement_has(honest: Any) -> None:
    refuse(honest, labels=b"", inputs=b"")
    refuse(honest, labels=b"\x04" * 7)
    refuse(honest, inputs=honest.inputs[:-1])
    refuse(honest, inputs=honest.inputs + b"\0")


def test_batch_of_another_size(honest: Any, full_row: Any) -> None:
    less = {"labels": honest.labels[:-1], "inputs": honest.inputs[:-9]}
    refuse(honest, **less)
    less = {"labels": full_row.labels[:32], "inputs": full_row.inputs[:96], "count": 0}
    refuse(full_row, Reason.PROOF_MALFORMED, **less)


@pytest.mark.parametrize(
    "shape", [((9, 6, 4), (4,), 10), ((9, 6, 5), (5,), 10), ((9, 6, 4), (5,), 9)]
)
def test_other_shape(honest: Any, shape: tuple[Any, ...]) -> None:
    with pytest.raises(Rejected):
        verify(*shape, **honest.accuracy_arguments)


def test_wellformedness_does_not_depend_on_shifts(honest: Any) -> None:
    verify_wellformed((9, 6, 4), (4,), 10, **honest.wellformed_arguments)


def test_proofs_are_not_interchangeable(honest: Any) -> None:
    refuse(honest, Reason.PROOF_MALFORMED, proof=honest.wellformed)
    refuse_wellformed(honest, Reason.PROOF_MALFORMED, proof=honest.accuracy)


def test_other_commitment(honest: Any) -> None:
    rows = [honest.commitment[i : i + 32] for i in range(0, len(honest.commitment), 32)]
    swapped = b"".join([rows[1], rows[0], *rows[2:]])
    shifted = encode(add(decode(rows[0]), generator("G", 0))) + b"".join(rows[1:])
    for commitment in (swapped, shifted):
        refuse(honest, commitment=commitment)
        refuse_wellformed(honest, Reason.COMMITMENT_NOT_WELLFORMED, commitment=commitment)


def test_malformed_commitment(honest: Any) -> None:
    commitment = honest.commitment
    broken = b"\x01" + bytes(31) + commitment[32:]
    for bad in (b"", commitment[:-1], commitment + bytes(32), broken):
        refuse(honest, Reason.COMMITMENT_MALFORMED, commitment=bad)
        refuse_wellformed(honest, Reason.COMMITMENT_MALFORMED, commitment=bad)


def test_truncation_and_extension(honest: Any) -> None:
    for proof in (honest.accuracy[:-32], honest.accuracy[:-1], honest.accuracy + bytes(32), b""):
        refuse(honest, Reason.PROOF_MALFORMED, proof=proof)
    for proof in (honest.wellformed[:-32], honest.wellformed + b"\0"):
        refuse_wellformed(honest, Reason.PROOF_MALFORMED, proof=proof)


def spans(sizes: Sizes) -> dict[str, tuple[int, int]]:
    """First unit of each section, and the one after its last."""
    lengths = [sizes.rows, 1, sizes.messages, 2, 3, sizes.pads, 2, 2 * sizes.folds, sizes.tail]
    section_to_span, start = {}, 0
    for section, length in zip(SECTIONS, lengths, strict=True):
        section_to_span[section] = (start, start + length)
        start += length
    return section_to_span


def other_unit(unit: bytes, section: str) -> bytes:
    """A canonical unit that stands for something else."""
    if section in {"rows", "pads", "deltas", "crosses"}:
        return encode(add(decode(unit), generator("H", 0)))
    return ((int.from_bytes(unit, "little") + 1) % ORDER).to_bytes(32, "little")


def replaced(proof: bytes, index: int, unit: bytes) -> bytes:
    return proof[: 32 * index] + unit + proof[32 * (index + 1) :]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("end", ["first", "last"])
def test_flipped_element(honest: Any, section: str, end: str) -> None:
    shape = checked_shape(*honest.shape)
    for proof, sizes, wellformed in (
        (honest.accuracy, accuracy_sizes(shape, len(honest.labels)), False),
        (honest.wellformed, wellformed_sizes(shape), True),
    ):
        start, stop = spans(sizes)[section]
        index = start if end == "first" else stop - 1
        unit = other_unit(proof[32 * index : 32 * index + 32], section)
        spoilt = replaced(proof, index, unit)
        if wellformed:
            refuse_wellformed(honest, Reason.COMMITMENT_NOT_WELLFORMED, proof=spoilt)
        else:
            refuse(honest, proof=spoilt)


@pytest.mark.parametrize("section", SECTIONS)
def test_unit_that_is_not_canonical(honest: Any, section: str) -> None:
    shape = checked_shape(*honest.shape)
    start, stop = spans(accuracy_sizes(shape, len(honest.labels)))[section]
    index = random.Random(section).randrange(start, stop)
    unit = honest.accuracy[32 * index : 32 * index + 32]
    number = int.from_bytes(unit, "little")
    congruent = number + (ORDER if section in {"messages", "sigmas", "z2", "blinds", "z1"} else 0)
    if congruent == number:
        congruent = 2**255 - 19 - number
    spoilt = replaced(honest.accuracy, index, congruent.to_bytes(32, "little"))
    refuse(honest, Reason.PROOF_MALFORMED, proof=spoilt)


@settings(max_examples=30)
@given(data=st.data())
def test_any_other_byte_is_refused(one_weight: Any, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["commitment", "inputs", "labels", "context", "proof"]))
    value = bytearray(one_weight.accuracy_arguments[name])
    place = data.draw(st.integers(0, len(value) - 1))
    value[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Rejected):
        verify(*one_weight.shape, **(one_weight.accuracy_arguments | {name: bytes(value)}))


@settings(max_examples=50)
@given(st.data())
def test_garbage(data: st.DataObject) -> None:
    commitment, inputs, labels, context, proof = (data.draw(st.binary()) for _ in range(5))
    with pytest.raises(Rejected):
        verify([1, 1], [], 0, commitment, inputs, labels, context, 1, proof)
    with pytest.raises(Rejected):
        verify_wellformed([1, 1], [], 0, commitment, context, proof)


def test_garbage_of_the_right_length(honest: Any) -> None:
    random_ = random.Random(1)
    for fill in (bytes, random_.randbytes, lambda size: b"\xff" * size):
        proof = fill(len(honest.accuracy))
        with pytest.raises(Rejected):
            verify(*honest.shape, **(honest.accuracy_arguments | {"proof": proof}))


def test_proof_of_zeros_is_refused_by_an_equation(honest: Any) -> None:
    # Every unit of it is canonical: the identity, or the scalar 0.
    zeros = bytes(len(honest.accuracy))
    refuse(honest, Reason.PROOF_INVALID, proof=zeros)
    zeros = bytes(len(honest.wellformed))
    refuse_wellformed(honest, Reason.COMMITMENT_NOT_WELLFORMED, proof=zeros)

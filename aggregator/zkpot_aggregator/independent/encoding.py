"""A proof as bytes: 32-byte units without framing (section 11)."""

from dataclasses import dataclass
from itertools import islice

from zkpot.errors import Reason, Rejected
from zkpot_aggregator.independent.edwards import Point
from zkpot_aggregator.independent.layout import UNIT_BYTES, Sizes
from zkpot_aggregator.independent.multilinear import ORDER
from zkpot_aggregator.independent.ristretto import decode


@dataclass(frozen=True)
class Element:
    """A point with the encoding it arrived in, which is what the transcript binds."""

    encoding: bytes
    point: Point


@dataclass(frozen=True)
class Proof:
    """The sections of a proof, in order; every part is canonical."""

    rows: list[Element]
    pads: Element
    messages: list[int]
    deltas: list[Element]
    sigmas: list[int]
    z2: list[int]
    blinds: list[int]
    crosses: list[Element]
    z1: list[int]


def parse_proof(proof: bytes, sizes: Sizes) -> Proof:
    """Raises `Rejected` (PROOF_MALFORMED) unless length and every unit are canonical."""
    if len(proof) != sizes.proof_bytes:
        raise Rejected(
            Reason.PROOF_MALFORMED, f"expected {sizes.proof_bytes} bytes, got {len(proof)}"
        )
    units = enumerate(_units(proof))

    def points(count: int) -> list[Element]:
        return [
            _element(unit, Reason.PROOF_MALFORMED, f"unit {i}") for i, unit in islice(units, count)
        ]

    def scalars(count: int) -> list[int]:
        return [_scalar(unit, i) for i, unit in islice(units, count)]

    return Proof(
        rows=points(sizes.rows),
        pads=points(1)[0],
        messages=scalars(sizes.messages),
        deltas=points(2),
        sigmas=scalars(3),
        z2=scalars(sizes.pads),
        blinds=scalars(2),
        crosses=points(2 * sizes.folds),
        z1=scalars(sizes.tail),
    )


def parse_commitment(commitment: bytes, rows: int) -> list[Element]:
    """Raises `Rejected` (COMMITMENT_MALFORMED) unless it is `rows` canonical points."""
    if len(commitment) != rows * UNIT_BYTES:
        raise Rejected(
            Reason.COMMITMENT_MALFORMED,
            f"expected {rows * UNIT_BYTES} bytes, got {len(commitment)}",
        )
    return [
        _element(unit, Reason.COMMITMENT_MALFORMED, f"row {i}")
        for i, unit in enumerate(_units(commitment))
    ]


def _units(data: bytes) -> list[bytes]:
    return [data[i : i + UNIT_BYTES] for i in range(0, len(data), UNIT_BYTES)]


def _element(unit: bytes, reason: Reason, place: str) -> Element:
    try:
        return Element(unit, decode(unit))
    except ValueError as error:
        raise Rejected(reason, f"expected a point at {place}: {error}") from error


def _scalar(unit: bytes, place: int) -> int:
    value = int.from_bytes(unit, "little")
    if value >= ORDER:
        raise Rejected(Reason.PROOF_MALFORMED, f"expected a canonical scalar at unit {place}")
    return value

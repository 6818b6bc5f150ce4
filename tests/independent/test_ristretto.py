"""ristretto255 against the vectors of RFC 9496, appendix A."""

import hashlib
import json
import random
from pathlib import Path

import pytest

from zkpot_aggregator.independent.edwards import IDENTITY, Point, add, double
from zkpot_aggregator.independent.multilinear import ORDER
from zkpot_aggregator.independent.multiscalar import multiscalar
from zkpot_aggregator.independent.ristretto import decode, encode, from_uniform_bytes, is_identity

# Appendix A: multiples 0 to 15 of the generator, encodings to refuse, the map on SHA-512 of a
# label, and four inputs that differ in ignored bits or by the field's prime.
VECTORS = json.loads(Path(__file__).with_name("rfc9496.json").read_text())


def generator() -> Point:
    return decode(bytes.fromhex(VECTORS["multiples"][1]))


def test_multiples_of_the_generator() -> None:
    point = IDENTITY
    for i, encoding in enumerate(VECTORS["multiples"]):
        assert encode(point).hex() == encoding
        assert encode(decode(bytes.fromhex(encoding))).hex() == encoding
        assert encode(multiscalar([(i, generator())])).hex() == encoding
        point = add(point, generator())


@pytest.mark.parametrize("encoding", VECTORS["invalid"])
def test_invalid_encodings(encoding: str) -> None:
    with pytest.raises(ValueError, match="not"):
        decode(bytes.fromhex(encoding))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_wrong_lengths(size: int) -> None:
    with pytest.raises(ValueError, match="not"):
        decode(bytes(size))


@pytest.mark.parametrize(("label", "encoding"), VECTORS["from_label"].items())
def test_uniform_bytes(label: str, encoding: str) -> None:
    assert encode(from_uniform_bytes(hashlib.sha512(label.encode()).digest())).hex() == encoding


@pytest.mark.parametrize("uniform", VECTORS["coinciding_inputs"])
def test_uniform_bytes_that_coincide(uniform: str) -> None:
    assert encode(from_uniform_bytes(bytes.fromhex(uniform))).hex() == VECTORS["coinciding_output"]


def test_double_is_adding_twice() -> None:
    point = from_uniform_bytes(bytes(range(64)))
    assert encode(double(point)) == encode(add(point, point))
    assert is_identity(double(IDENTITY))


def test_order() -> None:
    point = from_uniform_bytes(bytes(range(64)))
    last = IDENTITY
    for bit in f"{ORDER - 1:b}":
        last = double(last)
        if bit == "1":
            last = add(last, point)
    assert not is_identity(last)
    assert is_identity(add(last, point))


@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_multiscalar_agrees_with_logarithms(count: int) -> None:
    random_ = random.Random(count)
    logarithms = [random_.randrange(ORDER) for _ in range(count)]
    scalars = [random_.choice([0, -1, random_.randrange(ORDER)]) for _ in range(count)]
    points = [multiscalar([(logarithm, generator())]) for logarithm in logarithms]
    total = sum(s * x for s, x in zip(scalars, logarithms, strict=True))
    assert encode(multiscalar(zip(scalars, points, strict=True))) == encode(
        multiscalar([(total, generator())])
    )

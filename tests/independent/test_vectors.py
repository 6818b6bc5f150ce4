"""The crate's vectors: the document, read twice, must mean the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from zkpot_aggregator.independent import verify, verify_wellformed
from zkpot_aggregator.independent.accuracy import Samples
from zkpot_aggregator.independent.edwards import IDENTITY, add
from zkpot_aggregator.independent.generators import generator
from zkpot_aggregator.independent.layout import accuracy_sizes, wellformed_sizes
from zkpot_aggregator.independent.multiscalar import multiscalar
from zkpot_aggregator.independent.opening import draw_challenges
from zkpot_aggregator.independent.reduction import reduce_claims
from zkpot_aggregator.independent.ristretto import encode
from zkpot_aggregator.independent.shape import checked_shape
from zkpot_aggregator.independent.statement import checked_statement, replayed_accuracy

VECTORS = Path(__file__).parents[2] / "prover" / "vectors"


def proofs() -> list[dict[str, Any]]:
    read = [json.loads(path.read_text()) for path in sorted(VECTORS.glob("*.json"))]
    return [vector for vector in read if "proof" in vector]


every_vector = pytest.mark.parametrize("vector", proofs(), ids=lambda vector: vector["name"])


def test_there_are_vectors() -> None:
    assert proofs()


def test_generators() -> None:
    name_to_encoding = json.loads((VECTORS / "generators.json").read_text())
    assert {"G_0", "H", "Q"} <= set(name_to_encoding)
    for name, encoding in name_to_encoding.items():
        letter, _, index = name.partition("_")
        assert encode(generator(letter, int(index or 0))).hex() == encoding


@every_vector
def test_commitment(vector: dict[str, Any]) -> None:
    shape = checked_shape(vector["dims"], vector["shifts"], vector["bias_bits"])
    raw, blinding = bytes.fromhex(vector["theta"]), bytes.fromhex(vector["blinding"])
    theta = (int.from_bytes(raw[i : i + 4], "little", signed=True) for i in range(0, len(raw), 4))
    points = [IDENTITY] * shape.commitment_rows

    def place(row: int, index: int) -> None:
        row, column = row + index // shape.columns, index % shape.columns
        points[row] = add(points[row], multiscalar([(next(theta), generator("G", column))]))

    for layer in range(1, shape.layers + 1):
        for k in range(shape.dims[layer - 1]):
            for h in range(shape.dims[layer]):
                place(shape.weight_row(layer), (k << shape.logs[layer]) + h)
        for h in range(shape.dims[layer]):
            place(shape.bias_row(layer), h)
    assert next(theta, None) is None
    for row, point in enumerate(points):
        scalar = int.from_bytes(blinding[32 * row : 32 * row + 32], "little")
        points[row] = add(point, multiscalar([(scalar, generator("H", 0))]))
    assert b"".join(map(encode, points)).hex() == vector["commitment"]


@every_vector
def test_sizes(vector: dict[str, Any], read_honest: Any) -> None:
    honest = read_honest(vector)
    shape = checked_shape(*honest.shape)
    assert (shape.log_columns, shape.folds) == (vector["log_columns"], vector["folds"])
    assert accuracy_sizes(shape, len(honest.labels)).proof_bytes == len(honest.accuracy)
    assert wellformed_sizes(shape).proof_bytes == len(honest.wellformed)


@every_vector
def test_accuracy(vector: dict[str, Any], read_honest: Any) -> None:
    honest = read_honest(vector)
    verify(*honest.shape, **honest.accuracy_arguments)


@every_vector
def test_wellformedness(vector: dict[str, Any], read_honest: Any) -> None:
    honest = read_honest(vector)
    verify_wellformed(*honest.shape, **honest.wellformed_arguments)


@every_vector
def test_trace(vector: dict[str, Any], read_honest: Any) -> None:
    honest = read_honest(vector)
    dims, shifts, bias_bits = honest.shape
    statement = checked_statement(dims, shifts, bias_bits, honest.commitment, honest.context)
    samples = Samples(honest.inputs, honest.labels, honest.count)
    replayed = replayed_accuracy(statement, samples, honest.accuracy)
    transcript = replayed.replay.transcript
    reduction = reduce_claims(replayed.replay)
    challenges = draw_challenges(replayed.proof, transcript)
    for scalar in replayed.proof.z1:
        transcript.append(b"z1", scalar.to_bytes(32, "little"))
    trace = {
        "const": reduction.form.const,
        "c": challenges.c,
        "theta": challenges.theta,
        "psi": transcript.challenge(),
    }
    encoded = {name: scalar.to_bytes(32, "little").hex() for name, scalar in trace.items()}
    assert encoded == vector["accuracy_trace"]

"""The circuit counts exactly what the reference inference counts."""

from typing import Any

import numpy as np
import pytest

from zkpot.batch import Batch
from zkpot.errors import Reason, Rejected
from zkpot.model import Shape, count_correct, logits
from zkpot.proof.ezkl import circuit, engine
from zkpot.proof.ezkl.backend import EzklSystem
from zkpot.proof.ezkl.points import SCALAR_MODULUS, felt, felts
from zkpot.proof.system import Obstacle, ProvingFailed, no_progress

pytestmark = pytest.mark.prover

SHAPES = (
    Shape((4, 3, 2), (0,), 16),
    Shape((3, 4), (), 8),
    Shape((2, 3, 3, 3), (0, 0), 8),
    Shape((5, 2, 4), (0,), 8),
)


def circuit_count(system: EzklSystem, theta: Any, batch: Batch, context: int = 9) -> int:
    """The circuit's outputs without a proof; the context comes out as it went in."""
    tensors = circuit.batch_tensors(system.shape, batch)
    salt = felts(range(circuit.SALT_ELEMENTS))
    inputs = [felts(theta) + salt, *(felts(tensor) for tensor in tensors), [felt(context)]]
    count, context_out = engine.witness(system.keys.for_proving.circuit, inputs)
    assert context_out == felt(context)
    return int.from_bytes(bytes.fromhex(count), "little")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.widths)))
def test_circuit_agrees_with_the_reference_on_250_models_with_ties(
    shape: Shape, system_for: Any, thetas: Any, batches: Any
) -> None:
    system = system_for(shape, 4)
    rng = np.random.default_rng(shape.parameters)
    # Two hidden layers of int8 weights could leave the circuit's 28 bits.
    largest = 128 if len(shape.widths) < 4 else 20
    decided_by_a_tie = 0
    for number in range(250):
        bound = (1, 2, largest)[number % 3]
        theta = thetas(shape, rng, -bound, bound)
        batch = batches(shape, 4, rng, (1, 3, 255)[number % 3])
        expected = count_correct(shape, theta, batch.inputs, batch.labels)
        assert circuit_count(system, theta, batch) == expected
        values = logits(shape, theta, batch.inputs)
        own = values[np.arange(4), batch.labels]
        decided_by_a_tie += int((own >= values.max(axis=1)).sum()) != expected
    assert decided_by_a_tie > 20


@pytest.mark.parametrize("value", [0, 1, -3])
def test_models_of_one_value_count_exactly_the_samples_of_label_0(
    value: int, system_for: Any
) -> None:
    shape = SHAPES[3]
    system = system_for(shape, 4)
    theta = np.full(shape.parameters, value, dtype=np.int64)
    inputs = np.arange(20, dtype=np.uint8).reshape(4, 5)
    for labels, expected in (([0, 0, 0, 0], 4), ([1, 2, 3, 3], 0), ([0, 3, 1, 0], 2)):
        batch = Batch(inputs, np.array(labels, dtype=np.uint8))
        assert circuit_count(system, theta, batch) == expected


def test_full_width_context_goes_through(system_for: Any, thetas: Any, batches: Any) -> None:
    shape = SHAPES[1]
    rng = np.random.default_rng(0)
    theta, batch = thetas(shape, rng), batches(shape, 4, rng)
    circuit_count(system_for(shape, 4), theta, batch, context=SCALAR_MODULUS - 1)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_range_of_values_ends_where_the_layout_says(sign: int, system_for: Any) -> None:
    """The largest lead that has a witness is one below the limit."""
    shape = SHAPES[1]
    system = system_for(shape, 4)
    batch = Batch(np.zeros((4, 3), dtype=np.uint8), np.zeros(4, dtype=np.uint8))
    theta = np.zeros(shape.parameters, dtype=np.int64)
    # The lead of class 3 over label 0 is its bias plus 1, the tie mask being for lower ones.
    theta[-1] = sign * (system.keys.layout.value_limit - 1)
    assert circuit_count(system, theta, batch) == (0 if sign > 0 else 4)
    theta[-1] += sign
    with pytest.raises(ProvingFailed) as failed:
        circuit_count(system, theta, batch)
    assert failed.value.obstacle is Obstacle.UNSATISFIED


def test_shifts_are_refused_at_construction(proof_cache: Any) -> None:
    with pytest.raises(Rejected, match="shifts") as rejected:
        EzklSystem(Shape((4, 3, 2), (1,), 8), 4, proof_cache, "insecure-demo")
    assert rejected.value.reason is Reason.TASK_INVALID


@pytest.mark.parametrize(("widths", "batch_size"), [((2, 2), 1), ((2, 2), 0), ((2, 1), 4)])
def test_single_samples_and_classes_are_refused(
    widths: tuple[int, ...], batch_size: int, proof_cache: Any
) -> None:
    with pytest.raises(Rejected, match="needs 2 of each") as rejected:
        EzklSystem(Shape(widths, (), 8), batch_size, proof_cache, "insecure-demo")
    assert rejected.value.reason is Reason.TASK_INVALID


def test_a_circuit_that_does_not_fit_is_refused_with_its_rows(proof_cache: Any) -> None:
    system = EzklSystem(Shape((784, 128, 10), (0,), 16), 100, proof_cache, "insecure-demo")
    with pytest.raises(Rejected, match=r"need [0-9]{6} rows") as rejected:
        system.prepare(no_progress)
    assert rejected.value.reason is Reason.TASK_INVALID


@pytest.mark.parametrize(("batch_size", "logrows"), [(32, 14), (100, 15)])
def test_digits_take_the_rows_the_design_promises(
    batch_size: int, logrows: int, proof_cache: Any
) -> None:
    system = EzklSystem(Shape((64, 32, 10), (0,), 16), batch_size, proof_cache, "insecure-demo")
    assert system.keys.layout.logrows == logrows
    assert system.keys.layout.value_limit == 1 << 26

"""Real proofs hold for their statement, and for nothing else."""

import dataclasses
import json
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zkpot.batch import Batch
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, Digest, Round, TaskId
from zkpot.keys import KeyPair
from zkpot.model import count_correct
from zkpot.proof.ezkl import circuit, engine
from zkpot.proof.ezkl.backend import PROOF_BYTES, EzklSystem
from zkpot.proof.ezkl.points import (
    BASE_MODULUS,
    POINT_BYTES,
    SCALAR_MODULUS,
    felt,
    felts,
    read_point,
    write_point,
)
from zkpot.proof.system import ModelOpening, Obstacle, ProvingFailed, no_progress
from zkpot.statement import Statement, submission_context

pytestmark = pytest.mark.prover

THETA, INPUTS, ONEHOT, TIES, CONTEXT = range(5)


def assert_rejected(
    system: EzklSystem, statement: Statement, proof: bytes, *reasons: Reason
) -> None:
    with pytest.raises(Rejected) as rejected:
        system.verify(statement, proof)
    assert rejected.value.reason in reasons


def replaced(proof: bytes, position: int, part: bytes) -> bytes:
    return proof[:position] + part + proof[position + len(part) :]


def test_twenty_real_proofs_hold(
    system: EzklSystem, make_statement: Any, thetas: Any, batches: Any
) -> None:
    rng = np.random.default_rng(20)
    counts = set()
    for number in range(20):
        bound = 2 if number % 2 else 128
        theta = thetas(system.shape, rng, -bound, bound)
        batch = batches(system.shape, 4, rng, 3 if number % 2 else 255)
        statement, opening = make_statement(system, theta, batch)
        system.verify(statement, system.prove(statement, opening, no_progress))
        counts.add(statement.count)
    assert len(counts) >= 3


@pytest.mark.parametrize("value", [0, 7])
def test_equal_models_are_proven_for_label_0_only(
    value: int, system: EzklSystem, make_statement: Any
) -> None:
    theta = np.full(system.shape.parameters, value, dtype=np.int64)
    inputs = np.arange(16, dtype=np.uint8).reshape(4, 4)
    batch = Batch(inputs, np.array([0, 1, 0, 1], dtype=np.uint8))
    statement, opening = make_statement(system, theta, batch)
    assert statement.count == 2
    proof = system.prove(statement, opening, no_progress)
    system.verify(statement, proof)
    all_of_them = dataclasses.replace(statement, count=4)
    assert_rejected(system, all_of_them, proof, Reason.PROOF_INVALID)


def test_another_model_is_rejected(system: EzklSystem, case: Any, other_case: Any) -> None:
    statement = case.statement
    assert_rejected(system, statement, other_case.proof, Reason.COMMITMENT_MISMATCH)
    theirs = other_case.statement
    assert_rejected(system, theirs, case.proof, Reason.COMMITMENT_MISMATCH)


def test_the_same_model_with_other_salt_is_rejected(
    system: EzklSystem, case: Any, make_statement: Any
) -> None:
    statement, _ = make_statement(
        system, case.opening.theta, case.statement.batch, case.statement.context
    )
    assert_rejected(system, statement, case.proof, Reason.COMMITMENT_MISMATCH)


def test_another_batch_is_rejected(system: EzklSystem, case: Any) -> None:
    batch = case.statement.batch
    pixel = batch.inputs.copy()
    pixel[3, 3] ^= 1
    label = batch.labels.copy()
    label[0] ^= 1
    for other in (
        Batch(pixel, batch.labels),
        Batch(batch.inputs, label),
        Batch(batch.inputs[::-1].copy(), batch.labels[::-1].copy()),
    ):
        statement = dataclasses.replace(case.statement, batch=other)
        assert_rejected(system, statement, case.proof, Reason.BATCH_MISMATCH)


def test_a_batch_of_another_form_is_rejected(system: EzklSystem, case: Any) -> None:
    batch = case.statement.batch
    for inputs, labels in (
        (batch.inputs[:3], batch.labels[:3]),
        (batch.inputs[:, :3], batch.labels),
        (batch.inputs.astype(np.int64), batch.labels),
        (batch.inputs, batch.labels + np.uint8(2)),
    ):
        statement = dataclasses.replace(case.statement, batch=Batch(inputs, labels))
        assert_rejected(system, statement, case.proof, Reason.BATCH_MISMATCH)


def test_another_context_is_rejected(system: EzklSystem, case: Any) -> None:
    context = bytearray(case.statement.context)
    context[31] ^= 1
    for other in (bytes(context), bytes(32), secrets.token_bytes(32)):
        statement = dataclasses.replace(case.statement, context=Digest(other))
        assert_rejected(system, statement, case.proof, Reason.CONTEXT_MISMATCH)
    short = dataclasses.replace(case.statement, context=Digest(bytes(31)))
    assert_rejected(system, short, case.proof, Reason.CONTEXT_MISMATCH)


def test_another_devices_context_is_rejected(system: EzklSystem, case: Any) -> None:
    """The copied proof: same commitment, same round, same beacon, another key."""
    task, beacon = TaskId(Digest(bytes(32))), Beacon(Digest(b"b" * 32))
    keys = [KeyPair.from_seed(bytes([number] * 32)) for number in (1, 2)]
    commitment = case.statement.commitment
    own, foreign = (
        submission_context(task, Round(1), bytes(key.signing.verify_key), commitment, beacon)
        for key in keys
    )
    statement = dataclasses.replace(case.statement, context=own)
    proof = system.prove(statement, case.opening, no_progress)
    system.verify(statement, proof)
    copied = dataclasses.replace(statement, context=foreign)
    assert_rejected(system, copied, proof, Reason.CONTEXT_MISMATCH)


def test_the_context_instance_is_compared_behind_the_prefix(system: EzklSystem, case: Any) -> None:
    """Even with the right prefix, halo2 checks the verifier's own context and count."""
    keys = system.keys.for_verifying
    context = felt(int.from_bytes(case.statement.context, "big"))
    engine.verify(keys, [felt(case.statement.count), context], case.proof)
    for instances in (
        [felt(case.statement.count), felt(1)],
        [felt(case.statement.count + 1), context],
        [context, felt(case.statement.count)],
    ):
        with pytest.raises(Rejected) as rejected:
            engine.verify(keys, instances, case.proof)
        assert rejected.value.reason is Reason.PROOF_INVALID


def test_a_context_above_the_field_is_reduced(
    system: EzklSystem, case: Any, make_statement: Any
) -> None:
    context = b"\xff" * 32
    statement, opening = make_statement(system, case.opening.theta, case.statement.batch, context)
    system.verify(statement, system.prove(statement, opening, no_progress))


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_another_count_is_rejected(count: int, system: EzklSystem, case: Any) -> None:
    assert case.statement.count == 2
    statement = dataclasses.replace(case.statement, count=count)
    assert_rejected(system, statement, case.proof, Reason.PROOF_INVALID)


@pytest.mark.parametrize("count", [-1, 5, SCALAR_MODULUS + 2])
def test_an_impossible_count_is_rejected(count: int, system: EzklSystem, case: Any) -> None:
    statement = dataclasses.replace(case.statement, count=count)
    assert_rejected(system, statement, case.proof, Reason.COUNT_MISMATCH)


def test_a_false_count_cannot_be_proven(system: EzklSystem, case: Any) -> None:
    for count in (1, 3):
        statement = dataclasses.replace(case.statement, count=count)
        with pytest.raises(ProvingFailed) as failed:
            system.prove(statement, case.opening, no_progress)
        assert failed.value.obstacle is Obstacle.UNSATISFIED


def test_a_forged_witness_gives_no_proof(system: EzklSystem, case: Any, tmp_path: Path) -> None:
    """A prover that writes its own count into the witness file gets nowhere."""
    ezkl = engine.ezkl_module()
    keys = system.keys.for_proving
    tensors = circuit.batch_tensors(system.shape, case.statement.batch)
    inputs = [
        system.commitments.message(case.opening),
        *(felts(tensor) for tensor in tensors),
        [felt(int.from_bytes(case.statement.context, "big"))],
    ]
    path = tmp_path / "witness.json"
    (tmp_path / "input.json").write_text(json.dumps({"input_data": inputs}))
    ezkl.gen_witness(
        str(tmp_path / "input.json"),
        str(keys.circuit),
        str(path),
        str(keys.verification_key),
        str(keys.srs),
    )
    witness = json.loads(path.read_text())
    assert witness["outputs"][0] == [felt(2)]
    witness["outputs"][0] = [felt(4)]
    path.write_text(json.dumps(witness))
    try:
        found = ezkl.prove(str(path), str(keys.circuit), str(keys.proving_key), None, str(keys.srs))
    except RuntimeError:
        return
    proof = bytes.fromhex(found["proof"].removeprefix("0x"))
    for count in (3, 4):
        statement = dataclasses.replace(case.statement, count=count)
        assert_rejected(system, statement, proof, Reason.PROOF_INVALID)


def test_another_opening_cannot_be_proven(system: EzklSystem, case: Any, other_case: Any) -> None:
    with pytest.raises(ProvingFailed) as failed:
        system.prove(case.statement, other_case.opening, no_progress)
    assert failed.value.obstacle is Obstacle.UNSATISFIED


def test_a_model_out_of_range_cannot_be_proven(system: EzklSystem, make_statement: Any) -> None:
    theta = np.full(system.shape.parameters, 127, dtype=np.int64)
    theta[-1] = 1 << 29
    batch = Batch(np.full((4, 4), 255, dtype=np.uint8), np.zeros(4, dtype=np.uint8))
    statement, opening = make_statement(system, theta, batch)
    with pytest.raises(ProvingFailed, match="29 bits, the circuit holds 28") as failed:
        system.prove(statement, opening, no_progress)
    assert failed.value.obstacle is Obstacle.UNSATISFIED


def test_other_lengths_are_rejected(system: EzklSystem, case: Any) -> None:
    proof = case.proof
    assert len(proof) == PROOF_BYTES
    for other in (
        b"",
        proof[:-1],
        proof[:-32],
        proof[: 5 * POINT_BYTES],
        proof + b"\0",
        proof + bytes(32),
        proof + proof,
    ):
        assert_rejected(system, case.statement, other, Reason.PROOF_MALFORMED)


def test_a_flipped_bit_anywhere_is_rejected(system: EzklSystem, case: Any) -> None:
    """One random bit of every 32-byte word: every point coordinate, every evaluation."""
    rng = np.random.default_rng(1)
    for word in range(PROOF_BYTES // 32):
        data = bytearray(case.proof)
        data[32 * word + int(rng.integers(32))] ^= 1 << int(rng.integers(8))
        expected = Reason.PROOF_MALFORMED if word < 10 else Reason.PROOF_INVALID
        assert_rejected(system, case.statement, bytes(data), expected)


@pytest.mark.parametrize("fill", [b"\0", b"\xff", None], ids=["zeros", "ones", "random"])
def test_nonsense_behind_the_right_prefix_is_rejected(
    fill: bytes | None, system: EzklSystem, case: Any
) -> None:
    """Also where halo2 would panic rather than fail."""
    prefix = case.proof[: 5 * POINT_BYTES]
    size = PROOF_BYTES - len(prefix)
    tail = fill * size if fill else np.random.default_rng(4).bytes(size)
    assert_rejected(system, case.statement, prefix + tail, Reason.PROOF_INVALID)
    generators = write_point((1, 2)) * ((size + POINT_BYTES - 1) // POINT_BYTES)
    made_up = prefix + generators[:size]
    assert_rejected(system, case.statement, made_up, Reason.PROOF_INVALID)


def test_numbers_that_are_not_reduced_are_rejected(system: EzklSystem, case: Any) -> None:
    """The same point or scalar in a second encoding would be a second proof."""
    tried = 0
    for word in range(PROOF_BYTES // 32):
        value = int.from_bytes(case.proof[32 * word : 32 * word + 32], "big")
        for modulus in (BASE_MODULUS, SCALAR_MODULUS):
            if value + modulus < 1 << 256:
                other = replaced(case.proof, 32 * word, (value + modulus).to_bytes(32, "big"))
                reasons = (Reason.PROOF_MALFORMED, Reason.PROOF_INVALID)
                assert_rejected(system, case.statement, other, *reasons)
                tried += 1
    assert tried > PROOF_BYTES // 32


def test_negated_points_are_rejected(system: EzklSystem, case: Any) -> None:
    for position in range(0, 20 * POINT_BYTES, POINT_BYTES):
        part = case.proof[position : position + POINT_BYTES]
        x, y = read_point(part, Reason.PROOF_MALFORMED, "point")
        other = replaced(case.proof, position, write_point((x, BASE_MODULUS - y)))
        with pytest.raises(Rejected):
            system.verify(case.statement, other)


def test_a_swapped_prefix_is_rejected(system: EzklSystem, case: Any, other_case: Any) -> None:
    """Prefix points of one proof in front of the rest of another."""
    names = {
        THETA: Reason.COMMITMENT_MISMATCH,
        INPUTS: Reason.BATCH_MISMATCH,
        ONEHOT: Reason.BATCH_MISMATCH,
        TIES: Reason.BATCH_MISMATCH,
        CONTEXT: Reason.CONTEXT_MISMATCH,
    }
    rogue = write_point((1, 2))
    for position, reason in names.items():
        other = replaced(case.proof, position * POINT_BYTES, rogue)
        assert_rejected(system, case.statement, other, reason)
    sealed = case.statement.commitment
    stolen = replaced(other_case.proof, 0, sealed)
    assert_rejected(system, case.statement, stolen, Reason.PROOF_INVALID)
    first, second = case.proof[:POINT_BYTES], case.proof[POINT_BYTES : 2 * POINT_BYTES]
    swapped = replaced(case.proof, 0, second + first)
    assert_rejected(system, case.statement, swapped, Reason.COMMITMENT_MISMATCH)


def test_proofs_are_randomised(system: EzklSystem, case: Any) -> None:
    again = system.prove(case.statement, case.opening, no_progress)
    assert again != case.proof
    assert again[: 5 * POINT_BYTES] == case.proof[: 5 * POINT_BYTES]
    system.verify(case.statement, again)


def test_a_system_of_another_srs_rejects(case: Any, tmp_path: Path, system: EzklSystem) -> None:
    other = EzklSystem(system.shape, system.batch_size, tmp_path, "insecure-demo")
    with pytest.raises(Rejected):
        other.verify(case.statement, case.proof)


def test_the_count_is_the_references(case: Any, system: EzklSystem) -> None:
    statement = case.statement
    inputs, labels = statement.batch.inputs, statement.batch.labels
    theta = case.opening.theta
    assert statement.count == count_correct(system.shape, theta, inputs, labels)


def test_wellformedness_is_one_canonical_point(system: EzklSystem, case: Any) -> None:
    context = case.statement.context
    commitment = case.statement.commitment
    assert system.prove_wellformed(case.opening, context) is None
    system.verify_wellformed(commitment, context, None)
    x, y = read_point(commitment, Reason.COMMITMENT_MALFORMED, "commitment")
    off_curve = write_point((x, (y + 1) % BASE_MODULUS))
    twice = [write_point((x, y)) for x, y in [(x + BASE_MODULUS, y), (x, y + BASE_MODULUS)]]
    for bad in (b"", bytes(64), commitment[:63], commitment + b"\0", off_curve, *twice):
        with pytest.raises(Rejected) as rejected:
            system.verify_wellformed(bad, context, None)
        assert rejected.value.reason is Reason.COMMITMENT_MALFORMED
    with pytest.raises(Rejected) as rejected:
        system.verify_wellformed(commitment, context, b"")
    assert rejected.value.reason is Reason.COMMITMENT_NOT_WELLFORMED


def test_theta_is_not_bounded_by_the_circuit(system: EzklSystem, make_statement: Any) -> None:
    """Assumption: why ezkl/1 is for plain aggregation, where openings are range-checked."""
    theta = np.zeros(system.shape.parameters, dtype=np.int64)
    theta[0] = 10**12
    batch = Batch(np.zeros((4, 4), dtype=np.uint8), np.zeros(4, dtype=np.uint8))
    statement, opening = make_statement(system, theta, batch)
    system.verify(statement, system.prove(statement, opening, no_progress))


def test_a_malformed_opening_is_refused(system: EzklSystem, case: Any) -> None:
    theta, blinding = case.opening.theta, case.opening.blinding
    for opening in (
        ModelOpening(theta[:-1], blinding),
        ModelOpening(theta.astype(np.int32), blinding),
        ModelOpening(theta, blinding[:-1]),
        ModelOpening(theta, b"\xff" * len(blinding)),
    ):
        with pytest.raises(Rejected) as rejected:
            system.commitments.commit(opening)
        assert rejected.value.reason is Reason.OPENING_INVALID

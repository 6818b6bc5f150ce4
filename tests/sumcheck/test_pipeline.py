"""A commitment reaches the seal only with its own owner's proof of well-formedness."""

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests.protocol.rounds import BATCH, PARENT, ROUND, SPEC, MadeRound, key, make_round

from zkpot.cid import Cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import Digest
from zkpot.model import count_correct
from zkpot.proof.sumcheck import SumcheckSystem
from zkpot.proof.system import ModelOpening, ProofSystem, no_progress
from zkpot.statement import Statement, commitment_context
from zkpot.verify import verify_commitment
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Commitment
from zkpot_aggregator.audit.independent import IndependentSystem

pytestmark = pytest.mark.prover

OWNER, THIEF = 0, 1
SYSTEM = SumcheckSystem(SPEC.shape, BATCH)


@dataclass(frozen=True)
class Sent:
    """An honest commitment of the owner, its opening and its proof."""

    opening: ModelOpening
    commitment: bytes
    proof: bytes


@pytest.fixture(scope="module")
def made() -> MadeRound:
    return make_round(2)


@pytest.fixture(scope="module")
def sent(made: MadeRound) -> Sent:
    generator = np.random.default_rng(4)
    theta = generator.integers(-30, 31, SPEC.shape.parameters).astype(np.int64)
    opening = ModelOpening(theta, SYSTEM.commitments.random_blinding())
    commitment = SYSTEM.commitments.commit(opening)
    return Sent(opening, commitment, prove(made, opening, commitment, OWNER))


def prove(made: MadeRound, opening: ModelOpening, commitment: bytes, device: int) -> bytes:
    context = commitment_context(made.task_id, ROUND, key(device).public_key, commitment)
    return SYSTEM.prove_wellformed(opening, context)


def judge(
    made: MadeRound,
    commitment: bytes,
    proof: bytes | None,
    device: int,
    system: ProofSystem = SYSTEM,
) -> Any:
    cid: Cid | None = None if proof is None else made.put(proof)
    message = Commitment(made.task_id, ROUND, PARENT, commitment, cid)
    return verify_commitment(made.terms, sign(message, key(device)), made.get, system)


@pytest.mark.parametrize("verifier", [SumcheckSystem, IndependentSystem])
def test_the_owners_own_is_accepted(made: MadeRound, sent: Sent, verifier: Any) -> None:
    system = verifier(SPEC.shape, BATCH)
    opened = judge(made, sent.commitment, sent.proof, OWNER, system)
    assert opened.message.commitment == sent.commitment


def refused(made: MadeRound, commitment: bytes, proof: bytes | None, device: int) -> list[Reason]:
    """The reasons of the native and of the independent verifier."""
    reasons = []
    for system in (SYSTEM, IndependentSystem(SPEC.shape, BATCH)):
        with pytest.raises(Rejected) as rejected:
            judge(made, commitment, proof, device, system)
        reasons.append(rejected.value.reason)
    return reasons


def test_an_accuracy_proof_alone_is_not_enough(made: MadeRound, sent: Sent) -> None:
    """It verifies, and still the commitment is refused without its own proof."""
    batch, theta = made.batch, sent.opening.theta
    count = count_correct(SPEC.shape, theta, batch.inputs, batch.labels)
    context = Digest(secrets.token_bytes(32))
    statement = Statement(sent.commitment, batch, context, count)
    accuracy = SYSTEM.prove(statement, sent.opening, no_progress)
    SYSTEM.verify(statement, accuracy)
    for proof in (None, accuracy, b""):
        assert refused(made, sent.commitment, proof, OWNER) == [
            Reason.COMMITMENT_NOT_WELLFORMED,
            Reason.COMMITMENT_NOT_WELLFORMED,
        ]


def test_a_copied_commitment_is_refused(made: MadeRound, sent: Sent) -> None:
    assert set(refused(made, sent.commitment, sent.proof, THIEF)) == {
        Reason.COMMITMENT_NOT_WELLFORMED
    }


def test_a_shifted_commitment_is_refused(made: MadeRound, sent: Sent) -> None:
    """C + delta: the thief knows delta, but not the opening."""
    delta = ModelOpening(
        np.ones(SPEC.shape.parameters, dtype=np.int64), SYSTEM.commitments.random_blinding()
    )
    shifted = SYSTEM.commitments.add([sent.commitment, SYSTEM.commitments.commit(delta)], [1, 1])
    for proof in (sent.proof, prove(made, delta, shifted, THIEF)):
        assert set(refused(made, shifted, proof, THIEF)) == {Reason.COMMITMENT_NOT_WELLFORMED}


def test_a_doubled_model_is_refused(made: MadeRound, sent: Sent) -> None:
    """Even its owner cannot prove a commitment that holds something else."""
    doubled = SYSTEM.commitments.add([sent.commitment], [2])
    proof = prove(made, sent.opening, doubled, OWNER)
    assert set(refused(made, doubled, proof, OWNER)) == {Reason.COMMITMENT_NOT_WELLFORMED}


@pytest.mark.parametrize("length", [0, 31, 32])
def test_a_commitment_of_another_length_is_refused(
    made: MadeRound, sent: Sent, length: int
) -> None:
    commitment = sent.commitment[:length]
    assert set(refused(made, commitment, sent.proof, OWNER)) == {Reason.COMMITMENT_MALFORMED}

"""Each step of the pipeline fails with its own code, and the first failure wins."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.protocol.rounds import (
    BATCH,
    BEACON,
    PARENT,
    ROUND,
    Device,
    MadeRound,
    another_digest,
    key,
    make_round,
)

from zkpot.cid import raw_cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, Round, TaskId
from zkpot.record import Roster
from zkpot.statement import submission_context
from zkpot.verify import (
    Accepted,
    check_opening_message,
    check_submission_message,
    rebuild_statement,
    verify_commitment,
    verify_submission,
)
from zkpot.wire.codec import encode
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Opening, Submission


@pytest.fixture
def made() -> MadeRound:
    return make_round()


@pytest.fixture
def device(made: MadeRound) -> Device:
    """The device with the highest count."""
    return max(made.devices, key=made.count)


def _judge(made: MadeRound, envelope: bytes, accepted: tuple[Any, ...] = ()) -> Accepted:
    return verify_submission(made.proof_terms(), envelope, made.get, accepted, made.system)


def _reason(made: MadeRound, envelope: bytes, accepted: tuple[Any, ...] = ()) -> Reason:
    with pytest.raises(Rejected) as caught:
        _judge(made, envelope, accepted)
    return caught.value.reason


def test_an_honest_submission_is_accepted_with_its_count(made: MadeRound, device: Device) -> None:
    assert _judge(made, made.submission(device)) == Accepted(device.key.id, made.count(device))


def test_step_1_form_and_signature(made: MadeRound, device: Device) -> None:
    envelope = bytearray(made.submission(device))
    envelope[-1] ^= 1
    assert _reason(made, bytes(envelope)) is Reason.BAD_SIGNATURE
    assert _reason(made, bytes(envelope[:-1])) is Reason.MALFORMED


def test_step_1_another_type(made: MadeRound, device: Device) -> None:
    assert _reason(made, device.envelope) is Reason.UNKNOWN_TYPE


def test_step_2_not_in_the_roster(made: MadeRound, device: Device) -> None:
    envelope = made.submission(device)
    others = tuple(e for e in made.terms.roster.entries if e.device != device.key.id)
    made.terms = replace(made.terms, roster=Roster(others))
    assert _reason(made, envelope) is Reason.NOT_IN_ROSTER


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": TaskId(bytes(32))}, Reason.UNKNOWN_TASK),
        ({"round": Round(ROUND - 1)}, Reason.STALE_ROUND),
        ({"round": Round(ROUND + 1)}, Reason.STALE_ROUND),
        ({"parent": bytes(32)}, Reason.WRONG_PARENT),
    ],
)
def test_step_3_another_round(
    made: MadeRound, device: Device, changes: dict[str, Any], reason: Reason
) -> None:
    assert _reason(made, made.submission(device, **changes)) is reason


def test_step_4_not_committed(made: MadeRound, device: Device) -> None:
    envelope = made.submission(device)
    others = [each for each in made.devices if each is not device]
    terms = made.proof_terms(others)
    with pytest.raises(Rejected) as caught:
        verify_submission(terms, envelope, made.get, (), made.system)
    assert caught.value.reason is Reason.NOT_COMMITTED


def test_step_5_accepted_before(made: MadeRound, device: Device) -> None:
    assert _reason(made, made.submission(device), (device.key.id,)) is Reason.DUPLICATE


@pytest.mark.parametrize("count", [BATCH + 1, 2**63 - 1])
def test_step_6_a_count_above_the_batch(made: MadeRound, device: Device, count: int) -> None:
    assert _reason(made, made.submission(device, count=count)) is Reason.COUNT_MISMATCH


def test_step_6_no_proof_object(made: MadeRound, device: Device) -> None:
    assert _reason(made, made.submission(device, b"garbage")) is Reason.PROOF_MALFORMED
    missing = made.submission(device)
    made.objects = {cid: data for cid, data in made.objects.items() if cid == made.model}
    assert _reason(made, missing) is Reason.NOT_FOUND


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"proof_system": "other/1"}, Reason.PROOF_MALFORMED),
        ({"context": another_digest("c")}, Reason.CONTEXT_MISMATCH),
        ({"commitment": another_digest("c")}, Reason.COMMITMENT_MISMATCH),
        ({"batch": another_digest("b")}, Reason.BATCH_MISMATCH),
        ({"count": 0}, Reason.COUNT_MISMATCH),
    ],
)
def test_step_6_a_proof_about_something_else(
    made: MadeRound, device: Device, change: dict[str, Any], reason: Reason
) -> None:
    proof = replace(made.proof_object(device), **change)
    assert _reason(made, made.submission(device, proof)) is reason


def test_step_6_names_the_first_difference(made: MadeRound, device: Device) -> None:
    """A replayed proof differs in everything; the context says so first."""
    proof = replace(
        made.proof_object(device), context=another_digest("x"), batch=another_digest("y"), count=0
    )
    assert _reason(made, made.submission(device, proof)) is Reason.CONTEXT_MISMATCH


def test_step_7_a_false_count_claimed_everywhere(made: MadeRound, device: Device) -> None:
    count = made.count(device) - 1
    proof = made.proof_object(device, count)
    assert _reason(made, made.submission(device, proof, count=count)) is Reason.PROOF_INVALID


def test_step_7_the_proof_of_another_device_relabelled(made: MadeRound, device: Device) -> None:
    victim = next(each for each in made.devices if each is not device)
    stolen = made.proof_object(victim).proof
    proof = replace(made.proof_object(device), proof=stolen)
    assert _reason(made, made.submission(device, proof)) is Reason.PROOF_INVALID


def test_step_7_a_copied_commitment_does_not_carry_its_proof(made: MadeRound) -> None:
    thief, victim = made.devices[:2]
    proof = made.proof_object(victim)
    copy = replace(thief.commitment, commitment=victim.commitment.commitment)
    thief.commitment = copy
    envelope = made.submission(thief, proof, count=proof.count)
    assert _reason(made, envelope) is Reason.CONTEXT_MISMATCH
    statement = rebuild_statement(made.proof_terms(), thief.key.id, proof.count)
    relabelled = replace(proof, context=statement.context)
    envelope = made.submission(thief, relabelled, count=proof.count)
    assert _reason(made, envelope) is Reason.PROOF_INVALID


def test_step_8_below_the_gate(made: MadeRound) -> None:
    weakest = min(made.devices, key=made.count)
    assert made.count(weakest) < made.threshold
    assert _reason(made, made.submission(weakest)) is Reason.BELOW_GATE


def test_step_8_the_gate_itself_is_enough(made: MadeRound, device: Device) -> None:
    terms = replace(made.proof_terms(), threshold=made.count(device))
    found = verify_submission(terms, made.submission(device), made.get, (), made.system)
    assert found.count == terms.threshold


def test_nothing_but_the_count_is_taken_from_the_message(made: MadeRound, device: Device) -> None:
    terms = made.proof_terms()
    statement = rebuild_statement(terms, device.key.id, 3)
    assert statement.commitment == device.commitment.commitment
    assert statement.batch is terms.batch
    assert statement.count == 3
    assert statement.context == submission_context(
        made.task_id, ROUND, device.key.public_key, statement.commitment, BEACON
    )


def test_the_context_names_task_round_key_commitment_and_beacon(made: MadeRound) -> None:
    base: list[Any] = [made.task_id, ROUND, key(1).public_key, b"commitment", BEACON]
    others: list[Any] = [
        TaskId(bytes(32)),
        Round(4),
        key(2).public_key,
        b"another",
        Beacon(bytes(32)),
    ]
    contexts = {submission_context(*base)}
    for position, other in enumerate(others):
        contexts.add(submission_context(*([*base[:position], other, *base[position + 1 :]])))
    assert len(contexts) == 6


def test_message_checks_need_no_object(made: MadeRound, device: Device) -> None:
    envelope = made.submission(device)
    opened = check_submission_message(made.terms, {device.key.id}, envelope, ())
    assert isinstance(opened.message, Submission)


# --- commitments ----------------------------------------------------------------------------


def _verify_commitment(made: MadeRound, device: Device) -> Reason | None:
    try:
        verify_commitment(made.terms, device.envelope, made.get, made.system)
    except Rejected as rejection:
        return rejection.reason
    return None


def test_an_honest_commitment_holds(made: MadeRound) -> None:
    assert {_verify_commitment(made, device) for device in made.devices} == {None}


def test_a_system_without_commit_time_proofs(made: MadeRound) -> None:
    bare = make_round(wellformed=False)
    assert _verify_commitment(bare, bare.devices[0]) is None
    assert _verify_commitment(bare, bare.device(0, wellformed=bare.put(b"x"))) is (
        Reason.COMMITMENT_NOT_WELLFORMED
    )


Bend = Callable[[MadeRound], dict[str, Any]]


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (lambda _made: {"task": TaskId(bytes(32))}, Reason.UNKNOWN_TASK),
        (lambda _made: {"round": Round(1)}, Reason.STALE_ROUND),
        (lambda _made: {"parent": bytes(32)}, Reason.WRONG_PARENT),
        (lambda _made: {"commitment": b"short"}, Reason.COMMITMENT_MALFORMED),
        (lambda _made: {"wellformed": None}, Reason.COMMITMENT_NOT_WELLFORMED),
        (lambda _made: {"wellformed": raw_cid(b"nowhere")}, Reason.NOT_FOUND),
        (
            lambda made: {"commitment": made.devices[1].commitment.commitment},
            Reason.COMMITMENT_NOT_WELLFORMED,
        ),
        (
            lambda made: {
                "commitment": made.devices[1].commitment.commitment,
                "wellformed": made.devices[1].commitment.wellformed,
            },
            Reason.COMMITMENT_NOT_WELLFORMED,
        ),
    ],
    ids=[
        "task",
        "round",
        "parent",
        "malformed",
        "no proof",
        "absent proof",
        "copied",
        "copied with its proof",
    ],
)
def test_a_bad_commitment_is_rejected(made: MadeRound, bend: Bend, reason: Reason) -> None:
    assert _verify_commitment(made, made.device(0, **bend(made))) is reason


def test_a_stranger_cannot_commit(made: MadeRound) -> None:
    assert _verify_commitment(made, made.device(99)) is Reason.NOT_IN_ROSTER


# --- openings -------------------------------------------------------------------------------


def test_only_accepted_devices_may_open(made: MadeRound, device: Device) -> None:
    message = Opening(made.task_id, ROUND, PARENT, raw_cid(b"sealed"))
    envelope = sign(message, device.key)
    assert check_opening_message(made.terms, {device.key.id}, envelope).message == message
    with pytest.raises(Rejected) as caught:
        check_opening_message(made.terms, {made.devices[0].key.id}, envelope)
    assert caught.value.reason is Reason.NOT_COMMITTED
    stale = sign(replace(message, round=Round(1)), device.key)
    with pytest.raises(Rejected) as caught:
        check_opening_message(made.terms, {device.key.id}, stale)
    assert caught.value.reason is Reason.STALE_ROUND


def test_a_proof_object_is_strict(made: MadeRound, device: Device) -> None:
    proof = encode(made.proof_object(device))
    assert _reason(made, made.submission(device, proof + b"\x00")) is Reason.PROOF_MALFORMED

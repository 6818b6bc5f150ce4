"""Every check of a record fails under its own name, however consistent the rest was made."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.protocol.rounds import (
    BATCH,
    POOL,
    ROUND,
    MadeRound,
    another_digest,
    key,
    make_round,
)

from zkpot.aggregate import GlobalModel
from zkpot.batch import make_reveal
from zkpot.check_record import CHECKS, CheckFailed, Expected, RecordCheck
from zkpot.cid import Cid, raw_cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import Beacon, Round, TaskId, digest
from zkpot.model import Layer, join_theta
from zkpot.record import Misconduct, Record, Roster, RosterEntry, SealedList, Verdict, Verdicts
from zkpot.task import Gate, Weighting
from zkpot.wire.codec import encode
from zkpot.wire.envelope import open_as, sign
from zkpot.wire.messages import RecordRefusal, Submission


@pytest.fixture
def made() -> MadeRound:
    return make_round()


def _fails(
    made: MadeRound,
    record: Record,
    check: str,
    reason: Reason,
    expected: Expected | None = None,
    *,
    proofs: bool = True,
) -> CheckFailed:
    with pytest.raises(CheckFailed) as caught:
        made.check(record, expected, proofs=proofs)
    assert (caught.value.check, caught.value.reason) == (check, reason), caught.value
    return caught.value


def test_an_honest_record_passes_for_auditor_and_leader(made: MadeRound) -> None:
    record = made.record()
    for proofs in (True, False):
        for indices in (made.indices, None):
            checked = made.check(record, made.expected(indices=indices), proofs=proofs)
            assert checked.record == record
            assert checked.model_before.encode() == made.before.encode()
            assert checked.model_after.weight == sum(s.weight for s in record.sum.summands)
            assert checked.batch.digest == made.batch.digest


def test_the_round_has_every_kind_of_verdict(made: MadeRound) -> None:
    reasons = {verdict.reason for verdict in made.verdicts()}
    assert reasons == {None, Reason.NO_SUBMISSION, Reason.BELOW_GATE}


def test_the_checks_are_those_of_the_documentation() -> None:
    assert len(CHECKS) == len(set(CHECKS)) == 11


# --- 1 link ---------------------------------------------------------------------------------


def test_1_link(made: MadeRound) -> None:
    record = made.record()
    other = made.put(GlobalModel(made.before.theta_sum, 2).encode())
    for bent, reason in (
        (replace(record, task=TaskId(bytes(32))), Reason.UNKNOWN_TASK),
        (replace(record, round=Round(ROUND + 1)), Reason.RECORD_LINK),
        (replace(record, parent=another_digest("parent")), Reason.RECORD_LINK),
        (replace(record, model_before=other), Reason.MODEL_MISMATCH),
    ):
        _fails(made, bent, "link", reason)


def test_1_link_to_a_round_after_the_last(made: MadeRound) -> None:
    over = made.expected(task=replace(made.task, rounds=ROUND - 1))
    _fails(made, made.record(), "link", Reason.RECORD_LINK, over)


# --- 2 roster -------------------------------------------------------------------------------


def test_2_roster_of_more_devices_than_the_task_allows(made: MadeRound) -> None:
    most = len(made.terms.roster.entries) - 1
    fewer = made.expected(task=replace(made.task, maximum_devices=most, minimum_devices=1))
    _fails(made, made.record(), "roster", Reason.ROSTER_MISMATCH, fewer)


def test_2_roster_with_a_device_invented(made: MadeRound) -> None:
    honest = made.expected()
    entries = (*made.terms.roster.entries, RosterEntry(key(50).public_key, "invented"))
    made.terms = replace(made.terms, roster=Roster.of(entries))
    made.devices.append(made.device(50))
    _fails(made, made.record(), "roster", Reason.ROSTER_MISMATCH, honest)


def test_2_roster_with_another_owner(made: MadeRound) -> None:
    honest = made.expected()
    first, *rest = made.terms.roster.entries
    made.terms = replace(made.terms, roster=Roster((replace(first, owner="somebody else"), *rest)))
    _fails(made, made.record(), "roster", Reason.ROSTER_MISMATCH, honest)


def test_2_roster_that_cannot_be_had(made: MadeRound) -> None:
    _fails(made, made.record(roster=raw_cid(b"gone")), "roster", Reason.NOT_FOUND)


# --- 3 seal ---------------------------------------------------------------------------------


def test_3_seal_with_a_device_left_out(made: MadeRound) -> None:
    honest = made.expected()
    made.devices.pop(0)
    _fails(made, made.record(), "seal", Reason.SEAL_MISMATCH, honest)


def test_3_seal_with_another_count(made: MadeRound) -> None:
    expected = made.expected(sealed_count=len(made.devices) - 1)
    _fails(made, made.record(), "seal", Reason.SEAL_MISMATCH, expected)


def test_3_seal_out_of_order_though_sealed_so(made: MadeRound) -> None:
    backwards = SealedList(made.sealed_list().envelopes[::-1])
    record = made.record(sealed=made.put(encode(backwards)))
    _fails(made, record, "seal", Reason.SEAL_MISMATCH, made.expected(sealed_root=backwards.root))


def test_3_seal_with_one_device_twice(made: MadeRound) -> None:
    first, *rest = made.sealed_list().envelopes
    twice = SealedList((first, first, *rest))
    expected = made.expected(sealed_root=twice.root, sealed_count=len(twice.envelopes))
    _fails(
        made, made.record(sealed=made.put(encode(twice))), "seal", Reason.SEAL_MISMATCH, expected
    )


def test_3_seal_with_a_forged_commitment(made: MadeRound) -> None:
    victim = made.devices[0]
    victim.envelope = sign(victim.commitment, key(99))
    _fails(made, made.record(), "seal", Reason.NOT_IN_ROSTER)


def test_3_seal_of_a_commitment_for_another_round(made: MadeRound) -> None:
    made.devices[0] = made.device(0, round=Round(1))
    failed = _fails(made, made.record(), "seal", Reason.STALE_ROUND)
    assert failed.device == key(0).id


def test_3_seal_of_a_commitment_that_is_not_well_formed(made: MadeRound) -> None:
    made.devices[0] = made.device(0, wellformed=made.put(b"no proof"))
    record = made.record()
    failed = _fails(made, record, "seal", Reason.COMMITMENT_NOT_WELLFORMED)
    assert failed.device == key(0).id
    made.check(record, proofs=False)


# --- 4 batch --------------------------------------------------------------------------------


def test_4_batch_of_another_beacon(made: MadeRound) -> None:
    expected = made.expected(beacon=Beacon(another_digest("beacon")))
    _fails(made, made.record(), "batch", Reason.BEACON_MISMATCH, expected)


def test_4_batch_that_was_not_drawn(made: MadeRound) -> None:
    easy = [index for index in range(POOL) if index not in made.indices][:BATCH]
    record = made.record(batch=made.put(make_reveal(made.pool, easy)))
    _fails(made, record, "batch", Reason.DRAW_MISMATCH)


@pytest.mark.parametrize(
    "choose",
    [
        lambda drawn: drawn[:-1],
        lambda drawn: [*drawn, next(i for i in range(POOL) if i not in drawn)],
        lambda drawn: [*drawn[:-1], drawn[0]],
        lambda drawn: [*drawn, drawn[0]],
        lambda _drawn: [],
    ],
    ids=["short", "long", "repeated", "long by a repeated one", "empty"],
)
def test_4_batch_of_another_size_even_for_one_who_cannot_draw(
    made: MadeRound, choose: Callable[[list[int]], list[int]]
) -> None:
    record = made.record(batch=made.put(make_reveal(made.pool, choose(made.indices))))
    _fails(made, record, "batch", Reason.DRAW_MISMATCH, made.expected(indices=None))
    _fails(made, record, "batch", Reason.DRAW_MISMATCH)


def test_4_batch_with_a_sample_swapped(made: MadeRound) -> None:
    index = made.indices[0]
    swapped = list(made.pool)
    swapped[index] = replace(swapped[index], label=1 - swapped[index].label)
    record = made.record(batch=made.put(make_reveal(swapped, made.indices)))
    _fails(made, record, "batch", Reason.REVEAL_INVALID)


# --- 5 gate ---------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [-1, 1])
def test_5_gate_moved(made: MadeRound, change: int) -> None:
    record = made.record(threshold=made.threshold + change)
    _fails(made, record, "gate", Reason.VERDICT_MISMATCH)


def test_5_gate_follows_the_models_own_count() -> None:
    made = make_round(gate=Gate(1, 1))
    assert made.threshold == made.count(made.before) - 1 > 1
    made.check(made.record())
    _fails(made, made.record(threshold=1), "gate", Reason.VERDICT_MISMATCH)


# --- 6 verdicts -----------------------------------------------------------------------------


def _with(made: MadeRound, verdict: Verdict) -> list[Verdict]:
    return [verdict if each.device == verdict.device else each for each in made.verdicts()]


def _accepted(made: MadeRound) -> list[Verdict]:
    return [each for each in made.verdicts() if each.reason is None]


def test_6_an_accepted_device_called_rejected(made: MadeRound) -> None:
    victim = replace(_accepted(made)[0], reason=Reason.PROOF_INVALID, count=0)
    record = made.record(_with(made, victim))
    assert _fails(made, record, "verdicts", Reason.VERDICT_MISMATCH).device == victim.device
    made.check(record, proofs=False)


@pytest.mark.parametrize("reason", [Reason.CID_MISMATCH, Reason.OVERSIZE, Reason.MALFORMED])
def test_6_a_proof_that_a_store_spoils_rejects_nobody(made: MadeRound, reason: Reason) -> None:
    """An operator and its gateway agree on why a device's proof cannot be read."""
    victim = replace(_accepted(made)[0], reason=reason, count=0)
    record = made.record(_with(made, victim))
    assert victim.submission is not None
    keys = made.terms.roster.public_keys
    proof = open_as(Submission, victim.submission, keys).message.proof

    def spoilt(cid: Cid) -> bytes:
        if cid == proof:
            raise Rejected(reason, "what the gateway sent")
        return made.get(cid)

    with pytest.raises(CheckFailed) as caught:
        RecordCheck(made.expected(), spoilt, made.system, proofs=True).run(record)
    assert (caught.value.check, caught.value.device) == ("verdicts", victim.device)


def test_6_a_rejected_device_called_accepted(made: MadeRound) -> None:
    weak = next(each for each in made.verdicts() if each.reason is Reason.BELOW_GATE)
    device = next(each for each in made.devices if each.key.id == weak.device)
    record = made.record(_with(made, replace(weak, reason=None, count=made.count(device))))
    assert _fails(made, record, "verdicts", Reason.VERDICT_MISMATCH).device == weak.device


def test_6_another_reason(made: MadeRound) -> None:
    weak = next(each for each in made.verdicts() if each.reason is Reason.BELOW_GATE)
    record = made.record(_with(made, replace(weak, reason=Reason.PROOF_INVALID)))
    _fails(made, record, "verdicts", Reason.VERDICT_MISMATCH)


@pytest.mark.parametrize("proofs", [True, False])
def test_6_another_count(made: MadeRound, proofs: bool) -> None:
    victim = _accepted(made)[0]
    record = made.record(_with(made, replace(victim, count=BATCH)))
    _fails(made, record, "verdicts", Reason.VERDICT_MISMATCH, proofs=proofs)


def test_6_a_rejected_device_with_a_count(made: MadeRound) -> None:
    weak = next(each for each in made.verdicts() if each.reason is Reason.BELOW_GATE)
    record = made.record(_with(made, replace(weak, count=1)))
    _fails(made, record, "verdicts", Reason.VERDICT_MISMATCH)


def test_6_a_silent_device_called_accepted(made: MadeRound) -> None:
    silent = next(each for each in made.verdicts() if each.submission is None)
    for bent in (
        replace(silent, reason=None),
        replace(silent, reason=None, count=BATCH),
        replace(silent, reason=Reason.PROOF_INVALID),
        replace(silent, count=1),
    ):
        record = made.record(_with(made, bent), {each.device: 1 for each in _accepted(made)})
        _fails(made, record, "verdicts", Reason.VERDICT_MISMATCH)


def test_6_a_submission_put_under_another_device(made: MadeRound) -> None:
    first, second, *_ = _accepted(made)
    bent = replace(first, submission=second.submission, count=second.count)
    _fails(made, made.record(_with(made, bent)), "verdicts", Reason.VERDICT_MISMATCH)


@pytest.mark.parametrize(
    "choose",
    [lambda listed: listed[1:], lambda listed: listed[::-1], lambda listed: [listed[0], *listed]],
    ids=["left out", "out of order", "twice"],
)
def test_6_not_one_to_one_with_the_seal(
    made: MadeRound, choose: Callable[[list[Verdict]], list[Verdict]]
) -> None:
    record = made.record(choose(made.verdicts()))
    _fails(made, record, "verdicts", Reason.VERDICT_MISMATCH)


def test_6_a_forged_submission(made: MadeRound) -> None:
    victim = _accepted(made)[0]
    assert victim.submission is not None
    spoilt = bytearray(victim.submission)
    spoilt[-1] ^= 1
    record = made.record(_with(made, replace(victim, submission=bytes(spoilt))))
    _fails(made, record, "verdicts", Reason.BAD_SIGNATURE)


def test_6_a_proof_that_is_gone_is_not_a_verdict(made: MadeRound) -> None:
    record = made.record()
    for cid in [cid for cid, data in made.objects.items() if b"fake/1" in data]:
        del made.objects[cid]
    _fails(made, record, "verdicts", Reason.NOT_FOUND)


def test_6_an_honestly_rejected_cheat_passes(made: MadeRound) -> None:
    cheat = next(each for each in made.devices if made.count(each) < BATCH)
    proof = made.proof_object(cheat, BATCH)
    verdict = Verdict(
        cheat.key.id, Reason.PROOF_INVALID, 0, made.submission(cheat, proof, count=BATCH)
    )
    checked = made.check(made.record(_with(made, verdict)))
    assert cheat.key.id not in checked.verdicts.accepted


# --- 7 misconduct ---------------------------------------------------------------------------


def test_7_two_commitments_prove_equivocation(made: MadeRound) -> None:
    second = made.device(0, commitment=bytes(4))
    evidence = (made.devices[0].envelope, second.envelope)
    accusation = Misconduct(key(0).id, Reason.EQUIVOCATION, evidence)
    made.check(made.record(misconduct=(accusation,)))


def test_7_an_accusation_needs_its_evidence(made: MadeRound) -> None:
    first = made.devices[0].envelope
    second = made.device(0, commitment=bytes(4)).envelope
    other = made.devices[1].envelope
    old = made.device(0, round=Round(1)).envelope
    for accused, reason, evidence, code in (
        (0, Reason.EQUIVOCATION, (first, first), Reason.RECORD_MALFORMED),
        (0, Reason.EQUIVOCATION, (first,), Reason.RECORD_MALFORMED),
        (0, Reason.EQUIVOCATION, (), Reason.RECORD_MALFORMED),
        (0, Reason.DUPLICATE, (first, second), Reason.RECORD_MALFORMED),
        (0, Reason.EQUIVOCATION, (first, other), Reason.RECORD_MALFORMED),
        (1, Reason.EQUIVOCATION, (first, second), Reason.RECORD_MALFORMED),
        (0, Reason.EQUIVOCATION, (first, old), Reason.STALE_ROUND),
        (0, Reason.EQUIVOCATION, (first, b"junk"), Reason.MALFORMED),
    ):
        accusation = Misconduct(key(accused).id, reason, evidence)
        failed = _fails(made, made.record(misconduct=(accusation,)), "misconduct", code)
        assert failed.device == key(accused).id


# --- 8 election -----------------------------------------------------------------------------


def test_8_another_leader(made: MadeRound) -> None:
    record = made.record()
    other = next(each for each in _accepted(made) if each.device != record.leader)
    for bent in (
        replace(record, leader=other.device, count=other.count),
        replace(record, leader=other.device),
        replace(record, count=record.count - 1),
        replace(record, leader=key(99).id),
    ):
        _fails(made, bent, "election", Reason.LEADER_MISMATCH)


def test_8_nobody_to_elect(made: MadeRound) -> None:
    record = made.record()
    silent = tuple(Verdict(each.device, Reason.NO_SUBMISSION, 0, None) for each in made.verdicts())
    bent = replace(record, verdicts=made.put(encode(Verdicts(silent))))
    _fails(made, bent, "election", Reason.LEADER_MISMATCH)


# --- 9 sum ----------------------------------------------------------------------------------


def test_9_a_device_left_out_of_the_sum_may_be_missing_but_not_forged(made: MadeRound) -> None:
    """Whose opening did not come is left out; what the model is then still has to fit."""
    chosen = {each.device: made.task.weight(each.count) for each in _accepted(made)[1:]}
    made.check(made.record(weights=chosen))
    record = made.record()
    bent = replace(record, sum=made.sum_of(chosen)[0])
    _fails(made, bent, "sum", Reason.SUM_MISMATCH)


def test_9_the_model_changed(made: MadeRound) -> None:
    record = made.record()
    _, honest = made.sum_of({s.device: s.weight for s in record.sum.summands})
    theta = honest.theta_sum.copy()
    theta[0] += 1
    forged = made.put(GlobalModel(theta, honest.weight).encode())
    _fails(made, replace(record, model_after=forged), "sum", Reason.SUM_MISMATCH)


def test_9_the_blinding_changed(made: MadeRound) -> None:
    record = made.record()
    for blinding in (bytes(16), b"", record.sum.blinding[::-1]):
        bent = replace(record, sum=replace(record.sum, blinding=blinding))
        _fails(made, bent, "sum", Reason.SUM_MISMATCH)


def test_9_a_rule_that_is_no_sum_is_the_operators_word_within_bounds() -> None:
    made = make_round(aggregation="plain:median", weighting=Weighting.EQUAL)
    record = made.record()
    chosen = [each.device for each in _accepted(made)]
    thetas = [each.opening.theta for each in made.devices if each.key.id in chosen]
    median = GlobalModel(np.median(np.stack(thetas), axis=0).astype(np.int64), 1)
    told = replace(
        record, sum=replace(record.sum, blinding=b""), model_after=made.put(median.encode())
    )
    assert made.check(told).model_after.encode() == median.encode()
    _fails(made, replace(told, sum=record.sum), "sum", Reason.SUM_MISMATCH)
    heavy = made.put(GlobalModel(median.theta_sum, len(chosen) + 1).encode())
    _fails(made, replace(told, model_after=heavy), "sum", Reason.SUM_MISMATCH)
    far = made.put(GlobalModel(median.theta_sum + 1000, 1).encode())
    _fails(made, replace(told, model_after=far), "sum", Reason.OUT_OF_RANGE)


def test_9_other_weights(made: MadeRound) -> None:
    equal = {each.device: 1 for each in _accepted(made)}
    _fails(made, made.record(weights=equal), "sum", Reason.SUM_MISMATCH)


def test_9_another_total_weight(made: MadeRound) -> None:
    record = made.record()
    _, honest = made.sum_of({s.device: s.weight for s in record.sum.summands})
    forged = made.put(GlobalModel(honest.theta_sum, honest.weight + 1).encode())
    _fails(made, replace(record, model_after=forged), "sum", Reason.SUM_MISMATCH)


def test_9_a_rejected_device_in_the_sum(made: MadeRound) -> None:
    weak = next(each for each in made.verdicts() if each.reason is Reason.BELOW_GATE)
    chosen = {each.device: each.count for each in _accepted(made)} | {weak.device: 1}
    _fails(made, made.record(weights=chosen), "sum", Reason.SUM_MISMATCH)


def test_9_summands_out_of_order_or_twice(made: MadeRound) -> None:
    record = made.record()
    for summands in (
        record.sum.summands[::-1],
        (record.sum.summands[0], *record.sum.summands),
    ):
        bent = replace(record, sum=replace(record.sum, summands=summands))
        _fails(made, bent, "sum", Reason.SUM_MISMATCH)


def test_9_too_few_summands(made: MadeRound) -> None:
    only = _accepted(made)[0]
    _fails(made, made.record(weights={only.device: only.count}), "sum", Reason.SUM_MISMATCH)


def test_9_a_model_of_another_shape(made: MadeRound) -> None:
    wrong = made.put(GlobalModel(np.zeros(3, np.int64), 1).encode())
    _fails(made, made.record(model_after=wrong), "sum", Reason.MODEL_MISMATCH)


def test_9_equal_weights() -> None:
    made = make_round(weighting=Weighting.EQUAL)
    record = made.record()
    assert {summand.weight for summand in record.sum.summands} == {1}
    made.check(record)
    proven = {each.device: each.count for each in _accepted(made)}
    _fails(made, made.record(weights=proven), "sum", Reason.SUM_MISMATCH)


# --- 10 model -------------------------------------------------------------------------------


def test_10_a_model_that_got_worse() -> None:
    """The accepted devices' models are right one by one, and worse than the gate as a mean."""
    made = make_round(gate=Gate(2, 0), weighting=Weighting.EQUAL)
    perfect = Layer(np.array([[64, 0, 0, 0], [0, 64, 0, 0], [0] * 4]), np.zeros(4, np.int64))
    judge = Layer(np.array([[0, 100], [100, 0], [0, 0], [0, 0]]), np.array([1, 0]))
    theta = join_theta((perfect, judge))
    made.model = made.put(GlobalModel(theta, 1).encode())
    assert made.count(made.before) == BATCH
    mirrored = join_theta(
        (
            Layer(perfect.weights[:, [1, 0, 2, 3]], perfect.biases),
            Layer(judge.weights[[1, 0, 2, 3]], judge.biases),
        )
    )
    made.devices.sort(key=lambda device: device.key.id)
    for device, model in zip(made.devices, (theta, mirrored, theta, mirrored, theta), strict=True):
        device.opening = replace(device.opening, theta=model)
        commitment = made.system.commitments.commit(device.opening)
        device.commitment = replace(device.commitment, commitment=commitment)
        device.envelope = sign(device.commitment, device.key)
    assert {made.count(device) for device in made.devices} == {BATCH}
    verdicts = made.verdicts()
    accepted = [each.device for each in verdicts if each.reason is None]
    _, after = made.sum_of(dict.fromkeys(accepted, 1))
    assert made.count(after) < BATCH
    _fails(made, made.record(verdicts), "model", Reason.MODEL_MISMATCH, proofs=False)


# --- 11 refusals ----------------------------------------------------------------------------


def test_11_refusals_are_by_accepted_devices_about_this_round(made: MadeRound) -> None:
    refusal = RecordRefusal(made.task_id, ROUND, made.model, Reason.SUM_MISMATCH, "wrong")
    accepted = _accepted(made)[0].device
    author = next(device.key for device in made.devices if device.key.id == accepted)
    rejected = next(
        each for each in made.devices if each.key.id not in {a.device for a in _accepted(made)}
    )
    made.check(made.record(refusals=(sign(refusal, author),)))
    for envelope, reason in (
        (sign(refusal, rejected.key), Reason.RECORD_MALFORMED),
        (sign(replace(refusal, round=Round(1)), author), Reason.RECORD_MALFORMED),
        (sign(replace(refusal, task=TaskId(bytes(32))), author), Reason.RECORD_MALFORMED),
        (sign(refusal, key(99)), Reason.NOT_IN_ROSTER),
        (rejected.envelope, Reason.UNKNOWN_TYPE),
        (b"junk", Reason.MALFORMED),
    ):
        _fails(made, made.record(refusals=(envelope,)), "refusals", reason)


# --- everything it names --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("roster", "roster"),
        ("sealed", "seal"),
        ("batch", "batch"),
        ("verdicts", "verdicts"),
        ("model_after", "sum"),
    ],
)
def test_an_object_that_is_not_what_it_should_be(made: MadeRound, name: str, check: str) -> None:
    junk: dict[str, Any] = {name: made.put(b"junk")}
    _fails(made, replace(made.record(), **junk), check, Reason.MALFORMED)
    gone: dict[str, Any] = {name: raw_cid(digest("gone"))}
    _fails(made, replace(made.record(), **gone), check, Reason.NOT_FOUND)


def test_a_starting_model_that_is_none_is_the_gates_failure(made: MadeRound) -> None:
    record = made.record()
    made.objects[made.model] = b"junk"
    _fails(made, record, "gate", Reason.MALFORMED)

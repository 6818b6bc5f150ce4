"""The aggregator's round machine, phase by phase: pure, with real signed envelopes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
from tests.aggregator.round_kit import (
    BEACON,
    DEVICES,
    PARENT,
    PHASES,
    ROUND,
    STRANGER,
    TASK_ID,
    Bench,
    commitment,
    decline,
    make_task,
    make_terms,
    named,
    opening,
    refusal,
    signature,
    signed_by,
    start_of,
    submission,
)

from zkpot.cid import split_object
from zkpot.election import rank
from zkpot.errors import Failure, Reason
from zkpot.ids import Digest, Round, TaskId, digest
from zkpot.keys import KeyPair
from zkpot.record import Record, SealedList, Verdicts, decode_object
from zkpot.task import Weighting
from zkpot.wire.codec import decode, decode_tagged, encode, encode_tagged
from zkpot.wire.envelope import Envelope, envelope_digest
from zkpot.wire.messages import Block, Phase, RecordProposal
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import machine
from zkpot_aggregator.round import states as at

ANNA, BERT, CARL, DORA = DEVICES

Received = type[
    on.CommitmentReceived
    | on.SubmissionReceived
    | on.DeclineReceived
    | on.OpeningReceived
    | on.RecordAnswered
]


def in_phase(name: str) -> Bench:
    bench = Bench()
    PHASES[name](bench)
    return bench


def rejected(bench: Bench, code: str, device: KeyPair | None, envelope: bytes) -> None:
    """The last effects log one rejection, and answer it if the signer is known."""
    (log,) = bench.made(do.LogRejection)
    assert log.code == code
    assert log.device == (None if device is None else device.id)
    assert log.envelope == envelope_digest(envelope)
    answers = bench.receipts()
    if device is None:
        assert answers == {}
    else:
        receipt = answers[device.id]
        assert receipt.reason is not None
        assert receipt.reason.name.lower().replace("_", "-") == code
        assert receipt.envelope == envelope_digest(envelope)
        assert (receipt.task, receipt.round) == (TASK_ID, ROUND)
    assert len(bench.effects) == 1 + len(answers)


# --- the phases in order --------------------------------------------------------------------


def test_a_round_opens_on_chain_before_anybody_hears_of_it() -> None:
    bench = Bench()
    bench.now(at.Opening)
    assert bench.effects == (do.OpenOnChain(),)


def test_commit_begins_with_an_announcement_and_a_deadline() -> None:
    bench = Bench().to_committing()
    (announce,) = bench.made(do.Announce)
    start = start_of(bench.terms)
    found = announce.announcement
    assert (found.phase, found.round, found.parent) == (Phase.COMMIT, ROUND, PARENT)
    assert (found.model, found.roster) == (start.model, start.roster)
    assert found.sealed is None
    assert bench.made(do.StartTimer) == [do.StartTimer("commit", 11)]


def test_a_commitment_is_checked_before_it_is_taken_and_then_answered() -> None:
    bench = Bench().to_committing()
    envelope = commitment(ANNA)
    assert bench.on(on.CommitmentReceived(envelope)) == (do.CheckCommitment(envelope),)
    assert bench.now(at.Committing).commitments == ()
    bench.on(on.CommitmentChecked(envelope, None))
    receipt = bench.receipts()[ANNA.id]
    assert (receipt.reason, receipt.envelope) == (None, envelope_digest(envelope))
    assert [signed.device for signed in bench.now(at.Committing).commitments] == [ANNA.id]


def test_all_commitments_seal_at_once_in_the_order_of_ids() -> None:
    bench = Bench().to_committing()
    for key in reversed(DEVICES):
        bench.commit(key)
    bench.now(at.Sealing)
    (stored,) = bench.made(do.StoreObject)
    listed = decode_object(SealedList, stored.data)
    assert list(listed.open(bench.terms.roster)) == [key.id for key in DEVICES]
    assert bench.made(do.SealOnChain) == [do.SealOnChain(listed.root, 4)]
    assert bench.now(at.Sealing).sealed.cid == split_object(stored.data, stored.references)[0]
    # The answer to the last one is not lost on the way.
    assert bench.receipts()[ANNA.id].reason is None


def test_a_sealed_list_links_to_the_commit_time_proofs() -> None:
    bench = Bench().to_committing()
    proofs = [named(f"wellformed {key.id.hex()}") for key in DEVICES]
    for key, proof in zip(DEVICES, proofs, strict=True):
        envelope = commitment(key, wellformed=proof)
        bench.on(on.CommitmentReceived(envelope))
        bench.on(on.CommitmentChecked(envelope, None))
    (stored,) = bench.made(do.StoreObject)
    assert list(stored.references) == proofs


def test_the_draw_waits_for_its_block_and_then_reveals() -> None:
    bench = Bench().to_drawing()
    assert bench.made(do.DrawOnChain) == [do.DrawOnChain(17)]
    (announce,) = bench.made(do.Announce)
    assert announce.announcement.phase is Phase.SEAL
    assert announce.announcement.sealed is not None
    assert announce.announcement.beacon is None
    bench.on(on.Drawn(BEACON))
    assert bench.made(do.RevealBatch) == [do.RevealBatch(BEACON)]


def test_time_to_prove_runs_from_the_reveal() -> None:
    bench = Bench().to_proving()
    (announce,) = bench.made(do.Announce)
    found = announce.announcement
    assert (found.phase, found.beacon, found.batch) == (Phase.PROVE, BEACON, named("batch"))
    assert bench.made(do.StartTimer) == [do.StartTimer("prove", 12)]


@pytest.mark.parametrize(("own", "threshold"), [(6, 4), (4, 3), (10, 8), (0, 3)])
def test_the_gate_follows_from_the_models_own_count(own: int, threshold: int) -> None:
    bench = Bench().to_revealing()
    bench.on(on.Revealed(named("batch"), own))
    assert bench.now(at.Proving).drawn.threshold == threshold


def test_every_sealed_device_gets_one_verdict_in_order() -> None:
    bench = Bench().to_proving()
    for key in (DORA, BERT):
        bench.prove(key)
    bad = submission(CARL)
    bench.on(on.SubmissionReceived(bad))
    bench.on(on.SubmissionChecked(bad, Reason.PROOF_INVALID, "no"))
    rejected(bench, "proof-invalid", CARL, bad)
    bench.on(on.DeadlinePassed("prove"))
    assert [v.device for v in bench.now(at.Aggregating).verdicts] == [key.id for key in DEVICES]
    assert [v.reason for v in bench.now(at.Aggregating).verdicts] == [
        Reason.NO_SUBMISSION,
        None,
        Reason.PROOF_INVALID,
        None,
    ]
    assert [v.count for v in bench.now(at.Aggregating).verdicts] == [0, 7, 0, 7]
    assert [log.device for log in bench.made(do.LogRejection)] == [ANNA.id]
    (announce,) = bench.made(do.Announce)
    assert announce.announcement.phase is Phase.AGGREGATE
    (stored,) = bench.made(do.StoreObject)
    assert decode_object(Verdicts, stored.data).verdicts == bench.now(at.Aggregating).verdicts
    assert announce.announcement.verdicts == split_object(stored.data, stored.references)[0]
    assert bench.made(do.StartTimer) == [do.StartTimer("aggregate", 13)]


def test_openings_are_checked_and_summed_in_the_order_of_ids() -> None:
    bench = Bench().to_aggregating()
    for key in reversed(DEVICES):
        bench.open(key)
    assert [signed.device for signed in bench.now(at.Summing).openings] == [
        key.id for key in DEVICES
    ]
    (effect,) = bench.made(do.SumModels)
    assert effect.openings == bench.now(at.Summing).openings
    assert bench.receipts()[ANNA.id].reason is None


def test_the_record_says_what_was_decided() -> None:
    bench = Bench().to_recording(5, 8, 7, 8)
    record = bench.recording.record
    accepted = {key.id: count for key, count in zip(DEVICES, (5, 8, 7, 8), strict=True)}
    order = rank(BEACON, accepted)
    assert bench.recording.order == order
    assert (record.leader, record.count) == (order[0], 8)
    assert (record.beacon, record.batch, record.threshold) == (BEACON, named("batch"), 4)
    assert (record.task, record.round, record.parent) == (TASK_ID, ROUND, PARENT)
    assert [summand.device for summand in record.sum.summands] == [key.id for key in DEVICES]
    assert {summand.weight for summand in record.sum.summands} == {1}
    assert (record.model_after, record.sum.blinding) == (named("model"), b"blinding")
    (proposal,) = bench.made(do.Send)
    assert proposal == do.Send(order[0], RecordProposal(TASK_ID, ROUND, bench.record))
    (stored,) = bench.made(do.StoreObject)
    assert decode_object(Record, stored.data) == record
    assert bench.made(do.StartTimer) == [do.StartTimer("record-0", 14)]


def test_weights_are_the_proven_counts_if_the_task_says_so() -> None:
    bench = Bench(make_terms(make_task(weighting=Weighting.PROVEN_COUNT)))
    bench.to_recording()
    assert [s.weight for s in bench.recording.record.sum.summands] == [5, 6, 7, 8]


def test_a_signature_closes_the_round_and_the_chain_ends_it() -> None:
    bench = Bench().to_recording()
    record, signed = bench.recording.record, signature(bench.leader, bench.record)
    assert bench.on(on.RecordAnswered(signed)) == (do.CloseOnChain(record, signed, 10),)
    head = Digest(digest("signed"))
    bench.on(on.ClosedOnChain(head))
    assert bench.state == at.Ended(start_of(bench.terms), head, named("model"), signed)
    (announce,) = bench.made(do.Announce)
    found = announce.announcement
    assert (found.phase, found.record) == (
        Phase.CLOSED,
        split_object(encode(record), record.references)[0],
    )


# --- messages that are refused --------------------------------------------------------------

MESSAGES: dict[str, tuple[Callable[..., bytes], Received, str]] = {
    "commitment": (commitment, on.CommitmentReceived, "committing"),
    "submission": (submission, on.SubmissionReceived, "proving"),
    "decline": (decline, on.DeclineReceived, "proving"),
    "opening": (opening, on.OpeningReceived, "aggregating"),
}

ANSWERS: dict[str, tuple[Callable[..., bytes], Received, str]] = {
    "record": (signature, on.RecordAnswered, "recording")
}


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"task": TaskId(bytes(32))}, "unknown-task"),
        ({"round": Round(2)}, "stale-round"),
        ({"round": Round(4)}, "stale-round"),
        ({"parent": Digest(bytes(32))}, "wrong-parent"),
    ],
)
def test_messages_of_another_task_round_or_parent(
    kind: str, changes: dict[str, Any], code: str
) -> None:
    make, received, phase = MESSAGES[kind]
    bench = in_phase(phase)
    before, envelope = bench.state, make(ANNA, **changes)
    bench.on(received(envelope))
    rejected(bench, code, ANNA, envelope)
    assert bench.state == before


def _garbage(_make: Callable[..., bytes]) -> bytes:
    return b"\x81" * 500


def _oversize(_make: Callable[..., bytes]) -> bytes:
    return bytes(200 * 1024)


def _stranger(make: Callable[..., bytes]) -> bytes:
    return make(STRANGER)


def _flipped_signature(make: Callable[..., bytes]) -> bytes:
    envelope = decode(Envelope, make(ANNA), limit=1 << 20)
    broken = bytes([envelope.signature[0] ^ 1]) + envelope.signature[1:]
    return encode(replace(envelope, signature=broken))


def _unknown_type(make: Callable[..., bytes]) -> bytes:
    return encode(replace(decode(Envelope, make(ANNA), limit=1 << 20), type="zkpot/commitment/2"))


def _others_name(make: Callable[..., bytes]) -> bytes:
    return encode(replace(decode(Envelope, make(ANNA), limit=1 << 20), signer=BERT.id))


def _trailing(make: Callable[..., bytes]) -> bytes:
    return make(ANNA) + b"\x00"


def _cut(make: Callable[..., bytes]) -> bytes:
    return make(ANNA)[:-5]


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize(
    ("hostile", "code"),
    [
        (_garbage, "malformed"),
        (_trailing, "malformed"),
        (_cut, "malformed"),
        (_oversize, "oversize"),
        (_stranger, "not-in-roster"),
        (_flipped_signature, "bad-signature"),
        (_others_name, "bad-signature"),
        (_unknown_type, "unknown-type"),
    ],
)
def test_envelopes_nobody_can_be_blamed_for_are_logged_and_not_answered(
    kind: str, hostile: Callable[[Callable[..., bytes]], bytes], code: str
) -> None:
    make, received, phase = MESSAGES[kind]
    bench = in_phase(phase)
    before, envelope = bench.state, hostile(make)
    bench.on(received(envelope))
    rejected(bench, code, None, envelope)
    assert bench.state == before


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_message_on_the_wrong_topic_is_of_an_unknown_type(kind: str) -> None:
    _, received, phase = MESSAGES[kind]
    bench = in_phase(phase)
    envelope = signed_by(Block(named("x"), None), ANNA)
    bench.on(received(envelope))
    rejected(bench, "unknown-type", ANNA, envelope)


@pytest.mark.parametrize("kind", [*MESSAGES, "record"])
@pytest.mark.parametrize("phase", PHASES)
def test_messages_out_of_phase_change_nothing(kind: str, phase: str) -> None:
    make, received, own = (MESSAGES | ANSWERS)[kind]
    if own == phase:
        return
    bench = in_phase(phase)
    before = bench.state
    envelope = make(ANNA, named("x")) if kind == "record" else make(ANNA, text="other")
    bench.on(received(envelope))
    assert bench.state == before
    rejected(bench, "out-of-phase", ANNA, envelope)


@pytest.mark.parametrize("phase", ["sealing", "drawing", "revealing", "proving", "summing"])
def test_a_sealed_commitment_again_is_answered_as_before(phase: str) -> None:
    bench = in_phase(phase)
    before, envelope = bench.state, commitment(ANNA)
    bench.on(on.CommitmentReceived(envelope))
    assert bench.state == before
    (send,) = bench.effects
    assert isinstance(send, do.Send)
    assert bench.receipts()[ANNA.id].envelope == envelope_digest(envelope)
    assert bench.receipts()[ANNA.id].reason is None


def test_a_judged_submission_and_a_taken_opening_again_are_answered_as_before() -> None:
    bench = Bench().to_proving()
    bench.on(on.SubmissionReceived(submission(ANNA)))
    bench.on(on.SubmissionChecked(submission(ANNA), Reason.PROOF_INVALID))
    for key in DEVICES:
        if key is not ANNA:
            bench.prove(key)
    bench.now(at.Aggregating)
    bench.on(on.SubmissionReceived(submission(ANNA)))
    assert bench.receipts()[ANNA.id].reason is Reason.PROOF_INVALID
    assert bench.made(do.LogRejection) == []
    bench = Bench().to_summing()
    bench.on(on.OpeningReceived(opening(ANNA)))
    assert bench.receipts()[ANNA.id].reason is None
    assert bench.made(do.LogRejection) == []


def test_the_leaders_signature_again_says_nothing_new() -> None:
    bench = Bench().to_recording()
    envelope = signature(bench.leader, bench.record)
    bench.on(on.RecordAnswered(envelope))
    assert bench.on(on.RecordAnswered(envelope)) == ()
    bench.on(on.ClosedOnChain(Digest(digest("signed"))))
    assert bench.on(on.RecordAnswered(envelope)) == ()


def told_too_late(bench: Bench, envelope: bytes) -> None:
    name = envelope_digest(envelope)
    assert bench.receipts()[ANNA.id].envelope == name
    assert bench.receipts()[ANNA.id].reason is Reason.OUT_OF_PHASE
    assert [log.code for log in bench.made(do.LogRejection) if log.envelope == name] == [
        "out-of-phase"
    ]


@pytest.mark.parametrize("enough", [True, False], ids=["sealed", "failed"])
def test_a_commitment_still_checked_at_the_deadline_is_too_late(enough: bool) -> None:
    bench = Bench().to_committing()
    if enough:
        bench.commit(DEVICES[1]).commit(DEVICES[2])
    envelope = commitment(ANNA)
    bench.on(on.CommitmentReceived(envelope))
    bench.on(on.DeadlinePassed("commit"))
    bench.now(at.Sealing if enough else at.Failing)
    told_too_late(bench, envelope)
    before = bench.state
    assert bench.on(on.CommitmentChecked(envelope, None)) == ()
    assert bench.state == before


def test_an_opening_still_checked_at_the_deadline_is_too_late() -> None:
    bench = Bench().to_aggregating()
    bench.open(DEVICES[1]).open(DEVICES[2])
    bench.on(on.OpeningReceived(opening(ANNA)))
    bench.on(on.DeadlinePassed("aggregate"))
    bench.now(at.Summing)
    told_too_late(bench, opening(ANNA))


def test_a_submission_still_checked_when_all_patience_ends_is_too_late() -> None:
    bench = Bench().to_proving()
    for key in DEVICES[1:]:
        bench.prove(key)
    bench.on(on.SubmissionReceived(submission(ANNA)))
    bench.on(on.DeadlinePassed("prove"))
    bench.on(on.DeadlinePassed("verify"))
    bench.now(at.Aggregating)
    told_too_late(bench, submission(ANNA))


# --- COMMIT ---------------------------------------------------------------------------------


def test_the_same_commitment_again_is_answered_the_same() -> None:
    bench = Bench().to_committing().commit(ANNA)
    before = bench.state
    bench.on(on.CommitmentReceived(commitment(ANNA)))
    assert bench.state == before
    assert bench.receipts()[ANNA.id].reason is None
    assert bench.made(do.CheckCommitment) == []


def test_the_same_commitment_again_while_it_is_checked_is_checked_once() -> None:
    bench = Bench().to_committing()
    envelope = commitment(ANNA)
    bench.on(on.CommitmentReceived(envelope))
    before = bench.state
    # A receipt before the check would be evidence against us if the check failed.
    assert bench.on(on.CommitmentReceived(envelope)) == ()
    assert bench.state == before


def test_equivocation_is_rejected_and_recorded_once_with_both_envelopes() -> None:
    bench = Bench().to_committing().commit(ANNA)
    first, second, third = (commitment(ANNA, text) for text in ("first", "second", "third"))
    for envelope in (second, third):
        bench.on(on.CommitmentReceived(envelope))
        rejected(bench, "equivocation", ANNA, envelope)
    (misconduct,) = bench.now(at.Committing).misconduct
    assert (misconduct.device, misconduct.reason) == (ANNA.id, Reason.EQUIVOCATION)
    assert misconduct.evidence == (first, second)
    assert [signed.envelope for signed in bench.now(at.Committing).commitments] == [first]


def test_equivocation_while_the_first_is_checked_keeps_the_first() -> None:
    bench = Bench().to_committing()
    first, second = commitment(ANNA), commitment(ANNA, "second")
    bench.on(on.CommitmentReceived(first))
    bench.on(on.CommitmentReceived(second))
    rejected(bench, "equivocation", ANNA, second)
    bench.on(on.CommitmentChecked(second, None))
    assert bench.now(at.Committing).commitments == ()
    bench.on(on.CommitmentChecked(first, None))
    assert [signed.envelope for signed in bench.now(at.Committing).commitments] == [first]


def test_misconduct_reaches_the_record() -> None:
    bench = Bench().to_committing().commit(ANNA)
    bench.on(on.CommitmentReceived(commitment(ANNA, "second")))
    for key in DEVICES[1:]:
        bench.commit(key)
    bench.on(on.SealedOnChain(17))
    bench.on(on.Drawn(BEACON))
    bench.on(on.Revealed(named("batch"), 6))
    for key in DEVICES:
        bench.prove(key)
    for key in DEVICES:
        bench.open(key)
    bench.on(on.Summed(named("model"), b"blinding", 6))
    (misconduct,) = bench.recording.record.misconduct
    assert misconduct.device == ANNA.id


def test_a_commitment_that_is_not_well_formed_leaves_the_slot_free() -> None:
    bench = Bench().to_committing()
    bad = commitment(ANNA, "bad")
    bench.on(on.CommitmentReceived(bad))
    bench.on(on.CommitmentChecked(bad, Reason.COMMITMENT_NOT_WELLFORMED, "too large"))
    rejected(bench, "commitment-not-wellformed", ANNA, bad)
    bench.commit(ANNA, "good")
    assert [signed.envelope for signed in bench.now(at.Committing).commitments] == [
        commitment(ANNA, "good")
    ]
    assert bench.now(at.Committing).misconduct == ()


def test_the_deadline_seals_what_is_there() -> None:
    bench = Bench().to_sealing(ANNA, CARL)
    assert bench.now(at.Sealing).sealed.devices == (ANNA.id, CARL.id)


def test_too_few_commitments_fail_the_round() -> None:
    bench = Bench().to_committing().commit(ANNA)
    bench.on(on.DeadlinePassed("commit"))
    fails(bench, Failure.TOO_FEW_COMMITMENTS)


# --- PROVE ----------------------------------------------------------------------------------


def test_a_submission_needs_a_sealed_commitment() -> None:
    bench = Bench().to_proving(ANNA, BERT)
    envelope = submission(CARL)
    bench.on(on.SubmissionReceived(envelope))
    rejected(bench, "not-committed", CARL, envelope)


def test_a_judged_submission_again_is_answered_the_same() -> None:
    bench = Bench().to_proving().prove(ANNA)
    bad = submission(BERT)
    bench.on(on.SubmissionReceived(bad))
    bench.on(on.SubmissionChecked(bad, Reason.PROOF_INVALID))
    before = bench.state
    for key, reason in ((ANNA, None), (BERT, Reason.PROOF_INVALID)):
        bench.on(on.SubmissionReceived(submission(key)))
        assert bench.receipts()[key.id].reason is reason
        assert bench.made(do.LogRejection) == []
        assert bench.state == before


@pytest.mark.parametrize("reason", [None, Reason.PROOF_INVALID])
def test_a_second_submission_after_the_verdict_is_a_duplicate(reason: Reason | None) -> None:
    bench = Bench().to_proving()
    first, second = submission(ANNA), submission(ANNA, 8)
    bench.on(on.SubmissionReceived(first))
    bench.on(on.SubmissionChecked(first, reason))
    before = bench.state
    bench.on(on.SubmissionReceived(second))
    rejected(bench, "duplicate", ANNA, second)
    assert bench.state == before


def test_a_second_submission_while_the_first_is_checked() -> None:
    bench = Bench().to_proving()
    first, second = submission(ANNA), submission(ANNA, 8)
    bench.on(on.SubmissionReceived(first))
    before = bench.state
    assert bench.on(on.SubmissionReceived(first)) == ()
    bench.on(on.SubmissionReceived(second))
    rejected(bench, "duplicate", ANNA, second)
    assert bench.state == before


def test_a_proof_that_could_not_be_fetched_may_be_offered_again() -> None:
    bench = Bench().to_proving()
    envelope = submission(ANNA)
    bench.on(on.SubmissionReceived(envelope))
    bench.on(on.SubmissionChecked(envelope, Reason.OBJECT_UNAVAILABLE, "late"))
    rejected(bench, "object-unavailable", ANNA, envelope)
    assert bench.on(on.SubmissionReceived(envelope)) == (do.CheckSubmission(envelope),)


def test_what_came_in_time_is_judged_after_the_deadline() -> None:
    bench = Bench().to_proving().prove(ANNA).prove(BERT)
    inside, late = submission(CARL), submission(DORA)
    bench.on(on.SubmissionReceived(inside))
    assert bench.on(on.DeadlinePassed("prove")) == (do.StartTimer("verify", 13),)
    bench.on(on.SubmissionReceived(late))
    rejected(bench, "out-of-phase", DORA, late)
    bench.on(on.SubmissionChecked(inside, None))
    assert [v.reason for v in bench.now(at.Aggregating).verdicts] == [
        None,
        None,
        None,
        Reason.NO_SUBMISSION,
    ]


def test_checks_that_never_end_do_not_stall_the_round() -> None:
    bench = Bench().to_proving().prove(ANNA).prove(BERT)
    bench.on(on.SubmissionReceived(submission(CARL)))
    bench.on(on.DeadlinePassed("prove"))
    bench.on(on.DeadlinePassed("verify"))
    assert [v.reason for v in bench.now(at.Aggregating).verdicts][2:] == [Reason.NO_SUBMISSION] * 2


@pytest.mark.parametrize("how", ["deadline", "judged"])
def test_too_few_accepted_fail_the_round(how: str) -> None:
    bench = Bench().to_proving().prove(ANNA)
    if how == "deadline":
        bench.on(on.DeadlinePassed("prove"))
    else:
        for key in DEVICES[1:]:
            bench.on(on.SubmissionReceived(submission(key)))
            bench.on(on.SubmissionChecked(submission(key), Reason.BELOW_GATE))
        assert bench.receipts()[DORA.id].reason is Reason.BELOW_GATE
    fails(bench, Failure.TOO_FEW_ACCEPTED)


# --- AGGREGATE ------------------------------------------------------------------------------


def test_only_accepted_devices_may_open() -> None:
    bench = Bench().to_proving()
    for key in DEVICES[:3]:
        bench.prove(key)
    bench.on(on.DeadlinePassed("prove"))
    bench.on(on.OpeningReceived(opening(DORA)))
    rejected(bench, "not-committed", DORA, opening(DORA))


def test_the_same_opening_again_is_answered_once_it_is_checked() -> None:
    bench = Bench().to_aggregating().open(ANNA)
    bench.on(on.OpeningReceived(opening(BERT)))
    before = bench.state
    bench.on(on.OpeningReceived(opening(ANNA)))
    assert bench.receipts()[ANNA.id].reason is None
    # A receipt before the check would be evidence against us if the check failed.
    assert bench.on(on.OpeningReceived(opening(BERT))) == ()
    assert bench.state == before


def test_a_second_different_opening_is_a_duplicate() -> None:
    bench = Bench().to_aggregating().open(ANNA)
    bench.on(on.OpeningReceived(opening(BERT)))
    before = bench.state
    for key in (ANNA, BERT):
        envelope = opening(key, "another")
        bench.on(on.OpeningReceived(envelope))
        rejected(bench, "duplicate", key, envelope)
        assert bench.state == before


def test_an_opening_that_does_not_open_may_be_sent_again() -> None:
    bench = Bench().to_aggregating()
    bad = opening(ANNA, "bad")
    bench.on(on.OpeningReceived(bad))
    bench.on(on.OpeningChecked(bad, Reason.OPENING_INVALID))
    rejected(bench, "opening-invalid", ANNA, bad)
    bench.open(ANNA)
    assert [signed.device for signed in bench.now(at.Aggregating).openings] == [ANNA.id]


def test_the_deadline_sums_what_is_there() -> None:
    bench = Bench().to_aggregating().open(DORA).open(ANNA)
    bench.on(on.DeadlinePassed("aggregate"))
    assert [signed.device for signed in bench.now(at.Summing).openings] == [ANNA.id, DORA.id]
    bench.on(on.Summed(named("model"), b"blinding", 6))
    # Who was accepted and did not open may still lead: the count was proven.
    assert len(bench.recording.order) == 4
    assert [s.device for s in bench.recording.record.sum.summands] == [ANNA.id, DORA.id]


def test_too_few_openings_fail_the_round() -> None:
    bench = Bench().to_aggregating().open(DORA)
    bench.on(on.DeadlinePassed("aggregate"))
    fails(bench, Failure.TOO_FEW_OPENINGS)


@pytest.mark.parametrize(("count", "good"), [(4, True), (3, False)])
def test_a_model_that_falls_by_more_than_the_margin_fails_the_round(count: int, good: bool) -> None:
    bench = Bench().to_summing()
    bench.on(on.Summed(named("model"), b"blinding", count))
    if good:
        bench.now(at.Recording)
    else:
        fails(bench, Failure.MODEL_WORSE)


# --- RECORD ---------------------------------------------------------------------------------


def test_a_refusal_goes_into_the_record_of_the_next_in_rank() -> None:
    bench = Bench().to_recording()
    first, refused = bench.leader, refusal(bench.leader, bench.record)
    bench.on(on.RecordAnswered(refused))
    assert bench.recording.rank == 1
    assert bench.leader != first
    assert bench.recording.record.refusals == (refused,)
    assert bench.recording.record.leader == first.id
    (proposal,) = bench.made(do.Send)
    assert proposal == do.Send(bench.leader.id, RecordProposal(TASK_ID, ROUND, bench.record))
    assert bench.made(do.StartTimer) == [do.StartTimer("record-1", 14)]


def test_silence_passes_to_the_next_in_rank() -> None:
    bench = Bench().to_recording()
    first = bench.leader
    bench.on(on.DeadlinePassed("record-0"))
    assert bench.recording.rank == 1
    assert bench.recording.record.refusals == ()
    late = signature(first, bench.record)
    before = bench.state
    bench.on(on.RecordAnswered(late))
    rejected(bench, "out-of-phase", first, late)
    assert bench.state == before
    bench.on(on.DeadlinePassed("record-0"))
    assert bench.state == before


@pytest.mark.parametrize("how", ["silent", "refuse"])
def test_nobody_signs_and_the_round_fails(how: str) -> None:
    bench = Bench().to_recording()
    for number in range(len(DEVICES)):
        if how == "silent":
            bench.on(on.DeadlinePassed(f"record-{number}"))
        else:
            bench.on(on.RecordAnswered(refusal(bench.leader, bench.record)))
    fails(bench, Failure.NOBODY_SIGNED)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda b: signature(b.leader, named("another")), "stale-round"),
        (lambda b: signature(b.leader, b.record, round=Round(2)), "stale-round"),
        (lambda b: signature(b.leader, b.record, task=TaskId(bytes(32))), "stale-round"),
        (lambda b: refusal(b.leader, named("another")), "stale-round"),
        (lambda b: commitment(b.leader), "unknown-type"),
    ],
)
def test_answers_about_something_else(answer: Callable[[Bench], bytes], code: str) -> None:
    bench = Bench().to_recording()
    before, leader, envelope = bench.state, bench.leader, answer(bench)
    bench.on(on.RecordAnswered(envelope))
    rejected(bench, code, leader, envelope)
    assert bench.state == before


def test_only_the_one_who_is_asked_may_sign() -> None:
    bench = Bench().to_recording()
    other = next(key for key in DEVICES if key != bench.leader)
    envelope = signature(other, bench.record)
    bench.on(on.RecordAnswered(envelope))
    rejected(bench, "out-of-phase", other, envelope)


# --- failure and end ------------------------------------------------------------------------


def fails(bench: Bench, failure: Failure) -> None:
    """The round fails, first on chain, then for everybody, and its model stays."""
    assert bench.now(at.Failing).failure is failure
    assert bench.made(do.FailOnChain) == [do.FailOnChain(failure)]
    bench.on(on.FailedOnChain())
    start = start_of(bench.terms)
    assert bench.state == at.Ended(start, None, start.model)
    (announce,) = bench.made(do.Announce)
    assert announce.announcement.phase is Phase.FAILED
    assert announce.announcement.reason is not None
    assert announce.announcement.reason.startswith(failure.name.lower().replace("_", "-"))


@pytest.mark.parametrize("phase", ["sealing", "drawing", "revealing", "summing"])
def test_an_effect_that_cannot_be_carried_out_fails_the_round(phase: str) -> None:
    bench = in_phase(phase)
    bench.on(on.CannotGoOn(Failure.DRAW_MISSED, "x" * 999))
    fails(bench, Failure.DRAW_MISSED)


@pytest.mark.parametrize(
    ("phase", "timer"), [("sealing", "seal"), ("drawing", "draw"), ("revealing", "reveal")]
)
def test_a_chain_that_does_not_answer_in_time_fails_the_round(phase: str, timer: str) -> None:
    bench = in_phase(phase)
    seconds = bench.terms.task.deadlines.chain
    assert do.StartTimer(timer, seconds) in machine.resume(bench.terms, bench.state)
    bench.on(on.DeadlinePassed(timer))
    assert bench.now(at.Failing).detail == f"no {timer} within {seconds} s"
    fails(bench, Failure.CHAIN_UNREACHABLE)


_TIMERS = ("commit", "seal", "draw", "reveal", "prove", "verify", "aggregate", "record-9")
EVENTS: list[on.Event] = [
    on.OpenedOnChain(),
    on.CommitmentChecked(commitment(ANNA, "unknown"), None),
    on.SealedOnChain(99),
    on.Drawn(BEACON),
    on.Revealed(named("other"), 1),
    on.SubmissionChecked(submission(ANNA, 1, "unknown"), None),
    on.OpeningChecked(opening(ANNA, "unknown"), None),
    on.VectorFetched(b"unknown", None),
    on.ReleaseOpened(b"unknown", None),
    on.GroupSummed(0, named("other")),
    on.GroupRefused(0, Reason.SUM_MISMATCH, ""),
    on.Summed(named("other"), b"", 9),
    on.ClosedOnChain(Digest(bytes(32))),
    on.Settled(final=True),
    on.HeadMoved(Digest(bytes(32)), named("other")),
    on.FailedOnChain(),
    on.CannotGoOn(Failure.INTERNAL, ""),
    *(on.DeadlinePassed(timer) for timer in _TIMERS),
]
EXPECTED = {
    ("opening", "OpenedOnChain"),
    ("opening", "HeadMoved"),
    ("sealing", "SealedOnChain"),
    ("drawing", "Drawn"),
    ("revealing", "Revealed"),
    ("summing", "Summed"),
    ("closing", "ClosedOnChain"),
    ("failing", "FailedOnChain"),
    *((phase, "CannotGoOn") for phase in ("sealing", "drawing", "revealing", "summing", "closing")),
    ("committing", "DeadlinePassed(timer='commit')"),
    ("sealing", "DeadlinePassed(timer='seal')"),
    ("drawing", "DeadlinePassed(timer='draw')"),
    ("revealing", "DeadlinePassed(timer='reveal')"),
    ("proving", "DeadlinePassed(timer='prove')"),
    ("proving", "DeadlinePassed(timer='verify')"),
    ("aggregating", "DeadlinePassed(timer='aggregate')"),
}


def test_late_events_change_nothing() -> None:
    assert {type(event) for event in EVENTS} | {
        received for _, received, _ in MESSAGES.values()
    } | {on.RecordAnswered, on.SecureReceived} == set(get_args(on.Event))
    found = set()
    for phase in PHASES:
        for event in EVENTS:
            bench = in_phase(phase)
            before = bench.state
            effects = bench.on(event)
            if bench.state != before or effects:
                name = type(event).__name__
                timed = isinstance(event, on.DeadlinePassed)
                found.add((phase, repr(event) if timed else name))
    assert found == EXPECTED


@pytest.mark.parametrize("phase", PHASES)
def test_every_state_survives_the_disk_and_resumes(phase: str) -> None:
    bench = in_phase(phase)
    stored = encode_tagged(bench.state)
    state: at.State = decode_tagged(get_args(at.State), stored)
    assert state == bench.state
    effects = machine.resume(bench.terms, state)
    wanted = {
        "opening": {do.OpenOnChain},
        "committing": {do.Announce, do.StartTimer},
        "sealing": {do.StartTimer, do.SealOnChain},
        "drawing": {do.Announce, do.StartTimer, do.DrawOnChain},
        "revealing": {do.StartTimer, do.RevealBatch},
        "proving": {do.Announce, do.StartTimer},
        "aggregating": {do.StoreObject, do.Announce, do.StartTimer},
        "summing": {do.SumModels},
        "recording": {do.StoreObject, do.Send, do.StartTimer},
        "closing": {do.CloseOnChain},
        "failing": {do.FailOnChain},
        "ended": set(),
        "failed": set(),
    }[phase]
    assert {type(effect) for effect in effects} == wanted


@pytest.mark.parametrize(
    ("phase", "event", "check"),
    [
        ("committing", on.CommitmentReceived(commitment(ANNA)), do.CheckCommitment),
        ("proving", on.SubmissionReceived(submission(ANNA)), do.CheckSubmission),
        ("aggregating", on.OpeningReceived(opening(ANNA)), do.CheckOpening),
    ],
)
def test_checks_under_way_are_done_again_after_a_restart(
    phase: str, event: on.Event, check: type[Any]
) -> None:
    bench = in_phase(phase)
    (asked,) = bench.on(event)
    assert isinstance(asked, check)
    assert asked in machine.resume(bench.terms, bench.state)

"""A device that cannot prove says so: it is logged and not waited for."""

from tests.aggregator.round_kit import DEVICES, Bench, decline, submission

from zkpot.errors import Reason
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at

ANNA, BERT, CARL, DORA = DEVICES


def test_it_is_logged_with_its_reason_and_answered() -> None:
    bench = Bench().to_proving()
    bench.on(on.DeclineReceived(decline(ANNA)))
    (log,) = bench.made(do.LogRejection)
    assert (log.device, log.code, log.detail) == (ANNA.id, "cannot-prove", "no prover answered")
    assert bench.receipts()[ANNA.id].reason is None


def test_the_round_goes_on_without_waiting_for_the_deadline() -> None:
    bench = Bench().to_proving()
    for key in (ANNA, BERT, CARL):
        bench.prove(key)
    bench.on(on.DeclineReceived(decline(DORA)))
    verdicts = {v.device: v.reason for v in bench.now(at.Aggregating).verdicts}
    assert verdicts[DORA.id] is Reason.NO_SUBMISSION
    assert [log.device for log in bench.made(do.LogRejection)] == [DORA.id]


def test_it_may_be_the_first_to_speak() -> None:
    bench = Bench().to_proving()
    bench.on(on.DeclineReceived(decline(DORA)))
    for key in (ANNA, BERT, CARL):
        bench.prove(key)
    bench.now(at.Aggregating)


def test_the_same_again_is_answered_and_logged_once() -> None:
    bench = Bench().to_proving()
    bench.on(on.DeclineReceived(decline(ANNA)))
    state = bench.state
    bench.on(on.DeclineReceived(decline(ANNA)))
    assert bench.state == state
    assert bench.made(do.LogRejection) == []
    assert bench.receipts()[ANNA.id].reason is None


def test_what_was_submitted_stands() -> None:
    bench = Bench().to_proving()
    bench.prove(ANNA)
    bench.on(on.SubmissionReceived(submission(BERT)))
    for key in (ANNA, BERT):
        bench.on(on.DeclineReceived(decline(key)))
        assert bench.receipts()[key.id].reason is Reason.DUPLICATE
    bench.on(on.SubmissionChecked(submission(BERT), None))
    taken = {v.device for v in bench.now(at.Proving).verdicts if v.reason is None}
    assert taken == {ANNA.id, BERT.id}


def test_a_submission_after_it_is_a_duplicate() -> None:
    bench = Bench().to_proving()
    bench.on(on.DeclineReceived(decline(ANNA)))
    bench.on(on.SubmissionReceived(submission(ANNA)))
    assert bench.receipts()[ANNA.id].reason is Reason.DUPLICATE


def test_who_has_not_committed_has_nothing_to_decline() -> None:
    bench = Bench().to_proving(ANNA, BERT, CARL)
    bench.on(on.DeclineReceived(decline(DORA)))
    assert bench.receipts()[DORA.id].reason is Reason.NOT_COMMITTED

"""Which samples a round has spent, whatever its operator says of it."""

from dataclasses import replace

import pytest
from tests.protocol.rounds import POOL
from tests.validate.world import Operator

from zkpot.check_record import CheckFailed
from zkpot.errors import Failure, Reason
from zkpot_aggregator.audit.rounds import drawn_samples
from zkpot_aggregator.ledger.calls import FailRound
from zkpot_aggregator.ledger.views import Phase, RoundView


def drawn(operator: Operator) -> RoundView:
    """A round on chain whose batch is drawn and revealed."""
    operator.open()
    operator.seal()
    operator.draw()
    return operator.ledger.round(operator.task_id, operator.number)


@pytest.mark.parametrize("reason", Failure)
def test_a_failed_round_spends_its_samples_for_any_reason(reason: Failure) -> None:
    """Samples that devices have seen must not be drawn again on the operator's word."""
    operator = Operator()
    drawn(operator)
    operator.ledger.submit(FailRound(operator.task_id, operator.number, reason))
    view = operator.ledger.round(operator.task_id, operator.number)
    assert view.phase is Phase.FAILED
    assert drawn_samples(operator.task, view, set()) == operator.indices


def test_a_round_with_too_few_samples_left_spends_none_if_it_fails() -> None:
    operator = Operator()
    view, spent = drawn(operator), set(range(POOL))
    failed = replace(view, phase=Phase.FAILED, fail_reason=Failure.POOL_EXHAUSTED)
    assert drawn_samples(operator.task, failed, spent) == []


@pytest.mark.parametrize("phase", [Phase.DRAWN, Phase.CLOSED, Phase.FINAL])
def test_a_round_that_goes_on_with_too_few_samples_left_is_faulty(phase: Phase) -> None:
    """For a validator's report and its replay the same check fails."""
    operator = Operator()
    view, spent = drawn(operator), set(range(POOL))
    with pytest.raises(CheckFailed) as caught:
        drawn_samples(operator.task, replace(view, phase=phase), spent)
    assert (caught.value.check, caught.value.reason) == ("chain", Reason.POOL_EXHAUSTED)

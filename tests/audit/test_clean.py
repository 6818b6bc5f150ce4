"""The audit of an honest task, and the tamperer's own honesty when it changes nothing."""

import pytest
from tests.audit.conftest import ROUNDS, Finished
from tests.audit.tamperer import Tamperer

from zkpot_aggregator.ui.audit import audit_directory

pytestmark = [pytest.mark.chain, pytest.mark.prover]


def test_an_honest_task_with_cheating_devices_is_clean(finished: Finished) -> None:
    report = audit_directory(finished.directory)
    assert report.ok
    assert [finding.round for finding in report.rounds] == list(ROUNDS)
    for finding, round_ in zip(report.rounds, finished.said["rounds"], strict=True):
        assert (finding.accepted, finding.rejected, finding.summed) == (3, 1, 3)
        assert finding.count == round_["correct"]
        assert any("equivocation" in note for note in finding.notes)
    assert report.checks == finished.said["audit"]["checks"]
    assert report.checks > len(ROUNDS) * 14


def test_the_weak_assumptions_are_named(finished: Finished) -> None:
    assumptions = audit_directory(finished.directory).assumptions
    assert "beacon: operator-controlled" in assumptions
    assert "validators: none" in assumptions
    assert not any(each.startswith("srs:") for each in assumptions)


def test_committing_the_same_again_is_clean(tamperer: Tamperer) -> None:
    for number in reversed(ROUNDS):
        tamperer.commit(number, tamperer.record(number))
        report = tamperer.audit()
        assert report.ok, report.fault
        assert len(report.rounds) == number

"""The machine in secure mode: groups step by step, whatever comes, and after every kill."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

pytest.importorskip("zkpot_prover")

from tests.aggregator.masking_kit import KEYS, Round, proving
from tests.aggregator.round_kit import STRANGER, named, opening
from tests.aggregator.test_round import in_phase

from zkpot.errors import Failure, Reason
from zkpot.ids import DeviceId, digest
from zkpot.record import Verdict
from zkpot.secure.exchange import Advertisement, MaskedInput, SealedRelease
from zkpot.secure.session import Step
from zkpot.wire.envelope import open_as, sign
from zkpot.wire.messages import Phase, Receipt
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import masking
from zkpot_aggregator.round import states as at

STEPS = tuple(Step)[:-1]


def advance(made: Round, index: int, step: Step) -> None:
    """Everybody in a group answers until `step` is open."""
    while made.session(index).step is not step:
        made.everybody(index)


def codes(made: Round) -> list[str]:
    return [effect.code for effect in made.effects if isinstance(effect, do.LogRejection)]


def test_two_groups_of_six_are_drawn_announced_and_timed() -> None:
    made = Round()
    assert [len(made.devices(index)) for index in (0, 1)] == [6, 6]
    assert {*made.devices(0), *made.devices(1)} == set(KEYS)
    (announced,) = [e.announcement for e in made.effects if isinstance(e, do.Announce)]
    assert announced.phase is Phase.AGGREGATE
    assert announced.verdicts is not None
    timers = {effect.timer for effect in made.effects if isinstance(effect, do.StartTimer)}
    assert timers == {"group-0-keys", "group-1-keys"}


def test_a_group_takes_its_steps_and_is_unmasked() -> None:
    made = Round()
    for step in STEPS:
        assert made.session(0).step is step
        made.everybody(0)
    assert do.UnmaskGroup(0) in made.effects
    assert made.session(1).step is Step.KEYS
    assert made.session(0).survivors == made.devices(0)


def test_both_sums_make_the_new_model() -> None:
    made = Round()
    for index in (0, 1):
        advance(made, index, Step.DONE)
        made.on(on.GroupSummed(index, named(f"sum {index}")))
    assert made.made(do.CountStrikes) == [do.CountStrikes((), any_is_good=True)]
    merging = made.state
    assert isinstance(merging, at.Merging)
    assert merging.sums == (named("sum 0"), named("sum 1"))
    assert merging.survivors == tuple(sorted(KEYS))
    assert do.MergeSums() in made.effects
    made.on(on.Summed(named("after"), b"blinding", 6))
    assert isinstance(made.state, at.Recording)
    assert made.state.record.groups == merging.sums
    assert [each.device for each in made.state.record.sum.summands] == sorted(KEYS)


def test_a_new_model_that_is_worse_fails_the_round() -> None:
    made = Round()
    for index in (0, 1):
        advance(made, index, Step.DONE)
        made.on(on.GroupSummed(index, named(f"sum {index}")))
    made.on(on.Summed(named("after"), b"blinding", 3))
    assert isinstance(made.state, at.Failing)
    assert made.state.failure is Failure.MODEL_WORSE


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.lower())
def test_at_the_deadline_a_step_ends_without_those_who_are_missing(step: Step) -> None:
    made = Round()
    advance(made, 0, step)
    missing = made.devices(0)[0]
    made.everybody(0, but=(missing,))
    assert made.session(0).step is step
    made.deadline(0)
    assert made.session(0).step == step + 1
    made.deliver(missing)
    assert codes(made) == ["out-of-phase"]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.lower())
def test_below_the_threshold_a_group_fails_alone(step: Step) -> None:
    made = Round()
    advance(made, 0, step)
    made.everybody(0, but=made.devices(0)[:2])  # four of six, five are needed
    made.deadline(0)
    assert codes(made) == ["group-too-small"]
    assert made.masking.groups[0].failed
    assert not made.masking.groups[0].suspects
    made.everybody(0, but=made.devices(0)[2:])
    assert set(codes(made)) == {"out-of-phase"}
    advance(made, 1, Step.DONE)
    made.on(on.GroupSummed(1, named("sum")))
    assert isinstance(made.state, at.Merging)
    assert len(made.state.survivors) == 6


def test_too_few_in_good_sums_fail_the_round() -> None:
    made = Round()
    for index in (0, 1):
        advance(made, index, Step.DONE)
        made.on(on.GroupRefused(index, Reason.SUM_MISMATCH, "it does not open"))
    assert isinstance(made.state, at.Failing)
    assert made.state.failure is Failure.TOO_FEW_SURVIVORS


@pytest.mark.parametrize("liar", [None, 3])
def test_a_spoilt_sum_strikes_the_liar_or_all_who_can_have_lied(liar: int | None) -> None:
    made = Round()
    advance(made, 0, Step.DONE)
    devices = made.devices(0)
    named_liar = None if liar is None else devices[liar]
    reason = Reason.SUM_MISMATCH if liar is None else Reason.DEALING_FALSE
    refused = on.GroupRefused(0, reason, "detail", named_liar)
    made.on(refused)
    (log,) = made.made(do.LogRejection)
    assert isinstance(log, do.LogRejection)
    assert log.device == named_liar
    made.on(refused)
    made.on(on.GroupSummed(0, named("late")))
    assert not made.effects
    advance(made, 1, Step.DONE)
    made.kill()
    made.on(on.GroupSummed(1, named("sum")))
    suspects = devices if named_liar is None else (named_liar,)
    assert made.made(do.CountStrikes) == [do.CountStrikes((suspects,), any_is_good=True)]


def test_when_all_sums_are_spoilt_that_is_said() -> None:
    made = Round()
    spoilt = made.devices(0), made.devices(1)
    for index in (0, 1):
        advance(made, index, Step.DONE)
        made.on(on.GroupRefused(index, Reason.SUM_MISMATCH, "it does not open"))
    assert made.made(do.CountStrikes) == [do.CountStrikes(spoilt, any_is_good=False)]


def test_trouble_of_the_aggregators_own_strikes_nobody() -> None:
    made = Round()
    advance(made, 0, Step.DONE)
    made.on(on.GroupRefused(0, Reason.PROOF_INVALID, "the verifier died of it twice"))
    advance(made, 1, Step.DONE)
    made.on(on.GroupSummed(1, named("sum")))
    assert made.made(do.CountStrikes) == [do.CountStrikes((), any_is_good=True)]


def test_a_vector_that_cannot_be_had_may_be_offered_again() -> None:
    made = Round()
    advance(made, 0, Step.INPUTS)
    device = made.devices(0)[0]
    envelope = made.deliver(device, fetched=False)
    assert envelope is not None
    assert made.effects == (do.FetchVector(envelope),)
    made.on(on.SecureReceived(envelope))
    assert not made.effects
    made.on(on.VectorFetched(envelope, Reason.OBJECT_UNAVAILABLE, "late"))
    assert codes(made) == ["object-unavailable"]
    made.deliver(device)
    assert made.session(0).survivors == (device,)


@pytest.mark.parametrize("why", ["length", "dealers"])
def test_after_three_refused_vectors_nothing_is_fetched_any_more(why: str) -> None:
    made = Round()
    advance(made, 0, Step.INPUTS)
    device, other = made.devices(0)[:2]
    honest = made.mail[device]
    first = open_as(MaskedInput, honest, made.terms.roster.public_keys).message
    reason = Reason.MALFORMED if why == "length" else None
    delivery = first.delivery if why == "length" else digest("other dealers")
    for number in range(at.MAX_OFFERS):
        wrong = replace(first, delivery=delivery, vector=named(f"wrong {number}"))
        envelope = sign(wrong, KEYS[device])
        assert made.on(on.SecureReceived(envelope)) == (do.FetchVector(envelope),)
        made.on(on.VectorFetched(envelope, reason, "not as it must be"))
        assert codes(made) == ["malformed"]
        made.kill()
    before = made.state
    for envelope in (sign(replace(first, vector=named("another")), KEYS[device]), honest):
        made.on(on.SecureReceived(envelope))
        assert codes(made) == ["limit"]
        assert not made.made(do.FetchVector)
    assert made.state == before
    made.deliver(other)
    assert made.session(0).survivors == (other,)


def test_one_vector_at_a_time_and_one_in_all() -> None:
    made = Round()
    advance(made, 0, Step.INPUTS)
    device = made.devices(0)[0]
    envelope = made.deliver(device, fetched=False)
    assert envelope is not None
    first = open_as(MaskedInput, envelope, made.terms.roster.public_keys).message
    second = sign(replace(first, vector=named("another")), KEYS[device])
    made.on(on.SecureReceived(second))
    assert codes(made) == ["duplicate"]
    made.on(on.VectorFetched(envelope, None))
    made.on(on.SecureReceived(second))
    assert codes(made) == ["equivocation"]


def test_a_vector_still_being_fetched_at_the_deadline_is_too_late() -> None:
    made = Round()
    advance(made, 0, Step.INPUTS)
    device = made.devices(0)[0]
    made.everybody(0, but=(device,))
    envelope = made.deliver(device, fetched=False)
    assert envelope is not None
    made.deadline(0)
    assert codes(made) == ["out-of-phase"]
    assert made.session(0).step is Step.CONFIRMATIONS
    made.on(on.VectorFetched(envelope, None))
    assert not made.effects
    assert device not in made.session(0).survivors


def test_a_release_that_does_not_open_may_be_sent_again_and_ends_nothing() -> None:
    made = Round()
    advance(made, 0, Step.RELEASES)
    device, lost = made.devices(0)[:2]
    honest = made.mail[device]
    garbage = sign(SealedRelease(made.session(0).group.digest, b"garbage"), KEYS[device])
    assert made.on(on.SecureReceived(garbage)) == (do.OpenRelease(garbage),)
    made.on(on.SecureReceived(garbage))
    assert not made.effects
    made.on(on.SecureReceived(honest))
    assert codes(made) == ["duplicate"]
    refused = on.ReleaseOpened(garbage, None, Reason.MALFORMED, "sealed box does not open")
    made.on(refused)
    assert codes(made) == ["malformed"]
    receipt = made.made(do.Send)[0]
    assert isinstance(receipt, do.Send)
    assert isinstance(receipt.message, Receipt)
    assert (receipt.device, receipt.message.reason) == (device, Reason.MALFORMED)
    made.on(refused)
    assert not made.effects
    made.deliver(device)
    assert made.session(0).members(Step.RELEASES) == (device,)
    made.on(on.SecureReceived(honest))
    assert not made.effects
    made.everybody(0, but=(device, lost))
    made.deadline(0)
    assert do.UnmaskGroup(0) in made.effects


def test_after_three_releases_that_do_not_open_none_is_opened_any_more() -> None:
    made = Round()
    advance(made, 0, Step.RELEASES)
    device = made.devices(0)[0]
    name = made.session(0).group.digest
    for number in range(at.MAX_OFFERS):
        envelope = sign(SealedRelease(name, bytes([number])), KEYS[device])
        assert made.on(on.SecureReceived(envelope)) == (do.OpenRelease(envelope),)
        made.on(on.ReleaseOpened(envelope, None, Reason.MALFORMED, "sealed box does not open"))
        made.kill()
    made.on(on.SecureReceived(made.mail[device]))
    assert codes(made) == ["limit"]
    made.everybody(0, but=(device,))
    made.deadline(0)
    assert do.UnmaskGroup(0) in made.effects


def test_too_few_releases_that_open_fail_the_group_and_strike_nobody() -> None:
    made = Round()
    advance(made, 0, Step.RELEASES)
    liars = made.devices(0)[:2]
    for device in liars:
        garbage = sign(SealedRelease(made.session(0).group.digest, b"garbage"), KEYS[device])
        made.on(on.SecureReceived(garbage))
        made.on(on.ReleaseOpened(garbage, None, Reason.MALFORMED, "sealed box does not open"))
    made.everybody(0, but=liars)
    made.deadline(0)
    assert codes(made) == ["group-too-small"]
    assert made.masking.groups[0].failed
    assert not made.masking.groups[0].suspects


def test_what_was_taken_before_is_answered_with_what_followed() -> None:
    made = Round()
    device = made.devices(0)[0]
    first = made.deliver(device)
    assert first is not None
    made.on(on.SecureReceived(first))
    assert not made.effects
    advance(made, 0, Step.SHARES)
    made.on(on.SecureReceived(first))
    (again,) = made.effects
    assert isinstance(again, do.Send)
    assert again.device == device
    assert len(made.told[device, type(again.message)]) == 1


def test_what_does_not_belong_here_is_refused_and_changes_nothing() -> None:
    made = Round()
    device = made.devices(0)[0]
    other = made.devices(1)[0]
    others = open_as(Advertisement, made.mail[other], made.terms.roster.public_keys).message
    stolen = sign(others, KEYS[device])
    receipt = Receipt(made.terms.task_id, made.terms.round, made.terms.parent, None, "")
    before = made.state
    for envelope, code in (
        (b"\x81", "malformed"),
        (sign(receipt, STRANGER), "not-in-roster"),
        (opening(KEYS[device]), "unknown-type"),
        (stolen, "group-mismatch"),
    ):
        made.on(on.SecureReceived(envelope))
        assert codes(made) == [code]
        assert made.state == before


def test_one_that_was_not_accepted_is_in_no_group() -> None:
    made = Round()
    rejected = min(KEYS)
    verdicts = tuple(
        Verdict(device, Reason.BELOW_GATE if device == rejected else None, 7, None)
        for device in sorted(KEYS)
    )
    made.state = masking.begin(made.terms, proving(), verdicts).state
    made.on(on.SecureReceived(made.mail[rejected]))
    assert codes(made) == ["not-committed"]


@pytest.mark.parametrize("phase", ["recording", "closing", "failing", "ended"])
def test_what_is_repeated_after_the_sum_is_not_held_against_anybody(phase: str) -> None:
    bench = in_phase(phase)
    before = bench.state
    assert bench.on(on.SecureReceived(Round().mail[min(KEYS)])) == ()
    assert bench.state == before


@pytest.mark.parametrize("step", list(Step), ids=lambda step: step.name.lower())
def test_a_restart_says_everything_again_the_same(step: Step) -> None:
    made = Round()
    advance(made, 0, step)
    if step in (Step.INPUTS, Step.RELEASES):
        made.deliver(made.devices(0)[0], fetched=False)
    told = {name: set(said) for name, said in made.told.items()}
    made.kill()
    assert made.told == told
    kinds = {type(effect) for effect in made.effects}
    assert do.Announce in kinds
    assert (do.UnmaskGroup in kinds) == (step is Step.DONE)
    assert (do.FetchVector in kinds) == (step is Step.INPUTS)
    assert (do.OpenRelease in kinds) == (step is Step.RELEASES)
    assert (do.Send in kinds) == (Step.KEYS < step < Step.DONE)
    timers = {e.timer for e in made.effects if isinstance(e, do.StartTimer)}
    assert (f"group-0-{step.name.lower()}" in timers) == (step is not Step.DONE)


class Masked(RuleBasedStateMachine):
    """Everything in any order: answers, repetitions, deadlines, kills."""

    def __init__(self) -> None:
        super().__init__()
        self.made = Round()

    @property
    def going_on(self) -> bool:
        return isinstance(self.made.state, at.Masking)

    @precondition(lambda self: self.going_on)
    @rule(device=st.sampled_from(sorted(KEYS)), fetched=st.booleans())
    def a_member_is_heard(self, device: DeviceId, fetched: bool) -> None:
        self.made.deliver(device, fetched=fetched)

    @precondition(lambda self: self.going_on)
    @rule(index=st.integers(0, 1), but=st.integers(0, 2))
    def a_group_is_heard(self, index: int, but: int) -> None:
        self.made.everybody(index, but=self.made.devices(index)[:but])

    @precondition(lambda self: self.going_on)
    @rule(index=st.integers(0, 1))
    def a_deadline_passes(self, index: int) -> None:
        self.made.deadline(index)

    @rule()
    def the_aggregator_is_killed(self) -> None:
        self.made.kill()

    @precondition(lambda self: self.going_on)
    @rule(index=st.integers(0, 1), good=st.booleans())
    def a_sum_is_had_or_not(self, index: int, good: bool) -> None:
        if self.made.session(index).step is not Step.DONE:
            return
        failed = on.GroupRefused(index, Reason.SUM_MISMATCH, "")
        self.made.on(on.GroupSummed(index, named(f"sum {index}")) if good else failed)

    @invariant()
    def nobody_is_told_two_things_in_one_step(self) -> None:
        assert all(len(said) == 1 for said in self.made.told.values())

    @invariant()
    def a_sum_has_the_threshold(self) -> None:
        if not self.going_on:
            return
        for run in self.made.masking.groups:
            if run.session.step > Step.INPUTS:
                assert len(run.session.survivors) >= run.session.group.threshold

    def teardown(self) -> None:
        for _ in range(12):
            for index in (0, 1):
                if self.going_on:
                    self.made.deadline(index)
                if self.going_on:
                    self.a_sum_is_had_or_not(index, good=True)
        assert isinstance(self.made.state, at.Merging | at.Failing)


TestMasked = Masked.TestCase
TestMasked.settings = settings(max_examples=20, stateful_step_count=30)

"""Random calls to the aggregator's round machine, one rule per event, hostile and late ones too."""

from collections.abc import Callable
from typing import get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from tests.aggregator.round_kit import (
    BEACON,
    DEVICES,
    PHASES,
    STRANGER,
    Bench,
    commitment,
    named,
    opening,
    refusal,
    signature,
    submission,
)

from zkpot.errors import Failure, Reason
from zkpot.ids import DeviceId, Digest, Round, digest
from zkpot.keys import KeyPair
from zkpot.record import Verdict, Verdicts
from zkpot.wire.codec import decode_tagged, encode_tagged
from zkpot.wire.messages import Receipt
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import machine
from zkpot_aggregator.round import states as at

KEYS = st.sampled_from(DEVICES)
TEXTS = st.sampled_from(("first", "second"))
REASONS = st.sampled_from((None, None, Reason.PROOF_INVALID, Reason.OBJECT_UNAVAILABLE))
TIMERS = ("commit", "prove", "verify", "aggregate", "record-0", "record-1", "record-2", "record-3")
ORDER = {kind: place for place, kind in enumerate(get_args(at.State))}

BRINGS_FORWARD: dict[type, type] = {
    at.Opening: do.OpenOnChain,
    at.Committing: do.StartTimer,
    at.Sealing: do.SealOnChain,
    at.Drawing: do.DrawOnChain,
    at.Revealing: do.RevealBatch,
    at.Proving: do.StartTimer,
    at.Aggregating: do.StartTimer,
    at.Summing: do.SumModels,
    at.Recording: do.StartTimer,
    at.Closing: do.CloseOnChain,
    at.Failing: do.FailOnChain,
}
"""Without this effect among those of `resume` a restarted round would stand still."""


FORWARD: dict[type, Callable[[int], on.Event]] = {
    at.Opening: lambda _: on.OpenedOnChain(),
    at.Sealing: lambda _: on.SealedOnChain(17),
    at.Drawing: lambda _: on.Drawn(BEACON),
    at.Revealing: lambda _: on.Revealed(named("batch"), 6),
    at.Summing: lambda count: on.Summed(named("model"), b"blinding", count),
    at.Closing: lambda _: on.ClosedOnChain(Digest(digest("signed"))),
    at.Failing: lambda _: on.FailedOnChain(),
}
LATE: dict[on.Event, tuple[type, ...]] = {
    on.OpenedOnChain(): (at.Opening,),
    on.SealedOnChain(99): (at.Sealing,),
    on.Drawn(BEACON): (at.Drawing,),
    on.Revealed(named("batch"), 3): (at.Revealing,),
    on.Summed(named("model"), b"blinding", 9): (at.Summing,),
    on.ClosedOnChain(Digest(digest("signed"))): (at.Closing,),
    on.FailedOnChain(): (at.Failing,),
    on.CommitmentChecked(commitment(STRANGER), None): (),
    on.SubmissionChecked(submission(STRANGER), None): (),
    on.OpeningChecked(opening(STRANGER), None): (),
}
"""The states in which each event is awaited; in all others it must change nothing."""

CHECKED: dict[type, Callable[[bytes, Reason | None], on.Event]] = {
    at.Committing: on.CommitmentChecked,
    at.Proving: on.SubmissionChecked,
    at.Aggregating: on.OpeningChecked,
}


class RoundCalls(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.before: at.State = self.bench.state
        self.verdicts: dict[DeviceId, Verdict] = {}

    def feed(self, happening: on.Event, *, must_stay: bool = False) -> None:
        self.before = self.bench.state
        self.bench.on(happening)
        if must_stay:
            assert self.bench.state == self.before
            assert {type(effect) for effect in self.bench.effects} <= {do.LogRejection, do.Send}

    def at(self, *kinds: type) -> bool:
        return isinstance(self.bench.state, kinds)

    @initialize(
        phase=st.sampled_from(("opening", "committing", "proving", "aggregating", "recording"))
    )
    def begins(self, phase: str) -> None:
        """Late phases are too far away for chance alone."""
        PHASES[phase](self.bench)
        self.before = self.bench.state

    # --- chain and own work -----------------------------------------------------------------

    @precondition(lambda self: self.at(*FORWARD))
    @rule(model_count=st.integers(2, 10))
    def goes_on(self, model_count: int) -> None:
        """What the state waits for happens."""
        self.feed(FORWARD[type(self.bench.state)](model_count))

    @rule(late=st.sampled_from(sorted(LATE, key=repr)))
    def happens_late(self, late: on.Event) -> None:
        expected = self.at(*LATE[late])
        self.before = self.bench.state
        self.bench.on(late)
        if not expected:
            assert self.bench.state == self.before
            assert self.bench.effects == ()

    @precondition(lambda self: self.at(at.Sealing, at.Drawing, at.Revealing, at.Summing))
    @rule(failure=st.sampled_from(Failure), luck=st.integers(0, 4))
    def cannot_go_on(self, failure: Failure, luck: int) -> None:
        if luck == 0:
            self.feed(on.CannotGoOn(failure, "broken"))

    @precondition(lambda self: self.at(at.Committing, at.Proving, at.Aggregating, at.Recording))
    @rule(timer=st.sampled_from(TIMERS), luck=st.booleans())
    def deadline_passed(self, timer: str, luck: bool) -> None:
        if luck:
            self.feed(on.DeadlinePassed(timer))

    # --- devices ----------------------------------------------------------------------------

    @rule(key=st.sampled_from(DEVICES[:2]), text=TEXTS)
    def commitment_received(self, key: KeyPair, text: str) -> None:
        self.feed(
            on.CommitmentReceived(commitment(key, text)), must_stay=not self.at(at.Committing)
        )

    @rule(key=KEYS, count=st.integers(6, 8))
    def submission_received(self, key: KeyPair, count: int) -> None:
        self.feed(on.SubmissionReceived(submission(key, count)), must_stay=not self.at(at.Proving))

    @rule(key=KEYS, text=TEXTS)
    def opening_received(self, key: KeyPair, text: str) -> None:
        self.feed(on.OpeningReceived(opening(key, text)), must_stay=not self.at(at.Aggregating))

    @precondition(lambda self: bool(getattr(self.bench.state, "checking", ())))
    @rule(place=st.integers(0, 3), reason=REASONS)
    def checked(self, place: int, reason: Reason | None) -> None:
        """One of the checks under way ends."""
        state = self.bench.state
        assert isinstance(state, at.Committing | at.Proving | at.Aggregating)
        envelope = state.checking[place % len(state.checking)].envelope
        self.feed(CHECKED[type(state)](envelope, reason))

    @precondition(lambda self: self.at(at.Recording))
    @rule(key=KEYS, accepts=st.booleans())
    def record_answered(self, key: KeyPair, accepts: bool) -> None:
        answer = (signature if accepts else refusal)(key, self.bench.record)
        asked = key == self.bench.leader
        self.feed(on.RecordAnswered(answer), must_stay=not asked)

    # --- honest stretches, so that late phases are reached ----------------------------------

    @precondition(lambda self: isinstance(self.bench.state, at.Committing))
    @rule()
    def everybody_commits(self) -> None:
        for key in DEVICES:
            for each in (
                on.CommitmentReceived(commitment(key)),
                on.CommitmentChecked(commitment(key), None),
            ):
                self.feed(each)
                self.each_step()

    @precondition(lambda self: isinstance(self.bench.state, at.Proving))
    @rule()
    def everybody_proves(self) -> None:
        for key in DEVICES:
            for each in (
                on.SubmissionReceived(submission(key)),
                on.SubmissionChecked(submission(key), None),
            ):
                self.feed(each)
                self.each_step()

    @precondition(lambda self: isinstance(self.bench.state, at.Aggregating))
    @rule()
    def everybody_opens(self) -> None:
        for key in DEVICES:
            for each in (
                on.OpeningReceived(opening(key)),
                on.OpeningChecked(opening(key), None),
            ):
                self.feed(each)
                self.each_step()

    # --- the hostile ------------------------------------------------------------------------

    @rule(
        data=st.binary(max_size=200),
        kind=st.sampled_from(
            (on.CommitmentReceived, on.SubmissionReceived, on.OpeningReceived, on.RecordAnswered)
        ),
    )
    def garbage(
        self,
        data: bytes,
        kind: type[
            on.CommitmentReceived | on.SubmissionReceived | on.OpeningReceived | on.RecordAnswered
        ],
    ) -> None:
        self.feed(kind(data), must_stay=True)
        assert [type(effect) for effect in self.bench.effects] == [do.LogRejection]

    @rule(
        key=st.sampled_from((*DEVICES, STRANGER)),
        number=st.sampled_from((Round(1), Round(2), Round(4))),
        wrong_parent=st.booleans(),
    )
    def out_of_place(self, key: KeyPair, number: Round, wrong_parent: bool) -> None:
        changes = {"parent": Digest(bytes(32))} if wrong_parent else {"round": number}
        for each in (
            on.CommitmentReceived(commitment(key, **changes)),
            on.SubmissionReceived(submission(key, **changes)),
            on.OpeningReceived(opening(key, **changes)),
        ):
            self.feed(each, must_stay=True)
            assert len(self.bench.made(do.LogRejection)) == 1
            assert len(self.bench.receipts()) == (key != STRANGER)

    @rule(key=st.sampled_from((*DEVICES, STRANGER)))
    def signature_of_another_record(self, key: KeyPair) -> None:
        self.feed(on.RecordAnswered(signature(key, named("another"))), must_stay=True)

    # --- what always holds ------------------------------------------------------------------

    @invariant()
    def each_step(self) -> None:
        self._ended_is_final()
        self._no_way_back()
        self._survives_the_disk()
        self._one_slot_per_device()
        self._receipts_are_kept()

    def _ended_is_final(self) -> None:
        if isinstance(self.before, at.Ended):
            assert self.bench.state == self.before
            assert {type(effect) for effect in self.bench.effects} <= {do.LogRejection, do.Send}

    def _no_way_back(self) -> None:
        assert ORDER[type(self.bench.state)] >= ORDER[type(self.before)]

    def _survives_the_disk(self) -> None:
        state: at.State = decode_tagged(get_args(at.State), encode_tagged(self.bench.state))
        assert state == self.bench.state
        resumed = machine.resume(self.bench.terms, state)
        if isinstance(state, at.Ended):
            assert resumed == ()
            return
        assert BRINGS_FORWARD[type(state)] in {type(effect) for effect in resumed}
        under_way = getattr(state, "checking", ())
        asked = (do.CheckCommitment, do.CheckSubmission, do.CheckOpening)
        again = [effect.envelope for effect in resumed if isinstance(effect, asked)]
        assert again == [signed.envelope for signed in under_way]

    def _one_slot_per_device(self) -> None:
        state = self.bench.state
        if isinstance(state, at.Committing):
            slots = [signed.device for signed in (*state.commitments, *state.checking)]
            assert len(slots) == len(set(slots))
            accused = [misconduct.device for misconduct in state.misconduct]
            assert len(accused) == len(set(accused))
            assert all(len(set(m.evidence)) == 2 for m in state.misconduct)
        if isinstance(state, at.Proving):
            judged = [verdict.device for verdict in state.verdicts]
            judged += [signed.device for signed in state.checking]
            assert len(judged) == len(set(judged))
            assert set(judged) <= set(state.sealed.devices)
            self._verdicts_stay({v.device: v for v in state.verdicts})
        if isinstance(state, at.Aggregating | at.Summing):
            assert [verdict.device for verdict in state.verdicts] == list(state.sealed.devices)
            opened = [signed.device for signed in state.openings]
            assert len(opened) == len(set(opened))
            assert set(opened) <= set(Verdicts(state.verdicts).accepted)
            assert len(Verdicts(state.verdicts).accepted) >= self.bench.terms.task.minimum_devices
            self._verdicts_stay({v.device: v for v in state.verdicts})
        if isinstance(state, at.Recording):
            assert state.order[0] == state.record.leader
            assert state.rank < len(state.order)
            summed = [summand.device for summand in state.record.sum.summands]
            assert summed == sorted(set(summed))
            assert len(summed) >= self.bench.terms.task.minimum_devices
            assert len(set(state.order)) == len(state.order)

    def _verdicts_stay(self, verdicts: dict[DeviceId, Verdict]) -> None:
        for device, verdict in self.verdicts.items():
            assert verdicts[device] == verdict
        self.verdicts = verdicts

    def _receipts_are_kept(self) -> None:
        """A receipt is evidence: it means a place among what will be sealed, judged, summed."""
        state = self.bench.state
        for send in self.bench.made(do.Send):
            if not isinstance(send.message, Receipt) or send.message.reason is not None:
                continue
            if isinstance(state, at.Committing):
                assert send.device in {signed.device for signed in state.commitments}
            elif isinstance(state, at.Sealing | at.Drawing | at.Revealing | at.Proving):
                assert send.device in state.sealed.devices
                if send.message.envelope not in state.sealed.envelopes:
                    assert isinstance(state, at.Proving)
                    assert send.device in Verdicts(state.verdicts).accepted
            elif isinstance(state, at.Aggregating | at.Summing):
                assert send.device in {
                    *(signed.device for signed in state.openings),
                    *Verdicts(state.verdicts).accepted,
                    *state.sealed.devices,
                }


TestRoundCalls = RoundCalls.TestCase
TestRoundCalls.settings = settings(max_examples=150, stateful_step_count=30)

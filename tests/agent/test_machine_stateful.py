"""The device's round under announcements, results and restarts in any order."""

from typing import Any, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.agent import members
from tests.agent.announcements import TASK, announcement, cid

from zkpot.cid import Cid
from zkpot.errors import Reason
from zkpot.ids import Beacon, Digest, Round
from zkpot.wire.codec import decode_tagged, encode_tagged
from zkpot.wire.messages import Commitment, Opening, Phase, Receipt, Submission
from zkpot.wire.topics import Kind
from zkpot_agent.round import effects as do
from zkpot_agent.round import events as on
from zkpot_agent.round import machine
from zkpot_agent.round import states as at

ROUNDS = st.integers(0, 4)
PHASES = st.sampled_from(list(Phase))
VARIANTS = st.sampled_from(("", " again"))
REASONS = st.none() | st.sampled_from(list(Reason))


class Device(RuleBasedStateMachine):
    """One device; `secrets` is what its journal holds, `sent` what its outbox ever held."""

    def __init__(self) -> None:
        super().__init__()
        self.state: at.State = at.Idle(Round(0))
        self.secrets: dict[Round, bytes] = {}
        self.members: dict[Round, bytes] = {}
        self.sent: dict[tuple[type, Round], set[object]] = {}
        self.proven: dict[bytes, set[tuple[Beacon, Cid]]] = {}
        self.work: do.Effect | None = None
        self.made = 0
        self.past: list[on.Event] = []

    def _apply(self, event: on.Event) -> None:
        before = self.state
        step = machine.step(before, event)
        assert machine.step(before, event) == step
        assert machine.round_of(step.state) >= machine.round_of(before)
        self.state = step.state
        self.past = [*self.past[-20:], event]
        for effect in step.effects:
            if isinstance(effect, do.Send) and effect.kind is Kind.SECURE:
                again = effect.message in self.sent.get(self._slot(effect), set())
                kept = any(isinstance(other, do.KeepMember) for other in step.effects)
                assert again or kept, "what must be remembered is not on disk with the answer"
            self._carry_out(effect)

    def _slot(self, effect: do.Send) -> tuple[type, Round]:
        return type(effect.message), machine.round_of(self.state)

    def _carry_out(self, effect: do.Effect) -> None:
        match effect:
            case do.Send(kind, message):
                if isinstance(message, Commitment | Submission | Opening) or kind is Kind.SECURE:
                    self.sent.setdefault(self._slot(effect), set()).add(message)
                self._check_round(message)
            case do.KeepMember(number, member):
                self.members[number] = member
            case do.Prove(proving):
                drawn = (proving.beacon, proving.batch)
                self.proven.setdefault(proving.commitment, set()).add(drawn)
                assert proving.joined.round in self.secrets
                self.work = effect
            case do.Train() | do.Contribute() | do.Answer() | do.CheckRecord():
                self.work = effect
            case do.Forget(last):
                self.secrets = {r: s for r, s in self.secrets.items() if r > last}
                self.members = {r: m for r, m in self.members.items() if r > last}
                self.work = None

    def _check_round(self, message: Any) -> None:
        now = machine.round_of(self.state)
        if hasattr(message, "group"):
            assert message.group == members.group(now).digest
        else:
            assert message.round == now

    # --- one event per rule -----------------------------------------------------------------

    @rule(offset=st.integers(-2, 2), phase=PHASES, variant=VARIANTS)
    def announcement(self, offset: int, phase: Phase, variant: str) -> None:
        number = max(machine.round_of(self.state) + offset, 0)
        self._apply(on.Announced(announcement(number, phase, variant)))

    @rule(variant=VARIANTS)
    def the_round_goes_on(self, variant: str) -> None:
        """What an honest aggregator announces next; without it few histories get anywhere."""
        number, phase = machine.round_of(self.state), Phase.COMMIT
        match self.state:
            case at.Idle():
                number = Round(number + 1)
            case at.Committed() | at.Proving():
                phase = Phase.PROVE
            case at.Submitted():
                phase = Phase.AGGREGATE
            case at.Opened() | at.Seated():
                phase = Phase.CLOSED
        self._apply(on.Announced(announcement(number, phase, variant)))

    @precondition(lambda self: self.work is not None)
    @rule(secure=st.booleans())
    def work_done_well(self, *, secure: bool) -> None:
        self._finish(None, secure=secure)

    @rule(steps=st.integers(4, 16), secure=st.booleans())
    def all_goes_well(self, steps: int, *, secure: bool) -> None:
        """For a while: single steps alone rarely lead through a whole round."""
        for _ in range(steps):
            if self.work is not None:
                self._finish(None, secure=secure)
            elif isinstance(self.state, at.Seated) and len(self.state.told) < members.STEPS:
                self.the_group_goes_on()
            else:
                self.the_round_goes_on("")

    @rule(phase=st.sampled_from((Phase.COMMIT, Phase.SEAL, Phase.PROVE)), variant=VARIANTS)
    def announcement_again(self, phase: Phase, variant: str) -> None:
        number = machine.round_of(self.state)
        self._apply(on.Announced(announcement(number, phase, variant)))

    @rule(missing=st.sampled_from(("sealed", "beacon", "batch", "verdicts", "record")))
    def incomplete_announcement(self, missing: str) -> None:
        number = machine.round_of(self.state)
        phase = Phase.AGGREGATE if missing == "verdicts" else Phase.PROVE
        changes: dict[str, Any] = {missing: None}
        self._apply(on.Announced(announcement(number, phase, **changes)))

    @precondition(lambda self: self.work is not None)
    @rule(reason=REASONS, secure=st.booleans())
    def work_done(self, reason: Reason | None, *, secure: bool) -> None:
        self._finish(reason, secure=secure)

    def _finish(self, reason: Reason | None, *, secure: bool) -> None:
        self.made += 1
        done, self.work = self.work, None
        match done:
            case do.Train(joined):
                secret = f"commitment {self.made}".encode()
                self.secrets[joined.round] = secret
                self._apply(on.Trained(joined.round, secret, None))
            case do.Prove(proving):
                proof = cid(f"proof {self.made}")
                assert self.secrets[proving.joined.round] == proving.commitment
                self._apply(on.Proved(proving.joined.round, self.made, proof))
            case do.Contribute(submitted):
                number = submitted.joined.round
                assert number in self.secrets
                if secure:
                    keys = members.advertisement(number, made=self.made % 256)
                    group, member = members.group(number), self._fresh_member()
                    self._apply(on.Advertised(number, group, keys, member))
                else:
                    sealed = cid(f"sealed opening {self.made}")
                    self._apply(on.OpeningSealed(number, sealed))
            case do.Answer(seated) if reason is None:
                number, place = seated.group.round, len(seated.told) - 1
                assert number in self.secrets
                assert number in self.members
                ours = members.answer(number, place, self.made)
                self._apply(on.Answered(number, ours, self._fresh_member()))
            case do.Answer(seated):
                self._apply(on.Refused(seated.group.round, "refused"))
            case do.CheckRecord(opened, record):
                number = opened.submitted.joined.round
                self._apply(on.RecordChecked(number, record, reason, "detail"))

    def _fresh_member(self) -> bytes:
        return f"member {self.made}".encode()

    @precondition(lambda self: isinstance(self.state, at.Seated))
    @rule()
    def the_group_goes_on(self) -> None:
        """What an honest aggregator asks its members next."""
        assert isinstance(self.state, at.Seated)
        place = min(len(self.state.told), members.STEPS - 1)
        self._apply(on.Told(members.told(machine.round_of(self.state), place)))

    @rule(offset=st.integers(-1, 1), place=st.integers(0, members.STEPS - 1), variant=VARIANTS)
    def told(self, offset: int, place: int, variant: str) -> None:
        number = max(machine.round_of(self.state) + offset, 0)
        self._apply(on.Told(members.told(number, place, variant)))

    @precondition(lambda self: self.work is not None)
    @rule()
    def work_fails(self) -> None:
        done, self.work = self.work, None
        number = machine.round_of(self.state)
        gave_up = on.Declined if isinstance(done, do.Prove) else on.GaveUp
        self._apply(gave_up(number, "failed"))

    @rule(number=ROUNDS)
    def late_results(self, number: int) -> None:
        if number != machine.round_of(self.state):
            self._apply(on.Trained(Round(number), b"late", None))
            self._apply(on.Proved(Round(number), 1, cid("late")))
            self._apply(on.OpeningSealed(Round(number), cid("late")))
            ours = members.advertisement(number), b"late"
            self._apply(on.Advertised(Round(number), members.group(number), *ours))
            self._apply(on.Answered(Round(number), members.answer(number, 0), b"late"))
            self._apply(on.Refused(Round(number), "late"))
            self._apply(on.Declined(Round(number), "late"))
            self._apply(on.GaveUp(Round(number), "late"))

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def duplicate(self, data: st.DataObject) -> None:
        """Announcements, proposals and receipts may arrive twice; work reports once."""
        event = data.draw(st.sampled_from(self.past))
        if isinstance(event, on.Announced | on.RecordProposed | on.Receipted | on.Told):
            self._apply(event)

    @rule(offset=st.integers(-1, 1))
    def proposal(self, offset: int) -> None:
        number = max(machine.round_of(self.state) + offset, 0)
        self._apply(on.RecordProposed(Round(number), cid(f"record {number}")))

    @rule(reason=REASONS)
    def receipt(self, reason: Reason | None) -> None:
        number = machine.round_of(self.state)
        self._apply(on.Receipted(Receipt(TASK, number, Digest(bytes(32)), reason, "")))

    @rule()
    def restart(self) -> None:
        self.state = decode_tagged(get_args(at.State), encode_tagged(self.state))
        self.work = None
        for effect in machine.resume(self.state):
            if isinstance(effect, do.Send):
                assert effect.message in self.sent[self._slot(effect)], "was not decided"
            self._carry_out(effect)

    # --- what always holds ------------------------------------------------------------------

    @invariant()
    def one_message_of_a_kind_per_round(self) -> None:
        assert all(len(messages) == 1 for messages in self.sent.values())

    @invariant()
    def one_beacon_per_commitment(self) -> None:
        assert all(len(drawn) == 1 for drawn in self.proven.values())

    @invariant()
    def secrets_end_with_their_round(self) -> None:
        now = machine.round_of(self.state)
        assert all(number >= now for number in (*self.secrets, *self.members))
        if isinstance(self.state, at.Idle):
            assert not self.secrets
            assert not self.members

    @invariant()
    def an_answer_follows_its_question(self) -> None:
        """Where the disk says that we answered, it also says what."""
        if isinstance(self.state, at.Seated):
            missing = 1 if self.state.is_answering else 0
            assert len(self.state.answers) == len(self.state.told) + 1 - missing
            assert machine.round_of(self.state) in self.members

    @invariant()
    def the_state_survives_the_disk(self) -> None:
        assert decode_tagged(get_args(at.State), encode_tagged(self.state)) == self.state

    @invariant()
    def resuming_is_never_about_another_round(self) -> None:
        for effect in machine.resume(self.state):
            if isinstance(effect, do.Send):
                self._check_round(effect.message)


TestDevice = Device.TestCase
TestDevice.settings = settings(max_examples=150, stateful_step_count=40)

"""Any order of arrivals, repeats, silences, crashes and lies: a right sum, or none."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

pytest.importorskip("zkpot_prover")

from tests.secure.kit import (
    OPERATOR,
    World,
    advance,
    begin,
    commitments,
    make_owns,
    one_group,
    over_the_wire,
    taken,
)
from tests.secure.kit import real_openings as openings

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId
from zkpot.secure.exchange import (
    FromMember,
    MaskedVector,
    SealedRelease,
    ShareKind,
    Survivors,
    ToMember,
    decode_masked_vector,
    open_release,
)
from zkpot.secure.member import answer
from zkpot.secure.session import Session, Step, close, told
from zkpot.secure.states import MemberState, decode_state, encode_state
from zkpot.secure.unmask import unmask
from zkpot.wire.codec import decode, encode

OWNS = make_owns(openings(6))
GROUP = one_group(OWNS, weights=[1, 2, 3, 4, 5, 6])
LENGTHS = begin(GROUP, OWNS).lengths
PICK = st.integers(0, 5)


class GroupMachine(RuleBasedStateMachine):
    """One group; `mail` waits for members, `answers` for the aggregator."""

    def __init__(self) -> None:
        super().__init__()
        world = begin(GROUP, OWNS)
        self.session: Session = world.session
        self.states: dict[DeviceId, MemberState] = dict(world.states)
        self.answers: dict[DeviceId, FromMember] = dict(world.answers)
        self.sent: list[tuple[DeviceId, FromMember]] = []
        self.mail: dict[DeviceId, ToMember] = {}
        self.inputs: dict[DeviceId, MaskedVector] = {}
        self.public_keys = {device: own.key.public_key for device, own in OWNS.items()}
        self.failed = False

    @rule(index=PICK)
    def answer_arrives(self, index: int) -> None:
        device = GROUP.devices[index]
        message = self.answers.pop(device, None)
        if message is None:
            return
        self.sent.append((device, message))
        try:
            self.session = taken(self.session, device, over_the_wire(message), self.public_keys)
        except Rejected as rejection:
            if rejection.reason not in {Reason.OUT_OF_PHASE, Reason.NOT_IN_ROSTER}:
                raise

    @rule(data=st.data())
    def answer_arrives_again(self, data: st.DataObject) -> None:
        if not self.sent:
            return
        device, message = data.draw(st.sampled_from(self.sent))
        with pytest.raises(Rejected):
            taken(self.session, device, message, self.public_keys)

    @rule(index=PICK)
    def member_gets_its_mail(self, index: int) -> None:
        device = GROUP.devices[index]
        message = self.mail.get(device)
        if message is None:
            return
        try:
            found = answer(self.states[device], over_the_wire(message), OWNS[device])
        except Rejected as rejection:
            if rejection.reason is not Reason.DUPLICATE:
                raise
            return
        self.states[device], self.answers[device] = found.state, found.message
        if found.vector is not None:
            self.inputs[device] = decode_masked_vector(found.vector)

    @rule(index=PICK)
    def member_is_killed(self, index: int) -> None:
        device = GROUP.devices[index]
        self.states[device] = decode_state(encode_state(self.states[device]))

    @rule()
    def aggregator_is_killed(self) -> None:
        self.session = decode(Session, encode(self.session), limit=1 << 24)

    @rule()
    def deadline(self) -> None:
        if self.failed or self.session.step is Step.DONE:
            return
        try:
            self.session = close(self.session)
            self.mail = told(self.session)
        except Rejected:
            assert len(self.session.members(self.session.step)) < GROUP.threshold
            self.failed = True

    @precondition(lambda self: self.session.step < Step.DONE and not self.failed)
    @rule()
    def everything_arrives(self) -> None:
        for index in range(6):
            self.member_gets_its_mail(index)
            self.answer_arrives(index)
        self.deadline()

    @rule(index=PICK, gone=PICK)
    def aggregator_lies_about_the_survivors(self, index: int, gone: int) -> None:
        device = GROUP.devices[index]
        lie = Survivors(GROUP.digest, tuple(d for n, d in enumerate(GROUP.devices) if n != gone))
        if self.mail.get(device) == lie or self.session.step is Step.CONFIRMATIONS:
            return
        state = self.states[device]
        if len(state.seat.answered) == 2:
            return
        with pytest.raises(Rejected):
            answer(state, lie, OWNS[device])

    @invariant()
    def nobody_releases_both_kinds(self) -> None:
        dealer_to_kinds: dict[DeviceId, set[ShareKind]] = {}
        for _, message in (*self.sent, *self.answers.items()):
            if not isinstance(message, SealedRelease):
                continue
            for item in open_release(OPERATOR, message).shares:
                dealer_to_kinds.setdefault(item.dealer, set()).add(item.kind)
        assert all(len(kinds) == 1 for kinds in dealer_to_kinds.values())

    @invariant()
    def a_sum_is_right(self) -> None:
        if self.session.step is not Step.DONE:
            return
        found = unmask(self.session, LENGTHS, self.inputs)
        survivors = found.survivors
        assert len(survivors) >= GROUP.threshold
        expected = commitments().add_openings(
            [OWNS[device].opening for device in survivors],
            [GROUP.device_to_weight[device] for device in survivors],
        )
        assert np.array_equal(found.theta_sum, expected.theta)
        assert found.blinding == expected.blinding


TestGroup = GroupMachine.TestCase
TestGroup.settings = settings(max_examples=20, stateful_step_count=30)


@pytest.mark.parametrize("killed_in", [step for step in Step if step is not Step.DONE])
def test_members_go_on_after_a_kill_in_any_step(killed_in: Step) -> None:
    """The state is on disk before the answer is sent; the answer is sent from the outbox."""
    world = begin(GROUP, OWNS)
    while world.session.step is not Step.DONE:
        if world.session.step is killed_in:
            disk = {device: encode_state(state) for device, state in world.states.items()}
            outbox = {d: (type(m), encode(m)) for d, m in world.answers.items()}
            states = {device: decode_state(data) for device, data in disk.items()}
            answers = {d: decode(t, data, limit=1 << 24) for d, (t, data) in outbox.items()}
            world = replace(world, states=states, answers=answers)
        world = advance(world)
    assert unmask(world.session, world.lengths, world.inputs).survivors == GROUP.devices


def test_a_member_killed_before_its_state_was_written_answers_as_if_asked_first() -> None:
    world: World = advance(begin(GROUP, OWNS))
    before = dict(world.states)
    after = advance(world)
    device = GROUP.devices[0]
    # Masking and confirming are functions: done again they give the same bytes.
    again = answer(before[device], after.told[device], OWNS[device])
    assert encode(again.message) == encode(after.answers[device])
    assert encode_state(again.state) == encode_state(after.states[device])

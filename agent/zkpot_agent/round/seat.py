"""The transitions of a device in its group: one answer to each message, for ever.

The first message in a place counts, and is kept before it is looked at. The same one again is
given the same answer again; another one in its place is noted and never answered. One that
is refused leaves its place free, for nothing was answered to it.
"""

from dataclasses import replace

from zkpot.secure.member import ORDER
from zkpot.wire.codec import encode_tagged
from zkpot.wire.topics import Kind
from zkpot_agent.round import effects as do
from zkpot_agent.round import events as on
from zkpot_agent.round import states as at
from zkpot_agent.round.step import Step


def advertised(state: at.Opening, event: on.Advertised) -> Step:
    """Takes our place in the group."""
    submitted = state.submitted
    if event.round != submitted.joined.round:
        return Step(state)
    answers = (encode_tagged(event.advertisement),)
    seated = at.Seated(submitted, state.verdicts, event.group, (), answers)
    return Step(seated, (do.KeepMember(event.round, event.member), _send(seated, 0)))


def told(state: at.Seated, event: on.Told) -> Step:
    """The aggregator's message: the next one, one that was answered, or one to ignore."""
    message, place = event.message, ORDER.index(type(event.message))
    if message.group != state.group.digest:
        return Step(state)
    tagged = encode_tagged(message)
    if place < len(state.told):
        if state.told[place] != tagged:
            what = f"a second {type(message).__name__} came for our group"
            return Step(state, (do.LogIncident(state.group.round, what),))
        answer = place + 1
        return Step(state, (_send(state, answer),) if answer < len(state.answers) else ())
    if place > len(state.told) or state.is_answering:
        return Step(state)
    asked = replace(state, told=(*state.told, tagged))
    return Step(asked, (do.Answer(asked),))


def answered(state: at.Seated, event: on.Answered) -> Step:
    """Our answer is made: what we must remember goes to disk together with it."""
    if event.round != state.group.round or not state.is_answering:
        return Step(state)
    after = replace(state, answers=(*state.answers, encode_tagged(event.answer)))
    kept = do.KeepMember(event.round, event.member)
    return Step(after, (kept, _send(after, len(after.answers) - 1)))


def refused(state: at.Seated, event: on.Refused) -> Step:
    """Nothing is answered to the last message: another may come in its place."""
    if event.round != state.group.round or not state.is_answering:
        return Step(state)
    what = f"refused a {type(state.last_told).__name__}: {event.why}"[:200]
    after = replace(state, told=state.told[:-1])
    return Step(after, (do.LogIncident(event.round, what),))


def resume(state: at.Seated) -> tuple[do.Effect, ...]:
    """Goes on with the answer that is missing, or sends the last one again."""
    if state.is_answering:
        return (do.Answer(state),)
    return (_send(state, len(state.answers) - 1),)


def _send(state: at.Seated, place: int) -> do.Send:
    return do.Send(Kind.SECURE, state.answer(place))

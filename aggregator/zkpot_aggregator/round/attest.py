"""After CLOSE, in a task with validators: the next round waits for them, but not for ever.

A round they make final, or do not settle in time, stands. One they reject is as if it had
failed: the chain's head, from which the next round starts, has moved back.
"""

from dataclasses import replace

from zkpot.verify import RoundTerms
from zkpot.wire.messages import Phase
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.round.entry import Step, announce, enter


def settled(_terms: RoundTerms, state: at.Attesting, event: on.Settled) -> Step:
    """The validators have decided."""
    if event.final:
        return Step(_ended(state))
    rejected = announce(state, Phase.FAILED, reason="rejected by the validators")
    return Step(at.Ended(state.start, None, state.start.model), (rejected,))


def deadline(_terms: RoundTerms, state: at.Attesting, event: on.DeadlinePassed) -> Step:
    """The round stays unattested."""
    return Step(_ended(state) if event.timer == "attest" else state)


def head_moved(terms: RoundTerms, state: at.Opening, event: on.HeadMoved) -> Step:
    """The parent was rejected before this round could open: it starts from what is left."""
    start = replace(state.start, parent=event.parent, model=event.model)
    return enter(at.Opening(start), terms=terms)


def _ended(state: at.Attesting) -> at.Ended:
    return at.Ended(state.start, state.signed, state.model_after, state.leader_signature)

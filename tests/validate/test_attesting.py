"""The aggregator's machine after CLOSE: validators decide, in time or not."""

from dataclasses import replace

from tests.aggregator.round_kit import DEVICES, Bench, make_task, make_terms, named, signature

from zkpot.ids import Digest, digest
from zkpot.keys import KeyPair
from zkpot.task import Validator
from zkpot.wire.codec import decode_tagged, encode_tagged
from zkpot.wire.messages import Phase
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import machine
from zkpot_aggregator.round import states as at

VALIDATORS = tuple(
    Validator(bytes([n]) * 20, KeyPair.from_seed(bytes([n]) * 32).public_key) for n in (90, 91, 92)
)
SIGNED = Digest(digest("signed"))


def closed() -> Bench:
    """A round that has just been closed, in a task with validators."""
    task = make_task(validators=VALIDATORS, quorum=2)
    bench = Bench(replace(make_terms(), task=task)).to_recording()
    bench.on(on.RecordAnswered(signature(bench.leader, bench.record)))
    bench.on(on.ClosedOnChain(SIGNED))
    return bench


def test_a_closed_round_waits_for_its_validators() -> None:
    bench = closed()
    state = bench.now(at.Attesting)
    (announce,) = bench.made(do.Announce)
    assert announce.announcement.phase is Phase.CLOSED
    assert announce.announcement.record == state.record
    assert bench.made(do.StartTimer) == [do.StartTimer("attest", 16)]
    assert bench.made(do.AwaitValidators) == [do.AwaitValidators()]
    assert decode_tagged((at.Attesting,), encode_tagged(state)) == state
    assert machine.resume(bench.terms, state) == bench.effects


def test_a_final_round_stands() -> None:
    bench = closed()
    model = bench.now(at.Attesting).model_after
    bench.on(on.Settled(final=True))
    ended = bench.now(at.Ended)
    assert (ended.signed, ended.model_after) == (SIGNED, model)
    assert bench.effects == ()


def test_an_unattested_round_stands_once_its_time_is_over() -> None:
    bench = closed()
    bench.on(on.DeadlinePassed("record-0"))
    model = bench.now(at.Attesting).model_after
    bench.on(on.DeadlinePassed("attest"))
    assert bench.now(at.Ended).model_after == model


def test_a_rejected_round_is_as_if_it_had_failed() -> None:
    bench = closed()
    bench.on(on.Settled(final=False))
    ended = bench.now(at.Ended)
    assert (ended.signed, ended.model_after) == (None, ended.start.model)
    (announce,) = bench.made(do.Announce)
    assert announce.announcement.phase is Phase.FAILED
    assert announce.announcement.reason == "rejected by the validators"


def test_a_signature_that_comes_again_is_no_fault() -> None:
    bench = closed()
    answered = on.RecordAnswered(bench.now(at.Attesting).leader_signature)
    assert bench.on(answered) == ()
    stranger = on.RecordAnswered(signature(DEVICES[0], named("another")))
    assert bench.on(stranger) != ()


def test_a_round_opens_on_what_a_rejection_has_left() -> None:
    bench = Bench()
    start = bench.now(at.Opening).start
    parent = Digest(digest("left"))
    bench.on(on.HeadMoved(parent, named("earlier")))
    moved = replace(start, parent=parent, model=named("earlier"))
    assert bench.now(at.Opening).start == moved
    assert bench.effects == (do.OpenOnChain(),)

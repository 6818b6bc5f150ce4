"""Consistent tampering by the operator, who owns every key but the devices': never clean.

Each case says which check must find it. What the operator can make entirely consistent still
lacks the leader's signature, and `signatures` finds it.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.audit.conftest import BATCH, ROUNDS
from tests.audit.tamperer import Tamperer
from typer.testing import CliRunner

from zkpot.aggregate import decode_global_model
from zkpot.batch import Reveal, batch_of, draw
from zkpot.cid import Cid, object_cid_from_digest
from zkpot.errors import ExitCode, Reason
from zkpot.ids import Beacon, DeviceId, Digest, Round, TaskId
from zkpot.keys import KeyPair
from zkpot.model import count_correct
from zkpot.proof.system import ModelOpening
from zkpot.record import (
    Misconduct,
    Record,
    Roster,
    RosterEntry,
    SealedList,
    Verdict,
    Verdicts,
    decode_object,
)
from zkpot.statement import commitment_context
from zkpot.wire.envelope import open_as, sign
from zkpot.wire.messages import Commitment, RecordRefusal, RecordSignature
from zkpot_aggregator.cli import app
from zkpot_aggregator.content.base import get_object, put_object
from zkpot_aggregator.ledger.base import LedgerReverted
from zkpot_aggregator.ledger.calls import FailRound, OpenRound, device_word
from zkpot_aggregator.ledger.embedded import EmbeddedLedger
from zkpot_aggregator.ledger.views import RoundClosed, RoundOpened
from zkpot_aggregator.ui.audit import load_system

pytestmark = [pytest.mark.chain, pytest.mark.prover]

Tampering = Callable[[Tamperer, int], None]

INVENTED = KeyPair.from_seed(b"invented".ljust(32))


def fields(**changes: Any) -> Tampering:
    """Changes fields of the record."""
    return lambda t, n: t.commit(n, replace(t.record(n), **changes))


def by(change: Callable[[Tamperer, int, Record], Record]) -> Tampering:
    """Changes the record by what it and the store say."""
    return lambda t, n: t.commit(n, change(t, n, t.record(n)))


def verdicts(change: Callable[[list[Verdict]], list[Verdict]], **changes: Any) -> Tampering:
    return lambda t, n: t.change_verdicts(n, change, **changes)


def first(entries: list[Verdict], *, accepted: bool) -> int:
    return next(i for i, v in enumerate(entries) if (v.reason is None) == accepted)


def edit(accepted: bool, **changes: Any) -> Tampering:
    """Changes the first accepted or the first rejected verdict."""

    def change(entries: list[Verdict]) -> list[Verdict]:
        place = first(entries, accepted=accepted)
        entries[place] = replace(entries[place], **changes)
        return entries

    return verdicts(change)


def another_leader(t: Tamperer, n: int, record: Record) -> Record:
    other = next(v for v in t.verdicts(n) if v.reason is None and v.device != record.leader)
    return replace(record, leader=other.device, count=other.count)


def miscounted(error: int) -> Tampering:
    """The first accepted device has another count."""

    def change(entries: list[Verdict]) -> list[Verdict]:
        place = first(entries, accepted=True)
        entries[place] = replace(entries[place], count=entries[place].count + error)
        return entries

    return verdicts(change)


def leader_silenced(t: Tamperer, n: int) -> None:
    """The leader becomes silent, in its verdict only."""

    def change(entries: list[Verdict]) -> list[Verdict]:
        leader = t.record(n).leader
        silent = Verdict(leader, Reason.NO_SUBMISSION, 0, None)
        return [silent if v.device == leader else v for v in entries]

    t.change_verdicts(n, change)


def others_proof(entries: list[Verdict]) -> list[Verdict]:
    """The rejected device gets the submission of an accepted one."""
    good, bad = first(entries, accepted=True), first(entries, accepted=False)
    entries[bad] = replace(entries[good], device=entries[bad].device)
    return entries


def invented_verdict(entries: list[Verdict]) -> list[Verdict]:
    ghost = replace(entries[first(entries, accepted=True)], device=INVENTED.id)
    return sorted([*entries, ghost], key=lambda v: v.device)


def rejected_admitted(t: Tamperer, n: int) -> None:
    """The liar is accepted with the count it claimed."""

    def change(entries: list[Verdict]) -> list[Verdict]:
        place = first(entries, accepted=False)
        submission = entries[place].submission
        assert submission is not None
        entries[place] = replace(entries[place], reason=None, count=t.task.batch_size - 1)
        return entries

    t.change_verdicts(n, change)


def better_model(t: Tamperer, n: int, record: Record) -> Record:
    model = decode_global_model(t.task.model.shape, get_object(t.content, record.model_after))
    theta = model.theta_sum.copy()
    theta[0] += 1
    changed = replace(model, theta_sum=theta)
    return replace(record, model_after=put_object(t.content, changed.encode()))


def heavier_model(t: Tamperer, n: int, record: Record) -> Record:
    model = decode_global_model(t.task.model.shape, get_object(t.content, record.model_after))
    changed = replace(model, weight=model.weight + 1)
    return replace(record, model_after=put_object(t.content, changed.encode()))


def other_blinding(_t: Tamperer, _n: int, record: Record) -> Record:
    return replace(record, sum=replace(record.sum, blinding=bytes(len(record.sum.blinding))))


def dropped_summand(_t: Tamperer, _n: int, record: Record) -> Record:
    return replace(record, sum=replace(record.sum, summands=record.sum.summands[1:]))


def heavier_summand(_t: Tamperer, _n: int, record: Record) -> Record:
    head, *rest = record.sum.summands
    return replace(record, sum=replace(record.sum, summands=(replace(head, weight=2), *rest)))


def counted_twice(_t: Tamperer, _n: int, record: Record) -> Record:
    head = record.sum.summands[0]
    return replace(record, sum=replace(record.sum, summands=(head, *record.sum.summands)))


def rejected_summed(t: Tamperer, n: int, record: Record) -> Record:
    entries = t.verdicts(n)
    liar = replace(record.sum.summands[0], device=entries[first(entries, accepted=False)].device)
    summands = sorted((*record.sum.summands, liar), key=lambda s: s.device)
    return replace(record, sum=replace(record.sum, summands=tuple(summands)))


def undrawn_batch(t: Tamperer, n: int, record: Record) -> Record:
    drawn = draw(record.beacon, t.task.pool.size, t.task.batch_size, ())
    others = [i for i in range(t.task.pool.size) if i not in drawn][: t.task.batch_size]
    return replace(record, batch=t.reveal(others))


def reordered_batch(t: Tamperer, n: int, record: Record) -> Record:
    spent: list[int] = []
    for earlier in range(1, n + 1):
        indices = draw(t.views[earlier].beacon, t.task.pool.size, t.task.batch_size, spent)
        spent += indices
    return replace(record, batch=t.reveal(spent[-t.task.batch_size :][::-1]))


def another_list(t: Tamperer, n: int, record: Record) -> Record:
    return replace(record, sealed=t.put(SealedList(t.sealed(n).envelopes[1:])))


def another_roster(t: Tamperer, n: int, record: Record) -> Record:
    return replace(record, roster=t.put(Roster(t.roster(n).entries[1:])))


# --- misconduct -----------------------------------------------------------------------------


def accuse(evidence: Callable[[Tamperer, int], tuple[bytes, ...]]) -> Tampering:
    """Accuses the first device of the roster with this evidence."""

    def tamper(t: Tamperer, n: int) -> None:
        device = innocent(t, n)
        accusation = Misconduct(device, Reason.EQUIVOCATION, evidence(t, n))
        t.commit(n, replace(t.record(n), misconduct=(accusation,)))

    return tamper


def innocent(t: Tamperer, n: int) -> DeviceId:
    guilty = {misconduct.device for misconduct in t.record(n).misconduct}
    return next(v.device for v in t.verdicts(n) if v.reason is None and v.device not in guilty)


def commitment_of(t: Tamperer, n: int, device: DeviceId) -> bytes:
    listed = t.sealed(n)
    return dict(zip(listed.open(t.roster(n)), listed.envelopes, strict=True))[device]


def the_same_twice(t: Tamperer, n: int) -> tuple[bytes, ...]:
    return (commitment_of(t, n, innocent(t, n)),) * 2


def of_two_rounds(t: Tamperer, n: int) -> tuple[bytes, ...]:
    device = innocent(t, n)
    return tuple(commitment_of(t, number, device) for number in ROUNDS)


def of_two_kinds(t: Tamperer, n: int) -> tuple[bytes, ...]:
    device = innocent(t, n)
    submission = next(v.submission for v in t.verdicts(n) if v.device == device)
    assert submission is not None
    return (commitment_of(t, n, device), submission)


def anothers(t: Tamperer, n: int) -> tuple[bytes, ...]:
    return t.record(n).misconduct[0].evidence


def no_evidence(_t: Tamperer, _n: int) -> tuple[bytes, ...]:
    return ()


def without_signature_of_the_device(t: Tamperer, n: int) -> tuple[bytes, ...]:
    envelope = commitment_of(t, n, innocent(t, n))
    message = open_as(Commitment, envelope, t.roster(n).public_keys).message
    return (envelope, sign(replace(message, commitment=b"another"), t.operator))


# --- the chain and its digests --------------------------------------------------------------


def on_chain(**changes: Any) -> Tampering:
    """The record stays, the chain says something else."""

    def tamper(t: Tamperer, n: int) -> None:
        t.commit(n, t.record(n), **changes)

    return tamper


def another_leader_on_chain(t: Tamperer, n: int) -> None:
    other = next(v.device for v in t.verdicts(n) if v.device != t.record(n).leader)
    t.commit(n, t.record(n), leader=device_word(other))


def record_nobody_has(t: Tamperer, n: int) -> None:
    t.close(n, object_cid_from_digest(secrets.token_bytes(32)), t.record(n))


def record_of_another_kind(t: Tamperer, n: int) -> None:
    t.close(n, t.record(n).roster, t.record(n))


# --- signatures -----------------------------------------------------------------------------


def signatures(**changes: Callable[[Tamperer, int, Cid], bytes]) -> Tampering:
    """The record stays; one of its signatures becomes another envelope."""

    def tamper(t: Tamperer, n: int) -> None:
        old = t.signed(n)
        made: dict[str, Any] = {name: make(t, n, old.record) for name, make in changes.items()}
        signed = replace(old, **made)
        t.close(n, t.put(signed, [signed.record]), t.record(n))

    return tamper


def operators(t: Tamperer, n: int, record: Cid) -> bytes:
    return sign(RecordSignature(t.task_id, Round(n), record), t.operator)


def strangers(t: Tamperer, n: int, record: Cid) -> bytes:
    return sign(RecordSignature(t.task_id, Round(n), record), INVENTED)


def of_another_round(t: Tamperer, n: int, _record: Cid) -> bytes:
    return t.signed(3 - n).leader_signature


def of_another_kind(t: Tamperer, n: int, record: Cid) -> bytes:
    message = RecordRefusal(t.task_id, Round(n), record, Reason.SUM_MISMATCH, "")
    return sign(message, t.operator)


def of_nothing(_t: Tamperer, _n: int, _record: Cid) -> bytes:
    return b""


def forged_refusal(t: Tamperer, n: int) -> None:
    message = RecordRefusal(t.task_id, Round(n), t.signed(n).record, Reason.SUM_MISMATCH, "")
    t.commit(n, replace(t.record(n), refusals=(sign(message, t.operator),)))


# --- a whole round anew ---------------------------------------------------------------------


def resealed_without_one(t: Tamperer, n: int) -> None:
    """A commitment is dropped, and everything after it done again on the new beacon."""
    listed = SealedList(t.sealed(n).envelopes[1:])
    gone = next(iter(t.sealed(n).open(t.roster(n))))
    record = t.reseal(n, listed)
    kept = tuple(v for v in t.verdicts(n) if v.device != gone)
    summands = tuple(s for s in record.sum.summands if s.device != gone)
    record = replace(
        record,
        verdicts=t.put(Verdicts(kept)),
        sum=replace(record.sum, summands=summands),
        threshold=threshold_of(t, record),
    )
    t.finish(n, record)


def resealed_with_a_stranger(t: Tamperer, n: int) -> None:
    """A commitment by a key that is not in the roster."""
    t.finish(n, t.reseal(n, with_invented(t, n)))


def reopened_with_an_invented_device(t: Tamperer, n: int) -> None:
    """The invented device is in the roster too, and commits to a model of its own."""
    invented = RosterEntry(INVENTED.public_key, "nobody")
    roster = Roster.of((*t.roster(n).entries, invented))
    record = t.reseal(n, with_invented(t, n), roster)
    silent = Verdict(INVENTED.id, Reason.NO_SUBMISSION, 0, None)
    entries = sorted((*t.verdicts(n), silent), key=lambda v: v.device)
    threshold = threshold_of(t, record)
    t.finish(n, replace(record, verdicts=t.put(Verdicts(tuple(entries))), threshold=threshold))


def reopened_on_another_roster(t: Tamperer, n: int) -> None:
    """One of the devices was never there, says the roster."""
    roster = Roster(t.roster(n).entries[1:])
    t.finish(n, t.reseal(n, t.sealed(n), roster))


def resealed_and_drawn_again(t: Tamperer, n: int) -> None:
    """The same list, but another block and so another batch: grinding after the fact."""
    record = t.reseal(n, t.sealed(n))
    t.finish(n, replace(record, threshold=threshold_of(t, record)))


def resealed_with_the_old_batch(t: Tamperer, n: int) -> None:
    old = t.record(n)
    record = t.reseal(n, t.sealed(n))
    t.finish(n, replace(record, batch=old.batch))


def with_invented(t: Tamperer, n: int) -> SealedList:
    system = load_system(t.task)
    theta = np.zeros(t.task.model.shape.parameters, np.int64)
    opening = ModelOpening(theta, system.commitments.random_blinding())
    commitment = system.commitments.commit(opening)
    context = commitment_context(t.task_id, Round(n), INVENTED.public_key, commitment)
    proof = system.prove_wellformed(opening, context)
    assert proof is not None
    parent = Digest(t.record(n).parent)
    wellformed = put_object(t.content, proof)
    message = Commitment(t.task_id, Round(n), parent, commitment, wellformed)
    listed = {**dict(zip(t.sealed(n).open(t.roster(n)), t.sealed(n).envelopes, strict=True))}
    listed[INVENTED.id] = sign(message, INVENTED)
    return SealedList(tuple(listed[device] for device in sorted(listed)))


def threshold_of(t: Tamperer, record: Record) -> int:
    """As the gate has it, so that only what was meant to be wrong is wrong."""
    shape = t.task.model.shape
    model = decode_global_model(shape, get_object(t.content, record.model_before))
    reveal = decode_object(Reveal, get_object(t.content, record.batch))
    batch = batch_of([revealed.sample for revealed in reveal.samples])
    own = count_correct(shape, model.theta, batch.inputs, batch.labels)
    return t.task.gate.threshold(own)


# --- the table ------------------------------------------------------------------------------

TABLE: dict[str, tuple[Tampering, str, str]] = {
    "another task": (fields(task=TaskId(bytes(32))), "link", "unknown-task"),
    "another round": (fields(round=Round(9)), "link", "record-link"),
    "another parent": (fields(parent=Digest(bytes(32))), "link", "record-link"),
    "another model before": (
        by(lambda _t, _n, r: replace(r, model_before=r.model_after)),
        "link",
        "model-mismatch",
    ),
    "another roster": (by(another_roster), "roster", "roster-mismatch"),
    "roster swapped on chain too": (reopened_on_another_roster, "seal", "not-in-roster"),
    "a commitment dropped from the list": (by(another_list), "seal", "seal-mismatch"),
    "a commitment dropped and sealed anew": (
        resealed_without_one,
        "verdicts",
        "verdict-mismatch",
    ),
    "a stranger's commitment sealed": (resealed_with_a_stranger, "seal", "not-in-roster"),
    "a device invented": (reopened_with_an_invented_device, "roster", "roster-mismatch"),
    "another beacon": (fields(beacon=Beacon(bytes(32))), "batch", "beacon-mismatch"),
    "undrawn samples": (by(undrawn_batch), "batch", "draw-mismatch"),
    "the samples in another order": (by(reordered_batch), "batch", "draw-mismatch"),
    "drawn again": (resealed_and_drawn_again, "verdicts", "verdict-mismatch"),
    "drawn again, old batch": (resealed_with_the_old_batch, "batch", "draw-mismatch"),
    "another threshold": (
        by(lambda _t, _n, r: replace(r, threshold=r.threshold + 1)),
        "gate",
        "verdict-mismatch",
    ),
    "an accepted device rejected": (
        edit(True, reason=Reason.PROOF_INVALID, count=0),
        "verdicts",
        "verdict-mismatch",
    ),
    "a rejected device accepted": (edit(False, reason=None), "verdicts", "verdict-mismatch"),
    "the liar accepted with its count": (rejected_admitted, "verdicts", "verdict-mismatch"),
    "a rejection for another reason": (
        edit(False, reason=Reason.BELOW_GATE),
        "verdicts",
        "verdict-mismatch",
    ),
    "a higher count": (miscounted(1), "verdicts", "verdict-mismatch"),
    "a lower count": (miscounted(-1), "verdicts", "verdict-mismatch"),
    "a rejected device with a count": (edit(False, count=3), "verdicts", "verdict-mismatch"),
    "a verdict dropped": (verdicts(lambda v: v[1:]), "verdicts", "verdict-mismatch"),
    "a verdict invented": (verdicts(invented_verdict), "verdicts", "verdict-mismatch"),
    "verdicts in another order": (verdicts(lambda v: v[::-1]), "verdicts", "verdict-mismatch"),
    "another device's submission": (verdicts(others_proof), "verdicts", "verdict-mismatch"),
    "a verdict without a submission": (edit(True, submission=None), "verdicts", "verdict-mismatch"),
    "the leader made silent": (leader_silenced, "election", "leader-mismatch"),
    "evidence twice the same": (accuse(the_same_twice), "misconduct", "record-malformed"),
    "evidence of two rounds": (accuse(of_two_rounds), "misconduct", "stale-round"),
    "evidence of two kinds": (accuse(of_two_kinds), "misconduct", "unknown-type"),
    "evidence against another": (accuse(anothers), "misconduct", "record-malformed"),
    "no evidence": (accuse(no_evidence), "misconduct", "record-malformed"),
    "evidence by the operator": (
        accuse(without_signature_of_the_device),
        "misconduct",
        "not-in-roster",
    ),
    "another leader": (by(another_leader), "election", "leader-mismatch"),
    "another leading count": (
        by(lambda _t, _n, r: replace(r, count=r.count + 1)),
        "election",
        "leader-mismatch",
    ),
    "another model after": (by(better_model), "sum", "sum-mismatch"),
    "another total weight": (by(heavier_model), "sum", "sum-mismatch"),
    "another blinding": (by(other_blinding), "sum", "sum-mismatch"),
    "a summand dropped": (by(dropped_summand), "sum", "sum-mismatch"),
    "a summand twice": (by(counted_twice), "sum", "sum-mismatch"),
    "a summand heavier": (by(heavier_summand), "sum", "sum-mismatch"),
    "a rejected device summed": (by(rejected_summed), "sum", "sum-mismatch"),
    "a refusal by the operator": (forged_refusal, "refusals", "not-in-roster"),
    "misconduct hushed up": (fields(misconduct=()), "signatures", "record-signature"),
    "the leader's signature by the operator": (
        signatures(leader_signature=operators),
        "signatures",
        "not-in-roster",
    ),
    "the leader's signature by a stranger": (
        signatures(leader_signature=strangers),
        "signatures",
        "not-in-roster",
    ),
    "the leader's signature removed": (
        signatures(leader_signature=of_nothing),
        "signatures",
        "malformed",
    ),
    "the leader's signature of another round": (
        signatures(leader_signature=of_another_round),
        "signatures",
        "record-signature",
    ),
    "the operator's signature by a stranger": (
        signatures(operator_signature=strangers),
        "signatures",
        "not-in-roster",
    ),
    "the operator's signature is a refusal": (
        signatures(operator_signature=of_another_kind),
        "signatures",
        "unknown-type",
    ),
    "another count on chain": (on_chain(correct=1), "chain", "chain-mismatch"),
    "another total on chain": (on_chain(total=BATCH + 1), "chain", "chain-mismatch"),
    "another leader on chain": (another_leader_on_chain, "chain", "chain-mismatch"),
    "a record nobody has": (record_nobody_has, "record", "not-found"),
    "a record that is none": (record_of_another_kind, "record", "malformed"),
}


@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize("name", TABLE)
def test_consistent_tampering_is_found(tamperer: Tamperer, name: str, number: int) -> None:
    tamper, check, code = TABLE[name]
    tamper(tamperer, number)
    fault = tamperer.audit().fault
    assert fault is not None, "the audit is clean"
    found = (fault.round, fault.check, fault.reason.name.lower().replace("_", "-"))
    assert found == (number, check, code), fault.detail


def test_a_faulty_verdict_names_its_device(tamperer: Tamperer) -> None:
    device = tamperer.verdicts(2)[first(tamperer.verdicts(2), accepted=True)].device
    miscounted(1)(tamperer, 2)
    fault = tamperer.audit().fault
    assert fault is not None
    assert fault.device == device


def test_the_first_round_cannot_stand_for_the_second(tamperer: Tamperer) -> None:
    signed = tamperer.signed(1)
    record = tamperer.record(1)
    tamperer.close(2, tamperer.put(signed, [signed.record]), record)
    fault = tamperer.audit().fault
    assert fault is not None
    assert (fault.round, fault.check) == (2, "link")


def test_the_contract_itself_refuses_another_parent(tamperer: Tamperer) -> None:
    tamperer.rewind(2, RoundOpened)
    with EmbeddedLedger.open(tamperer.layout.chain) as ledger:
        call = OpenRound(tamperer.task_id, Round(2), bytes(32), tamperer.roster(2).root)
        with pytest.raises(LedgerReverted):
            ledger.submit(call)


def test_a_round_failed_after_its_seal_is_said_aloud(tamperer: Tamperer) -> None:
    tamperer.rewind(2, RoundClosed)
    with EmbeddedLedger.open(tamperer.layout.chain) as ledger:
        ledger.submit(FailRound(tamperer.task_id, Round(2), 5))
    report = tamperer.audit()
    assert report.ok
    assert report.rounds[1].notes == ("failed: nobody-signed after its commitments were sealed",)
    assert report.rounds[1].leader is None


def test_a_fault_ends_the_command_with_its_code_and_json(tamperer: Tamperer) -> None:
    miscounted(1)(tamperer, 2)
    result = CliRunner().invoke(app, ["audit", "--dir", str(tamperer.directory), "--json"])
    assert result.exit_code == ExitCode.AUDIT_FAILED
    said = json.loads(result.stdout)
    assert said["ok"] is False
    assert said["task"] == tamperer.task_id.hex()
    assert [found["round"] for found in said["rounds"]] == [1]
    assert said["fault"].keys() == {"round", "check", "code", "device", "detail"}
    assert (said["fault"]["round"], said["fault"]["check"]) == (2, "verdicts")
    text = CliRunner().invoke(app, ["audit", "--dir", str(tamperer.directory)])
    assert text.exit_code == ExitCode.AUDIT_FAILED
    assert "round 2, check verdicts" in text.stdout

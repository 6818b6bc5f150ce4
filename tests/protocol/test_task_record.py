"""Tasks that cannot be, and lists that must be in order."""

from typing import Any

import pytest
from tests.protocol.rounds import (
    BATCH,
    POOL,
    SPEC,
    MadeRound,
    key,
    make_round,
    make_samples,
    make_task,
)

from zkpot import merkle
from zkpot.cid import cid_digest, node_cid, split_object
from zkpot.errors import Reason, Rejected
from zkpot.model import ModelSpec, Shape
from zkpot.record import Record, Roster, RosterEntry, SealedList, decode_object
from zkpot.task import (
    MAX_TASK_BYTES,
    Gate,
    Task,
    Weighting,
    decode_task,
    encode_task,
    manifest_cid,
    task_id,
)
from zkpot.wire.codec import encode
from zkpot.wire.envelope import envelope_digest

GENESIS = node_cid(b"genesis")


@pytest.fixture
def made() -> MadeRound:
    return make_round()


def _task(**changes: Any) -> Task:
    return make_task(make_samples(), GENESIS, **changes)


def test_a_task_is_named_by_its_manifest() -> None:
    task = _task()
    cid, _ = split_object(encode_task(task))
    assert task_id(cid) == cid_digest(cid)
    assert manifest_cid(task_id(cid)) == cid
    assert decode_task(encode_task(task)) == task


WIDE = ModelSpec(Shape((3, 4, 2), (4,), 20), 4, (4, 4))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"batch_size": POOL + 1, "gate": Gate(1, 0)}, "pool of"),
        ({"minimum_devices": 11}, "more devices needed"),
        ({"aggregation": "secure:bonawitz"}, "expected one of secure"),
        ({"aggregation": ""}, "expected one of secure"),
        ({"gate": Gate(0, BATCH)}, "without weight"),
        ({"model": WIDE, "maximum_devices": 2500}, "can reach 2\\^31"),
        (
            {"model": WIDE, "maximum_devices": 2048, "weighting": Weighting.EQUAL},
            "can reach 2\\^31",
        ),
    ],
)
def test_tasks_that_cannot_be_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Rejected, match=why) as caught:
        _task(**changes)
    assert caught.value.reason is Reason.TASK_INVALID


def test_the_largest_sum_that_fits_is_allowed() -> None:
    assert _task(model=WIDE, maximum_devices=2047, weighting=Weighting.EQUAL) is not None
    assert _task(gate=Gate(0, BATCH), weighting=Weighting.EQUAL) is not None


def test_a_refused_task_is_refused_when_read() -> None:
    task = _task()
    object.__setattr__(task, "aggregation", "plain:krum")
    with pytest.raises(Rejected) as caught:
        decode_task(encode_task(task))
    assert caught.value.reason is Reason.TASK_INVALID


def test_an_oversize_manifest_is_refused() -> None:
    with pytest.raises(Rejected) as caught:
        decode_task(bytes(MAX_TASK_BYTES + 1))
    assert caught.value.reason is Reason.OVERSIZE


@pytest.mark.parametrize(
    ("minimum", "margin", "own", "threshold"),
    [(0, 0, 5, 5), (0, 2, 5, 3), (4, 2, 5, 4), (0, 9, 5, 0), (3, 0, 0, 3)],
)
def test_the_gate_is_the_higher_of_its_two_halves(
    minimum: int, margin: int, own: int, threshold: int
) -> None:
    assert Gate(minimum, margin).threshold(own) == threshold


def test_weights_follow_the_task() -> None:
    assert _task().weight(5) == 5
    assert _task(weighting=Weighting.EQUAL).weight(5) == 1


def test_a_roster_is_sorted_and_distinct() -> None:
    entries = [RosterEntry(key(number).public_key, "") for number in range(4)]
    roster = Roster.of(entries)
    assert roster.entries == Roster.of(entries[::-1]).entries
    assert set(roster.public_keys.values()) == {entry.public_key for entry in entries}
    for wrong in (roster.entries[::-1], (*roster.entries, roster.entries[-1])):
        with pytest.raises(Rejected) as caught:
            Roster(wrong)
        assert caught.value.reason is Reason.ROSTER_MISMATCH


def test_the_roster_root_names_keys_and_owners() -> None:
    first, second = (RosterEntry(key(number).public_key, "") for number in range(2))
    renamed = RosterEntry(first.public_key, "x")
    roots = {Roster.of(each).root for each in ([], [first], [second], [renamed], [first, second])}
    assert len(roots) == 5
    assert Roster.of([]).root == merkle.EMPTY_ROOT


def test_the_seal_root_is_over_the_envelopes(made: MadeRound) -> None:
    sealed = made.sealed_list()
    assert sealed.root == merkle.root([envelope_digest(each) for each in sealed.envelopes])
    found = sealed.open(made.terms.roster)
    assert list(found) == sorted(device.key.id for device in made.devices)


@pytest.mark.parametrize("order", [slice(None, None, -1), (0, 0, 1), (1, 0)])
def test_a_sealed_list_is_sorted_and_distinct(made: MadeRound, order: Any) -> None:
    envelopes = made.sealed_list().envelopes
    chosen = envelopes[order] if isinstance(order, slice) else tuple(envelopes[i] for i in order)
    with pytest.raises(Rejected) as caught:
        SealedList(chosen).open(made.terms.roster)
    assert caught.value.reason is Reason.SEAL_MISMATCH


def test_a_record_refers_to_everything_it_names(made: MadeRound) -> None:
    record = made.record()
    for cid in record.references:
        assert made.get(cid)
    assert len(record.references) == 6
    assert decode_object(Record, encode(record)) == record


def test_the_backend_of_a_task_is_what_it_names(made: MadeRound, tmp_path: Any) -> None:
    backend = made.task.backend(tmp_path)
    assert (backend.system_id, backend.shape, backend.batch_size) == ("fake/1", SPEC.shape, BATCH)

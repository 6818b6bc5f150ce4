"""Secure rounds with liars: on a device, and in the aggregator. And what a round leaves behind."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("zkpot_prover")

from tests.aggregator.secure_fleet import (
    OPERATOR,
    Fleet,
    Untrained,
    device_key,
    random_model,
    task_config,
)
from tests.asynchronous import in_loop

from zkpot.aggregate import GlobalModel
from zkpot.batch import draw
from zkpot.check_record import CheckFailed, Expected, RecordCheck
from zkpot.cid import Cid
from zkpot.errors import Failure, Reason
from zkpot.ids import DeviceId, Digest, Round, device_text
from zkpot.keys import seal
from zkpot.model import Int64Array
from zkpot.proof.system import no_progress
from zkpot.record import Record, Roster, SealedList, Verdicts, decode_object
from zkpot.secure.exchange import SealedRelease
from zkpot.secure.groups import Group, round_groups
from zkpot.secure.keys import pair_seed
from zkpot.secure.states import Advertised, Dealt, Masked
from zkpot.secure.sums import GroupSum, decode_group_sum, encode_group_sum, merge_sums
from zkpot.verify import RoundTerms
from zkpot.wire.codec import decode
from zkpot.wire.messages import RecordRefusal
from zkpot_agent import jobs
from zkpot_agent.hostile import WrongSum
from zkpot_agent.masking import Membership
from zkpot_agent.round import events as agent_on
from zkpot_agent.round import states as agent_at
from zkpot_agent.work import Worker
from zkpot_aggregator.content.base import get_object, put_object
from zkpot_aggregator.driver import REJECTION, STRIKES_KEY
from zkpot_aggregator.group_work import GroupWorker
from zkpot_aggregator.ledger.views import Phase
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.rules.fedavg import FedAvg
from zkpot_aggregator.strikes import Strikes

pytestmark = pytest.mark.usefixtures("in_process")

LIAR = 1


@dataclass(frozen=True)
class Liar(WrongSum):
    """Masks another vector than it committed to."""

    training = staticmethod(random_model)


def rejections(fleet: Fleet) -> list[dict[str, Any]]:
    return [json.loads(event.value) for event in fleet.aggregator.journal.events(REJECTION)]


def strikes(fleet: Fleet) -> dict[DeviceId, int]:
    stored = fleet.aggregator.journal.get(STRIKES_KEY)
    assert stored is not None
    return {each.device: each.number for each in decode(Strikes, stored, limit=1 << 16).counts}


# --- devices that lie -----------------------------------------------------------------------


@in_loop
async def test_a_wrong_vector_spoils_its_group_and_nothing_else(tmp_path: Path) -> None:
    config = task_config(group_size=5, minimum_devices=4)
    async with Fleet(tmp_path, 10, config=config, device_types={LIAR: Liar}) as fleet:
        await fleet.until_over()
        summed = {each.device for each in fleet.record().sum.summands}
        assert device_key(LIAR).id not in summed
        assert len(summed) == 5
        fleet.check(summed)
        (found,) = rejections(fleet)
        assert (found["device"], found["code"]) == ("", "sum-mismatch")
        assert strikes(fleet) == dict.fromkeys(fleet.devices - summed, 1)


@in_loop
async def test_a_wrong_vector_in_the_only_group_fails_the_round(tmp_path: Path) -> None:
    async with Fleet(tmp_path, device_types={LIAR: Liar}) as fleet:
        await fleet.until_over()
        assert fleet.view().phase is Phase.FAILED
        assert fleet.view().fail_reason == Failure.TOO_FEW_SURVIVORS
        assert fleet.aggregator.journal.get(STRIKES_KEY) is None  # nothing tells who lied


def spoiling(spoil: Callable[[bytes], bytes]) -> type[Worker]:
    """A device whose releases are not what it should send."""

    class Spoiler(Membership):
        async def answer(
            self, seated: agent_at.Seated, roster: Roster
        ) -> agent_on.Answered | agent_on.Refused:
            found = await super().answer(seated, roster)
            if isinstance(found, agent_on.Answered) and isinstance(found.answer, SealedRelease):
                spoilt = replace(found.answer, sealed=spoil(found.answer.sealed))
                return replace(found, answer=spoilt)
            return found

    class Device(Untrained):
        membership_type = Spoiler

    return Device


def to_another_key(sealed: bytes) -> bytes:
    return seal(device_key(LIAR).box_key, OPERATOR.open(sealed))


@in_loop
@pytest.mark.parametrize(
    "spoil",
    [to_another_key, lambda sealed: sealed[:-1], lambda _sealed: b"garbage"],
    ids=["another key", "truncated", "garbage"],
)
async def test_a_release_that_does_not_open_is_done_without(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    async with Fleet(tmp_path, device_types={LIAR: spoiling(spoil)}) as fleet:

        def all_have_released() -> bool:
            masking = fleet.aggregator.masking
            if masking is None or not rejections(fleet):
                return False
            return len(masking.groups[0].session.releases) == 4

        await fleet.until(all_have_released)
        fleet.step_ends()
        await fleet.until_over()
        fleet.check(fleet.devices)
        (found,) = rejections(fleet)
        assert (found["device"], found["code"]) == (device_text(device_key(LIAR).id), "malformed")
        assert fleet.aggregator.journal.get(STRIKES_KEY) is None


@in_loop
async def test_too_few_releases_that_open_fail_the_round_and_strike_nobody(tmp_path: Path) -> None:
    spoilers = dict.fromkeys((1, 2), spoiling(to_another_key))
    async with Fleet(tmp_path, device_types=spoilers) as fleet:

        def all_have_answered() -> bool:
            masking = fleet.aggregator.masking
            released = 0 if masking is None else len(masking.groups[0].session.releases)
            return released == 3 and len(rejections(fleet)) == 2

        await fleet.until(all_have_answered)
        fleet.step_ends()
        await fleet.until_over()
        assert fleet.view().phase is Phase.FAILED
        assert fleet.view().fail_reason == Failure.TOO_FEW_SURVIVORS
        assert fleet.aggregator.journal.get(STRIKES_KEY) is None


# --- an aggregator that lies ----------------------------------------------------------------


class Alters(GroupWorker):
    """Puts another model in the place of the sum."""

    async def merge(self, terms: RoundTerms, state: at.Merging) -> on.Event:
        """See `GroupWorker.merge`."""
        event = await super().merge(terms, state)
        assert isinstance(event, on.Summed)
        model = self.model(event.model)
        theta = model.theta_sum.copy()
        theta[0] += 1
        forged = put_object(self.content, GlobalModel(theta, model.weight).encode())
        return replace(event, model=forged)


class ForgesGroups(GroupWorker):
    """Puts another group's sum in the place of the true one."""

    async def unmask(self, terms: RoundTerms, state: at.Masking, index: int) -> on.Event:
        """See `GroupWorker.unmask`."""
        event = await super().unmask(terms, state, index)
        assert isinstance(event, on.GroupSummed)
        item = self.forge(decode_group_sum(get_object(self.content, event.sum)))
        return replace(event, sum=put_object(self.content, encode_group_sum(item)))

    def forge(self, item: GroupSum) -> GroupSum:
        """The lie."""
        raise NotImplementedError


class Drops(ForgesGroups):
    """Says that one survivor was none."""

    def forge(self, item: GroupSum) -> GroupSum:
        """See `ForgesGroups.forge`."""
        return replace(item, survivors=item.survivors[1:])


class Adds(ForgesGroups):
    """Adds a vector of its own."""

    def forge(self, item: GroupSum) -> GroupSum:
        """See `ForgesGroups.forge`."""
        return replace(item, theta_sum=item.theta_sum + 1)


@in_loop
@pytest.mark.parametrize("worker", [Alters, Drops, Adds])
async def test_no_honest_device_signs_a_false_sum(
    tmp_path: Path, worker: type[GroupWorker]
) -> None:
    async with Fleet(tmp_path, worker_type=worker) as fleet:
        await fleet.until_over()
        assert fleet.view().phase is Phase.FAILED
        assert fleet.view().fail_reason == Failure.NOBODY_SIGNED
        refusals = [m for m in fleet.messages() if isinstance(m, RecordRefusal)]
        assert len(refusals) == 5
        assert {refusal.reason for refusal in refusals} == {Reason.SUM_MISMATCH}
        assert all(refusal.detail.startswith("sum: ") for refusal in refusals)


def expected(fleet: Fleet) -> Expected:
    """What anybody reads from the chain."""
    task, view = fleet.handle.task, fleet.view()
    return Expected(
        task_id=fleet.handle.id,
        task=task,
        round=Round(1),
        parent=Digest(view.parent),
        model=task.genesis,
        roster_root=Digest(view.roster_root),
        sealed_root=Digest(view.root),
        sealed_count=view.count,
        beacon=view.beacon,
        indices=draw(view.beacon, task.pool.size, task.batch_size, ()),
    )


def groups_of(fleet: Fleet) -> tuple[Group, ...]:
    record, roster = fleet.record(), fleet.roster
    terms = RoundTerms(fleet.handle.id, fleet.handle.task, Round(1), record.parent, roster)
    sealed = decode_object(SealedList, get_object(fleet.content, record.sealed)).open(roster)
    verdicts = decode_object(Verdicts, get_object(fleet.content, record.verdicts))
    return round_groups(terms, record.beacon, sealed, verdicts.accepted)


def forged(fleet: Fleet, *sums: GroupSum) -> Record:
    """The round's record as if these had been its sums: everything else follows from them."""
    commitments = fleet.system.commitments
    model, total = merge_sums(groups_of(fleet), sums, commitments)
    groups = tuple(put_object(fleet.content, encode_group_sum(item)) for item in sums)
    after = put_object(fleet.content, model.encode())
    return replace(fleet.record(), sum=total, groups=groups, model_after=after)


def shifted(item: GroupSum) -> GroupSum:
    return replace(item, theta_sum=item.theta_sum + np.eye(1, len(item.theta_sum), dtype=int)[0])


def without_one(item: GroupSum) -> GroupSum:
    return replace(item, survivors=item.survivors[1:])


def with_its_model_taken_out(fleet: Fleet, item: GroupSum) -> GroupSum:
    """As an aggregator could that knew one model, but not its blinding."""
    gone, *rest = item.survivors
    return replace(item, survivors=tuple(rest), theta_sum=item.theta_sum - fleet.theta(gone))


def with_another_blinding(item: GroupSum) -> GroupSum:
    return replace(item, blinding=bytes(len(item.blinding)))


def with_a_stranger(item: GroupSum) -> GroupSum:
    survivors = sorted((*item.survivors[1:], OPERATOR.id))
    return replace(item, survivors=tuple(survivors))


LIES: dict[str, Callable[[Fleet, GroupSum], GroupSum]] = {
    "altered": lambda _fleet, item: shifted(item),
    "dropped": lambda _fleet, item: without_one(item),
    "taken out": with_its_model_taken_out,
    "another blinding": lambda _fleet, item: with_another_blinding(item),
    "too few": lambda _fleet, item: replace(item, survivors=item.survivors[:3]),
    "another group": lambda _fleet, item: replace(item, index=1),
}


def refused_by(fleet: Fleet, record: Record) -> None:
    """Check 9 finds it: as an auditor or a validator looks, and as each device does."""
    get = partial(get_object, fleet.content)
    for proofs in (True, False):
        with pytest.raises(CheckFailed) as caught:
            RecordCheck(expected(fleet), get, fleet.system, proofs=proofs).run(record)
        assert caught.value.check == "sum"
    verdicts = decode_object(Verdicts, get(record.verdicts)).accepted
    names: set[Cid] = {*record.references}
    objects = {name: get(name) for name in names}
    for device, count in verdicts.items():
        with pytest.raises(CheckFailed) as caught:
            jobs.check_record(
                no_progress,
                fleet.handle.task.backend(fleet.folder),
                expected(fleet),
                record,
                objects,
                jobs.OwnEntry(device, count),
            )
        assert caught.value.check == "sum"


@in_loop
async def test_every_false_sum_is_found_by_check_9(tmp_path: Path) -> None:
    async with Fleet(tmp_path) as fleet:
        await fleet.until_over()
        record = fleet.record()
        item = decode_group_sum(get_object(fleet.content, record.groups[0]))
        assert forged(fleet, item) == record
        for name, lie in LIES.items():
            if name == "another group":
                named = put_object(fleet.content, encode_group_sum(lie(fleet, item)))
                refused_by(fleet, replace(record, groups=(named,)))
            else:
                refused_by(fleet, forged(fleet, lie(fleet, item)))
        refused_by(fleet, replace(record, groups=()))
        refused_by(fleet, replace(record, groups=record.groups * 2))
        stranger = put_object(fleet.content, encode_group_sum(with_a_stranger(item)))
        refused_by(fleet, replace(record, groups=(stranger,)))


# --- what it comes to, and what it leaves ---------------------------------------------------


@in_loop
async def test_secure_and_plain_averages_are_the_same_to_the_bit(tmp_path: Path) -> None:
    found = []
    for aggregation in ("secure", "plain:fedavg"):
        config = task_config(aggregation=aggregation)
        async with Fleet(tmp_path / aggregation, 12, config=config) as fleet:
            await fleet.until_over()
            record = fleet.record()
            found.append((get_object(fleet.content, record.model_after), record.sum.summands))
            assert len(record.groups) == (3 if aggregation == "secure" else 0)
    assert found[0] == found[1]


@in_loop
async def test_a_secure_weighted_average_is_what_the_plain_rule_makes(tmp_path: Path) -> None:
    config = task_config(weighting="proven-count", gate_minimum=1)
    async with Fleet(tmp_path, 8, config=config) as fleet:
        await fleet.until_over()
        record = fleet.record()
        weights = [each.weight for each in record.sum.summands]
        assert len(set(weights)) > 1
        thetas = np.stack([fleet.theta(each.device) for each in record.sum.summands])
        plain = FedAvg()(thetas, weights)
        assert plain.encode() == get_object(fleet.content, record.model_after)


def traces(theta: Int64Array) -> set[bytes]:
    """How a model, or a piece of it, could look in memory."""
    pieces = (theta, theta[:12], theta[-12:])
    return {piece.astype(kind).tobytes() for piece in pieces for kind in ("i1", "<i4", "<i8")}


def mask_secrets(fleet: Fleet) -> set[bytes]:
    """Every key and seed that a device has made, and the seeds that pairs of devices share."""
    found = set[bytes]()
    for agent in fleet.agents.values():
        for state in agent.member_states:
            if isinstance(state, Advertised | Dealt):
                found |= {state.channel, state.mask}
            if isinstance(state, Dealt):
                found.add(state.seed)
                group, own = state.seat.group, state.seat.device
                peers = [keys for keys in state.keys if keys.device != own]
                found |= {pair_seed(group, state.mask, own, keys) for keys in peers}
    return found


def shares_of(fleet: Fleet) -> set[bytes]:
    """What members hold of each other's secrets, whether they release it or not."""
    return {
        share
        for agent in fleet.agents.values()
        for state in agent.member_states
        if isinstance(state, Masked)
        for each in state.held
        for share in (each.seed, each.mask)
    }


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@in_loop
async def test_a_round_leaves_no_model_and_no_mask_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with Fleet(tmp_path) as fleet:
        await fleet.until(lambda: "Merging" in fleet.states)
        held = {n: on_disk(agent.folder) for n, agent in fleet.agents.items()}
        aggregator = on_disk(tmp_path / "aggregator")
        await fleet.until_over()
        await fleet.until(
            lambda: all(isinstance(a.driver.state, agent_at.Idle) for a in fleet.agents.values())
        )
        fleet.check(fleet.devices)
        thetas = {n: traces(fleet.theta(agent.key.id)) for n, agent in fleet.agents.items()}
        seeds = mask_secrets(fleet)
        # Five devices: two keys and a seed each, and a seed for every two of them.
        assert len(seeds) == 3 * 5 + 5 * 4 // 2
        said = b"".join(said.payload for said in fleet.broker.said)
        stored = b"".join(fleet.content.blocks.values())
        chain = repr(fleet.ledger.events(fleet.handle.id)).encode()
        public = aggregator + said + stored + chain + on_disk(tmp_path)
        assert not [seed for seed in seeds if seed in public]
        shares = shares_of(fleet)
        assert len(shares) == 5 * 5 * 2
        assert not [share for share in shares if share in said]
        assert sum(share in aggregator for share in shares) == 5 * 5, "one kind of each, opened"
        for number, forms in thetas.items():
            assert any(form in held[number] for form in forms), "the test looks for the right bytes"
            others = b"".join(disk for other, disk in held.items() if other != number)
            assert not [form for form in forms if form in public + others]
        shown = {form for seed in seeds for form in (seed.hex(), repr(seed)[2:-1])}
        shown |= {repr(fleet.theta(a.key.id)[:8].tolist())[1:-1] for a in fleet.agents.values()}
        assert not [form for form in shown if form in caplog.text]

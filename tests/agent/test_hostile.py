"""Each kind of cheat does what it says, and the pipeline has the code for it.

The proof system is fake and runs in this process; what is under test is what workers send.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.agent.devices import FakeObjects, tools
from tests.asynchronous import run_here
from tests.protocol.fakes import FakeProofSystem
from tests.protocol.rounds import BATCH, BEACON, OPERATOR, PARENT, ROUND, MadeRound, make_round

from zkpot.cid import Cid, join_object, raw_cid
from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.ids import Digest, Round
from zkpot.journal import Journal
from zkpot.model import Shape, check_bounds
from zkpot.opening import encode_opening
from zkpot.proof import child, registry
from zkpot.verify import (
    check_commitment_message,
    check_submission_message,
    read_proof,
    verify_submission,
)
from zkpot.wire.codec import encode
from zkpot.wire.envelope import open_envelope, sign
from zkpot.wire.messages import (
    Announcement,
    Commitment,
    Opening,
    Phase,
    RecordSignature,
    Submission,
)
from zkpot.wire.topics import Kind, up
from zkpot_agent.hostile import KINDS, hostile_worker
from zkpot_agent.round import effects as do
from zkpot_agent.round import events as on
from zkpot_agent.round.states import Proving
from zkpot_agent.round_secrets import opening_key
from zkpot_agent.work import Worker


class Stand:
    """One device of an honest round, to be given a worker of some kind."""

    def __init__(self, folder: Path) -> None:
        self.made: MadeRound = make_round(minimum_devices=2)
        self.device = self.made.devices[0]
        self.record = self.made.record()
        self.journal = Journal.open(folder / "journal.sqlite")
        opening = encode_opening(self.device.opening)
        self.journal.transition({opening_key(ROUND): opening})
        self._tools = tools(
            folder,
            self.journal,
            task=self.made.task,
            key=self.device.key,
            objects=FakeObjects(None, OPERATOR.id, dict(self.made.objects)),  # type: ignore[arg-type]
        )
        config = self._tools["config"]
        self._tools["config"] = replace(config, task=self.made.task_id.hex())

    def worker(self, kind: str | None) -> Worker:
        """A worker; honest without a kind."""
        made = Worker if kind is None else hostile_worker(kind)
        return made(**self._tools)

    @property
    def proving(self) -> Proving:
        """The drawn batch, as announced."""
        record = self.record
        joined = Announcement(
            self.made.task_id, ROUND, Phase.COMMIT, PARENT, self.made.model, record.roster
        )
        commitment = self.device.commitment.commitment
        return Proving(joined, commitment, record.sealed, BEACON, record.batch)

    def send(self, message: Commitment | Submission | Opening | RecordSignature) -> do.Send:
        """What the round machine asks to be sent."""
        kinds: dict[type, Kind] = {
            Commitment: Kind.COMMITMENT,
            Submission: Kind.SUBMISSION,
            Opening: Kind.OPENING,
            RecordSignature: Kind.RECORD,
        }
        return do.Send(kinds[type(message)], message)

    def prove(self, kind: str | None) -> on.Proved:
        """What the worker's proving ends in."""
        event = asyncio.run(self.worker(kind).prove(self.proving))
        assert isinstance(event, on.Proved)
        return event

    def judged(self, event: on.Proved) -> Reason | None:
        """The pipeline's verdict on the submission that follows from `event`."""
        message = Submission(self.made.task_id, ROUND, PARENT, event.count, event.proof)
        envelope = sign(message, self.device.key)
        try:
            verify_submission(
                replace(self.made.proof_terms(), threshold=0),
                envelope,
                self.get,
                (),
                self.made.system,
            )
        except Rejected as rejection:
            return rejection.reason
        return None

    def get(self, cid: Cid) -> bytes:
        """Objects the device offers, or the round has."""
        if cid in self.made.objects:
            return self.made.get(cid)
        return join_object(cid, self.worker(None).blocks.get)


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    def fake(_name: str, shape: Shape, batch_size: int, **_: Any) -> FakeProofSystem:
        return FakeProofSystem(shape, batch_size)

    monkeypatch.setattr(child, "run", run_here)
    monkeypatch.setattr(registry, "load", fake)
    made = Stand(tmp_path)
    yield made
    made.journal.close()


def test_an_honest_worker_is_accepted(stand: Stand) -> None:
    event = stand.prove(None)
    assert event.count == stand.made.count(stand.device)
    assert stand.judged(event) is None


def test_false_count_claims_another_count_everywhere(stand: Stand) -> None:
    event = stand.prove("false-count")
    assert event.count != stand.made.count(stand.device)
    assert read_proof(stand.get(event.proof)).count == event.count
    assert stand.judged(event) is Reason.PROOF_INVALID


def test_stolen_proof_submits_what_another_device_proved(stand: Stand) -> None:
    worker = stand.worker("stolen-proof")
    name = stand.made.put(_encoded(stand))
    worker.objects.kept[name] = _encoded(stand)  # type: ignore[attr-defined]
    asyncio.run(worker.model_after(name))
    event = stand.prove("stolen-proof")
    stolen = stand.get(event.proof)
    owners = [device for device in stand.made.devices if stand.made.count(device) == event.count]
    assert any(stolen == _proof_of(stand, device) for device in owners if device != stand.device)
    assert stand.judged(event) is Reason.CONTEXT_MISMATCH


def _encoded(stand: Stand) -> bytes:
    return encode(stand.record)


def _proof_of(stand: Stand, device: Any) -> bytes:
    return encode(stand.made.proof_object(device))


def test_stolen_proof_is_honest_until_it_has_one(stand: Stand) -> None:
    assert stand.judged(stand.prove("stolen-proof")) is None


def test_other_model_proves_a_model_it_did_not_commit_to(stand: Stand) -> None:
    event = stand.prove("other-model")
    proof = read_proof(stand.get(event.proof))
    assert proof.context == stand.made.proof_object(stand.device).context
    assert stand.judged(event) is Reason.COMMITMENT_MISMATCH


def test_garbage_offers_a_proof_that_is_none(stand: Stand) -> None:
    event = stand.prove("garbage")
    assert event.count == BATCH
    assert stand.judged(event) is Reason.PROOF_MALFORMED


def test_garbage_sends_junk_besides_its_message(stand: Stand) -> None:
    send = stand.send(stand.device.commitment)
    *junk, last = stand.worker("garbage").outgoing(send)
    assert last.payload == stand.device.envelope
    keys = stand.made.terms.roster.public_keys
    for each in junk:
        with pytest.raises(Rejected) as caught:
            open_envelope(each.payload, keys)
        assert caught.value.reason is Reason.MALFORMED


def test_equivocate_sends_two_different_commitments(stand: Stand) -> None:
    sent = stand.worker("equivocate").outgoing(stand.send(stand.device.commitment))
    opened = [check_commitment_message(stand.made.terms, each.payload) for each in sent]
    assert [each.signer for each in opened] == [stand.device.key.id] * 2
    assert opened[0].message == stand.device.commitment
    assert opened[1].message.commitment != stand.device.commitment.commitment
    assert {each.topic for each in sent} == {up(stand.device.key.id, Kind.COMMITMENT)}


def test_replay_sends_the_last_rounds_message_first(stand: Stand) -> None:
    worker = stand.worker("replay")
    now = stand.device.commitment
    before = replace(now, round=Round(ROUND - 1))
    assert len(worker.outgoing(stand.send(before))) == 1
    old, new = worker.outgoing(stand.send(now))
    assert new.payload == stand.device.envelope
    assert old.payload == sign(before, stand.device.key)
    with pytest.raises(Rejected) as caught:
        check_commitment_message(stand.made.terms, old.payload)
    assert caught.value.reason is Reason.STALE_ROUND


def test_wrong_sum_masks_another_vector_than_it_committed_to(stand: Stand) -> None:
    honest = stand.worker(None)._membership.opening(ROUND)
    assert np.array_equal(honest.theta, stand.device.opening.theta)
    masked = stand.worker("wrong-sum")._membership.opening(ROUND)
    assert np.count_nonzero(masked.theta != honest.theta) == 1
    assert masked.blinding == honest.blinding
    check_bounds(stand.made.task.model.shape, masked.theta)
    with pytest.raises(Rejected):
        stand.made.system.commitments.check_opening(stand.device.commitment.commitment, masked)


def test_silent_after_commit_says_nothing_more(stand: Stand) -> None:
    worker = stand.worker("silent-after-commit")
    made = stand.made
    assert len(worker.outgoing(stand.send(stand.device.commitment))) == 1
    for message in (
        Submission(made.task_id, ROUND, PARENT, 1, raw_cid(b"")),
        Opening(made.task_id, ROUND, PARENT, raw_cid(b"")),
        RecordSignature(made.task_id, ROUND, raw_cid(b"")),
    ):
        assert worker.outgoing(stand.send(message)) == []


@pytest.mark.parametrize("kind", [*KINDS, None])
def test_every_kind_sends_its_submission_in_order_or_not_at_all(
    stand: Stand, kind: str | None
) -> None:
    message = Submission(stand.made.task_id, ROUND, PARENT, 1, raw_cid(b""))
    sent = stand.worker(kind).outgoing(stand.send(message))
    if kind != "silent-after-commit":
        opened = check_submission_message(
            stand.made.terms, {stand.device.key.id}, sent[-1].payload, ()
        )
        assert opened.message == message


def test_an_unknown_kind_is_a_usage_error() -> None:
    with pytest.raises(Fatal, match="false-count") as caught:
        hostile_worker("nice")
    assert caught.value.exit_code is ExitCode.USAGE


# --- what the honest worker refuses ---------------------------------------------------------


def _refuses(stand: Stand, proving: Proving) -> Reason:
    with pytest.raises(Rejected) as caught:
        asyncio.run(stand.worker(None).prove(proving))
    return caught.value.reason


def test_a_device_does_not_prove_what_was_not_sealed(stand: Stand) -> None:
    other = replace(stand.proving, commitment=b"another")
    assert _refuses(stand, other) is Reason.SEAL_MISMATCH


def test_a_device_does_not_prove_on_samples_of_another_pool(stand: Stand) -> None:
    task = replace(stand.made.task, pool=replace(stand.made.task.pool, root=Digest(bytes(32))))
    worker = replace(stand.worker(None), task=task)
    with pytest.raises(Rejected) as caught:
        asyncio.run(worker.prove(stand.proving))
    assert caught.value.reason is Reason.REVEAL_INVALID


def test_a_device_whose_opening_is_gone_says_so(stand: Stand) -> None:
    stand.journal.transition({opening_key(ROUND): None})
    assert _refuses(stand, stand.proving) is Reason.OPENING_MISSING

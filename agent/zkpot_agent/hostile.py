"""Devices that cheat, for the demonstration and the tests: what the protocol must stop.

Each is a worker that follows the protocol but for one thing. They make their cheating as
good as they can: claims are relabelled to fit wherever the cheat allows it.
"""

import secrets
from dataclasses import replace
from functools import partial

import numpy as np

from zkpot.cid import Cid, join_object
from zkpot.errors import ExitCode, Fatal, Rejected, Transient
from zkpot.ids import DeviceId, Round
from zkpot.journal import Outgoing
from zkpot.model import count_correct
from zkpot.proof import child
from zkpot.proof import jobs as proof_jobs
from zkpot.proof.system import ModelOpening
from zkpot.record import Record, Verdicts, decode_object
from zkpot.statement import Statement, submission_context
from zkpot.verify import MAX_PROOF_BYTES, ProofObject
from zkpot.wire import topics
from zkpot.wire.codec import decode, encode
from zkpot.wire.envelope import Envelope, open_as, sign
from zkpot.wire.messages import Commitment, Submission
from zkpot.wire.topics import Kind
from zkpot_agent.hostile_trainers import NAME_TO_ATTACK, Attack, Attacker, train_with
from zkpot_agent.masking import Membership
from zkpot_agent.round import effects as do
from zkpot_agent.round import events as on
from zkpot_agent.round.states import Proving
from zkpot_agent.work import Worker

_NOTEBOOK = "hostile/"


class FalseCount(Worker):
    """Proves honestly, then claims one more than it proved, everywhere."""

    async def prove(self, proving: Proving) -> on.Event:
        """See `Worker.prove`."""
        event = await super().prove(proving)
        if not isinstance(event, on.Proved):
            return event
        proof = self.read_proof(event.proof)
        count = event.count + 1 if event.count < self.task.batch_size else event.count - 1
        return on.Proved(event.round, count, self.offer_proof(replace(proof, count=count)))

    def read_proof(self, cid: Cid) -> ProofObject:
        """Our own proof object."""
        return decode(ProofObject, join_object(cid, self.blocks.get), limit=MAX_PROOF_BYTES)

    def offer_proof(self, proof: ProofObject) -> Cid:
        """Keeps a proof object for the aggregator to fetch."""
        return self.blocks.offer(encode(proof))


class StolenProof(Worker):
    """Submits the proof of another device, taken from the last record."""

    async def model_after(self, record: Cid) -> bytes:
        """See `Worker.model_after`; looks for a proof to steal on the way."""
        found = decode_object(Record, await self.objects.fetch(record))
        verdicts = decode_object(Verdicts, await self.objects.fetch(found.verdicts))
        for verdict in verdicts.verdicts:
            if verdict.device != self.key.id and verdict.submission and verdict.reason is None:
                stolen = decode(Envelope, verdict.submission, limit=1 << 20)
                submission = decode(Submission, stolen.payload, limit=1 << 20)
                try:
                    proof = await self.objects.fetch(submission.proof)
                except (Rejected, Transient):
                    continue
                count = submission.count.to_bytes(8, "big")
                self.journal.transition({_NOTEBOOK + "stolen": count + proof})
                break
        return await super().model_after(record)

    async def prove(self, proving: Proving) -> on.Event:
        """See `Worker.prove`."""
        stolen = self.journal.get(_NOTEBOOK + "stolen")
        if stolen is None:
            return await super().prove(proving)
        count = int.from_bytes(stolen[:8], "big")
        return on.Proved(proving.joined.round, count, self.blocks.offer(stolen[8:]))


class OtherModel(Worker):
    """Commits to one model and proves another, better or worse, under its own context."""

    async def prove(self, proving: Proving) -> on.Event:
        """See `Worker.prove`."""
        batch = await self.batch(proving.batch)
        shape, joined = self.task.model.shape, proving.joined
        theta = np.roll(self.opening(joined.round).theta, 1) % 7
        commitment, opening = await child.run(proof_jobs.commit, self.backend, theta)
        statement = Statement(
            commitment,
            batch,
            submission_context(
                self.config.task_id,
                joined.round,
                self.key.public_key,
                proving.commitment,
                proving.beacon,
            ),
            count_correct(shape, theta, batch.inputs, batch.labels),
        )
        proof = await child.run(proof_jobs.prove, self.backend, statement, opening)
        return on.Proved(
            joined.round, statement.count, self.blocks.offer(self.proof_object(statement, proof))
        )


class Equivocate(Worker):
    """Sends a second, different commitment."""

    def outgoing(self, send: do.Send) -> list[Outgoing]:
        """See `Worker.outgoing`."""
        first = super().outgoing(send)
        if not isinstance(send.message, Commitment):
            return first
        other = bytes(len(send.message.commitment))
        second = replace(send.message, commitment=other, wellformed=None)
        topic = topics.up(self.key.id, Kind.COMMITMENT)
        return [*first, Outgoing(topic, sign(second, self.key))]


class Replay(Worker):
    """Sends the last round's messages again, besides this round's."""

    def outgoing(self, send: do.Send) -> list[Outgoing]:
        """See `Worker.outgoing`."""
        current = super().outgoing(send)
        key = f"{_NOTEBOOK}{send.kind}"
        old = self.journal.get(key)
        if not isinstance(send.message, Commitment | Submission):
            return current
        public = {DeviceId(self.key.id): self.key.public_key}
        replayed: list[Outgoing] = []
        if old is not None:
            past = open_as(type(send.message), old, public).message
            if past.round < send.message.round:
                replayed.append(Outgoing(topics.up(self.key.id, send.kind), old))
        self.journal.transition({key: current[0].payload})
        return [*replayed, *current]


class Garbage(Worker):
    """Sends bytes that mean nothing, and a proof that is none."""

    def outgoing(self, send: do.Send) -> list[Outgoing]:
        """See `Worker.outgoing`."""
        honest = super().outgoing(send)
        topic, payload = honest[0].topic, honest[0].payload
        junk = [
            secrets.token_bytes(300),
            payload[:-5],
            payload[:40] + secrets.token_bytes(99),
            b"\x81" * 500,
        ]
        return [*(Outgoing(topic, each) for each in junk), *honest]

    async def prove(self, proving: Proving) -> on.Event:
        """See `Worker.prove`."""
        cid = self.blocks.offer(secrets.token_bytes(5000))
        return on.Proved(proving.joined.round, self.task.batch_size, cid)


class SilentAfterCommit(Worker):
    """Commits, looks at the batch, and says nothing more."""

    def outgoing(self, send: do.Send) -> list[Outgoing]:
        """See `Worker.outgoing`."""
        return super().outgoing(send) if isinstance(send.message, Commitment) else []


class _WrongMember(Membership):
    def opening(self, round_number: Round) -> ModelOpening:
        """See `Membership.opening`; one parameter is another than was committed to."""
        honest = super().opening(round_number)
        theta = honest.theta.copy()
        theta[0] += 1 if theta[0] < 0 else -1
        return ModelOpening(theta, honest.blinding)


class WrongSum(Worker):
    """In secure aggregation, masks another vector than it committed to."""

    membership_type = _WrongMember


def _attacking(attack: Attack) -> type[Worker]:
    """A worker that follows the protocol with the model that this attack makes."""

    class AttackingWorker(Worker):
        training = staticmethod(partial(train_with, Attacker(attack)))

    return AttackingWorker


_KIND_TO_WORKER: dict[str, type[Worker]] = {
    "false-count": FalseCount,
    "stolen-proof": StolenProof,
    "other-model": OtherModel,
    "equivocate": Equivocate,
    "replay": Replay,
    "garbage": Garbage,
    "silent-after-commit": SilentAfterCommit,
    "wrong-sum": WrongSum,
    **{name: _attacking(attack) for name, attack in NAME_TO_ATTACK.items()},
}

KINDS = tuple(_KIND_TO_WORKER)


def hostile_worker(kind: str) -> type[Worker]:
    """The worker that cheats in this way; raises `Fatal` (USAGE) for an unknown kind."""
    if kind not in _KIND_TO_WORKER:
        raise Fatal(ExitCode.USAGE, f"unknown kind {kind!r}: one of {', '.join(KINDS)}")
    return _KIND_TO_WORKER[kind]

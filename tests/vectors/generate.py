"""Writes the golden vectors: `python -m tests.vectors.generate`, from the repository's root.

Everything follows from fixed seeds, so two runs write the same bytes. `messages/` holds one
signed envelope per message type, `objects/` the objects that CIDs name, `rejected/` one file
per attack with the code it is refused with.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import cbor2
from nacl.public import Box, PrivateKey, PublicKey
from tests.protocol.rounds import BEACON, OPERATOR, PARENT, ROUND, MadeRound, key, make_round

from zkpot.cid import BLOCK_BYTES, Cid, cid_text, node_cid, raw_cid, split_object
from zkpot.errors import Reason
from zkpot.ids import Digest, Round, device_text, digest
from zkpot.keys import KeyPair
from zkpot.offload import make_job
from zkpot.opening import encode_opening
from zkpot.record import Misconduct, SignedRecord, Verdicts
from zkpot.secure.exchange import (
    SEALED_BYTES,
    Confirmation,
    Confirmations,
    Dealing,
    DealtShares,
    DeliveredShares,
    Delivery,
    KeyList,
    MaskedInput,
    MaskedVector,
    Release,
    ReleasedShare,
    SealedRelease,
    ShareKind,
    Survivors,
    dealers_digest,
)
from zkpot.secure.groups import draw_groups
from zkpot.secure.keys import MaskKeys, survivors_statement
from zkpot.secure.shares import seed_digest, share_digest
from zkpot.secure.sums import GroupSum, encode_group_sum
from zkpot.statement import Statement
from zkpot.task import encode_task
from zkpot.wire.codec import decode, encode
from zkpot.wire.envelope import MAX_MESSAGE_BYTES, Envelope, envelope_digest, sign
from zkpot.wire.messages import (
    MESSAGE_TO_TYPE,
    Announcement,
    Block,
    Capabilities,
    Commitment,
    Decline,
    Endorsement,
    FaultReport,
    Message,
    Opening,
    Phase,
    Receipt,
    RecordProposal,
    RecordRefusal,
    RecordSignature,
    Status,
    Submission,
    Want,
)
from zkpot.wire.prover_messages import JobOffer, JobState, JobStatus, JobWithdrawal, ProverStatus

FOLDER = Path(__file__).parent
DEVICE = key(0)
PROVER = KeyPair.from_seed(bytes([200]) * 32)
VALIDATOR = KeyPair.from_seed(bytes([201]) * 32)


@dataclass(frozen=True)
class World:
    """An honest round, its record, and the names of things in it."""

    made: MadeRound
    record: Cid
    sealed_opening: Cid


def make_world() -> World:
    """The round all vectors are taken from."""
    made = make_round()
    equivocation = Misconduct(
        key(1).id,
        Reason.EQUIVOCATION,
        (made.devices[1].envelope, made.device(1, commitment=bytes(8)).envelope),
    )
    first = next(iter(Verdicts(tuple(made.verdicts())).accepted))
    author = next(device.key for device in made.devices if device.key.id == first)
    refused = RecordRefusal(made.task_id, ROUND, raw_cid(b"draft"), Reason.SUM_MISMATCH, "draft")
    record = made.record(misconduct=(equivocation,), refusals=(sign(refused, author),))
    made.check(record)
    name = split_object(encode(record), record.references)[0]
    made.objects[name] = encode(record)
    return World(made, name, raw_cid(b"a sealed opening"))


def messages(world: World) -> Iterator[tuple[Message, KeyPair]]:
    """One message of every type, and who signs it."""
    made = world.made
    task = made.task_id
    record = made.record()
    yield Status(3, online=True, activity="training"), DEVICE
    yield Capabilities(DEVICE.box_key, "zkpot/0.1.0", ("sumcheck/1", "ezkl/1")), DEVICE
    yield made.devices[0].commitment, DEVICE
    submission = decode(Envelope, made.submission(made.devices[0]), limit=MAX_MESSAGE_BYTES).payload
    yield decode(Submission, submission, limit=MAX_MESSAGE_BYTES), DEVICE
    yield Opening(task, ROUND, PARENT, world.sealed_opening), DEVICE
    yield RecordSignature(task, ROUND, world.record), DEVICE
    yield RecordRefusal(task, ROUND, world.record, Reason.SUM_MISMATCH, "sum differs"), DEVICE
    yield (
        Announcement(
            task,
            ROUND,
            Phase.CLOSED,
            PARENT,
            made.model,
            record.roster,
            record.sealed,
            BEACON,
            record.batch,
            record.verdicts,
            world.record,
        ),
        OPERATOR,
    )
    commitment = envelope_digest(made.devices[0].envelope)
    yield Receipt(task, ROUND, commitment, Reason.OUT_OF_PHASE, "too late"), OPERATOR
    yield RecordProposal(task, ROUND, world.record), OPERATOR
    yield Want((world.record, raw_cid(b"leaf"))), DEVICE
    yield Block(raw_cid(b"leaf"), b"leaf"), OPERATOR
    yield Decline(task, ROUND, PARENT, Reason.CANNOT_PROVE, "no prover answered"), DEVICE
    yield (
        ProverStatus(7, True, PROVER.box_key, "zkpot/0.1.0", ("sumcheck/1",), 2, 3, 13, 4),
        PROVER,
    )
    job = split_object(b"a sealed job")[0]
    yield JobOffer(PROVER.id, job, 15, 600), DEVICE
    yield JobWithdrawal(PROVER.id, job), DEVICE
    proof = split_object(b"a proof")[0]
    yield JobStatus(DEVICE.id, job, JobState.DONE, 2, 1000, proof), PROVER
    yield from _secure_messages(made)
    announced = digest("announcement", b"")
    yield Endorsement(task, ROUND, Phase.PROVE, announced), VALIDATOR
    report = FaultReport(
        task,
        ROUND,
        PARENT,
        "sum",
        Reason.SUM_MISMATCH,
        "the sum does not open",
        DEVICE.id,
        (raw_cid(b"evidence"),),
    )
    yield report, VALIDATOR


def _secure_messages(made: MadeRound) -> Iterator[tuple[Message, KeyPair]]:
    """The steps of one group, with made-up keys and shares."""
    weights = {device.key.id: 1 for device in made.devices}
    group = draw_groups(made.task_id, ROUND, BEACON, list(weights), weights, minimum=2)[0]
    own, name = DEVICE.id, group.digest
    keys = MaskKeys(bytes([1]) * 32, bytes([2]) * 32).advertise(group, DEVICE)
    yield keys, DEVICE
    yield KeyList(name, (keys,)), OPERATOR
    sealed, share = bytes([3]) * SEALED_BYTES, bytes([4]) * 32
    dealt = (
        DealtShares(
            own, sealed, *(share_digest(group, kind, own, own, share) for kind in ShareKind)
        ),
    )
    yield Dealing(name, seed_digest(group, own, bytes([5]) * 32), dealt), DEVICE
    yield Delivery(name, (DeliveredShares(own, sealed),)), OPERATOR
    vector = split_object(_masked_vector())[0]
    yield MaskedInput(name, dealers_digest(name, (own,)), vector), DEVICE
    yield Survivors(name, (own,)), OPERATOR
    signature = DEVICE.sign(survivors_statement(group, (own,)))
    confirmation = Confirmation(name, own, signature)
    yield confirmation, DEVICE
    yield Confirmations(name, (confirmation,)), OPERATOR
    yield SealedRelease(name, _sealed(OPERATOR.box_key, encode(_release(name)))), DEVICE


def _release(group: Digest) -> Release:
    return Release(group, (ReleasedShare(DEVICE.id, ShareKind.SEED, bytes([4]) * 32),))


def _sealed(box_key: bytes, content: bytes) -> bytes:
    """What libsodium's sealed box is, with the same key of its own each time."""
    own = PrivateKey(bytes([6]) * 32)
    ours = bytes(own.public_key)
    nonce = hashlib.blake2b(ours + box_key, digest_size=24).digest()
    return ours + Box(own, PublicKey(box_key)).encrypt(content, nonce).ciphertext


def _masked_vector() -> bytes:
    return encode(MaskedVector(bytes(range(104)), bytes(range(64))))


def objects(world: World) -> Iterator[tuple[str, bytes]]:
    """The bytes of one object of every kind, by the name of its rule in the CDDL."""
    made = world.made
    record = made.record()
    yield "task", encode_task(made.task)
    yield "roster", made.get(record.roster)
    yield "sealed-list", made.get(record.sealed)
    yield "reveal", made.get(record.batch)
    yield "verdicts", made.get(record.verdicts)
    yield "record", made.get(world.record)
    yield "global-model", made.get(record.model_after)
    yield "proof-object", encode(made.proof_object(made.devices[0]))
    yield "model-opening", encode_opening(made.devices[0].opening)
    task, device = made.task, made.devices[0]
    statement = Statement(
        device.commitment.commitment, made.batch, Digest(bytes(32)), made.count(device)
    )
    job = make_job(
        DEVICE.id,
        PROVER.id,
        task.proof_system,
        task.srs,
        task.model.shape,
        statement,
        device.opening,
    )
    yield "proof-job", encode(job)
    yield "masked-vector", _masked_vector()
    yield "release", encode(_release(digest("group")))
    total, model = made.sum_of({device.key.id: 1 for device in made.devices})
    members = tuple(summand.device for summand in total.summands)
    yield "group-sum", encode_group_sum(GroupSum(0, members, model.theta_sum, total.blinding))
    signature = RecordSignature(made.task_id, ROUND, world.record)
    leader = next(device.key for device in made.devices if device.key.id == record.leader)
    signed = SignedRecord(world.record, sign(signature, leader), sign(signature, OPERATOR))
    yield "signed-record", encode(signed)
    large = bytes(BLOCK_BYTES + 1)
    root, blocks = split_object(large, record.references)
    yield "manifest", blocks[root]


Attack: TypeAlias = tuple[str, str, bytes, Reason]
"""Its name, what the bytes pretend to be, the bytes, and the code they are refused with."""

STATUS = Status(1, online=True, activity="ready")


def rejected(world: World) -> Iterator[Attack]:
    """Every attack."""
    yield from _spoilt_envelopes(world)
    yield from _spoilt_payloads()
    yield from _out_of_place_commitments(world.made)
    yield from _spoilt_manifests()


def _signed(kind: str, content: bytes) -> bytes:
    """An envelope whose signature is right, whatever it holds."""
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(content), content)
    return encode(Envelope(kind, content, DEVICE.id, DEVICE.sign(signed)))


def _spoilt_envelopes(world: World) -> Iterator[Attack]:
    made, envelope = world.made, "envelope"
    payload, good = encode(STATUS), sign(STATUS, DEVICE)
    parts = cbor2.loads(good)
    yield "empty", envelope, b"", Reason.MALFORMED
    yield "oversize", envelope, bytes(MAX_MESSAGE_BYTES + 1), Reason.OVERSIZE
    yield "truncated", envelope, good[:-1], Reason.MALFORMED
    yield "trailing-byte", envelope, good + b"\x00", Reason.MALFORMED
    yield "deep-nesting", envelope, b"\x81" * 500, Reason.MALFORMED
    yield "self-described-tag", envelope, b"\xd9\xd9\xf7" + good, Reason.MALFORMED
    yield "unknown-envelope-key", envelope, cbor2.dumps(parts | {5: 0}), Reason.MALFORMED
    missing = {k: v for k, v in parts.items() if k != 4}
    yield "unsigned", envelope, cbor2.dumps(missing), Reason.MALFORMED
    yield "unknown-type", envelope, _signed("zkpot/nothing/1", payload), Reason.UNKNOWN_TYPE
    yield "next-major-version", envelope, _signed("zkpot/status/2", payload), Reason.UNKNOWN_TYPE
    yield "stranger", envelope, sign(STATUS, key(99)), Reason.NOT_IN_ROSTER
    yield "wrong-signer", envelope, cbor2.dumps(parts | {3: key(1).id}), Reason.BAD_SIGNATURE
    yield "zero-signature", envelope, cbor2.dumps(parts | {4: bytes(64)}), Reason.BAD_SIGNATURE
    later = encode(replace(STATUS, session=2))
    yield "changed-payload", envelope, cbor2.dumps(parts | {2: later}), Reason.BAD_SIGNATURE
    proposal = cbor2.loads(sign(RecordProposal(made.task_id, ROUND, world.record), DEVICE))
    relabelled = cbor2.dumps(proposal | {1: "zkpot/record-signature/1"})
    yield "type-confusion", envelope, relabelled, Reason.BAD_SIGNATURE


def _spoilt_payloads() -> Iterator[Attack]:
    envelope = "envelope"

    def of_status(content: str) -> bytes:
        return _signed("zkpot/status/1", bytes.fromhex(content))

    yield "duplicate-key", envelope, of_status("a40101010102f50360"), Reason.MALFORMED
    yield "missing-key", envelope, of_status("a2010102f5"), Reason.MALFORMED
    yield "unknown-key", envelope, of_status("a4010102f503600400"), Reason.MALFORMED
    yield "unsorted-keys", envelope, of_status("a302f501010360"), Reason.MALFORMED
    yield "long-integer", envelope, of_status("a301180102f50360"), Reason.MALFORMED
    yield "float-for-integer", envelope, of_status("a301f93c0002f50360"), Reason.MALFORMED
    yield "negative-integer", envelope, of_status("a3012002f50360"), Reason.MALFORMED
    yield "integer-of-64-bits", envelope, of_status(f"a3011b{'f' * 16}02f50360"), Reason.MALFORMED
    yield "bignum", envelope, of_status("a301c2410102f50360"), Reason.MALFORMED
    yield "indefinite-map", envelope, of_status("bf010102f50360ff"), Reason.MALFORMED
    yield "indefinite-text", envelope, of_status("a3010102f5037f60ff"), Reason.MALFORMED
    yield "invalid-utf8", envelope, of_status("a3010102f50361ff"), Reason.MALFORMED
    yield "long-text", envelope, of_status("a3010102f5037851" + "61" * 81), Reason.MALFORMED
    yield "huge-length", envelope, of_status("a3010102f5037b7fffffffffffffff"), Reason.MALFORMED
    shared = bytes.fromhex("a10182d81c5824") + raw_cid(b"") + bytes.fromhex("d81d00")
    yield "back-reference", envelope, _signed("zkpot/want/1", shared), Reason.MALFORMED


def _out_of_place_commitments(made: MadeRound) -> Iterator[Attack]:
    stale = replace(made.devices[0].commitment, round=Round(ROUND - 1))
    yield "replayed-commitment", "commitment", sign(stale, DEVICE), Reason.STALE_ROUND
    foreign: Commitment = replace(made.devices[0].commitment, parent=PARENT[::-1])  # type: ignore[arg-type]
    yield "commitment-to-another-parent", "commitment", sign(foreign, DEVICE), Reason.WRONG_PARENT
    copied = replace(made.devices[0].commitment, commitment=made.devices[1].commitment.commitment)
    yield (
        "copied-commitment",
        "commitment",
        sign(copied, DEVICE),
        Reason.COMMITMENT_NOT_WELLFORMED,
    )


def _spoilt_manifests() -> Iterator[Attack]:
    def manifest(**changes: object) -> bytes:
        leaf = cbor2.CBORTag(42, b"\x00" + raw_cid(b""))
        return cbor2.dumps({"data": [leaf], "refs": [], "size": 0} | changes, canonical=True)

    yield "manifest-without-links", "manifest", manifest(data=[1]), Reason.MALFORMED
    yield "manifest-of-another-size", "manifest", manifest(size=BLOCK_BYTES + 1), Reason.MALFORMED
    node = cbor2.CBORTag(42, b"\x00" + node_cid(b""))
    yield "manifest-with-a-node-as-leaf", "manifest", manifest(data=[node]), Reason.MALFORMED
    yield "manifest-with-another-key", "manifest", manifest(more=0), Reason.MALFORMED


def files(world: World) -> Iterator[tuple[str, dict[str, object]]]:
    """Every vector, by its path below this folder."""
    for message, signer in messages(world):
        kind = MESSAGE_TO_TYPE[type(message)]
        name = kind.split("/")[1]
        envelope = sign(message, signer)
        yield (
            f"messages/{name}.json",
            {
                "type": kind,
                "rule": name.removeprefix("secure-"),
                "public_key": signer.public_key.hex(),
                "signer": device_text(signer.id),
                "payload": encode(message).hex(),
                "envelope": envelope.hex(),
                "digest": envelope_digest(envelope).hex(),
            },
        )
    for rule, data in objects(world):
        cid = node_cid(data) if rule == "manifest" else split_object(data)[0]
        yield f"objects/{rule}.json", {"rule": rule, "bytes": data.hex(), "cid": cid_text(cid)}
    for attack, kind, data, reason in rejected(world):
        size = {"zeros": len(data)} if not any(data) and data else {"bytes": data.hex()}
        yield f"rejected/{attack}.json", {"what": kind, "code": reason.name, **size}


def text(vector: dict[str, object]) -> str:
    """The JSON of one vector."""
    return json.dumps(vector, indent=2) + "\n"


def main() -> None:
    """Replaces every file."""
    for name, vector in files(make_world()):
        path = FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text(vector))


if __name__ == "__main__":
    main()

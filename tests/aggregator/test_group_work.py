"""What the aggregator fetches and opens of a device, and that it fetches nothing larger."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from tests.aggregator.masking_kit import KEYS, make_terms
from tests.aggregator.round_kit import PARENT, ROUND, TASK_ID, named
from tests.link.unlinked import Unlinked

from zkpot.cid import Cid, split_object
from zkpot.errors import Reason
from zkpot.ids import DeviceId, digest
from zkpot.keys import KeyPair, seal
from zkpot.link.blocks import BlockExchange
from zkpot.opening import MAX_OPENING_BLINDING_BYTES, encode_opening, max_sealed_bytes
from zkpot.proof.system import ModelOpening
from zkpot.secure.exchange import (
    MaskedInput,
    MaskedVector,
    Release,
    ReleasedShare,
    SealedRelease,
    ShareKind,
    seal_release,
)
from zkpot.verify import MAX_PROOF_BYTES, ProofTerms, RoundTerms
from zkpot.wire import topics
from zkpot.wire.codec import encode
from zkpot.wire.envelope import open_envelope, sign
from zkpot.wire.messages import Block, Commitment, Opening, Submission, Want
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.group_work import GroupWorker
from zkpot_aggregator.intake import Intake
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at

SENDER = next(iter(KEYS.values()))
AGGREGATOR = KeyPair.from_seed(digest("aggregator"))
TERMS = make_terms()
PARAMETERS = TERMS.task.model.shape.parameters
SCALARS = 3


@dataclass
class Willing(Unlinked):
    """A link to a device that answers every Want; `served` is what it was asked for."""

    blocks: dict[Cid, bytes]
    served: list[Cid] = field(default_factory=list)
    exchange: BlockExchange | None = None

    async def publish_volatile(self, _topic: str, payload: bytes) -> None:
        message = open_envelope(payload, {AGGREGATOR.id: AGGREGATOR.public_key}).message
        assert isinstance(message, Want)
        assert self.exchange is not None
        for cid in message.cids:
            self.served.append(cid)
            self.exchange.receive(SENDER.id, Block(cid, self.blocks[cid]))


class Sealed(GroupWorker):
    """Knows the sender's commitment."""

    def sealed(self, terms: RoundTerms, cid: Cid) -> dict[DeviceId, Commitment]:
        """See `Worker.sealed`."""
        del terms, cid
        commitment = Commitment(TASK_ID, ROUND, PARENT, bytes(32 * SCALARS), None)
        return {SENDER.id: commitment}


def offered(folder: Path, data: bytes) -> tuple[GroupWorker, Willing, Cid]:
    """A worker that can fetch `data` from the sender, and the name of it."""
    root, blocks = split_object(data)
    link = Willing(dict(blocks))
    intake = Intake(folder / "intake", MemoryStore())
    link.exchange = BlockExchange(link, key=AGGREGATOR, store=intake, address=topics.down)
    unused = cast("Any", None)
    make = cast("Any", Sealed)
    worker = make(unused, AGGREGATOR, *[unused] * 3, intake, link.exchange, unused, folder)
    return worker, link, root


def fetch(folder: Path, data: bytes) -> tuple[on.Event, list[Cid]]:
    """What comes of the masked input that names `data`, and which blocks were asked for."""
    worker, link, root = offered(folder, data)
    state = cast("at.Masking", SimpleNamespace(sealed=SimpleNamespace(cid=named("sealed"))))
    envelope = sign(MaskedInput(digest("group"), digest("delivery"), root), SENDER)
    return asyncio.run(worker.fetch_vector(TERMS, state, envelope)), link.served


def test_a_vector_as_long_as_the_model_is_fetched(tmp_path: Path) -> None:
    data = encode(MaskedVector(bytes(4 * PARAMETERS), bytes(32 * SCALARS)))
    event, served = fetch(tmp_path, data)
    assert isinstance(event, on.VectorFetched)
    assert event.reason is None
    assert set(served) == set(split_object(data)[1])


def test_of_a_larger_object_the_manifest_alone_is_fetched(tmp_path: Path) -> None:
    """A device may offer again after a refusal: nothing must come of 64 MiB each time."""
    data = encode(MaskedVector(bytes(4 * PARAMETERS + 1024), bytes(32 * SCALARS)))
    event, served = fetch(tmp_path, data)
    assert isinstance(event, on.VectorFetched)
    assert event.reason is Reason.OVERSIZE
    assert served == [split_object(data)[0]]


def test_of_a_larger_proof_the_manifest_alone_is_fetched(tmp_path: Path) -> None:
    worker, link, root = offered(tmp_path, bytes(MAX_PROOF_BYTES + 1))
    proof = sign(Submission(TASK_ID, ROUND, PARENT, 7, root), SENDER)
    form = sign(Commitment(TASK_ID, ROUND, PARENT, b"commitment", root), SENDER)
    terms = cast("ProofTerms", SimpleNamespace(round=TERMS))
    for event in (
        asyncio.run(worker.check_submission(terms, proof)),
        asyncio.run(worker.check_commitment(TERMS, form)),
    ):
        assert isinstance(event, on.SubmissionChecked | on.CommitmentChecked)
        assert event.reason is Reason.OBJECT_UNAVAILABLE
        assert f"at most {MAX_PROOF_BYTES}" in event.detail
        assert set(link.served) == {root}


def test_of_a_larger_opening_the_manifest_alone_is_fetched(tmp_path: Path) -> None:
    worker, link, root = offered(tmp_path, bytes(max_sealed_bytes(TERMS.task.model.shape) + 1))
    envelope = sign(Opening(TASK_ID, ROUND, PARENT, root), SENDER)
    event = asyncio.run(worker.check_opening(b"commitment", TERMS, envelope))
    assert isinstance(event, on.OpeningChecked)
    assert event.reason is Reason.OVERSIZE
    assert link.served == [root]


def test_every_opening_is_small_enough_to_be_fetched() -> None:
    shape = TERMS.task.model.shape
    for blinding in (b"", bytes(MAX_OPENING_BLINDING_BYTES)):
        opening = ModelOpening(np.zeros(shape.parameters, np.int64), blinding)
        sealed = seal(AGGREGATOR.box_key, encode_opening(opening))
        assert len(sealed) <= max_sealed_bytes(shape)


SHARE = ReleasedShare(SENDER.id, ShareKind.SEED, bytes(32))
RELEASE = Release(digest("group"), (SHARE,))


def opened(folder: Path, message: SealedRelease) -> on.ReleaseOpened:
    """What the aggregator finds in a sealed release."""
    worker, _, _ = offered(folder, b"")
    event = asyncio.run(worker.open_release(TERMS, sign(message, SENDER)))
    assert isinstance(event, on.ReleaseOpened)
    return event


def test_a_release_that_was_sealed_to_the_operator_is_opened(tmp_path: Path) -> None:
    event = opened(tmp_path, seal_release(AGGREGATOR.box_key, RELEASE))
    assert (event.release, event.reason) == (RELEASE, None)


def test_any_other_release_has_a_reason_and_nothing_of_it_is_shown(tmp_path: Path) -> None:
    good = seal_release(AGGREGATOR.box_key, RELEASE)
    for number, sealed in enumerate(
        (
            seal(SENDER.box_key, encode(RELEASE)),
            good.sealed[:-1],
            b"",
            encode(RELEASE),
            seal(AGGREGATOR.box_key, encode(SHARE)),
        )
    ):
        event = opened(tmp_path / str(number), replace(good, sealed=sealed))
        assert (event.release, event.reason) == (None, Reason.MALFORMED)
        assert SHARE.share.hex() not in event.detail

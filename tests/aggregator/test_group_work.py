"""What the aggregator fetches for a group: a masked vector, and nothing that is larger."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.aggregator.masking_kit import KEYS, make_terms
from tests.aggregator.round_kit import PARENT, ROUND, TASK_ID, named

from zkpot.cid import Cid, split_object
from zkpot.errors import Reason
from zkpot.ids import DeviceId, digest
from zkpot.keys import KeyPair
from zkpot.link import Incoming
from zkpot.link.blocks import BlockExchange
from zkpot.secure.exchange import MaskedInput, MaskedVector
from zkpot.verify import RoundTerms
from zkpot.wire import topics
from zkpot.wire.codec import encode
from zkpot.wire.envelope import open_envelope, sign
from zkpot.wire.messages import Block, Commitment, Want
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
class Willing:
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

    async def run(self) -> None:
        raise NotImplementedError

    async def ready(self) -> None:
        raise NotImplementedError

    def incoming(self) -> AsyncIterator[Incoming]:
        raise NotImplementedError

    async def stop(self) -> list[str]:
        raise NotImplementedError


class Sealed(GroupWorker):
    """Knows the sender's commitment."""

    def sealed(self, terms: RoundTerms, cid: Cid) -> dict[DeviceId, Commitment]:
        """See `Worker.sealed`."""
        del terms, cid
        commitment = Commitment(TASK_ID, ROUND, PARENT, bytes(32 * SCALARS), None)
        return {SENDER.id: commitment}


def fetch(folder: Path, data: bytes) -> tuple[on.Event, list[Cid]]:
    """What comes of the masked input that names `data`, and which blocks were asked for."""
    root, blocks = split_object(data)
    link = Willing(dict(blocks))
    intake = Intake(folder / "intake", MemoryStore())
    link.exchange = BlockExchange(link, key=AGGREGATOR, store=intake, address=topics.down)
    unused = cast("Any", None)
    make = cast("Any", Sealed)
    worker: GroupWorker = make(*[unused] * 5, intake, link.exchange, unused, folder)
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

"""A device's topic carries only what that device signed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from tests.aggregator.rig import CONFIG
from tests.aggregator.round_kit import DEVICES, STRANGER, commitment, named

from zkpot.cid import split_object
from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.journal import Journal
from zkpot.keys import KeyPair, create_key_file
from zkpot.link import Incoming
from zkpot.link.blocks import BlockExchange
from zkpot.link.mqtt import MqttLink
from zkpot.record import Roster, RosterEntry
from zkpot.wire import topics
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Block, Status, Want
from zkpot.wire.topics import Kind
from zkpot_aggregator.config import AggregatorConfig, DeviceConfig
from zkpot_aggregator.content.memory import MemoryStore
from zkpot_aggregator.driver import REJECTION, Driver
from zkpot_aggregator.group_work import GroupWorker
from zkpot_aggregator.inbound import check_sender
from zkpot_aggregator.intake import Intake
from zkpot_aggregator.service import AggregatorService

ROSTER = Roster.of(RosterEntry(key.public_key, "") for key in DEVICES)
ANNA, BERT = DEVICES[:2]


def sent_on(topic: str, payload: bytes) -> None:
    check_sender(topics.parse_device_topic(topic), payload, ROSTER.public_keys)


@pytest.fixture(params=["commitment", "want", "status"])
def by_anna(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    """A channel, and what Anna signed for it."""
    return {
        "commitment": ("up/commitment", commitment(ANNA)),
        "want": ("up/want", sign(Want((named("x"),)), ANNA)),
        "status": ("status", sign(Status(1, True, "ready"), ANNA)),
    }[str(request.param)]


def on_topic_of(key: KeyPair, channel: str) -> str:
    return topics.status(key.id).removesuffix("status") + channel


def test_its_own_topic_is_right(by_anna: tuple[str, bytes]) -> None:
    channel, payload = by_anna
    sent_on(on_topic_of(ANNA, channel), payload)


@pytest.mark.parametrize("other", [BERT, STRANGER], ids=["enrolled", "stranger"])
def test_the_topic_of_another_is_wrong(by_anna: tuple[str, bytes], other: KeyPair) -> None:
    channel, payload = by_anna
    with pytest.raises(Rejected) as caught:
        sent_on(on_topic_of(other, channel), payload)
    assert caught.value.reason is Reason.WRONG_TOPIC


@pytest.mark.parametrize(
    "payload",
    [b"", b"junk", commitment(STRANGER), commitment(ANNA)[:-1] + b"\x00"],
    ids=["empty", "junk", "not in the roster", "bad signature"],
)
def test_what_is_no_envelope_is_judged_where_it_was_meant_for(payload: bytes) -> None:
    sent_on(topics.up(BERT.id, Kind.COMMITMENT), payload)


# --- in the service -------------------------------------------------------------------------


@dataclass
class Listener:
    """In place of driver and exchange: keeps what reaches it."""

    heard: list[object] = field(default_factory=list)
    act: Callable[[], None] = lambda: None

    def apply(self, event: object) -> None:
        self.heard.append(event)
        self.act()

    def receive(self, peer: object, message: object) -> None:
        self.heard.append((peer, message))


@dataclass
class Mute:
    """A link on which messages have come all at once, and nobody answers."""

    came: list[Incoming]

    async def incoming(self) -> AsyncIterator[Incoming]:
        for each in self.came:
            yield each

    async def publish_volatile(self, topic: str, payload: bytes) -> None:
        """Drops it."""


@pytest.mark.parametrize("right", [True, False], ids=["own topic", "topic of another"])
@pytest.mark.parametrize("kind", ["commitment", "submission", "opening", "record", "want"])
def test_the_service_delivers_only_what_came_on_its_signers_topic(
    tmp_path: Path, kind: str, right: bool
) -> None:
    listener = Listener()
    service = service_in(tmp_path)
    service._driver = cast("Driver", listener)
    service._exchange = cast("BlockExchange", listener)
    payload = sign(Want((named("x"),)), ANNA) if kind == "want" else commitment(ANNA)
    incoming = Incoming(topics.up((ANNA if right else BERT).id, Kind(kind)), payload, False)
    if right:
        service._receive(incoming)
        assert len(listener.heard) == 1
        return
    with pytest.raises(Rejected) as caught:
        service._receive(incoming)
    assert caught.value.reason is Reason.WRONG_TOPIC
    assert listener.heard == []
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        for _ in range(2):
            service._note_rejection(journal, incoming, caught.value)
        assert journal.events(REJECTION) == []  # held against nobody
        assert len(journal.events(REJECTION + "-other")) == 1


def service_in(folder: Path) -> AggregatorService:
    create_key_file(folder / "operator.key")
    devices = tuple(DeviceConfig(key.public_key.hex()) for key in DEVICES)
    return AggregatorService(
        AggregatorConfig(folder / "operator.key", folder / "state", CONFIG, devices)
    )


def test_a_status_of_another_makes_nobody_ready(tmp_path: Path) -> None:
    service = service_in(tmp_path)
    service._exchange = cast("BlockExchange", Listener())
    status = sign(Status(1, True, "ready"), ANNA)
    with pytest.raises(Rejected):
        service._receive(Incoming(topics.status(BERT.id), status, True))
    assert service._ready_devices == set()
    service._receive(Incoming(topics.status(ANNA.id), status, True))
    assert service._ready_devices == {ANNA.id}
    service._receive(Incoming(topics.status(BERT.id), b"", True))
    for wrong in ("elsewhere", "zkpot/1/device/x/status"):
        with pytest.raises(Rejected):
            service._receive(Incoming(wrong, status, False))


def test_blocks_that_follow_their_submission_at_once_are_not_lost(tmp_path: Path) -> None:
    """Validators keep them. Lost here, and never answered for, they would look like an omission."""
    data = bytes(range(256)) * 600
    root, blocks = split_object(data)
    said = [(Kind.SUBMISSION, commitment(ANNA))] + [
        (Kind.BLOCK, sign(Block(cid, blocks[cid]), ANNA))
        for cid in (root, *(cid for cid in blocks if cid != root))
    ]
    found: list[bytes] = []

    async def main() -> None:
        service = service_in(tmp_path)
        mute = cast("MqttLink", Mute([Incoming(topics.up(ANNA.id, k), p, False) for k, p in said]))
        intake = Intake(tmp_path / "intake", MemoryStore())
        exchange = BlockExchange(mute, key=DEVICES[2], store=intake, address=topics.down)
        service._exchange = exchange

        async def fetch() -> None:
            found.append(await exchange.fetch(root, ANNA.id, deadline_s=10))

        begun: list[asyncio.Task[None]] = []
        driver = Listener(act=lambda: begun.append(asyncio.create_task(fetch())))
        service._driver = cast("Driver", driver)
        await service._receive_all(mute, cast("GroupWorker", None))
        await asyncio.gather(*begun)

    asyncio.run(main())
    assert found == [data]


def test_one_device_cannot_be_enrolled_twice(tmp_path: Path) -> None:
    create_key_file(tmp_path / "operator.key")
    twice = (DeviceConfig(ANNA.public_key.hex()),) * 2
    with pytest.raises(Fatal, match="devices:") as caught:
        AggregatorService(AggregatorConfig(tmp_path / "operator.key", tmp_path, CONFIG, twice))
    assert caught.value.exit_code is ExitCode.CONFIG

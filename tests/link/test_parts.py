"""The parts of a link, one by one."""

import asyncio
import contextlib
import errno
import socket
import ssl
from pathlib import Path

import pytest
from aiomqtt import MqttError
from aiomqtt.exceptions import MqttConnectError
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from zkpot.config import parse_config
from zkpot.errors import ExitCode, Fatal, Transient
from zkpot.journal import Journal, Outgoing
from zkpot.link import BrokerSettings, Incoming, Tls
from zkpot.link.base import matches, packet_bytes
from zkpot.link.failures import check_subscriptions, pause_s, refusal
from zkpot.link.inbox import Inbox
from zkpot.link.mqtt import MqttLink
from zkpot.link.outbox import Outbox

SETTINGS = BrokerSettings("broker.example", 8883, username="anna")


def test_settings_that_no_client_takes_are_errors_of_the_config() -> None:
    good: dict[str, object] = {"host": "::1", "port": 1883}
    wrong: dict[str, tuple[object, ...]] = {
        "host": ("", "a..b", "x" * 64, "a\0b", "a\nb"),
        "port": (0, -1, 65_536),
        "keepalive_s": (-1, 0, 65_536),
        "connect_timeout_s": (0, -1.0, float("nan"), float("inf")),
    }
    assert parse_config(BrokerSettings, good, Path(), "a.toml") == BrokerSettings("::1", 1883)
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(Fatal, match=name) as caught:
                parse_config(BrokerSettings, good | {name: value}, Path(), "a.toml")
            assert caught.value.exit_code is ExitCode.CONFIG


def _incoming(size: int) -> Incoming:
    return Incoming("t", bytes(size), retained=False)


def test_an_inbox_acknowledges_a_message_when_the_next_is_asked_for() -> None:
    async def scenario() -> None:
        inbox, acknowledged = Inbox(), list[int]()
        for number in (1, 2):
            assert inbox.offer(
                _incoming(number),
                lambda number=number: acknowledged.append(number),  # type: ignore[misc]
            )
        messages = inbox.incoming()
        assert len((await anext(messages)).payload) == 1
        assert acknowledged == []
        assert len((await anext(messages)).payload) == 2
        assert acknowledged == [1]
        waiting = asyncio.ensure_future(anext(messages))
        await asyncio.sleep(0)
        assert acknowledged == [1, 2]
        assert inbox.offer(_incoming(3), lambda: None)
        assert len((await waiting).payload) == 3

    asyncio.run(scenario())


@pytest.mark.parametrize("limits", [{"max_messages": 4}, {"max_bytes": 400}])
def test_an_inbox_refuses_what_it_cannot_hold(limits: dict[str, int]) -> None:
    async def scenario() -> None:
        inbox = Inbox(**limits)
        assert [inbox.offer(_incoming(100), lambda: None) for _ in range(5)] == [True] * 4 + [False]
        messages = inbox.incoming()
        room = asyncio.ensure_future(inbox.half_empty())
        await anext(messages)
        await asyncio.sleep(0)
        assert not room.done()
        await anext(messages)
        await room
        assert inbox.offer(_incoming(100), lambda: None)

    asyncio.run(scenario())


def test_others_get_a_turn_while_an_inbox_is_full() -> None:
    async def scenario() -> int:
        inbox, turns = Inbox(), 0
        assert all(inbox.offer(_incoming(1), lambda: None) for _ in range(100))

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        working, taken = asyncio.ensure_future(other()), 0
        async for _ in inbox.incoming():
            taken += 1
            if taken == 100:
                break
        working.cancel()
        return turns

    assert asyncio.run(scenario()) >= 99


def test_an_outbox_sends_in_order_and_keeps_what_failed(tmp_path: Path) -> None:
    async def scenario(journal: Journal) -> None:
        outbox, sent = Outbox(journal), list[bytes]()
        unlisten = outbox.listen()
        journal.transition({}, [Outgoing("t", b"%d" % number) for number in range(40)])
        failing = True

        async def publish(message: Outgoing) -> None:
            sent.append(message.payload)
            await asyncio.sleep(0)
            if failing and message.payload == b"20":
                raise MqttError("lost")

        with pytest.raises(MqttError):
            await outbox.drain(publish)
        assert journal.outgoing()[0].message.payload == b"20"
        failing = False
        draining = asyncio.ensure_future(outbox.drain(publish))
        await outbox.emptied()
        journal.transition({}, [Outgoing("t", b"40")])
        assert outbox.unsent() == ["t"]
        await outbox.emptied()
        assert list(dict.fromkeys(sent)) == [b"%d" % number for number in range(41)]
        draining.cancel()
        unlisten()

    with Journal.open(tmp_path / "state.db") as journal:
        asyncio.run(scenario(journal))
        journal.transition({}, [Outgoing("t", b"nobody listens")])


@pytest.mark.parametrize(
    ("name", "fatal"),
    [
        ("Bad user name or password", True),
        ("Not authorized", True),
        ("Client identifier not valid", True),
        ("Unsupported protocol version", True),
        ("Server unavailable", False),
        ("Server busy", False),
    ],
)
def test_what_a_connack_means(name: str, fatal: bool) -> None:
    error = refusal(MqttConnectError(ReasonCode(PacketTypes.CONNACK, name)), SETTINGS)
    assert (error is not None) is fatal
    if error is not None:
        assert error.exit_code is ExitCode.CREDENTIALS
        assert "anna" in str(error)


def _caused_by(cause: Exception) -> MqttError:
    error = MqttError(str(cause))
    error.__context__ = cause
    return error


def test_what_a_failed_handshake_means() -> None:
    not_yet = ssl.SSLCertVerificationError(1, "not yet valid")
    not_yet.verify_code = 9
    assert refusal(_caused_by(not_yet), SETTINGS) is None
    expired = ssl.SSLCertVerificationError(1, "expired")
    expired.verify_code, expired.verify_message = 10, "certificate has expired"
    assert "has expired" in str(refusal(_caused_by(expired), SETTINGS))
    alert = ssl.SSLError(1, "alert")
    alert.reason = "TLSV1_ALERT_UNKNOWN_CA"
    assert "client certificate" in str(refusal(_caused_by(alert), SETTINGS))
    assert refusal(_caused_by(ConnectionRefusedError(errno.ECONNREFUSED, "no")), SETTINGS) is None
    assert refusal(Transient("disk full"), SETTINGS) is None


def test_a_subscription_that_is_not_answered_counts_as_refused() -> None:
    check_subscriptions(["a", "b"], [1, 0])
    with pytest.raises(Fatal, match="to b:"):
        check_subscriptions(["a", "b"], [1, 0x80])
    with pytest.raises(Fatal, match="a, b"):
        check_subscriptions(["a", "b"], [1])


@given(st.integers(1, 10_000))
def test_pauses_are_capped_and_never_zero(attempt: int) -> None:
    assert 0.1 < pause_s(attempt) <= 30


@pytest.mark.parametrize(
    ("topic", "topic_filter", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/+", True),
        ("a/b", "#", True),
        ("a", "a/#", True),
        ("a/b/c", "a/+", False),
        ("a", "a/+", False),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", False),
    ],
)
def test_filters(topic: str, topic_filter: str, expected: bool) -> None:
    assert matches(topic, topic_filter) is expected


def test_packets_are_measured_from_above() -> None:
    assert packet_bytes("t", bytes(100)) >= 1 + 1 + 2 + 1 + 2 + 100


def _settings(port: int, tls: Tls | None = None) -> BrokerSettings:
    return BrokerSettings("127.0.0.1", port, tls=tls, connect_timeout_s=1, keepalive_s=2)


def _link(settings: BrokerSettings, journal: Journal) -> MqttLink:
    return MqttLink(settings, client_id="x", journal=journal, subscriptions=["t"])


@pytest.mark.enable_socket
@pytest.mark.broker
def test_a_server_that_never_answers_is_left_and_tried_again(tmp_path: Path) -> None:
    def serve() -> None:
        with contextlib.ExitStack() as held:
            for _ in range(2):
                connection = held.enter_context(server.accept()[0])
                assert connection.recv(1) == b"\x10"

    async def scenario(journal: Journal) -> None:
        link = _link(_settings(server.getsockname()[1]), journal)
        running = asyncio.ensure_future(link.run())
        await asyncio.to_thread(serve)
        await link.stop()
        await running

    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Journal.open(tmp_path / "state.db") as journal,
    ):
        server.settimeout(60)
        asyncio.run(scenario(journal))


@pytest.mark.parametrize("broken", ["missing", "garbage"])
def test_unusable_certificates_are_fatal(tmp_path: Path, broken: str) -> None:
    authority = tmp_path / "ca.pem"
    if broken == "garbage":
        authority.write_text("not a certificate")
    with (
        Journal.open(tmp_path / "state.db") as journal,
        pytest.raises(Fatal, match=r"ca\.pem") as caught,
    ):
        asyncio.run(_link(_settings(1, Tls(authority)), journal).run())
    assert caught.value.exit_code is ExitCode.CREDENTIALS

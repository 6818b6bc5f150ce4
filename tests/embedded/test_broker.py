"""The embedded broker keeps its door, and serves as many clients as a demonstration has."""

import asyncio
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiomqtt
import pytest
from tests.real.components import free_port

from zkpot.errors import ExitCode, Fatal
from zkpot.ids import DeviceId, device_text
from zkpot.journal import Journal, Outgoing
from zkpot.link import BrokerSettings
from zkpot.link.mqtt import MqttLink
from zkpot.wire import topics
from zkpot.wire.topics import Kind
from zkpot_aggregator.embedded.access import Account
from zkpot_aggregator.embedded.broker import PASSWORD_FILE, EmbeddedBroker
from zkpot_aggregator.embedded.guard import MAX_CONNECT_BYTES, MAX_PACKET_BYTES

pytestmark = [pytest.mark.broker, pytest.mark.enable_socket]

FLEET = 50
PATIENCE_S = 60
AGGREGATOR = DeviceId(bytes(20))
DEVICES = [DeviceId(bytes([1 + number]) * 20) for number in range(FLEET)]
ANNA, BERT = DEVICES[:2]


def _password(device: DeviceId) -> str:
    return f"password of {device[0]}"


ACCOUNTS = [
    Account(device, _password(device), is_aggregator=device == AGGREGATOR)
    for device in (AGGREGATOR, *DEVICES)
]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path / "broker", ACCOUNTS) as running:
        yield running


def _link(
    broker: EmbeddedBroker, journal: Journal, device: DeviceId, password: str | None = None
) -> MqttLink:
    password_file = broker._folder / device_text(device)
    password_file.write_text(_password(device) if password is None else password)
    is_aggregator = device == AGGREGATOR
    return MqttLink(
        BrokerSettings(
            broker.host, broker.port, username=device_text(device), password_file=password_file
        ),
        client_id=device_text(device),
        journal=journal,
        subscriptions=(
            topics.aggregator_subscriptions()
            if is_aggregator
            else (f"zkpot/1/device/{device_text(device)}/down/+",)
        ),
    )


def _client(
    broker: EmbeddedBroker,
    device: DeviceId,
    *,
    client_id: str | None = None,
    password: str | None = None,
    clean: bool = False,
    will: aiomqtt.Will | None = None,
) -> aiomqtt.Client:
    return aiomqtt.Client(
        broker.host,
        broker.port,
        username=device_text(device),
        password=_password(device) if password is None else password,
        identifier=client_id or device_text(device),
        clean_session=clean,
        will=will,
        timeout=PATIENCE_S,
    )


def _down(device: DeviceId) -> str:
    return topics.down(device, Kind.RECEIPT)


async def _next(client: aiomqtt.Client) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        async for message in client.messages:
            payload = message.payload
            assert isinstance(payload, bytes)
            return payload
    raise AssertionError


def test_a_wrong_password_is_fatal(broker: EmbeddedBroker, tmp_path: Path) -> None:
    async def scenario() -> None:
        with Journal.open(tmp_path / "a.db") as journal:
            link = _link(broker, journal, ANNA, "wrong")
            with pytest.raises(Fatal, match=device_text(ANNA)) as caught:
                await asyncio.wait_for(link.run(), PATIENCE_S)
        assert caught.value.exit_code is ExitCode.CREDENTIALS

    asyncio.run(scenario())


def test_a_missing_password_file_is_fatal(broker: EmbeddedBroker, tmp_path: Path) -> None:
    async def scenario() -> None:
        with Journal.open(tmp_path / "a.db") as journal:
            link = _link(broker, journal, ANNA)
            (broker._folder / device_text(ANNA)).unlink()
            with pytest.raises(Fatal, match="password"):
                await asyncio.wait_for(link.run(), PATIENCE_S)

    asyncio.run(scenario())


def test_nobody_gets_the_session_of_another(broker: EmbeddedBroker) -> None:
    """Neither with a device's own password under a foreign client id, nor without one."""

    async def scenario() -> None:
        async with _client(broker, ANNA) as anna, _client(broker, AGGREGATOR) as aggregator:
            await anna.subscribe(_down(ANNA), qos=1)
            for clean in (False, True):
                for device, password in ((BERT, None), (ANNA, "wrong")):
                    intruder = _client(
                        broker,
                        device,
                        client_id=device_text(ANNA),
                        password=password,
                        clean=clean,
                    )
                    with pytest.raises(aiomqtt.MqttError, match=r"13[35]"):
                        await intruder.__aenter__()
            await aggregator.publish(_down(ANNA), b"hers", qos=1)
            assert await _next(anna) == b"hers"

    asyncio.run(scenario())


def test_a_will_on_a_foreign_topic_is_refused(broker: EmbeddedBroker) -> None:
    async def scenario() -> None:
        for topic in (topics.status(ANNA), _down(ANNA), "zkpot/1/task/x/round"):
            client = _client(broker, BERT, will=aiomqtt.Will(topic, b"forged", 1, retain=True))
            with pytest.raises(aiomqtt.MqttError, match="135"):
                await client.__aenter__()
        async with _client(broker, BERT, will=aiomqtt.Will(topics.status(BERT), b"own")):
            pass

    asyncio.run(scenario())


def test_a_connection_that_was_taken_over_gets_its_messages(broker: EmbeddedBroker) -> None:
    async def scenario() -> None:
        older = _client(broker, ANNA)
        await older.__aenter__()
        await older.subscribe(_down(ANNA), qos=1)
        async with _client(broker, ANNA) as newer, _client(broker, AGGREGATOR) as aggregator:
            await aggregator.publish(_down(ANNA), b"1", qos=1)
            assert await _next(newer) == b"1"
            await asyncio.sleep(0.3)
            await aggregator.publish(_down(ANNA), b"2", qos=1)
            assert await _next(newer) == b"2"
        with pytest.raises(aiomqtt.MqttError):
            await _next(older)
        older._client.disconnect()

    asyncio.run(scenario())


def test_fifty_links_at_once_exchange_messages(broker: EmbeddedBroker, tmp_path: Path) -> None:
    async def scenario() -> None:
        journals = {
            device: Journal.open(tmp_path / f"{device_text(device)}.db")
            for device in (AGGREGATOR, *DEVICES)
        }
        links = {device: _link(broker, journal, device) for device, journal in journals.items()}
        running = [asyncio.ensure_future(link.run()) for link in links.values()]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(link.ready() for link in links.values()))
            for device in DEVICES:
                journals[device].transition(
                    {},
                    [
                        Outgoing(topics.up(device, Kind.COMMITMENT), device + bytes([each]))
                        for each in range(4)
                    ],
                )
            arrived: dict[bytes, list[int]] = {}
            async for incoming in links[AGGREGATOR].incoming():
                arrived.setdefault(incoming.payload[:20], []).append(incoming.payload[20])
                if sum(map(len, arrived.values())) == 4 * FLEET:
                    break
            assert all(each == [0, 1, 2, 3] for each in arrived.values())
            journals[AGGREGATOR].transition(
                {}, [Outgoing(_down(device), bytes(device)) for device in DEVICES]
            )
            for device in DEVICES:
                incoming = await anext(links[device].incoming())
                assert incoming.payload == device
            await asyncio.gather(*(link.stop() for link in links.values()))
            await asyncio.gather(*running)
        for journal in journals.values():
            assert journal.unsent() == 0
            journal.close()

    asyncio.run(scenario())


def test_it_answers_while_the_loop_of_its_owner_is_busy(broker: EmbeddedBroker) -> None:
    def ping() -> None:
        with socket.create_connection((broker.host, broker.port), PATIENCE_S) as connection:
            connection.sendall(_connect_packet(device_text(ANNA), _password(ANNA)))
            assert connection.recv(4)[0] == 0x20
            connection.sendall(b"\xc0\x00")
            assert connection.recv(2) == b"\xd0\x00"

    async def owner() -> None:
        with ThreadPoolExecutor() as threads:
            threads.submit(ping).result(PATIENCE_S)  # This loop does nothing meanwhile.

    asyncio.run(owner())


def test_it_comes_back_on_the_same_port(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path, ACCOUNTS, port=free_port())
    first = broker.start()
    for _ in range(2):
        broker.stop()
        broker.stop()
        assert broker.start() == first
    with pytest.raises(RuntimeError):
        broker.start()
    broker.stop()


def test_a_port_in_use_is_fatal(broker: EmbeddedBroker, tmp_path: Path) -> None:
    other = EmbeddedBroker(tmp_path / "other", ACCOUNTS, port=broker.port)
    with pytest.raises(Fatal, match=str(broker.port)):
        other.start()
    other.stop()


def test_passwords_are_hashed_in_a_file_for_the_owner_only(broker: EmbeddedBroker) -> None:
    path = broker._folder / PASSWORD_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "password of" not in path.read_text()
    assert "password of" not in repr(ACCOUNTS)


def _connect_packet(username: str, password: str) -> bytes:
    fields = b"".join(
        len(each).to_bytes(2, "big") + each
        for each in (username.encode(), username.encode(), password.encode())
    )
    body = b"\x00\x04MQTT\x04\xc2\x00\x3c" + fields
    return bytes([0x10, len(body)]) + body if len(body) < 128 else b""


@pytest.mark.parametrize(
    "opening",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10" + bytes([0xFF, 0xFF, 0xFF, 0x7F]),
        b"\x10" + bytes([MAX_CONNECT_BYTES % 128 | 0x80, MAX_CONNECT_BYTES // 128 | 0x80, 1]),
        b"\x10\x04\x00\x04MQ",
        b"\x10\x02\xff\xff",
        b"\x10\x00",
        b"",
    ],
)
def test_whatever_opens_a_connection_the_broker_lives_on(
    broker: EmbeddedBroker, opening: bytes
) -> None:
    with socket.create_connection((broker.host, broker.port), PATIENCE_S) as connection:
        connection.sendall(opening)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(PATIENCE_S)
        assert connection.recv(10) == b""

    async def scenario() -> None:
        async with _client(broker, ANNA):
            pass

    asyncio.run(scenario())


def test_a_packet_announced_as_huge_ends_the_connection(broker: EmbeddedBroker) -> None:
    with socket.create_connection((broker.host, broker.port), PATIENCE_S) as connection:
        connection.sendall(_connect_packet(device_text(ANNA), _password(ANNA)))
        assert connection.recv(4) == b"\x20\x02\x00\x00"
        topic = topics.up(ANNA, Kind.BLOCK).encode()
        length = MAX_PACKET_BYTES + 1000
        digits = bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])
        connection.sendall(b"\x30" + digits + len(topic).to_bytes(2, "big") + topic)
        connection.settimeout(PATIENCE_S)
        assert connection.recv(10) == b""


def test_signals_are_taken_while_it_stops(broker: EmbeddedBroker) -> None:
    taken, meanwhile = threading.Event(), list[bool]()

    def wait_for_signal() -> None:
        time.sleep(0.3)  # until the main thread waits for this one
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        meanwhile.append(taken.wait(20))

    before = signal.signal(signal.SIGUSR1, lambda *_: taken.set())
    try:
        assert broker._loop is not None
        broker._loop.call_soon_threadsafe(wait_for_signal)
        broker.stop()
        assert meanwhile == [True]
    finally:
        signal.signal(signal.SIGUSR1, before)

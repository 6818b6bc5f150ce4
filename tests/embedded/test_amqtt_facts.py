"""What amqtt 0.12 does, as far as this program relies on it or works around it.

They run on amqtt as it is, without the guard. One that fails after an upgrade names what
may be simplified, or what no longer holds.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from amqtt.broker import Broker
from paho.mqtt.reasoncodes import ReasonCode
from pwdlib.hashers.argon2 import Argon2Hasher

pytestmark = [pytest.mark.broker, pytest.mark.enable_socket]

Connect = Callable[..., aiomqtt.Client]
PATIENCE_S, QUIET_S = 30.0, 0.3


@asynccontextmanager
async def plain_broker(folder: Path) -> AsyncIterator[tuple[Broker, Connect]]:
    """Users `a` and `b`, who may read and write below their own name only."""
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    hasher = Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1)
    passwords = folder / "passwords"
    passwords.write_text("".join(f"{name}:{hasher.hash(name)}\n" for name in "ab"))
    own = {"a": ["a/#"], "b": ["b/#"]}
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}},
            "plugins": {
                "amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(passwords)},
                "amqtt.plugins.topic_checking.TopicAccessControlListPlugin": {
                    "publish_acl": own,
                    "acl": own,
                },
            },
        }
    )
    await broker.start()
    port = broker._servers["default"].instance.sockets[0].getsockname()[1]

    def connect(user: str, **settings: Any) -> aiomqtt.Client:
        defaults: dict[str, Any] = {
            "username": user,
            "password": user,
            "identifier": user,
            "clean_session": False,
            "timeout": PATIENCE_S,
        }
        return aiomqtt.Client("127.0.0.1", port, **(defaults | settings))

    try:
        yield broker, connect
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(broker.shutdown(), PATIENCE_S)


def _play(folder: Path, scenario: Callable[[Broker, Connect], Awaitable[None]]) -> None:
    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        async with plain_broker(folder) as (broker, connect):
            await scenario(broker, connect)

    asyncio.run(run())


async def _received(client: aiomqtt.Client, expected: int) -> list[bytes]:
    """So many messages, and whatever else comes right after them."""
    payloads: list[bytes] = []
    with suppress(TimeoutError, aiomqtt.MqttError):
        async with asyncio.timeout(PATIENCE_S if expected else QUIET_S) as limit:
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                payloads.append(message.payload)
                if len(payloads) == expected:
                    limit.reschedule(asyncio.get_running_loop().time() + QUIET_S)
    return payloads


def test_a_denied_subscription_is_refused_in_the_suback(tmp_path: Path) -> None:
    async def scenario(_: Broker, connect: Connect) -> None:
        async with connect("a") as client:
            codes = await client.subscribe([("a/x", 1), ("b/x", 1), ("#", 1), ("+/x", 1)])
            values = [code.value if isinstance(code, ReasonCode) else code for code in codes]
            assert values == [1, 0x80, 0x80, 0x80]

    _play(tmp_path, scenario)


def test_a_denied_publish_is_acknowledged_and_dropped(tmp_path: Path) -> None:
    async def scenario(_: Broker, connect: Connect) -> None:
        async with connect("a") as writer, connect("b") as reader:
            await reader.subscribe("b/#", qos=1)
            await writer.publish("b/x", b"forged", qos=1)
            assert await _received(reader, 0) == []

    _play(tmp_path, scenario)


def test_a_connect_reaches_the_session_before_the_password_is_checked(tmp_path: Path) -> None:
    async def scenario(broker: Broker, connect: Connect) -> None:
        async with connect("a") as client:
            await client.subscribe("a/x", qos=1)
            assert "a/x" in broker.subscriptions
            with pytest.raises(aiomqtt.MqttError):
                await connect("a", password="wrong", clean_session=True).__aenter__()
            assert "a/x" not in broker.subscriptions

    _play(tmp_path, scenario)


def test_a_client_id_is_not_tied_to_its_user(tmp_path: Path) -> None:
    async def scenario(_: Broker, connect: Connect) -> None:
        async with connect("a") as client:
            await client.subscribe("a/x", qos=1)
        async with connect("b", identifier="a") as thief, connect("a", identifier="z") as writer:
            await writer.publish("a/x", b"for a", qos=1)
            assert await _received(thief, 1) == [b"for a"]

    _play(tmp_path, scenario)


def test_a_will_is_published_without_asking_the_access_list(tmp_path: Path) -> None:
    async def scenario(_: Broker, connect: Connect) -> None:
        async with connect("b") as reader:
            await reader.subscribe("b/#", qos=1)
            writer = connect("a", will=aiomqtt.Will("b/x", b"forged", 1))
            await writer.__aenter__()
            writer._client.socket().shutdown(2)  # type: ignore[union-attr]
            assert await _received(reader, 1) == [b"forged"]
            with suppress(aiomqtt.MqttError):
                await writer.__aexit__(None, None, None)

    _play(tmp_path, scenario)


def test_whoever_connects_is_sent_what_is_retained_for_others(tmp_path: Path) -> None:
    async def scenario(_: Broker, connect: Connect) -> None:
        async with connect("a") as client:
            await client.subscribe("a/#", qos=1)
            await client.publish("a/x", b"private", qos=1, retain=True)
            await _received(client, 1)
            async with connect("b") as other:
                assert await _received(other, 1) == [b"private"]

    _play(tmp_path, scenario)


def test_messages_under_way_when_a_connection_breaks_are_forgotten(tmp_path: Path) -> None:
    """Why `births` must hold again what has not been answered, whatever QoS 1 promises."""

    async def scenario(_: Broker, connect: Connect) -> None:
        client = connect("a")
        client._client.manual_ack_set(on=True)
        await client.__aenter__()
        await client.subscribe("a/x", qos=1)
        await client.publish("a/x", b"not acknowledged", qos=1)
        assert await _received(client, 1) == [b"not acknowledged"]
        client._client.socket().shutdown(2)  # type: ignore[union-attr]
        with suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)
        await asyncio.sleep(0.2)
        async with connect("a") as again:
            assert await _received(again, 0) == []

    _play(tmp_path, scenario)


def test_messages_queue_for_a_session_that_is_away(tmp_path: Path) -> None:
    async def scenario(_: Broker, connect: Connect) -> None:
        async with connect("a") as client:
            await client.subscribe("a/x", qos=1)
        async with connect("a", identifier="writer") as writer:
            await writer.publish("a/x", b"1", qos=1)
            await writer.publish("a/x", b"2", qos=0)
        async with connect("a") as client:
            # QoS 0 is raised to the subscription's 1, so volatile messages queue as well.
            assert await _received(client, 2) == [b"1", b"2"]

    _play(tmp_path, scenario)


def test_a_version_5_client_gets_no_answer(tmp_path: Path) -> None:
    async def scenario(_: Broker, connect: Connect) -> None:
        client = connect("a", protocol=aiomqtt.ProtocolVersion.V5, clean_session=None, timeout=1)
        with pytest.raises(aiomqtt.MqttError):
            await client.__aenter__()
        client._client.disconnect()

    _play(tmp_path, scenario)


def test_manual_acknowledgement_is_reached_through_aiomqtt() -> None:
    async def scenario() -> None:
        client = aiomqtt.Client("127.0.0.1")
        assert hasattr(client._client, "ack")
        assert hasattr(client._client, "manual_ack_set")
        assert hasattr(client._client, "connect_timeout")

    asyncio.run(scenario())

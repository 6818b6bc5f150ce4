"""amqtt with its door kept: who a client is gets decided before amqtt touches a session.

amqtt 0.12 lets a CONNECT packet change or delete the session of its client id before the
password is checked, publishes wills without asking the access list, sends a client on
connecting the retained messages of everybody's subscriptions, and after a take-over files
the new connection as disconnected. Each of these is stopped here, in this order:

1. CONNECT arrives in time and is small; 2. the client id is the user name; 3. the password
is right; 4. the will lies on a topic the client may write; 5. an older connection of the
client has ended. Tests named after these facts tell when amqtt no longer needs this.
"""

import asyncio
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from amqtt.adapters import BufferReader, ReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.errors import AMQTTError, MQTTError, NoDataError
from amqtt.mqtt.connack import IDENTIFIER_REJECTED, NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.connect import ConnectPacket
from amqtt.session import Session

from zkpot.link.base import matches
from zkpot.wire.envelope import MAX_MESSAGE_BYTES

_logger = logging.getLogger(__name__)

MAX_CONNECT_BYTES = 16 * 1024
"""Names, a password and a will: far below this."""

MAX_PACKET_BYTES = 4 * MAX_MESSAGE_BYTES
"""Above what any client may send; a client that announces more is cut off."""

_CONNECT_TYPE = 0x10
_CONNECT_TIMEOUT_S = 10.0
_DISPLACE_TIMEOUT_S = 5.0


class GuardedBroker(Broker):  # type: ignore[misc]  # amqtt has no type information
    """amqtt's broker behind the checks above; `username_to_writable` names the will topics."""

    def __init__(
        self, config: dict[str, Any], username_to_writable: Mapping[str, Sequence[str]]
    ) -> None:
        super().__init__(config)
        self._username_to_writable = username_to_writable
        self._client_to_connection: dict[str, _Connection] = {}
        # amqtt goes through it with pauses, in which other clients subscribe.
        self._subscriptions = _Snapshots()

    @property
    def port(self) -> int:
        """The port in use, once started."""
        number: int = self._servers["default"].instance.sockets[0].getsockname()[1]
        return number

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        """Lets a connection in after the checks; amqtt then reads the same CONNECT packet."""
        try:
            # 1
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                raw = await _read_connect(reader)
            connect = await ConnectPacket.from_stream(BufferReader(raw))
        except (OSError, EOFError, ValueError, AMQTTError, MQTTError, NoDataError) as error:
            _logger.info("connection without a proper CONNECT: %s", error)
            writer.close()
            return
        refusal = await self._refusal(connect, listener_name)
        if refusal is not None:
            _logger.info("refused client %.80r: code %d", connect.client_id, refusal)
            with suppress(OSError):
                await ConnackPacket.build(0, refusal).to_stream(StreamWriterAdapter(writer))
            writer.close()
            return
        # 5
        await self._displace(connect.client_id)
        connection = _Connection(writer)
        self._client_to_connection[connect.client_id] = connection
        try:
            source, sink = _ReplayReader(raw, reader), StreamWriterAdapter(writer)
            await self.external_connected(source, sink, listener_name)
        finally:
            del self._client_to_connection[connect.client_id]
            connection.ended.set()
            writer.close()

    async def shutdown(self) -> None:
        """Cuts all connections, then stops."""
        for connection in self._client_to_connection.values():
            connection.writer.transport.abort()
        await super().shutdown()

    async def _refusal(self, connect: ConnectPacket, listener_name: str) -> int | None:
        # 2
        username = connect.username
        if not username or username != connect.client_id:
            return int(IDENTIFIER_REJECTED)
        # 3
        session = Session()
        session.username, session.password = username, connect.password
        if not await self._authenticate(session, self.listeners_config[listener_name]):
            return int(NOT_AUTHORIZED)
        # 4
        if connect.will_flag and not any(
            matches(connect.will_topic, each) for each in self._username_to_writable[username]
        ):
            return int(NOT_AUTHORIZED)
        return None

    async def _displace(self, client_id: str) -> None:
        while (older := self._client_to_connection.get(client_id)) is not None:
            _logger.info("client %s connects anew, ending its older connection", client_id)
            older.writer.transport.abort()
            async with asyncio.timeout(_DISPLACE_TIMEOUT_S):
                await older.ended.wait()

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        subscribers = self._subscriptions.get(subscription[0], [])
        if any(each.client_id == session.client_id for each, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)


@dataclass
class _Connection:
    writer: asyncio.StreamWriter
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class _Snapshots(dict[str, list[tuple[Session, int]]]):
    """A dict whose iterations do not mind changes made meanwhile."""

    def __iter__(self) -> Iterator[str]:
        return iter(list(super().__iter__()))

    def items(self) -> Any:
        return {key: list(value) for key, value in super().items()}.items()


class _ReplayReader(ReaderAdapter):  # type: ignore[misc]
    """Gives what was read already, then the stream; refuses packets that are too large."""

    def __init__(self, replayed: bytes, stream: asyncio.StreamReader) -> None:
        self._replayed = io.BytesIO(replayed)
        self._stream = stream

    async def read(self, n: int = -1) -> bytes:
        if n > MAX_PACKET_BYTES:
            raise AMQTTError(f"packet of {n} bytes, at most {MAX_PACKET_BYTES}")
        head = self._replayed.read(n)
        if n < 0:
            return head + await self._stream.read(MAX_PACKET_BYTES)
        if len(head) == n:
            return head
        return head + await self._stream.readexactly(n - len(head))

    def feed_eof(self) -> None:
        self._stream.feed_eof()


async def _read_connect(reader: asyncio.StreamReader) -> bytes:
    """The bytes of the first packet, if it is a CONNECT of acceptable length."""
    header = await reader.readexactly(1)
    if header[0] != _CONNECT_TYPE:
        raise ValueError(f"first byte {header[0]:#04x}")
    length = 0
    for shift in (0, 7, 14, 21):
        digit = await reader.readexactly(1)
        header += digit
        length |= (digit[0] & 0x7F) << shift
        if not digit[0] & 0x80:
            break
    if length > MAX_CONNECT_BYTES:
        raise ValueError(f"{length} bytes, at most {MAX_CONNECT_BYTES}")
    return header + await reader.readexactly(length)

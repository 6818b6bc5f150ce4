"""The link over MQTT 3.1.1: QoS 1, one persistent session per client id.

Order on every connection: receive, subscribe, birth messages, then the outbox. Receiving
comes first because a broker may send what it kept for the session before it answers.
A broker that dies may lose what it had acknowledged (an in-memory broker always does), so
`births` should hold again what has not been answered in the protocol itself.
"""

import asyncio
import contextlib
import logging
import math
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import aiomqtt
from aiomqtt import MqttError
from paho.mqtt.client import Client as PahoClient

from zkpot.errors import Transient
from zkpot.journal import Journal, Outgoing
from zkpot.link.base import BrokerSettings, Incoming, matches
from zkpot.link.credentials import check_certificate, password, tls_context
from zkpot.link.failures import check_packet, check_subscriptions, pause_s, refusal
from zkpot.link.inbox import Inbox
from zkpot.link.outbox import Outbox

_logger = logging.getLogger(__name__)

FAREWELL_S = 1.2
"""Time at `stop` for what is still queued; with the disconnect it stays within two seconds."""

_DISCONNECT_S = 0.5
_STEADY_S = 10.0
"""A connection that lasted this long was a good one: the next pause is short again."""

_QOS = 1


class MqttLink:
    """`Link` to a real broker. Made inside the running loop, used from that loop only."""

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        client_id: str,
        journal: Journal,
        subscriptions: Sequence[str],
        will: Outgoing | None = None,
        births: Callable[[], Sequence[Outgoing]] = tuple,
        inbox: Inbox | None = None,
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._subscriptions = tuple(subscriptions)
        self._will = will
        self._births = births
        self._inbox = inbox or Inbox()
        self._outbox = Outbox(journal)
        self._client: aiomqtt.Client | None = None
        self._volatile: set[asyncio.Task[None]] = set()
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()

    async def run(self) -> None:
        """See `Link.run`. Cancelling it drops the connection, so that the will is sent."""
        unlisten = self._outbox.listen()
        self._ended.clear()
        attempt = 0
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                try:
                    await self._connection()
                except (MqttError, Transient) as error:
                    fatal = refusal(error, self._settings)
                    if fatal is not None:
                        raise fatal from error
                    attempt = 1 if time.monotonic() - began > _STEADY_S else attempt + 1
                    pause = pause_s(attempt)
                    _logger.warning("no link to the broker, next try in %.1f s: %s", pause, error)
                    await self._unless_stopping(asyncio.sleep(pause))
                    await self._unless_stopping(self._inbox.half_empty())
        finally:
            unlisten()
            self._ended.set()

    async def ready(self) -> None:
        """See `Link.ready`."""
        await self._ready.wait()

    def incoming(self) -> AsyncIterator[Incoming]:
        """See `Link.incoming`."""
        return self._inbox.incoming()

    async def publish_volatile(self, topic: str, payload: bytes) -> None:
        """See `Link.publish_volatile`; QoS 0, waits until the socket has taken it."""
        check_packet(topic, payload, self._settings.packet_limit_bytes)
        client = self._client
        if client is None or not self._ready.is_set():
            _logger.debug("not connected, dropped a volatile message on %s", topic)
            return
        sending = asyncio.ensure_future(client.publish(topic, payload, qos=0))
        self._volatile.add(sending)
        sending.add_done_callback(self._volatile.discard)
        await asyncio.wait({sending})
        if sending.cancelled() or sending.exception() is not None:
            _logger.debug("connection lost, dropped a volatile message on %s", topic)

    async def stop(self) -> list[str]:
        """See `Link.stop`."""
        self._stopping.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S + _DISCONNECT_S):
                await self._ended.wait()
        unsent = self._outbox.unsent()
        if unsent:
            _logger.warning("stopped with messages unsent on: %s", ", ".join(unsent))
        return unsent

    async def _connection(self) -> None:
        """One connection from CONNECT to its end; returns at `stop`, raises MqttError if lost."""
        client = self._make_client()
        entering = asyncio.ensure_future(client.__aenter__())
        try:
            entered = await self._unless_stopping(asyncio.shield(entering))
        except asyncio.CancelledError:
            _discard_when_connected(entering, client)
            raise
        except MqttError:
            # aiomqtt leaves the socket open after a timeout.
            _paho(client).disconnect()
            await check_certificate(self._settings)
            raise
        if not entered:
            _discard_when_connected(entering, client)
            return
        self._client = client
        receiving = asyncio.ensure_future(self._receive(client))
        working = asyncio.ensure_future(self._work(client))
        try:
            await self._unless_stopping(
                asyncio.wait({receiving, working}, return_when=asyncio.FIRST_COMPLETED)
            )
            for task in (working, receiving):
                if task.done():
                    task.result()
            await self._say_farewell(client)
        finally:
            self._ready.clear()
            self._client = None
            ending = (receiving, working, *self._volatile)
            for each in ending:
                each.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await _leave(client, graceful=self._stopping.is_set())

    def _make_client(self) -> aiomqtt.Client:
        settings, will = self._settings, self._will
        client = aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.username,
            password=password(settings),
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=False,
            keepalive=settings.keepalive_s,
            timeout=settings.connect_timeout_s,
            tls_context=tls_context(settings),
            will=will if will is None else _will(will),
            logger=_logger.getChild("paho"),
        )
        client.pending_calls_threshold = 1000
        paho = _paho(client)
        paho.connect_timeout = settings.connect_timeout_s
        paho.manual_ack_set(on=True)
        return client

    async def _receive(self, client: aiomqtt.Client) -> None:
        paho = _paho(client)
        async for message in client.messages:
            topic, payload = str(message.topic), message.payload

            def acknowledge(mid: int = message.mid, qos: int = message.qos) -> None:
                if self._client is client:
                    paho.ack(mid, qos)

            if not any(matches(topic, each) for each in self._subscriptions):
                _logger.debug("ignored a message on %s, which was not subscribed to", topic)
                acknowledge()
            elif not self._inbox.offer(Incoming(topic, payload, message.retain), acknowledge):
                if message.qos:
                    raise MqttError("inbox full: reconnecting when the service has caught up")
                _logger.debug("inbox full, dropped a volatile message on %s", topic)

    async def _work(self, client: aiomqtt.Client) -> None:
        settings = self._settings

        async def publish(message: Outgoing) -> None:
            check_packet(message.topic, message.payload, settings.packet_limit_bytes)
            async with _answer_within(settings.connect_timeout_s + 2 * settings.keepalive_s):
                await client.publish(
                    message.topic,
                    message.payload,
                    qos=_QOS,
                    retain=message.retain,
                    timeout=math.inf,
                )

        if self._subscriptions:
            async with _answer_within(settings.connect_timeout_s):
                granted = await client.subscribe(
                    [(each, _QOS) for each in self._subscriptions], timeout=math.inf
                )
            check_subscriptions(self._subscriptions, granted)
        for birth in self._births():
            await publish(birth)
        self._ready.set()
        _logger.info("linked to %s:%d", settings.host, settings.port)
        await self._outbox.drain(publish)

    async def _say_farewell(self, client: aiomqtt.Client) -> None:
        """Before a graceful disconnect, which keeps the broker from sending the will."""
        with contextlib.suppress(TimeoutError, MqttError):
            async with asyncio.timeout(FAREWELL_S):
                if self._ready.is_set():
                    await self._outbox.emptied()
                if self._will is not None:
                    will = self._will
                    await client.publish(will.topic, will.payload, qos=_QOS, retain=will.retain)

    async def _unless_stopping(
        self, work: Coroutine[Any, Any, object] | asyncio.Future[Any]
    ) -> bool:
        """Awaits `work`; False if `stop` came first. Raises what `work` raises."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                return False
            task.result()
            return True
        finally:
            stopping.cancel()
            task.cancel()


def _paho(client: aiomqtt.Client) -> PahoClient:
    """The one place that reaches below aiomqtt, for manual acknowledgement and time-outs."""
    return client._client  # noqa: SLF001


def _discard_when_connected(entering: asyncio.Future[Any], client: aiomqtt.Client) -> None:
    # The thread that connects cannot be interrupted; its connection must not live on.
    def discard(future: asyncio.Future[Any]) -> None:
        if not future.cancelled():
            future.exception()
        _paho(client).disconnect()

    entering.add_done_callback(discard)


@contextlib.asynccontextmanager
async def _answer_within(seconds: float) -> AsyncIterator[None]:
    """A time limit in place of aiomqtt's, which in Python 3.11 can drop a cancellation.

    Its `wait_for` does, if the cancellation comes in the same moment as the answer.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise MqttError(f"the broker did not answer within {seconds} s") from error


async def _leave(client: aiomqtt.Client, *, graceful: bool) -> None:
    if not graceful:
        # No DISCONNECT packet: whoever watches learns of it by the will.
        sock = _paho(client).socket()
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(MqttError, TimeoutError, OSError):
        async with asyncio.timeout(_DISCONNECT_S):
            await client.__aexit__(None, None, None)
    # aiomqtt returns early after an error of the socket, which then is still open.
    _paho(client).disconnect()


def _will(message: Outgoing) -> aiomqtt.Will:
    return aiomqtt.Will(message.topic, message.payload, _QOS, message.retain)

"""What a service knows of its link: messages in, messages out, and when it stands.

Messages that must arrive are queued by `Journal.transition`, never handed to the link.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

from zkpot.wire.codec import Span
from zkpot.wire.envelope import MAX_MESSAGE_BYTES

TOPIC_ALLOWANCE_BYTES = 512
"""Longest topic and the fixed header, on top of the payload of one packet."""


@dataclass(frozen=True)
class Incoming:
    """A message as the broker delivered it: possibly twice, and from anybody.

    `retained` says that it may be old; amqtt sets it on what it queued for a session as well.
    """

    topic: str
    payload: bytes
    retained: bool


class Link(Protocol):
    """A connection to the broker that comes back by itself."""

    async def run(self) -> None:
        """Connects, sends the outbox and receives until `stop`; raises `Fatal` if refused."""

    async def ready(self) -> None:
        """Returns once the broker has accepted the subscriptions and the birth messages."""

    def incoming(self) -> AsyncIterator[Incoming]:
        """Messages one by one; asking for the next acknowledges the one before.

        Whoever dies in the middle of a message gets it again, from a broker that keeps what
        was under way (mosquitto does; an embedded one may not). One iteration at a time.
        """

    async def publish_volatile(self, topic: str, payload: bytes) -> None:
        """Sends now or not at all: for content that the receiver asks for again."""

    async def stop(self) -> list[str]:
        """Sends what it can within two seconds, ends `run`, returns the topics still unsent."""


@dataclass(frozen=True)
class Tls:
    """Files of a TLS connection: whom to trust and, for client certificates, who we are."""

    ca_file: Path
    certificate_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True)
class BrokerSettings:
    """Where the broker is and how to speak to it.

    `packet_limit_bytes` must not exceed what the broker takes (mosquitto: `max_packet_size`
    and `message_size_limit`): some brokers drop the connection over a larger one, for ever.
    """

    host: str
    port: Annotated[int, Span(1, 65_535)]
    username: str | None = None
    password_file: Path | None = None
    tls: Tls | None = None
    keepalive_s: Annotated[int, Span(1, 65_535)] = 30
    connect_timeout_s: Annotated[float, Span(1, 600)] = 5.0
    packet_limit_bytes: int = MAX_MESSAGE_BYTES + TOPIC_ALLOWANCE_BYTES

    def __post_init__(self) -> None:
        try:
            named = self.host.isprintable() and self.host.encode("idna")
        except UnicodeError:
            named = b""
        if not named:
            raise ValueError(f"host: {self.host[:80]!r} is no name and no address")


def packet_bytes(topic: str, payload: bytes) -> int:
    """Upper bound of the size of an MQTT 3.1.1 PUBLISH packet (OASIS, section 3.3)."""
    return 5 + 2 + len(topic.encode()) + 2 + len(payload)


def matches(topic: str, topic_filter: str) -> bool:
    """Whether `topic` falls under an MQTT filter with `+` and `#` (OASIS, section 4.7)."""
    levels, wanted = topic.split("/"), topic_filter.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(levels) or level not in ("+", levels[position]):
            return False
    return len(levels) == len(wanted)

"""What a failed connection means: refused for good, or worth another attempt.

paho turns MQTT 3.1.1 return codes into the reason codes of MQTT 5; aiomqtt keeps the
operating system's and TLS's errors as the context of its own.
"""

import random
import ssl
from collections.abc import Iterable, Sequence

from aiomqtt import MqttError
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.reasoncodes import ReasonCode

from zkpot.errors import ExitCode, Fatal, Transient
from zkpot.link.base import BrokerSettings, packet_bytes

_REFUSED_CODES = frozenset({0x84, 0x85, 0x86, 0x87, 0x8C})
"""Protocol version, client id, user name or password, not authorized, bad method."""

_FAILURE = 0x80

_NOT_YET_VALID = 9
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID: a board without a clock, not a wrong certificate."""

_REFUSING_ALERTS = ("UNKNOWN_CA", "CERTIFICATE", "ACCESS_DENIED", "HANDSHAKE_FAILURE")
"""In OpenSSL's names of the alerts of RFC 8446, section 6.2, that concern a certificate."""

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0


def refusal(error: MqttError | Transient, settings: BrokerSettings) -> Fatal | None:
    """The `Fatal` for an error that no later attempt cures, or None."""
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, MqttConnectError):
        code = error.rc.value if isinstance(error.rc, ReasonCode) else error.rc
        if code in _REFUSED_CODES:
            return Fatal(
                ExitCode.CREDENTIALS,
                f"broker {where} refuses user {settings.username!r}: {error}",
            )
    cause = error.__cause__ or error.__context__
    return certificate_refusal(cause, settings) if isinstance(cause, ssl.SSLError) else None


def certificate_refusal(error: ssl.SSLError, settings: BrokerSettings) -> Fatal | None:
    """The `Fatal` for a TLS failure over a certificate, the broker's or ours, or None."""
    where = f"{settings.host}:{settings.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _NOT_YET_VALID:
            return None
        return Fatal(
            ExitCode.CREDENTIALS,
            f"broker {where}: its certificate is not trusted: {error.verify_message}",
        )
    reason = error.reason or ""
    if "ALERT" in reason and any(each in reason for each in _REFUSING_ALERTS):
        return Fatal(
            ExitCode.CREDENTIALS, f"broker {where} refuses the client certificate: {reason}"
        )
    return None


def check_subscriptions(filters: Sequence[str], granted: Iterable[int | ReasonCode]) -> None:
    """Raises `Fatal` naming the topic filters that the broker refused."""
    codes = [code.value if isinstance(code, ReasonCode) else code for code in granted]
    refused = [
        topic_filter for topic_filter, code in zip(filters, codes, strict=False) if code >= _FAILURE
    ]
    if refused or len(codes) != len(filters):
        raise Fatal(
            ExitCode.CREDENTIALS,
            f"broker refuses the subscription to {', '.join(refused or filters)}:"
            " check its access list",
        )


def check_packet(topic: str, payload: bytes, limit_bytes: int) -> None:
    """Raises `Fatal` for a message that the broker would drop the connection over."""
    size = packet_bytes(topic, payload)
    if size > limit_bytes:
        raise Fatal(
            ExitCode.CONFIG,
            f"message of {size} bytes on {topic} exceeds packet_limit_bytes = {limit_bytes}:"
            " raise it here and in the broker (mosquitto: max_packet_size)",
        )


def pause_s(attempt: int) -> float:
    """Seconds to wait before attempt number `attempt` from 1: doubling, capped, jittered."""
    longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(attempt, 20))
    return random.SystemRandom().uniform(longest / 2, longest)

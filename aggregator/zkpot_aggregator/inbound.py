"""Whether a message may come on the topic it came on: only its signer's own."""

from collections.abc import Mapping

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, device_text
from zkpot.wire.envelope import open_envelope
from zkpot.wire.topics import DeviceTopic


def check_sender(topic: DeviceTopic, payload: bytes, public_keys: Mapping[DeviceId, bytes]) -> None:
    """Raises `Rejected` (WRONG_TOPIC) for an envelope of another device than the topic's.

    The broker's access list holds this too; a broker that does not must not make one device
    answer for what another sent. What is no valid envelope is left to whom it is meant for.
    """
    try:
        signer = open_envelope(payload, public_keys).signer
    except Rejected:
        return
    if signer != topic.device:
        raise Rejected(
            Reason.WRONG_TOPIC,
            f"expected {device_text(topic.device)} as signer, got {device_text(signer)}",
        )

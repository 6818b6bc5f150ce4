"""The messages of the largest group there can be fit the envelope, and their limits."""

from collections.abc import Callable

import pytest

from zkpot.aggregation import MAX_GROUP
from zkpot.cid import split_object
from zkpot.ids import DeviceId, Digest, digest
from zkpot.keys import KeyPair
from zkpot.secure.exchange import (
    SEALED_BYTES,
    Advertisement,
    Confirmation,
    Confirmations,
    Dealing,
    DealtShares,
    DeliveredShares,
    Delivery,
    KeyList,
    MaskedInput,
    Release,
    ReleasedShare,
    ShareKind,
    Survivors,
    open_release,
    seal_release,
)
from zkpot.secure.session import MAX_DEALING_BYTES
from zkpot.wire.codec import encode
from zkpot.wire.envelope import open_envelope, sign
from zkpot.wire.messages import Message

KEY = KeyPair.from_seed(b"k" * 32)
GROUP = Digest(digest("group"))
MEMBERS = [DeviceId(digest("member", bytes([n]))[:20]) for n in range(MAX_GROUP)]
KEYS, SIGNATURE, SEALED = bytes(32), bytes(64), bytes(SEALED_BYTES)


def advertisement(device: DeviceId) -> Advertisement:
    return Advertisement(GROUP, device, KEYS, KEYS, SIGNATURE)


def dealing() -> Dealing:
    shares = tuple(DealtShares(each, SEALED, GROUP, GROUP) for each in MEMBERS)
    return Dealing(GROUP, GROUP, shares)


def release() -> Release:
    return Release(GROUP, tuple(ReleasedShare(each, ShareKind.MASK_KEY, KEYS) for each in MEMBERS))


LARGEST: dict[str, Callable[[], Message]] = {
    "advertisement": lambda: advertisement(MEMBERS[0]),
    "key list": lambda: KeyList(GROUP, tuple(map(advertisement, MEMBERS))),
    "dealing": dealing,
    "delivery": lambda: Delivery(GROUP, tuple(DeliveredShares(m, SEALED) for m in MEMBERS)),
    "masked input": lambda: MaskedInput(GROUP, GROUP, split_object(b"vector")[0]),
    "survivors": lambda: Survivors(GROUP, tuple(MEMBERS)),
    "confirmations": lambda: Confirmations(
        GROUP, tuple(Confirmation(GROUP, member, SIGNATURE) for member in MEMBERS)
    ),
    "release": lambda: seal_release(KEY.box_key, release()),
}


@pytest.mark.parametrize("name", LARGEST)
def test_a_message_of_the_largest_group_fits_its_envelope(name: str) -> None:
    message = LARGEST[name]()
    envelope = sign(message, KEY)
    assert open_envelope(envelope, {KEY.id: KEY.public_key}).message == message


def test_the_largest_dealing_fits_the_session() -> None:
    assert len(encode(dealing())) <= MAX_DEALING_BYTES


def test_the_largest_release_opens_again() -> None:
    assert open_release(KEY, seal_release(KEY.box_key, release())) == release()

"""Valid messages with something changed: refused for a reason, or harmless. Nothing else."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import cbor2
import pytest

pytest.importorskip("zkpot_prover")

from tests.aggregator import round_kit
from tests.aggregator.masking_kit import KEYS, Round
from tests.secure.kit import (
    OPERATOR,
    World,
    advance,
    commitments,
    small_world,
)

from zkpot.errors import Rejected
from zkpot.ids import DeviceId
from zkpot.keys import seal
from zkpot.secure.exchange import (
    Release,
    SealedRelease,
    ToMember,
    decode_masked_vector,
    open_release,
)
from zkpot.secure.mask import check_lengths
from zkpot.secure.member import answer
from zkpot.secure.session import Step, take_release
from zkpot.secure.states import encode_state
from zkpot.secure.sums import check_group_sum, decode_group_sum, encode_group_sum
from zkpot.secure.unmask import unmask
from zkpot.wire.codec import decode, encode
from zkpot.wire.envelope import MAX_MESSAGE_BYTES, open_as, open_envelope, sign
from zkpot_aggregator.round import effects as do
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import machine

MUTATIONS = 1500
NUMBERS = (0, 1, -1, 255, 2**31, 2**32, 2**63 - 1, 2**64 - 1)
STEPS = tuple(Step)[:-1]


class Mutator:
    """Changes the items of encoded messages, or their bytes; `leaves` are taken from others."""

    def __init__(self, seed: int, messages: list[bytes]) -> None:
        self.chance = random.Random(seed)
        items = [leaf for message in messages for leaf in _leaves(cbor2.loads(message))]
        self.leaves: list[Any] = [*items, *NUMBERS, None, True, "text", b"", 1.5, [], {}]

    def __call__(self, message: bytes) -> bytes:
        if self.chance.random() < 0.2:
            return self._bytes(message)
        return cbor2.dumps(self._item(cbor2.loads(message)), canonical=True)

    def _item(self, item: Any) -> Any:
        chance = self.chance
        if isinstance(item, dict) and item and chance.random() < 0.9:
            key = chance.choice(list(item))
            changed = {**item, key: self._item(item[key])}
            if chance.random() < 0.1:
                changed[chance.choice((0, key + 1, 99))] = changed.pop(key)
            return changed
        if isinstance(item, list) and item and chance.random() < 0.9:
            place, other = chance.randrange(len(item)), chance.randrange(len(item))
            rest = [*item[:place], *item[place + 1 :]]
            return chance.choice(
                (
                    [*item[:place], self._item(item[place]), *item[place + 1 :]],
                    rest,
                    [*rest[:other], item[place], *rest[other:]],
                    [*item, item[other]],
                    item * 50,
                    [],
                )
            )
        if isinstance(item, bytes) and chance.random() < 0.9:
            alike = [leaf for leaf in self.leaves if type(leaf) is bytes and len(leaf) == len(item)]
            return chance.choice(
                (self._bytes(item), bytes(len(item)), b"\xff" * len(item), *alike[-20:])
            )
        return chance.choice(self.leaves)

    def _bytes(self, data: bytes) -> bytes:
        place = self.chance.randrange(len(data) + 1)
        byte = bytes([self.chance.randrange(256)])
        cut = place + self.chance.randrange(20)
        return self.chance.choice(
            (
                data[:place] + byte + data[place + 1 :],
                data[:place] + byte + data[place:],
                data[:place] + data[cut:],
                data[:place],
            )
        )


def _leaves(item: Any) -> Iterator[Any]:
    match item:
        case dict():
            for each in item.values():
                yield from _leaves(each)
        case list():
            for each in item:
                yield from _leaves(each)
        case _:
            yield item


def worlds() -> list[World]:
    """One group before each step, and when all are done."""
    found = [small_world(6)]
    while found[-1].session.step is not Step.DONE:
        found.append(advance(found[-1]))
    return found


WORLDS = worlds()
ASKED: list[tuple[World, DeviceId, ToMember]] = [
    (before, device, message)
    for before, after in pairwise(WORLDS)
    for device, message in after.told.items()
]
SAID = [encode(message) for world in WORLDS for message in world.answers.values()]


def test_members() -> None:
    mutate = Mutator(1, [*SAID, *(encode(message) for _, _, message in ASKED)])
    answered = 0
    for number in range(MUTATIONS):
        world, device, message = ASKED[number % len(ASKED)]
        state = world.states[device]
        kept = encode_state(state)
        try:
            changed = decode(type(message), mutate(encode(message)), limit=MAX_MESSAGE_BYTES)
            found = answer(state, changed, world.owns[device])
        except Rejected:
            continue
        finally:
            assert encode_state(state) == kept
        encode_state(found.state)
        encode(found.message)
        answered += 1
    assert 0 < answered < MUTATIONS


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.lower())
def test_the_aggregator(step: Step) -> None:
    made = Round()
    while made.session(0).step is not step:
        made.everybody(0)
    open_keys = made.terms.roster.public_keys
    messages = {d: open_envelope(made.mail[d], open_keys).message for d in made.devices(0)}
    mutate = Mutator(step, SAID + list(map(encode, messages.values())))
    taken = 0
    for number in range(MUTATIONS // len(STEPS)):
        device = made.devices(0)[number % 6]
        try:
            payload = mutate(encode(messages[device]))
            changed = decode(type(messages[device]), payload, limit=MAX_MESSAGE_BYTES)
            envelope = sign(changed, KEYS[device])
        except Rejected:
            continue
        after = machine.step(made.terms, made.state, on.SecureReceived(envelope))
        for event in looked_into(made, after.effects):
            after = machine.step(made.terms, after.state, event)
        encode(after.state)
        taken += after.state != made.state
    assert taken


def looked_into(made: Round, effects: tuple[do.Effect, ...]) -> Iterator[on.Event]:
    """What comes of a vector or a release that is looked into: it is there, or opens."""
    for effect in effects:
        match effect:
            case do.FetchVector(envelope):
                yield on.VectorFetched(envelope, None)
            case do.OpenRelease(envelope):
                sealed = open_as(SealedRelease, envelope, made.terms.roster.public_keys).message
                try:
                    release = open_release(round_kit.OPERATOR, sealed)
                    yield on.ReleaseOpened(envelope, release)
                except Rejected as refused:
                    yield on.ReleaseOpened(envelope, None, refused.reason, refused.detail)


def test_releases_whose_inside_is_changed() -> None:
    world = WORLDS[-2]
    releases = {
        device: open_release(OPERATOR, message)
        for device, message in world.answers.items()
        if isinstance(message, SealedRelease)
    }
    mutate = Mutator(2, [encode(release) for release in releases.values()])
    true = {share.share for release in releases.values() for share in release.shares}
    for number in range(MUTATIONS):
        device = world.group.devices[number % 6]
        inside = mutate(encode(releases[device]))
        sealed = SealedRelease(world.group.digest, seal(OPERATOR.box_key, inside))
        try:
            changed: Release = open_release(OPERATOR, sealed)
            session = take_release(world.session, device, sealed, changed)
        except Rejected:
            continue
        kept = session.releases[-1].release.shares
        assert {share.share for share in kept} <= true


def test_vectors() -> None:
    vectors = [vector for world in WORLDS for vector in world.vectors.values()]
    mutate = Mutator(3, vectors)
    for number in range(MUTATIONS // 10):
        try:
            changed = decode_masked_vector(mutate(vectors[number % 6]))
            check_lengths(WORLDS[0].lengths, changed)
        except Rejected:
            continue
        inputs = {**WORLDS[-1].inputs, WORLDS[-1].group.devices[0]: changed}
        unmask(WORLDS[-1].session, WORLDS[-1].lengths, inputs)


def test_only_the_true_sum_is_taken() -> None:
    world, scheme = WORLDS[-1], commitments()
    sealed = {device: scheme.commit(own.opening) for device, own in world.owns.items()}
    true = encode_group_sum(unmask(world.session, world.lengths, world.inputs))
    mutate = Mutator(4, [true, *SAID])
    for _ in range(MUTATIONS):
        try:
            changed = decode_group_sum(mutate(true))
            check_group_sum((world.group,), changed, sealed, scheme)
        except Rejected:
            continue
        assert encode_group_sum(changed) == true
    check_group_sum((world.group,), decode_group_sum(true), sealed, scheme)
    with pytest.raises(Rejected):
        check_group_sum((world.group,), replace(decode_group_sum(true), index=1), sealed, scheme)

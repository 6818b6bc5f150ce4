"""Groups of devices in one process, over the encoded messages, with states that go to disk."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from zkpot.ids import Beacon, DeviceId, Round, TaskId, digest
from zkpot.keys import KeyPair
from zkpot.model import Int64Array, Shape
from zkpot.proof.sumcheck import SumcheckCommitments, SumcheckSystem
from zkpot.proof.system import ModelOpening
from zkpot.secure.exchange import (
    FromMember,
    MaskedVector,
    SealedRelease,
    ToMember,
    decode_masked_vector,
    open_release,
)
from zkpot.secure.groups import Group, Member, draw_groups
from zkpot.secure.mask import RISTRETTO255_ORDER, SCALAR_BYTES, Lengths, check_lengths
from zkpot.secure.member import Own, advertise, answer
from zkpot.secure.session import Session, Step, close, take, take_release, told
from zkpot.secure.states import MemberState, decode_state, encode_state
from zkpot.secure.sums import GroupSum
from zkpot.secure.unmask import unmask
from zkpot.wire.codec import decode, encode

TASK = TaskId(digest("test-task"))
ROUND = Round(3)
BEACON = Beacon(digest("test-beacon"))
SHAPE = Shape((3, 4, 2), (4,), 8)
LIMIT = 64 * 1024 * 1024

M = TypeVar("M")


def key(number: int) -> KeyPair:
    """The same key for the same number, every time."""
    return KeyPair.from_seed(digest("test-key", number.to_bytes(4, "big")))


OPERATOR = key(1_000_000)
"""Whom members release their shares to."""


def random_theta(shape: Shape, generator: np.random.Generator) -> Int64Array:
    """Any admissible parameters."""
    return generator.integers(-128, 128, shape.parameters).astype(np.int64)


def random_scalars(number: int, generator: np.random.Generator) -> bytes:
    """Blinding without a proof system."""
    wide = [generator.bytes(64) for _ in range(number)]
    return b"".join(
        (int.from_bytes(each, "little") % RISTRETTO255_ORDER).to_bytes(SCALAR_BYTES, "little")
        for each in wide
    )


def over_the_wire(message: M) -> M:
    """What arrives of a message."""
    return decode(type(message), encode(message), limit=LIMIT)


def taken(
    session: Session,
    sender: DeviceId,
    message: FromMember,
    public_keys: Mapping[DeviceId, bytes],
    operator: KeyPair = OPERATOR,
) -> Session:
    """The session with any answer, opened if it is sealed."""
    if isinstance(message, SealedRelease):
        return take_release(session, sender, message, open_release(operator, message))
    return take(session, sender, message, public_keys)


@dataclass(frozen=True, eq=False, repr=False)
class World:
    """One group: the aggregator's session, each member's state, and answers under way.

    Immutable, so that a test can go on from one point in several ways.
    """

    session: Session
    lengths: Lengths
    owns: Mapping[DeviceId, Own]
    states: Mapping[DeviceId, MemberState]
    answers: Mapping[DeviceId, FromMember]
    vectors: Mapping[DeviceId, bytes] = field(default_factory=dict)
    inputs: Mapping[DeviceId, MaskedVector] = field(default_factory=dict)
    told: Mapping[DeviceId, ToMember] = field(default_factory=dict)

    @property
    def group(self) -> Group:
        return self.session.group

    @property
    def public_keys(self) -> dict[DeviceId, bytes]:
        return {device: own.key.public_key for device, own in self.owns.items()}


def begin(group: Group, owns: Mapping[DeviceId, Own]) -> World:
    """Everybody has made its keys."""
    opening = owns[group.devices[0]].opening
    lengths = Lengths(len(opening.theta), len(opening.blinding) // SCALAR_BYTES)
    states: dict[DeviceId, MemberState] = {}
    answers: dict[DeviceId, FromMember] = {}
    for device in group.devices:
        states[device], answers[device] = advertise(group, owns[device].key, None)
    return World(Session(group), lengths, owns, states, answers)


def advance(world: World, absent: Collection[DeviceId] = ()) -> World:
    """The answers of all but `absent` arrive, the step closes, and the members answer that.

    Every message and every state is encoded and decoded on its way.
    """
    session, inputs = over_the_wire(world.session), dict(world.inputs)
    for device, message in world.answers.items():
        if device in absent:
            continue
        arrived = over_the_wire(message)
        if device in world.vectors:
            inputs[device] = decode_masked_vector(world.vectors[device])
            check_lengths(world.lengths, inputs[device])
        session = taken(session, device, arrived, world.public_keys)
    session = close(session)
    outgoing = told(session)
    states, answers, vectors = dict(world.states), {}, {}
    for device, asked in outgoing.items():
        state = decode_state(encode_state(states[device]))
        found = answer(state, over_the_wire(asked), world.owns[device])
        states[device], answers[device] = found.state, found.message
        if found.vector is not None:
            vectors[device] = found.vector
    return World(session, world.lengths, world.owns, states, answers, vectors, inputs, outgoing)


def advance_to(world: World, step: Step) -> World:
    """Without anybody dropping out."""
    while world.session.step is not step:
        world = advance(world)
    return world


def finish(world: World, dropping: Mapping[Step, Collection[DeviceId]] | None = None) -> GroupSum:
    """Runs to the end and unmasks; at each step those in `dropping` fall silent."""
    while world.session.step is not Step.DONE:
        world = advance(world, (dropping or {}).get(world.session.step, ()))
    return unmask(world.session, world.lengths, world.inputs)


def make_owns(
    openings: Sequence[ModelOpening],
) -> dict[DeviceId, Own]:
    """One device per opening."""
    keys = [key(number) for number in range(len(openings))]
    public_keys = {each.id: each.public_key for each in keys}
    return {
        each.id: Own(each, public_keys, opening, OPERATOR.box_key)
        for each, opening in zip(keys, openings, strict=True)
    }


def groups_of(owns: Iterable[DeviceId], weights: Sequence[int] | None = None) -> tuple[Group, ...]:
    """As the beacon draws them."""
    devices = sorted(owns)
    all_weights = weights or [1] * len(devices)
    return draw_groups(TASK, ROUND, BEACON, devices, dict(zip(devices, all_weights, strict=True)))


def one_group(owns: Iterable[DeviceId], weights: Sequence[int] | None = None) -> Group:
    """All devices in one group, whatever their number."""
    devices = sorted(owns)
    all_weights = weights or [1] * len(devices)
    return Group(TASK, ROUND, BEACON, 0, tuple(map(Member, devices, all_weights)))


def commitments(shape: Shape = SHAPE) -> SumcheckCommitments:
    """The real ones."""
    return SumcheckSystem(shape, 1).commitments


def real_openings(number: int, shape: Shape = SHAPE, seed: int = 0) -> list[ModelOpening]:
    """Random models with real blindings."""
    generator, scheme = np.random.default_rng(seed), commitments(shape)
    return [
        ModelOpening(random_theta(shape, generator), scheme.random_blinding())
        for _ in range(number)
    ]


def small_world(number: int = 6, seed: int = 0) -> World:
    """One group of real openings."""
    owns = make_owns(real_openings(number, seed=seed))
    return begin(one_group(owns), owns)


def with_opening(world: World, device: DeviceId, opening: ModelOpening) -> World:
    """The same world, where `device` will mask something else."""
    owns = {**world.owns, device: replace(world.owns[device], opening=opening)}
    return replace(world, owns=owns)

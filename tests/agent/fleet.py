"""Devices with real workers in one group, and an aggregator that only keeps their session.

Everything up to the verdicts is made up; from there on drivers, journals, messages and sums
are real. Devices can be switched off at any moment: what they had in memory is gone.
"""

import asyncio
from collections.abc import Collection, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from tests.agent.devices import FakeObjects, tools
from tests.protocol.rounds import (
    BEACON,
    OPERATOR,
    PARENT,
    PATIENT,
    ROUND,
    SPEC,
    key,
    make_samples,
    make_task,
)
from tests.secure.kit import over_the_wire, real_openings, taken

from zkpot.aggregation import GroupTerms
from zkpot.cid import Cid, join_object, node_cid, split_object
from zkpot.ids import DeviceId, TaskId
from zkpot.journal import Journal
from zkpot.keys import KeyPair
from zkpot.opening import encode_opening
from zkpot.proof.sumcheck import SumcheckSystem
from zkpot.proof.system import ModelOpening
from zkpot.record import Roster, RosterEntry, SealedList, Verdict, Verdicts
from zkpot.secure.exchange import FromMember, MaskedInput, MaskedVector, decode_masked_vector
from zkpot.secure.groups import round_groups
from zkpot.secure.mask import SCALAR_BYTES, Lengths
from zkpot.secure.session import Session, close, told
from zkpot.secure.sums import GroupSum, check_group_sum
from zkpot.secure.unmask import unmask
from zkpot.task import Task, encode_task, task_id
from zkpot.verify import RoundTerms
from zkpot.wire.codec import encode, encode_tagged
from zkpot.wire.envelope import open_envelope, sign
from zkpot.wire.messages import Announcement, Commitment, Phase
from zkpot_agent.blocks import JournalBlocks
from zkpot_agent.config import PrivacyConfig
from zkpot_agent.driver import STATE_KEY, Driver
from zkpot_agent.round import events as on
from zkpot_agent.round.states import State, Submitted
from zkpot_agent.round_secrets import opening_key
from zkpot_agent.work import Worker

SYSTEM = SumcheckSystem(SPEC.shape, 1)
FILE = "journal.sqlite"
PATIENCE_S = 200
FROM_MEMBER = get_args(FromMember)


@dataclass(eq=False)
class Facts:
    """What everybody knows when the verdicts are out."""

    task: Task
    task_id: TaskId
    roster: Roster
    keys: list[KeyPair]
    openings: list[ModelOpening]
    counts: list[int]
    commitments: dict[DeviceId, bytes]
    objects: dict[Cid, bytes]
    joined: Announcement
    sealed: Cid
    verdicts: Cid

    @property
    def announced(self) -> Announcement:
        """The announcement that begins aggregation."""
        return replace(
            self.joined,
            phase=Phase.AGGREGATE,
            sealed=self.sealed,
            beacon=BEACON,
            batch=node_cid(b"batch"),
            verdicts=self.verdicts,
        )


def make_facts(number: int = 5, *, minimum: int = 3) -> Facts:
    """A round in which everybody is accepted."""
    task = make_task(
        make_samples(),
        node_cid(b"genesis"),
        proof_system="sumcheck/1",
        deadlines=PATIENT,
        aggregation="secure",
        groups=GroupTerms(max(number, minimum), minimum),
        minimum_devices=minimum,
    )
    name = task_id(split_object(encode_task(task))[0])
    keys = sorted((key(n) for n in range(number)), key=lambda each: each.id)
    openings, counts = real_openings(number, SPEC.shape), [3 + n % 5 for n in range(number)]
    roster = Roster.of(RosterEntry(k.public_key, f"owner {n}") for n, k in enumerate(keys))
    made = [SYSTEM.commitments.commit(opening) for opening in openings]
    envelopes = [
        sign(Commitment(name, ROUND, PARENT, commitment, None), each)
        for commitment, each in zip(made, keys, strict=True)
    ]
    verdicts = [Verdict(k.id, None, count, b"") for k, count in zip(keys, counts, strict=True)]
    objects: dict[Cid, bytes] = {}
    names = []
    for item in (roster, SealedList(tuple(envelopes)), Verdicts(tuple(verdicts))):
        data = encode(item)
        names.append(split_object(data)[0])
        objects[names[-1]] = data
    joined = Announcement(name, ROUND, Phase.COMMIT, PARENT, node_cid(b"genesis"), names[0])
    return Facts(
        task,
        name,
        roster,
        keys,
        openings,
        counts,
        dict(zip((each.id for each in keys), made, strict=True)),
        objects,
        joined,
        names[1],
        names[2],
    )


class Unit:
    """One device: a folder, and whatever of it runs."""

    def __init__(self, facts: Facts, number: int, folder: Path) -> None:
        folder.mkdir()
        self.facts, self.folder, self.key = facts, folder, facts.keys[number]
        self.privacy = PrivacyConfig(("secure",), minimum_group=3)
        submitted = Submitted(
            facts.joined,
            facts.commitments[self.key.id],
            facts.sealed,
            BEACON,
            node_cid(b"batch"),
            facts.counts[number],
            node_cid(b"proof"),
        )
        opening = encode_opening(facts.openings[number])
        with Journal.open(folder / FILE) as journal:
            journal.transition({STATE_KEY: encode_tagged(submitted), opening_key(ROUND): opening})

    def switch_on(self, kind: type[Journal] = Journal, worker: type[Worker] = Worker) -> None:
        """Starts from what is on the disk."""
        self.journal = kind.open(self.folder / FILE)
        objects = FakeObjects(None, OPERATOR.id, dict(self.facts.objects))  # type: ignore[arg-type]
        given = tools(
            self.folder, self.journal, task=self.facts.task, key=self.key, objects=objects
        )
        settled = replace(given["config"], task=self.facts.task_id.hex(), privacy=self.privacy)
        self.tasks: list[asyncio.Task[None]] = []
        self.driver = Driver(worker(**(given | {"config": settled})), self._spawn)
        self.driver.resume()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.append(task)
        return task

    async def cut(self) -> None:
        """The power is gone."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.journal.close()

    async def rest(self) -> None:
        """Waits until the work under way is done; raises what it raised."""
        async with asyncio.timeout(PATIENCE_S):
            while running := [task for task in self.tasks if not task.done()]:
                await asyncio.wait(running)
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            if not task.cancelled():
                task.result()

    @property
    def state(self) -> State:
        return self.driver.state

    def outbox(self) -> list[FromMember]:
        """What waits to be sent in the group, oldest first."""
        keys = {self.key.id: self.key.public_key}
        opened = [open_envelope(each.message.payload, keys) for each in self.journal.outgoing()]
        return [each.message for each in opened if isinstance(each.message, FROM_MEMBER)]

    def content(self) -> bytes:
        """Everything on its disk."""
        return b"".join(path.read_bytes() for path in self.folder.iterdir())


class Fleet:
    """The devices, and the session of their group."""

    def __init__(self, folder: Path, number: int = 5, **changes: int) -> None:
        self.facts = make_facts(number, **changes)
        self.units = [Unit(self.facts, n, folder / f"{n}") for n in range(number)]
        facts = self.facts
        terms = RoundTerms(facts.task_id, facts.task, ROUND, PARENT, facts.roster)
        counts = dict(zip((each.id for each in facts.keys), facts.counts, strict=True))
        self.groups = round_groups(terms, BEACON, counts, counts)
        self.session = Session(self.groups[0])
        self.vectors: dict[DeviceId, MaskedVector] = {}
        self.heard: dict[tuple[DeviceId, type], set[bytes]] = {}

    async def announce(self, *units: Unit) -> None:
        """The verdicts are out, for everybody or for `units`."""
        for unit in units or self.units:
            unit.driver.apply(on.Announced(self.facts.announced))
        for unit in units or self.units:
            await unit.rest()

    async def tell(self, *units: Unit) -> None:
        """Asks for the open step's answers, of everybody or of `units`."""
        asked = told(self.session)
        for unit in units or self.units:
            if unit.key.id in asked:
                unit.driver.apply(on.Told(over_the_wire(asked[unit.key.id])))
        for unit in units or self.units:
            await unit.rest()

    def collect(self, *, without: Collection[Unit] = ()) -> None:
        """Takes what the devices' outboxes hold, as often as it is there."""
        for unit in self.units:
            for message in unit.outbox() if unit not in without else ():
                known = self.heard.setdefault((unit.key.id, type(message)), set())
                fresh = encode(message) not in known
                known.add(encode(message))
                if fresh and isinstance(message, MaskedInput):
                    vector = join_object(message.vector, JournalBlocks(unit.journal).get)
                    self.vectors[unit.key.id] = decode_masked_vector(vector)
                if fresh:
                    public = self.facts.roster.public_keys
                    self.session = taken(self.session, unit.key.id, message, public, OPERATOR)

    def close(self) -> None:
        """Ends the open step."""
        self.session = close(self.session)

    def total(self) -> GroupSum:
        """The sum of those who survived, checked against their commitments."""
        lengths = Lengths(
            SPEC.shape.parameters, len(self.facts.openings[0].blinding) // SCALAR_BYTES
        )
        found = unmask(self.session, lengths, self.vectors)
        check_group_sum(self.groups, found, self.facts.commitments, SYSTEM.commitments)
        return found

    def expected(self) -> Any:
        """The weighted sum of the survivors' theta, added up in the open."""
        weights = self.groups[0].device_to_weight
        return sum(
            weights[key.id] * opening.theta
            for key, opening in zip(self.facts.keys, self.facts.openings, strict=True)
            if key.id in self.session.survivors
        )

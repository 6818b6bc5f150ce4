"""What a validator hears devices say, and whether it was said in time.

A message counts as in time only if it came at least `margin_s` before the deadline that the
phase's announcement started, and `margin_s` later the phase was still not over; and only if
everything it names was heard too. So neither a late message nor one that the aggregator may
have missed is ever held against it. What cannot be known counts as late: when the phase was
announced before this validator listened, or while it was away. So does a commitment whose
device spoke before the round began here, for the aggregator takes the first one alone.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from zkpot.cid import Cid, check_block, is_node, join_object, parse_manifest, split_object
from zkpot.errors import Rejected
from zkpot.ids import DeviceId, Round, device_text
from zkpot.journal import Journal
from zkpot.record import EnvelopeBytes
from zkpot.verify import MAX_PROOF_BYTES, RoundTerms
from zkpot.wire.codec import decode, encode
from zkpot.wire.envelope import MAX_MESSAGE_BYTES, open_envelope
from zkpot.wire.messages import Block, Commitment, Decline, Phase, Submission
from zkpot.wire.topics import DeviceTopic
from zkpot_aggregator.audit.omission import Said
from zkpot_aggregator.inbound import check_sender
from zkpot_aggregator.intake import Intake

_logger = logging.getLogger(__name__)

_PREFIX = "heard/"
_LIMIT = MAX_MESSAGE_BYTES + 1024


@dataclass(frozen=True)
class Heard:
    """The first commitment or submission of a device, and whether it surely was in time."""

    device: DeviceId
    envelope: EnvelopeBytes
    in_time: bool


class Hearing:
    """The current round's messages, in the journal, and the proofs they name, in the intake.

    Messages may be heard on one thread while a round begins on another.
    """

    def __init__(
        self,
        journal: Journal,
        intake: Intake,
        margin_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._intake = intake
        self._margin_s = margin_s
        self._clock = clock
        self._changing = threading.Lock()
        self._terms: RoundTerms | None = None
        self._connected = clock()
        self._came: dict[str, float] = {}
        self._until: dict[tuple[Round, Phase], float] = {}
        self._spoke_early: set[tuple[Round, DeviceId]] = set()
        self._wanted: set[Cid] = set()

    def begin(self, terms: RoundTerms) -> None:
        """A round whose roster is known; drops what was heard of earlier ones."""
        with self._changing:
            self._begin(terms)

    def _begin(self, terms: RoundTerms) -> None:
        if self._terms is not None and self._terms.round >= terms.round:
            return
        self._terms = terms
        self._came.clear()
        self._until = {key: until for key, until in self._until.items() if key[0] >= terms.round}
        self._spoke_early = {key for key in self._spoke_early if key[0] >= terms.round}
        self._wanted.clear()
        past = [key for key, _ in self._journal.items(_PREFIX) if key < _prefix(terms.round)]
        if past:
            self._journal.transition(dict.fromkeys(past))
            self._intake.clear()
        for heard in self._stored(Commitment) + self._stored(Submission):
            self._want(heard.envelope)

    def connected(self) -> None:
        """The broker hands over what it kept for us: for a while, its messages may be old.

        What was missed while we were away is not known, so phases that are under way hold nobody.
        """
        with self._changing:
            self._connected = self._clock()
            self._until = dict.fromkeys(self._until, -math.inf)

    def announced(self, number: Round, phase: Phase, seconds: int, *, kept: bool) -> None:
        """A phase that gives devices this long was announced; `kept`: some time ago.

        Only the first sight counts. The same announcement again starts no deadline anew.
        """
        now = self._clock()
        late = kept or now < self._connected + self._margin_s
        until = -math.inf if late else now + seconds - self._margin_s
        with self._changing:
            self._until.setdefault((number, phase), until)

    def hear(self, topic: DeviceTopic, payload: bytes) -> None:
        """A message of a device, taken as the aggregator takes it: on its own topic or not at all.

        Raises `Rejected` if it is not by a device of the round's roster.
        """
        with self._changing:
            self._hear(topic, payload)

    def _hear(self, topic: DeviceTopic, payload: bytes) -> None:
        known = False
        try:
            known = self._terms is not None and self._take(self._terms, topic, payload)
        finally:
            if not known and topic.channel == "up/commitment":
                self._spoke_early.add((self._awaited, topic.device))

    @property
    def _awaited(self) -> Round:
        """The round that begins here next."""
        announced = max((number for number, _ in self._until), default=0)
        return Round(max(announced, 1 if self._terms is None else self._terms.round + 1))

    def _take(self, terms: RoundTerms, topic: DeviceTopic, payload: bytes) -> bool:
        """Returns whether it belongs to this round."""
        check_sender(topic, payload, terms.roster.public_keys)
        opened = open_envelope(payload, terms.roster.public_keys)
        match topic.channel, opened.message:
            case "up/block", Block(cid, data) if data is not None and cid in self._wanted:
                self._keep_block(cid, check_block(cid, data))
                return True
            case (
                ("up/commitment", Commitment() as message)
                | ("up/submission", Submission() as message)
                | ("up/decline", Decline() as message)
            ):
                about = (message.task, message.round, message.parent)
                if about == (terms.task_id, terms.round, terms.parent):
                    self._keep(type(message), Heard(opened.signer, payload, in_time=False))
                    return True
        return False

    def _keep(self, kind: type[Commitment | Submission | Decline], heard: Heard) -> None:
        if kind is Commitment and (self._number, heard.device) in self._spoke_early:
            return
        key = _key(self._number, kind, heard.device)
        if self._journal.get(key) is not None:
            return
        _logger.debug("heard %s", key)
        self._journal.transition({key: encode(heard)})
        # The aggregator takes no submission before it has announced the batch.
        asked = kind is Commitment or (self._number, Phase.PROVE) in self._until
        if asked and kind is not Decline:
            self._came[key] = self._clock()
            self._want(heard.envelope)

    @property
    def undecided(self) -> bool:
        """Whether something was heard of which it is not known yet if it was in time."""
        return bool(self._came)

    @property
    def now(self) -> float:
        """The time by this clock, which has no other meaning."""
        return self._clock()

    def note_in_time(self, phase: Phase, now: float) -> None:
        """`phase` was not over at `now`, as the chain or the announcements show.

        COMMIT is about commitments, PROVE about submissions.
        """
        number = self._number
        kind = Commitment if phase is Phase.COMMIT else Submission
        until = self._until.get((number, phase), -math.inf)
        for key, came in list(self._came.items()):
            if not key.startswith(_kind_prefix(number, kind)) or now < came + self._margin_s:
                continue
            heard = self._heard(key)
            if came > until:
                self._came.pop(key)
            elif self.proof_of(heard) is not None:
                self._journal.transition({key: encode(replace(heard, in_time=True))})
                self._came.pop(key)

    def said(self, kind: type[Commitment | Submission], number: Round) -> list[Said]:
        """What surely was in time, in this round; not of devices that declined to submit."""
        if self._terms is None or self._terms.round != number:
            return []
        heard = [each for each in self._stored(kind) if each.in_time]
        if kind is Submission:
            heard = [each for each in heard if not self._declined(each.device)]
        return [Said(each.envelope, self.proof_of(each) or b"") for each in heard]

    def said_by(self, kind: type[Commitment | Submission], device: DeviceId) -> Said:
        """What this device said."""
        heard = self._heard(_key(self._number, kind, device))
        return Said(heard.envelope, self.proof_of(heard) or b"")

    def _declined(self, device: DeviceId) -> bool:
        return self._journal.get(_key(self._number, Decline, device)) is not None

    def proof_of(self, heard: Heard) -> bytes | None:
        """The proof that a message names: empty if it names none, None if it was not all heard."""
        cid = self._named(heard.envelope)
        if cid is None:
            return b""
        try:
            data = join_object(cid, self._intake.get)
        except Rejected:
            return None
        # An aggregator refuses an object that is cut in other blocks than its bytes make.
        return data if split_object(data)[0] == cid else None

    def _want(self, envelope: bytes) -> None:
        cid = self._named(envelope)
        if cid is not None:
            self._wanted.add(cid)
            self._want_leaves(cid)

    def _keep_block(self, cid: Cid, block: bytes) -> None:
        self._intake.put(cid, block)
        self._want_leaves(cid)

    def _want_leaves(self, cid: Cid) -> None:
        try:
            manifest = parse_manifest(cid, self._intake.get(cid)) if is_node(cid) else None
        except Rejected:
            return
        if manifest is not None and manifest.size <= MAX_PROOF_BYTES:
            self._wanted.update(manifest.leaves)

    def _named(self, envelope: bytes) -> Cid | None:
        assert self._terms is not None
        message = open_envelope(envelope, self._terms.roster.public_keys).message
        if isinstance(message, Commitment):
            return message.wellformed
        return message.proof if isinstance(message, Submission) else None

    def _stored(self, kind: type[Commitment | Submission]) -> list[Heard]:
        stored = self._journal.items(_kind_prefix(self._number, kind))
        return [decode(Heard, data, limit=_LIMIT) for _, data in stored]

    def _heard(self, key: str) -> Heard:
        data = self._journal.get(key)
        assert data is not None
        return decode(Heard, data, limit=_LIMIT)

    @property
    def _number(self) -> Round:
        assert self._terms is not None
        return self._terms.round


def _prefix(number: Round) -> str:
    return f"{_PREFIX}{number:08d}/"


def _kind_prefix(number: Round, kind: type) -> str:
    return f"{_prefix(number)}{kind.__name__}/"


def _key(number: Round, kind: type, device: DeviceId) -> str:
    return f"{_kind_prefix(number, kind)}{device_text(device)}"

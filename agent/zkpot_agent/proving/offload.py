"""The device's side of the link to its provers: what they say, and what is offered to them.

What is sealed leaves this device as blocks that only the prover who has the offer is given. It
is kept in memory only; the journal remembers who has the offer, so that a restart takes it back
and asks the same prover first.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from zkpot.cid import Cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId
from zkpot.journal import Journal, Outgoing
from zkpot.keys import KeyPair, device_id
from zkpot.link.base import Incoming, Link
from zkpot.link.blocks import BlockExchange
from zkpot.link.download import DEFAULT_WINDOW
from zkpot.link.held import HeldBlocks
from zkpot.proof.system import Progress
from zkpot.verify import MAX_PROOF_BYTES
from zkpot.wire import topics
from zkpot.wire.codec import decode, encode
from zkpot.wire.envelope import open_from, sign
from zkpot.wire.messages import Block, Want
from zkpot.wire.prover_messages import JobOffer, JobStatus, JobWithdrawal, ProverStatus
from zkpot.wire.topics import Kind
from zkpot_agent.proving import placement as at
from zkpot_agent.proving.errand import Errand
from zkpot_agent.proving.request import ProofRequest

_STANDING = "offload/standing"
_STANDING_BYTES = 1024


@dataclass(frozen=True)
class Standing:
    """The offer that stands, in the journal."""

    prover: DeviceId
    job: Cid


class OffloadClient:
    """Hands proofs to `provers`, the public keys that the device's owner allows."""

    def __init__(
        self,
        link: Link,
        key: KeyPair,
        journal: Journal,
        provers: Sequence[bytes],
        *,
        lease_s: int,
        window: int = DEFAULT_WINDOW,
    ) -> None:
        self._key = key
        self._lease_s = lease_s
        self._statuses: dict[DeviceId, ProverStatus] = {}
        self._journal = journal
        self._public_keys: Mapping[DeviceId, bytes] = {device_id(each): each for each in provers}
        self._blocks = HeldBlocks()
        self._exchange = BlockExchange(
            link,
            key=key,
            store=self._blocks,
            address=lambda prover, kind: topics.to_prover(key.id, prover, kind),
            may_serve=lambda prover, _cid: self._offer is not None and self._offer.prover == prover,
            window=window,
        )
        self._offer: JobOffer | None = None
        self._tell: Callable[[at.Happening], None] = lambda _happening: None

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """What the link must listen to besides."""
        return topics.offload_subscriptions(self._key.id, self._public_keys)

    async def run(self) -> None:
        """Serves sealed jobs until cancelled."""
        await self._exchange.run()

    def receive(self, incoming: Incoming) -> None:
        """Takes a message of a prover's; raises `Rejected` for what is not one."""
        prover = topics.parse_prover_topic(incoming.topic).prover
        match open_from(prover, incoming.payload, self._public_keys).message:
            case ProverStatus() as status:
                # A will that comes late must not bury the prover's next start; a prover with a
                # new state directory counts its starts from 1 again.
                known = self._statuses.get(prover)
                if known is None or status.online or status.session >= known.session:
                    self._statuses[prover] = status
                    self._tell(at.Heard(prover, status))
            case JobStatus() as status if status.device == self._key.id:
                self._tell(at.Reported(prover, status))
            case Want() | Block() as content:
                self._exchange.receive(prover, content)
            case other:
                raise Rejected(Reason.UNKNOWN_TYPE, type(other).__name__)

    def births(self) -> list[Outgoing]:
        """The offer that stands, again; asks again for blocks. For every new connection."""
        self._exchange.reconnected()
        return [] if self._offer is None else [self._outgoing(self._offer)]

    async def prove(self, request: ProofRequest, progress: Progress) -> bytes:
        """See `Offload.prove`. One at a time."""
        standing = self._journal.get(_STANDING)
        known = None if standing is None else decode(Standing, standing, limit=_STANDING_BYTES)
        if known is not None:
            self.withdraw(known.prover, known.job)
        until = time.monotonic() + request.deadline_s
        placement = at.Placement(
            tuple(self._public_keys),
            self._statuses,
            request.backend.system_id,
            lease_s=self._lease_s,
            until=until,
            preferred=None if known is None else known.prover,
        )
        errand = Errand(self, self._key.id, request, placement, until)
        self._tell = errand.tell
        try:
            return await errand.run(progress)
        finally:
            self._tell = lambda _happening: None
            if self._offer is not None:
                self.withdraw(self._offer.prover, self._offer.job)

    def offer(self, prover: DeviceId, sealed: bytes, within_s: int) -> Cid:
        """Offers a sealed job and lets the prover fetch it; returns the job's name."""
        job = self._blocks.hold(sealed)
        self._offer = JobOffer(prover, job, self._lease_s, within_s)
        puts = {_STANDING: encode(Standing(prover, job))}
        self._journal.transition(puts, [self._outgoing(self._offer)])
        return job

    def withdraw(self, prover: DeviceId, job: Cid) -> None:
        """Takes an offer back, and forgets what was sealed."""
        self._offer = None
        self._blocks.drop(job)
        self._journal.transition({_STANDING: None}, [self._outgoing(JobWithdrawal(prover, job))])

    async def fetch(
        self, proof: Cid, prover: DeviceId, deadline_s: float, arriving: Callable[[], None]
    ) -> bytes:
        """A proof; raises what `BlockExchange.fetch` raises."""
        try:
            return await self._exchange.fetch(
                proof,
                prover,
                deadline_s=deadline_s,
                max_bytes=MAX_PROOF_BYTES,
                progress=lambda _done, _total: arriving(),
            )
        finally:
            self._blocks.drop(proof)

    def _outgoing(self, message: JobOffer | JobWithdrawal) -> Outgoing:
        topic = topics.to_prover(self._key.id, message.prover, Kind.JOB)
        return Outgoing(topic, sign(message, self._key), retain=True, replaces=topic)

"""Which jobs a prover has taken, and what is due for each: no clock, network or disk inside.

Feed `Desk` what happened with the time; it returns what to do. A device has one job at a time,
a newer one takes its place. Jobs are proven in the order they came, `workers` at once. Each is
reported often enough to keep its lease, and forgotten when its time is over or its device takes
it back. What is offered lies retained at the broker, so a prover that starts again is offered it
again, and nothing of this needs a disk.
"""

import math
from dataclasses import dataclass, field, replace
from enum import Enum, auto, unique
from typing import TypeAlias

from zkpot.cid import Cid
from zkpot.errors import Reason
from zkpot.ids import DeviceId
from zkpot.wire.prover_messages import PER_MILLE, JobOffer, JobState, JobStatus

BEATS_PER_LEASE = 4
"""Two may be lost or late."""

SMOOTHING = 0.2
"""Weight of the latest proof in the mean time of one."""

MOST_PROGRESS = 0.95
"""Progress is the share of the time that proofs have taken so far; only a proof is all of it."""


@dataclass(frozen=True)
class Offered:
    """A device's offer, new or again."""

    device: DeviceId
    offer: JobOffer


@dataclass(frozen=True)
class Withdrawn:
    """A device takes its job back."""

    device: DeviceId
    job: Cid


@dataclass(frozen=True)
class Fetched:
    """The sealed job is here."""

    device: DeviceId
    job: Cid


@dataclass(frozen=True)
class Proven:
    """The proof is here, after so many seconds."""

    device: DeviceId
    job: Cid
    proof: Cid
    seconds: float


@dataclass(frozen=True)
class Broken:
    """A job cannot be fetched or proven."""

    device: DeviceId
    job: Cid
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


Happening: TypeAlias = Offered | Withdrawn | Fetched | Proven | Broken | Tick


@dataclass(frozen=True)
class Fetch:
    """Fetch the sealed job."""

    device: DeviceId
    job: Cid
    within_s: float


@dataclass(frozen=True)
class Prove:
    """Prove it; a worker is free."""

    device: DeviceId
    job: Cid
    within_s: float


@dataclass(frozen=True)
class Drop:
    """Stop whatever is done for the job, and forget all of it."""

    device: DeviceId
    job: Cid


@dataclass(frozen=True)
class Tell:
    """Publish where a job stands."""

    status: JobStatus


@dataclass(frozen=True)
class Load:
    """Publish how busy the prover is; see `ProverStatus`."""

    queued: int
    room: int
    wait_s: int


Action: TypeAlias = Fetch | Prove | Drop | Tell | Load


@unique
class _Stage(Enum):
    FETCHING = auto()
    WAITING = auto()
    PROVING = auto()
    ENDED = auto()


@dataclass
class _Job:
    device: DeviceId
    name: Cid
    expires_at: float
    beat_every_s: float
    status: JobStatus
    stage: _Stage = _Stage.FETCHING
    beats_at: float = 0.0
    began: float = field(default=0.0)


class Desk:
    """At most `capacity` jobs that are not proven yet, none for longer than `longest_s`."""

    def __init__(self, *, workers: int, capacity: int, longest_s: float) -> None:
        self._workers = workers
        self._capacity = capacity
        self._longest_s = longest_s
        self._jobs: dict[DeviceId, _Job] = {}
        self._mean_s = 0.0
        self._said = self.load

    @property
    def load(self) -> Load:
        """How busy the prover is."""
        queued = len(self._live())
        wait_s = math.ceil(queued / self._workers * self._mean_s)
        return Load(queued, self._capacity - queued, wait_s)

    @property
    def statuses(self) -> tuple[JobStatus, ...]:
        """Where every job stands, to be published again on a new connection."""
        return tuple(job.status for job in self._jobs.values())

    @property
    def wakes_at(self) -> float:
        """When the next `Tick` is due."""
        return min(
            (
                job.expires_at if _ended(job) else min(job.expires_at, job.beats_at)
                for job in self._jobs.values()
            ),
            default=math.inf,
        )

    def step(self, happening: Happening, now: float) -> list[Action]:
        """What to do after `happening` at `now` (seconds of any steady clock)."""
        match happening:
            case Offered(device, offer):
                actions = self._offered(device, offer, now)
            case Tick():
                actions = [action for job in self._all() for action in self._ticked(job, now)]
            case _:
                job = self._jobs.get(happening.device)
                if job is None or job.name != happening.job:
                    return []
                actions = self._went_on(job, happening, now)
        actions += self._assign(now)
        if self.load != self._said:
            self._said = self.load
            actions.append(self.load)
        return actions

    def _offered(self, device: DeviceId, offer: JobOffer, now: float) -> list[Action]:
        known = self._jobs.get(device)
        if known is not None and known.name == offer.job:
            return [Tell(known.status)]
        dropped = [] if known is None else self._drop(known)
        status = JobStatus(device, offer.job, JobState.ACCEPTED, 0, 0)
        failed = replace(status, state=JobState.FAILED)
        if any(job.name == offer.job for job in self._jobs.values()):
            # Who offers another device's job could take it back, too.
            refused = replace(failed, reason=Reason.JOB_MISMATCH, detail="another device's job")
            return [*dropped, Tell(refused)]
        if self.load.room <= 0:
            detail = f"{self._capacity} jobs are waiting"
            refused = replace(failed, reason=Reason.PROVER_BUSY, detail=detail)
            return [*dropped, Tell(refused)]
        within_s = min(offer.within_s, self._longest_s)
        every_s = offer.lease_s / BEATS_PER_LEASE
        job = _Job(device, offer.job, now + within_s, every_s, status, beats_at=now + every_s)
        self._jobs[device] = job
        return [*dropped, Tell(status), Fetch(device, offer.job, within_s)]

    def _went_on(
        self, job: _Job, happening: Withdrawn | Fetched | Proven | Broken, now: float
    ) -> list[Action]:
        match happening:
            case Withdrawn():
                return self._drop(job)
            case Fetched() if job.stage is _Stage.FETCHING:
                job.stage = _Stage.WAITING
            case Proven(proof=proof, seconds=seconds) if job.stage is _Stage.PROVING:
                weight = SMOOTHING if self._mean_s else 1.0
                self._mean_s += weight * (seconds - self._mean_s)
                job.stage = _Stage.ENDED
                done = replace(job.status, state=JobState.DONE, proof=proof)
                return [self._tell(job, done, PER_MILLE, now)]
            case Broken(reason=reason, detail=detail) if not _ended(job):
                return [self._fail(job, reason, detail, now)]
        return []

    def _ticked(self, job: _Job, now: float) -> list[Action]:
        if now >= job.expires_at:
            if _ended(job):
                return self._drop(job)
            failed = self._fail(job, Reason.JOB_EXPIRED, "not proven in time", now)
            return [failed, *self._drop(job)]
        if _ended(job) or now < job.beats_at:
            return []
        return [self._tell(job, job.status, self._progress(job, now), now)]

    def _assign(self, now: float) -> list[Action]:
        """Gives free workers the jobs that have waited longest."""
        actions: list[Action] = []
        busy = sum(job.stage is _Stage.PROVING for job in self._jobs.values())
        waiting = [job for job in self._all() if job.stage is _Stage.WAITING]
        for job in waiting[: max(0, self._workers - busy)]:
            job.stage, job.began = _Stage.PROVING, now
            proving = replace(job.status, state=JobState.PROVING)
            actions.append(self._tell(job, proving, 0, now))
            actions.append(Prove(job.device, job.name, job.expires_at - now))
        return actions

    def _progress(self, job: _Job, now: float) -> int:
        if job.stage is not _Stage.PROVING or not self._mean_s:
            return 0
        return round(PER_MILLE * min((now - job.began) / self._mean_s, MOST_PROGRESS))

    def _fail(self, job: _Job, reason: Reason, detail: str, now: float) -> Tell:
        job.stage = _Stage.ENDED
        failed = replace(job.status, state=JobState.FAILED, reason=reason, detail=detail[:200])
        return self._tell(job, failed, 0, now)

    def _tell(self, job: _Job, status: JobStatus, progress: int, now: float) -> Tell:
        job.status = replace(status, beat=job.status.beat + 1, progress_per_mille=progress)
        job.beats_at = now + job.beat_every_s
        return Tell(job.status)

    def _drop(self, job: _Job) -> list[Action]:
        del self._jobs[job.device]
        return [Drop(job.device, job.name)]

    def _live(self) -> list[_Job]:
        return [job for job in self._jobs.values() if not _ended(job)]

    def _all(self) -> list[_Job]:
        return list(self._jobs.values())


def _ended(job: _Job) -> bool:
    return job.stage is _Stage.ENDED

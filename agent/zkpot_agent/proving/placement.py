"""Which prover gets a job, and when it goes to the next: no clock, network or disk inside.

Feed `Placement` what happened with the time; it returns what to do. One prover has the job at
a time. It loses the job when its lease runs out without a new beat or block, when its share of the
time is over and another is there, when it fails, or when its proof does not verify; nobody gets a
job twice. Each prover that gets it sees the model, so the next one is asked only when the last one
has lost it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from zkpot.cid import Cid
from zkpot.errors import reason_text
from zkpot.ids import DeviceId, device_text
from zkpot.wire.prover_messages import JobState, JobStatus, ProverStatus


@dataclass(frozen=True)
class Heard:
    """A prover's own status."""

    prover: DeviceId
    status: ProverStatus


@dataclass(frozen=True)
class Sealed:
    """The job is sealed to the prover chosen last, and offered under this name."""

    job: Cid


@dataclass(frozen=True)
class Reported:
    """What a prover says of a job."""

    prover: DeviceId
    status: JobStatus


@dataclass(frozen=True)
class Arriving:
    """A part of a proof has come, or `all` of it, and it is being verified here."""

    proof: Cid
    all: bool


@dataclass(frozen=True)
class Verified:
    """The proof was fetched and holds for our own statement."""

    proof: bytes


@dataclass(frozen=True)
class Refused:
    """A proof could not be fetched, or does not hold; none: the job could not be sealed."""

    proof: Cid | None
    why: str


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


Happening: TypeAlias = Heard | Sealed | Reported | Arriving | Verified | Refused | Tick


@dataclass(frozen=True)
class SealTo:
    """Seal the job to this key and offer it; it is worthless after `within_s`."""

    prover: DeviceId
    box_key: bytes
    within_s: float


@dataclass(frozen=True)
class FetchProof:
    """Fetch this proof and verify it; forget about any other."""

    prover: DeviceId
    proof: Cid


@dataclass(frozen=True)
class Withdraw:
    """Take the offer back."""

    prover: DeviceId
    job: Cid


@dataclass(frozen=True)
class Finish:
    """This is the proof."""

    proof: bytes


@dataclass(frozen=True)
class GiveUp:
    """Nobody is left to ask, or no time."""

    why: str


Action: TypeAlias = SealTo | FetchProof | Withdraw | Finish | GiveUp


@dataclass
class _Held:
    """A prover has the job; `job` is None until it is sealed."""

    prover: DeviceId
    lease_ends: float
    share_ends: float
    job: Cid | None = None
    beat: int = -1
    proof: Cid | None = None
    arrived: bool = False


class Placement:
    """Places one job. `provers` are those the owner allows, in the order of preference.

    `statuses` is what they have said of themselves so far.

    `preferred` is asked first if it takes jobs: it has seen this model already.
    """

    def __init__(
        self,
        provers: Sequence[DeviceId],
        statuses: Mapping[DeviceId, ProverStatus],
        proof_system: str,
        *,
        lease_s: float,
        until: float,
        preferred: DeviceId | None = None,
    ) -> None:
        self._untried = list(provers)
        self._proof_system = proof_system
        self._lease_s = lease_s
        self._until = until
        self._preferred = preferred
        self._statuses = dict(statuses)
        self._held: _Held | None = None
        self._patience_ends = 0.0
        self._problems: list[str] = []
        self.progress = 0.0
        """What the prover says it has done, from 0 to 1."""

    def start(self, now: float) -> list[Action]:
        """The first actions."""
        self._patience_ends = now + self._lease_s
        return self._choose(now)

    @property
    def wakes_at(self) -> float:
        """When the next `Tick` is due."""
        if self._held is None:
            return min(self._patience_ends, self._until)
        ends = (self._share_ends(self._held), self._until)
        # While the proof is verified here, nothing more is expected of the prover.
        return min(ends) if self._held.arrived else min(self._held.lease_ends, *ends)

    def step(self, happening: Happening, now: float) -> list[Action]:
        """What to do after `happening` at `now` (seconds of any steady clock)."""
        match happening:
            case Heard(prover, status):
                self._statuses[prover] = status
                return self._choose(now) if self._held is None else []
            case Sealed(job):
                if self._held is not None:
                    self._held.job = job
                    self._held.lease_ends = now + self._lease_s
                return []
            case Reported(prover, status):
                return self._reported(prover, status, now)
            case Arriving(proof, complete):
                if self._held is not None and self._held.proof == proof:
                    self._held.lease_ends = now + self._lease_s
                    self._held.arrived = complete
                return []
            case Verified(proof):
                return [*self._take_back(), Finish(proof)]
            case Refused(proof, why):
                ours = self._held is not None and self._held.proof == proof
                return self._lost(why, now) if ours else []
            case Tick():
                return self._ticked(now)

    def _reported(self, prover: DeviceId, status: JobStatus, now: float) -> list[Action]:
        held = self._held
        if held is None or (held.prover, held.job) != (prover, status.job):
            return []
        if status.beat != held.beat:
            # Another one, not a later one: a prover that was restarted counts from 0 again.
            held.beat = status.beat
            held.lease_ends = now + self._lease_s
        self.progress = status.progress_per_mille / 1000
        if status.state is JobState.FAILED:
            return self._lost(f"{reason_text(status.reason)} {status.detail}".strip(), now)
        if status.state is not JobState.DONE:
            return []
        if status.proof is None:
            return self._lost("it names no proof", now)
        if status.proof == held.proof:
            return []
        # A prover that was restarted proves again, and names another proof.
        held.proof, held.arrived = status.proof, False
        return [FetchProof(prover, status.proof)]

    def _ticked(self, now: float) -> list[Action]:
        if now < self.wakes_at:
            return []
        if now >= self._until:
            return self._give_up("no time is left")
        held = self._held
        if held is None:
            return self._give_up("no prover that takes the job is there")
        if now >= self._share_ends(held):
            return self._lost("its share of the time is over", now)
        return self._lost(f"silent for {self._lease_s:.0f} s", now)

    def _lost(self, why: str, now: float) -> list[Action]:
        if self._held is None:
            return []
        self._problems.append(f"{device_text(self._held.prover)[:8]} {why}")
        taken_back = self._take_back()
        self._patience_ends = now + self._lease_s
        return [*taken_back, *self._choose(now)]

    def _choose(self, now: float) -> list[Action]:
        """The prover with the shortest wait of those that are there and take such jobs."""
        if not self._untried:
            return self._give_up("all provers have failed")
        able = [prover for prover in self._untried if self._takes(prover)]
        if not able:
            return []
        prover = min(able, key=lambda each: (each != self._preferred, self._statuses[each].wait_s))
        left = self._until - now
        share = left / len(self._untried)
        self._untried.remove(prover)
        self._held = _Held(prover, now + self._lease_s, now + share)
        self.progress = 0.0
        return [SealTo(prover, self._statuses[prover].box_key, left)]

    def _share_ends(self, held: _Held) -> float:
        """The rest of the time is for another prover, so only if there is one."""
        return held.share_ends if any(map(self._takes, self._untried)) else self._until

    def _takes(self, prover: DeviceId) -> bool:
        status = self._statuses.get(prover)
        return (
            status is not None
            and status.online
            and status.room > 0
            and self._proof_system in status.proof_systems
        )

    def _take_back(self) -> list[Action]:
        held, self._held = self._held, None
        return [] if held is None or held.job is None else [Withdraw(held.prover, held.job)]

    def _give_up(self, why: str) -> list[Action]:
        return [*self._take_back(), GiveUp("; ".join([*self._problems, why]))]

"""What devices and provers tell each other about a proof that is made elsewhere."""

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Annotated

from zkpot.cid import Cid
from zkpot.errors import Reason
from zkpot.ids import DeviceId
from zkpot.wire.codec import Exactly, Max, Span

MAX_PROOF_SYSTEMS = 8
MAX_JOB_SECONDS = 30 * 24 * 3600
PER_MILLE = 1000


@dataclass(frozen=True)
class ProverStatus:
    """Retained birth and last will of a prover: its X25519 key, and how busy it is.

    `queued` counts jobs that wait or are being proven, `room` how many more it takes;
    `wait_s` is how long a job that came now would wait.
    """

    session: int
    online: bool
    box_key: Annotated[bytes, Exactly(32)]
    software: Annotated[str, Max(40)]
    proof_systems: Annotated[tuple[Annotated[str, Max(40)], ...], Max(MAX_PROOF_SYSTEMS)]
    workers: int
    queued: int
    room: int
    wait_s: int


@dataclass(frozen=True)
class JobOffer:
    """Retained: a device asks a prover for a proof; `job` names the sealed job.

    A prover that is silent for `lease_s` seconds loses it; after `within_s` it is worthless.
    """

    prover: DeviceId
    job: Cid
    lease_s: Annotated[int, Span(1, MAX_JOB_SECONDS)]
    within_s: Annotated[int, Span(1, MAX_JOB_SECONDS)]


@dataclass(frozen=True)
class JobWithdrawal:
    """Retained, in the place of the offer: the device no longer wants this proof."""

    prover: DeviceId
    job: Cid


@unique
class JobState(IntEnum):
    """Where a job stands with its prover. That it is offered or withdrawn the device says."""

    ACCEPTED = 1
    PROVING = 2
    DONE = 3
    FAILED = 4


@dataclass(frozen=True)
class JobStatus:
    """Retained: what a prover says of a device's job. Every new `beat` renews its lease."""

    device: DeviceId
    job: Cid
    state: JobState
    beat: int
    progress_per_mille: Annotated[int, Span(0, PER_MILLE)]
    proof: Cid | None = None
    reason: Reason | None = None
    detail: Annotated[str, Max(200)] = ""

"""The prover's decisions: which jobs it takes, in which order, and what it says of them."""

import math
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zkpot.cid import Cid, raw_cid
from zkpot.errors import Reason
from zkpot.ids import DeviceId
from zkpot.wire.prover_messages import JobOffer, JobState, JobStatus
from zkpot_aggregator.prover import desk as at

PROVER = DeviceId(b"p" * 20)
DEVICES = tuple(DeviceId(bytes([n]) * 20) for n in range(5))
ANNA, BERT, CARL, DORA, EMIL = DEVICES
WORKERS, CAPACITY, LONGEST_S = 2, 4, 50.0
LEASE_S = 8


def named(device: DeviceId, number: int = 1) -> Cid:
    return raw_cid(b"job %d of %d" % (number, device[0]))


def offered(device: DeviceId, number: int = 1, within_s: int = 30) -> at.Offered:
    return at.Offered(device, JobOffer(PROVER, named(device, number), LEASE_S, within_s))


@dataclass
class Bench:
    """A desk, its clock, and its last actions."""

    desk: at.Desk = field(
        default_factory=lambda: at.Desk(workers=WORKERS, capacity=CAPACITY, longest_s=LONGEST_S)
    )
    now: float = 0.0
    actions: list[at.Action] = field(default_factory=list)

    def on(self, happening: at.Happening) -> "Bench":
        self.actions = self.desk.step(happening, self.now)
        return self

    def fetched(self, *devices: DeviceId) -> "Bench":
        """Offered, and here."""
        for device in devices:
            self.on(offered(device)).on(at.Fetched(device, named(device)))
        return self

    def proven(self, device: DeviceId, seconds: float = 2.0) -> "Bench":
        return self.on(at.Proven(device, named(device), raw_cid(b"proof"), seconds))

    @property
    def told(self) -> list[JobStatus]:
        return [action.status for action in self.actions if isinstance(action, at.Tell)]

    @property
    def started(self) -> list[DeviceId]:
        return [action.device for action in self.actions if isinstance(action, at.Prove)]

    @property
    def dropped(self) -> list[Cid]:
        return [action.job for action in self.actions if isinstance(action, at.Drop)]


def test_an_offer_is_accepted_and_fetched() -> None:
    bench = Bench().on(offered(ANNA))
    (status,) = bench.told
    assert (status.device, status.job, status.state) == (ANNA, named(ANNA), JobState.ACCEPTED)
    assert at.Fetch(ANNA, named(ANNA), 30) in bench.actions
    assert bench.actions[-1] == at.Load(1, CAPACITY - 1, 0)


def test_jobs_are_proven_in_the_order_they_came_as_workers_are_free() -> None:
    bench = Bench().fetched(ANNA)
    assert bench.started == [ANNA]
    bench.fetched(BERT, CARL)
    assert bench.started == []
    bench.fetched(DORA)
    bench.proven(BERT)
    assert bench.started == [CARL]
    assert [(s.device, s.state) for s in bench.told] == [
        (BERT, JobState.DONE),
        (CARL, JobState.PROVING),
    ]
    assert bench.told[0].proof == raw_cid(b"proof")


def test_a_full_queue_is_said_and_a_later_offer_taken() -> None:
    bench = Bench().fetched(ANNA, BERT, CARL, DORA).on(offered(EMIL))
    (status,) = bench.told
    assert (status.state, status.reason) == (JobState.FAILED, Reason.PROVER_BUSY)
    bench.proven(ANNA).on(offered(EMIL))
    assert bench.told[0].state is JobState.ACCEPTED


def test_the_same_offer_again_is_answered_as_before() -> None:
    bench = Bench().fetched(ANNA)
    bench.on(offered(ANNA))
    assert [s.state for s in bench.told] == [JobState.PROVING]
    assert bench.started == []
    bench.proven(ANNA).on(offered(ANNA))
    assert [s.state for s in bench.told] == [JobState.DONE]


def test_the_job_of_another_device_is_refused_and_goes_on() -> None:
    """Names are what work is kept by: whoever may offer one could also take it back."""
    bench = Bench().fetched(ANNA)
    bench.on(at.Offered(BERT, JobOffer(PROVER, named(ANNA), LEASE_S, 30)))
    (refused,) = bench.told
    assert (refused.device, refused.state) == (BERT, JobState.FAILED)
    assert refused.reason is Reason.JOB_MISMATCH
    bench.on(at.Withdrawn(BERT, named(ANNA)))
    assert bench.dropped == []
    bench.proven(ANNA)
    assert [each.state for each in bench.told] == [JobState.DONE]


def test_a_newer_offer_takes_the_place_of_the_older() -> None:
    bench = Bench().fetched(ANNA).on(offered(ANNA, 2))
    assert bench.dropped == [named(ANNA)]
    assert bench.told[0].job == named(ANNA, 2)
    assert bench.proven(ANNA).actions == [], "the older one's proof is nobody's any more"


def test_a_withdrawn_job_is_forgotten_and_its_worker_free() -> None:
    bench = Bench().fetched(ANNA, BERT, CARL).on(at.Withdrawn(ANNA, named(ANNA)))
    assert bench.dropped == [named(ANNA)]
    assert bench.started == [CARL]
    assert bench.on(at.Withdrawn(ANNA, named(ANNA))).actions == []


def test_what_breaks_is_answered_with_its_reason() -> None:
    bench = Bench().on(offered(ANNA))
    bench.on(at.Broken(ANNA, named(ANNA), Reason.OVERSIZE, "x" * 300))
    (status,) = bench.told
    assert (status.state, status.reason) == (JobState.FAILED, Reason.OVERSIZE)
    assert len(status.detail) == 200
    assert bench.desk.load.queued == 0


def test_live_jobs_beat_four_times_a_lease_and_ended_ones_do_not() -> None:
    bench = Bench().fetched(ANNA)
    first = bench.told[0].beat
    assert bench.desk.wakes_at == LEASE_S / 4
    bench.now = LEASE_S / 4
    bench.on(at.Tick())
    assert [s.beat for s in bench.told] == [first + 1]
    bench.proven(ANNA)
    bench.now += LEASE_S
    assert bench.on(at.Tick()).told == []


def test_progress_is_the_share_of_the_time_that_proofs_take() -> None:
    bench = Bench().fetched(ANNA).proven(ANNA, 4.0).fetched(BERT)
    bench.now += 2.0
    assert bench.on(at.Tick()).told[0].progress_per_mille == 500
    bench.now += 20.0
    assert bench.on(at.Tick()).told[0].progress_per_mille == 950
    assert bench.proven(BERT).told[0].progress_per_mille == 1000


def test_the_estimated_wait_follows_the_queue() -> None:
    bench = Bench().fetched(ANNA).proven(ANNA, 4.0).fetched(BERT, CARL, DORA)
    assert bench.desk.load == at.Load(3, 1, 6)


def test_what_is_not_proven_in_time_fails_and_is_forgotten() -> None:
    bench = Bench().fetched(ANNA)
    bench.now = 30
    bench.on(at.Tick())
    assert bench.told[0].reason is Reason.JOB_EXPIRED
    assert bench.dropped == [named(ANNA)]
    assert bench.desk.statuses == ()


def test_no_offer_lasts_longer_than_the_prover_allows() -> None:
    bench = Bench().on(offered(ANNA, within_s=10**6))
    assert at.Fetch(ANNA, named(ANNA), LONGEST_S) in bench.actions


def test_a_proof_is_kept_until_its_device_has_it_or_the_time_is_over() -> None:
    bench = Bench().fetched(ANNA).proven(ANNA)
    assert bench.desk.statuses[0].state is JobState.DONE
    bench.now = 30
    assert bench.on(at.Tick()).dropped == [named(ANNA)]
    assert math.isinf(bench.desk.wakes_at)


class Serving(RuleBasedStateMachine):
    """Whatever devices and workers do, limits hold and every job comes to an end."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.fetching: set[tuple[DeviceId, Cid]] = set()
        self.proving: set[tuple[DeviceId, Cid]] = set()
        self.beats: dict[Cid, int] = {}
        self.offers = 0

    def on(self, happening: at.Happening) -> None:
        for action in self.bench.on(happening).actions:
            match action:
                case at.Fetch(device, job, within_s):
                    assert 0 < within_s <= LONGEST_S
                    self.fetching.add((device, job))
                case at.Prove(device, job, within_s):
                    assert 0 < within_s <= LONGEST_S
                    self.proving.add((device, job))
                case at.Drop(device, job):
                    self.fetching.discard((device, job))
                    self.proving.discard((device, job))
                    self.beats.pop(job, None)
                case at.Tell(status):
                    assert (status.proof is not None) == (status.state is JobState.DONE)
                    assert (status.reason is not None) == (status.state is JobState.FAILED)
                    assert status.beat >= self.beats.get(status.job, 0)
                    self.beats[status.job] = status.beat

    @rule(device=st.sampled_from(DEVICES), within_s=st.integers(1, 60), again=st.booleans())
    def offer(self, device: DeviceId, within_s: int, again: bool) -> None:
        self.offers += not again
        self.on(offered(device, self.offers, within_s))

    @rule(device=st.sampled_from(DEVICES))
    def withdrawal(self, device: DeviceId) -> None:
        self.on(at.Withdrawn(device, named(device, self.offers)))

    @precondition(lambda self: self.fetching)
    @rule(data=st.data(), good=st.booleans())
    def fetch_ends(self, data: st.DataObject, good: bool) -> None:
        device, job = data.draw(st.sampled_from(sorted(self.fetching)))
        self.fetching.discard((device, job))
        broken = at.Broken(device, job, Reason.OBJECT_UNAVAILABLE, "gone")
        self.on(at.Fetched(device, job) if good else broken)

    @precondition(lambda self: self.proving)
    @rule(data=st.data(), good=st.booleans(), seconds=st.floats(0, 100))
    def proof_ends(self, data: st.DataObject, good: bool, seconds: float) -> None:
        device, job = data.draw(st.sampled_from(sorted(self.proving)))
        self.proving.discard((device, job))
        proof = raw_cid(b"proof of " + job)
        broken = at.Broken(device, job, Reason.PROVING_FAILED, "crashed")
        self.on(at.Proven(device, job, proof, seconds) if good else broken)

    @rule(device=st.sampled_from(DEVICES), job=st.integers(0, 3))
    def something_late(self, device: DeviceId, job: int) -> None:
        name = raw_cid(b"late %d" % job)
        for event in (
            at.Fetched(device, name),
            at.Proven(device, name, name, 1.0),
            at.Broken(device, name, Reason.MALFORMED, ""),
            at.Withdrawn(device, name),
        ):
            assert self.bench.on(event).actions == []

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.bench.now += seconds
        self.on(at.Tick())

    @invariant()
    def limits_hold(self) -> None:
        load = self.bench.desk.load
        assert len(self.proving) <= WORKERS
        assert 0 <= load.queued <= CAPACITY
        assert load.room == CAPACITY - load.queued
        assert len(self.bench.desk.statuses) <= len(DEVICES)

    @invariant()
    def no_worker_idles_while_jobs_wait(self) -> None:
        waiting = self.bench.desk.load.queued - len(self.proving) - len(self.fetching)
        assert waiting <= 0 or len(self.proving) == WORKERS

    def teardown(self) -> None:
        """With time alone, nothing is left."""
        self.bench.now += 2 * LONGEST_S
        self.on(at.Tick())
        self.on(at.Tick())
        assert self.bench.desk.statuses == ()
        assert not self.proving


TestServing = Serving.TestCase
TestServing.settings = settings(max_examples=60, stateful_step_count=40)

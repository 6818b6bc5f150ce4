"""The device's decisions about one job: who gets it, and when the next one does."""

import math
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zkpot.cid import Cid, raw_cid
from zkpot.errors import Reason
from zkpot.ids import DeviceId
from zkpot.wire.prover_messages import JobState, JobStatus, ProverStatus
from zkpot_agent.proving import placement as at

SYSTEM = "sumcheck/1"
ANNA, BERT, CARL = PROVERS = tuple(DeviceId(bytes([n]) * 20) for n in range(3))
OURS = DeviceId(b"d" * 20)
LEASE_S, UNTIL = 10, 100.0
JOB, PROOF = raw_cid(b"job"), raw_cid(b"proof")


def status(wait_s: int = 0, **changes: Any) -> ProverStatus:
    fields: dict[str, Any] = {
        "session": 1,
        "online": True,
        "box_key": bytes(32),
        "software": "",
        "proof_systems": (SYSTEM,),
        "workers": 1,
        "queued": 0,
        "room": 5,
        "wait_s": wait_s,
    }
    return ProverStatus(**fields | changes)


def report(
    state: JobState, beat: int = 1, proof: Cid | None = None, reason: Reason | None = None
) -> JobStatus:
    return JobStatus(OURS, JOB, state, beat, 0, proof, reason)


def placement(preferred: DeviceId | None = None, **statuses: ProverStatus) -> at.Placement:
    names = {"anna": ANNA, "bert": BERT, "carl": CARL}
    known = {names[name]: each for name, each in statuses.items()}
    return at.Placement(PROVERS, known, SYSTEM, lease_s=LEASE_S, until=UNTIL, preferred=preferred)


def sealed_to(placed: at.Placement, prover: DeviceId, now: float = 0.0) -> at.Placement:
    """Started, and the job is with this prover."""
    (action,) = placed.start(now)
    assert isinstance(action, at.SealTo)
    assert action.prover == prover
    assert placed.step(at.Sealed(JOB), now) == []
    return placed


def asked(actions: list[at.Action]) -> DeviceId:
    """Who is asked next; the one before has lost the job."""
    withdraw, seal = actions
    assert isinstance(withdraw, at.Withdraw)
    assert isinstance(seal, at.SealTo)
    return seal.prover


def test_the_shortest_wait_is_asked_first_then_the_owners_order() -> None:
    sealed_to(placement(anna=status(9), bert=status(3), carl=status(3)), BERT)


def test_a_prover_that_has_seen_the_model_is_preferred() -> None:
    sealed_to(placement(CARL, anna=status(1), carl=status(60)), CARL)


def test_who_cannot_take_the_job_is_not_asked() -> None:
    placed = placement(
        anna=status(online=False), bert=status(room=0), carl=status(proof_systems=("ezkl/1",))
    )
    assert placed.start(0) == []
    (action,) = placed.step(at.Heard(BERT, status()), 1)
    assert isinstance(action, at.SealTo)


def test_nobody_there_is_an_answer_after_a_lease() -> None:
    placed = placement()
    assert placed.start(0) == []
    assert placed.wakes_at == LEASE_S
    (gave_up,) = placed.step(at.Tick(), LEASE_S)
    assert isinstance(gave_up, at.GiveUp)


def test_silence_moves_the_job_to_the_next() -> None:
    placed = sealed_to(placement(anna=status(), bert=status(1)), ANNA)
    assert placed.wakes_at == LEASE_S
    assert asked(placed.step(at.Tick(), LEASE_S)) == BERT


def test_every_new_beat_renews_the_lease_and_an_old_one_does_not() -> None:
    placed = sealed_to(placement(anna=status(), bert=status(1)), ANNA)
    placed.step(at.Reported(ANNA, report(JobState.ACCEPTED, 1)), 5)
    assert placed.wakes_at == 5 + LEASE_S
    placed.step(at.Reported(ANNA, report(JobState.ACCEPTED, 1)), 9)
    assert placed.wakes_at == 5 + LEASE_S
    placed.step(at.Reported(ANNA, report(JobState.PROVING, 2)), 9)
    assert placed.wakes_at == 9 + LEASE_S


def test_a_prover_that_only_ever_beats_loses_the_job_when_its_share_is_over() -> None:
    placed = sealed_to(placement(anna=status(), bert=status(1)), ANNA)
    now, beat = 0.0, 0
    while now + 1 < UNTIL / 3:
        now, beat = now + 1, beat + 1
        assert placed.step(at.Reported(ANNA, report(JobState.PROVING, beat)), now) == []
    assert asked(placed.step(at.Tick(), UNTIL / 3)) == BERT


def test_a_prover_keeps_the_job_while_nobody_else_is_there() -> None:
    placed, now = sealed_to(placement(anna=status()), ANNA), 0.0
    while now + 1 < UNTIL * 2 / 3:
        now += 1
        assert placed.step(at.Reported(ANNA, report(JobState.PROVING, int(now))), now) == []
        assert placed.step(at.Tick(), now) == []
    assert placed.step(at.Heard(CARL, status()), now) == []
    assert placed.wakes_at < now, "its share was over long ago"
    assert asked(placed.step(at.Tick(), now)) == CARL


@pytest.mark.parametrize("words", [0, 1])
def test_one_that_falls_silent_leaves_time_for_the_next_however_long_its_lease(words: int) -> None:
    known = {ANNA: status(), BERT: status(1)}
    placed = at.Placement((ANNA, BERT), known, SYSTEM, lease_s=LEASE_S, until=LEASE_S)
    sealed_to(placed, ANNA)
    for beat in range(words):
        placed.step(at.Reported(ANNA, report(JobState.ACCEPTED, beat)), 1)
    assert placed.wakes_at == LEASE_S / 2
    assert asked(placed.step(at.Tick(), LEASE_S / 2)) == BERT


def test_a_failure_moves_the_job_on_at_once_and_is_named_in_the_end() -> None:
    placed = sealed_to(placement(anna=status()), ANNA)
    failed = report(JobState.FAILED, reason=Reason.PROVER_BUSY)
    (withdraw,) = placed.step(at.Reported(ANNA, failed), 1)
    assert withdraw == at.Withdraw(ANNA, JOB)
    (gave_up,) = placed.step(at.Tick(), 1 + LEASE_S)
    assert isinstance(gave_up, at.GiveUp)
    assert "prover-busy" in gave_up.why


def test_a_proof_is_fetched_and_then_it_is_over() -> None:
    placed = sealed_to(placement(anna=status()), ANNA)
    done = at.Reported(ANNA, report(JobState.DONE, proof=PROOF))
    assert placed.step(done, 1) == [at.FetchProof(ANNA, PROOF)]
    assert placed.step(done, 2) == []
    assert placed.step(at.Verified(b"proof"), 3) == [at.Withdraw(ANNA, JOB), at.Finish(b"proof")]


def test_a_wrong_proof_moves_the_job_on() -> None:
    placed = sealed_to(placement(anna=status(), bert=status(1)), ANNA)
    placed.step(at.Reported(ANNA, report(JobState.DONE, proof=PROOF)), 1)
    assert asked(placed.step(at.Refused(PROOF, "proof-invalid"), 2)) == BERT


def test_done_without_a_proof_is_a_failure() -> None:
    placed = sealed_to(placement(anna=status(), bert=status(1)), ANNA)
    assert asked(placed.step(at.Reported(ANNA, report(JobState.DONE)), 1)) == BERT


def test_a_prover_that_dies_with_the_proof_loses_its_lease() -> None:
    placed = sealed_to(placement(anna=status(), bert=status(1)), ANNA)
    placed.step(at.Reported(ANNA, report(JobState.DONE, proof=PROOF)), 1)
    placed.step(at.Arriving(PROOF, all=False), 4)
    assert placed.wakes_at == 4 + LEASE_S
    assert asked(placed.step(at.Tick(), 4 + LEASE_S)) == BERT


def test_no_lease_runs_while_the_proof_is_verified_here() -> None:
    placed = sealed_to(placement(anna=status(), bert=status(1)), ANNA)
    placed.step(at.Reported(ANNA, report(JobState.DONE, proof=PROOF)), 1)
    placed.step(at.Arriving(PROOF, all=True), 4)
    assert placed.step(at.Tick(), 4 + 2 * LEASE_S) == []


def test_a_restarted_prover_proves_again_under_another_name() -> None:
    placed = sealed_to(placement(anna=status()), ANNA)
    placed.step(at.Reported(ANNA, report(JobState.DONE, 5, PROOF)), 1)
    again = report(JobState.DONE, 2, raw_cid(b"again"))
    assert placed.step(at.Reported(ANNA, again), 2) == [at.FetchProof(ANNA, raw_cid(b"again"))]
    # What still came of the first one counts for nothing.
    assert placed.step(at.Refused(PROOF, "incomplete"), 3) == []


def test_others_and_other_jobs_are_ignored() -> None:
    placed = sealed_to(placement(anna=status(), bert=status(1)), ANNA)
    failed = report(JobState.FAILED)
    assert placed.step(at.Reported(BERT, failed), 1) == []
    old = JobStatus(OURS, raw_cid(b"old"), JobState.FAILED, 9, 0)
    assert placed.step(at.Reported(ANNA, old), 1) == []
    assert placed.wakes_at == LEASE_S


def test_when_the_time_is_over_it_is_over() -> None:
    placed = sealed_to(placement(anna=status(), bert=status(1)), ANNA, now=UNTIL - 1)
    withdraw, gave_up = placed.step(at.Tick(), UNTIL)
    assert withdraw == at.Withdraw(ANNA, JOB)
    assert isinstance(gave_up, at.GiveUp)


class Placing(RuleBasedStateMachine):
    """Whatever provers say, one at a time has the job, none twice, and it ends in time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.asked: list[DeviceId] = []
        self.holder: DeviceId | None = None
        self.fetching: Cid | None = None
        self.outcome: at.Finish | at.GiveUp | None = None
        self.sealed = 0
        self.placed = at.Placement(PROVERS, {}, SYSTEM, lease_s=LEASE_S, until=UNTIL)
        self.take(self.placed.start(0))

    def take(self, actions: list[at.Action]) -> None:
        for action in actions:
            assert self.outcome is None, "nothing after the end"
            match action:
                case at.SealTo(prover, _, within_s):
                    assert self.holder is None
                    assert 0 < within_s <= UNTIL - self.now
                    self.asked.append(prover)
                    self.holder, self.sealed = prover, self.sealed + 1
                    self.take(self.placed.step(at.Sealed(self.job), self.now))
                case at.Withdraw(prover, job):
                    assert (prover, job) == (self.holder, self.job)
                    self.holder = self.fetching = None
                case at.FetchProof(prover, proof):
                    assert prover == self.holder
                    self.fetching = proof
                case at.Finish() | at.GiveUp():
                    assert self.holder is None
                    self.outcome = action

    @property
    def job(self) -> Cid:
        return raw_cid(b"job %d" % self.sealed)

    going = precondition(lambda self: self.outcome is None)

    @going
    @rule(prover=st.sampled_from(PROVERS), online=st.booleans(), room=st.integers(0, 1))
    def heard(self, prover: DeviceId, online: bool, room: int) -> None:
        self.take(self.placed.step(at.Heard(prover, status(online=online, room=room)), self.now))

    @going
    @rule(
        prover=st.sampled_from(PROVERS),
        state=st.sampled_from(JobState),
        beat=st.integers(0, 3),
        proof=st.sampled_from((None, PROOF, raw_cid(b"other"))),
        current=st.booleans(),
    )
    def reported(
        self, prover: DeviceId, state: JobState, beat: int, proof: Cid | None, current: bool
    ) -> None:
        job = self.job if current else raw_cid(b"unknown")
        said = JobStatus(OURS, job, state, beat, 0, proof, None)
        self.take(self.placed.step(at.Reported(prover, said), self.now))

    @precondition(lambda self: self.outcome is None and self.fetching is not None)
    @rule(good=st.booleans())
    def fetched(self, good: bool) -> None:
        assert self.fetching is not None
        self.take(self.placed.step(at.Arriving(self.fetching, all=True), self.now))
        ended = at.Verified(b"proof") if good else at.Refused(self.fetching, "bad")
        self.take(self.placed.step(ended, self.now))

    @rule(seconds=st.floats(0, 2 * LEASE_S))
    def time_passes(self, seconds: float) -> None:
        if self.outcome is not None:
            return
        self.now = min(self.now + seconds, max(self.now, self.placed.wakes_at))
        self.take(self.placed.step(at.Tick(), self.now))

    @invariant()
    def nobody_is_asked_twice(self) -> None:
        assert len(set(self.asked)) == len(self.asked)

    @invariant()
    def it_wakes_before_the_end(self) -> None:
        if self.outcome is None:
            assert not math.isinf(self.placed.wakes_at)
            assert self.placed.wakes_at <= UNTIL

    def teardown(self) -> None:
        """Nobody says anything more: it still ends."""
        for _ in range(2 * len(PROVERS) + 2):
            if self.outcome is None:
                self.now = max(self.now, self.placed.wakes_at)
                self.take(self.placed.step(at.Tick(), self.now))
        assert self.outcome is not None


TestPlacing = Placing.TestCase
TestPlacing.settings = settings(max_examples=100, stateful_step_count=30)

"""A sealed job opens for one prover, from one device, and for nobody else."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

import pytest
from tests.offload.rig import check, proof_request

from zkpot.errors import Reason, Rejected
from zkpot.keys import KeyPair, create_key_file, seal
from zkpot.offload import MAX_PART_BYTES, ProofJob, make_job, open_job, seal_job
from zkpot.proof.system import Obstacle, ProvingFailed
from zkpot.wire.codec import encode
from zkpot_agent.proving.request import ProofRequest
from zkpot_aggregator.prover.jobs import SealedJob, prove_sealed

pytest.importorskip("zkpot_prover")

DEVICE, PROVER, OTHER = (KeyPair.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
SYSTEMS = ("sumcheck/1",)

E = TypeVar("E", bound=Exception)


@pytest.fixture(scope="module")
def request_() -> ProofRequest:
    return proof_request(0)


def job_of(request: ProofRequest, prover: KeyPair = PROVER) -> ProofJob:
    backend = request.backend
    return make_job(
        DEVICE.id,
        prover.id,
        backend.system_id,
        backend.srs,
        backend.shape,
        request.statement,
        request.opening,
    )


def task(sealed: bytes, key: bytes | Path = bytes(PROVER.signing)) -> SealedJob:
    return SealedJob(sealed, DEVICE.id, key, SYSTEMS, Path("unused"))


def refused(reason: Reason, sealed: bytes, key: KeyPair = PROVER) -> None:
    with pytest.raises(Rejected) as caught:
        open_job(key, DEVICE.id, sealed)
    assert caught.value.reason is reason


def test_its_prover_proves_exactly_the_devices_statement(request_: ProofRequest) -> None:
    sealed = seal_job(PROVER.box_key, job_of(request_))
    check(request_, prove_sealed(task(sealed)))


def test_a_worker_elsewhere_reads_the_key_from_its_own_file(
    request_: ProofRequest, tmp_path: Path
) -> None:
    key = create_key_file(tmp_path / "prover.key")
    sealed = seal_job(key.box_key, job_of(request_, key))
    check(request_, prove_sealed(task(sealed, tmp_path / "prover.key")))


def test_another_prover_cannot_open_it(request_: ProofRequest) -> None:
    refused(Reason.MALFORMED, seal_job(PROVER.box_key, job_of(request_)), OTHER)


def test_nobody_can_pass_it_on(request_: ProofRequest) -> None:
    """What a prover was given, sealed anew to another by itself or by a thief."""
    refused(Reason.JOB_MISMATCH, seal_job(OTHER.box_key, job_of(request_)), OTHER)
    with pytest.raises(Rejected) as caught:
        open_job(PROVER, OTHER.id, seal_job(PROVER.box_key, job_of(request_)))
    assert caught.value.reason is Reason.JOB_MISMATCH


def test_two_seals_of_one_job_have_nothing_in_common(request_: ProofRequest) -> None:
    first, second = (seal_job(PROVER.box_key, job_of(request_)) for _ in range(2))
    assert first != second
    assert request_.opening.theta.astype("<i4").tobytes()[:64] not in first


def test_garbage_inside_and_outside_is_refused(request_: ProofRequest) -> None:
    sealed = seal_job(PROVER.box_key, job_of(request_))
    refused(Reason.MALFORMED, b"")
    refused(Reason.MALFORMED, sealed[:-1])
    refused(Reason.MALFORMED, seal(PROVER.box_key, b"not a job"))
    refused(Reason.MALFORMED, seal(PROVER.box_key, encode(job_of(request_)) + b"\0"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"inputs": b""}, Reason.JOB_MISMATCH),
        ({"labels": b""}, Reason.JOB_MISMATCH),
        ({"labels": b"\xff" * 32}, Reason.JOB_MISMATCH),
        ({"count": 33}, Reason.JOB_MISMATCH),
        ({"opening": b"weights"}, Reason.OPENING_INVALID),
        ({"proof_system": "ezkl/1"}, Reason.TASK_INVALID),
        ({"proof_system": "telepathy/1"}, Reason.TASK_INVALID),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_a_reason(
    request_: ProofRequest, changes: dict[str, object], reason: Reason
) -> None:
    job = replace(job_of(request_), **changes)  # type: ignore[arg-type]
    with pytest.raises(Rejected) as caught:
        prove_sealed(task(seal_job(PROVER.box_key, job)))
    assert caught.value.reason is reason


def test_a_false_count_cannot_be_proven(request_: ProofRequest) -> None:
    job = job_of(request_)
    false = replace(job, count=(job.count + 1) % 32)
    with pytest.raises(ProvingFailed) as caught:
        prove_sealed(task(seal_job(PROVER.box_key, false)))
    assert caught.value.obstacle is Obstacle.UNSATISFIED


def test_what_is_too_large_or_has_no_key_is_never_sealed(request_: ProofRequest) -> None:
    large = replace(job_of(request_), inputs=bytes(MAX_PART_BYTES + 1))
    for box_key, job, reason in (
        (PROVER.box_key, large, Reason.OVERSIZE),
        (bytes(32), job_of(request_), Reason.MALFORMED),
    ):
        with pytest.raises(Rejected) as caught:
            seal_job(box_key, job)
        assert caught.value.reason is reason


def test_secrets_do_not_show(request_: ProofRequest) -> None:
    job = job_of(request_)
    for shown in (repr(job), repr(task(b"sealed")), repr(request_)):
        assert str(bytes(PROVER.signing)) not in shown
        assert str(job.opening[:20]) not in shown


def over_a_pipe(error: E) -> E:
    return cast("E", pickle.loads(pickle.dumps(error)))  # noqa: S301  (our own bytes)


def test_errors_cross_process_pools_whole() -> None:
    rejected = over_a_pipe(Rejected(Reason.OVERSIZE, "too much"))
    assert (rejected.reason, rejected.detail, str(rejected)) == (
        Reason.OVERSIZE,
        "too much",
        "oversize: too much",
    )
    failed = over_a_pipe(ProvingFailed(Obstacle.TIMEOUT, "60 s"))
    assert (failed.obstacle, str(failed)) == (Obstacle.TIMEOUT, "timeout: 60 s")

"""The second verifier finds what the native one finds, and says where it does not apply."""

from dataclasses import replace

import pytest
from tests.audit.conftest import Finished

from zkpot.errors import ExitCode, Fatal, Reason, Rejected
from zkpot.ids import Digest
from zkpot.proof.registry import EZKL
from zkpot.proof.system import Obstacle, ProvingFailed
from zkpot.task import Task, decode_task, manifest_cid
from zkpot_aggregator.audit.independent import IndependentSystem, load_independent
from zkpot_aggregator.content.base import get_object
from zkpot_aggregator.ui.audit import audit_directory, load_system
from zkpot_aggregator.ui.directory import open_directory


@pytest.fixture
def task(finished: Finished) -> Task:
    opened = open_directory(finished.directory)
    return decode_task(get_object(opened.content, manifest_cid(opened.task_id)))


def test_it_finds_the_same(finished: Finished) -> None:
    first = audit_directory(finished.directory)
    second = audit_directory(finished.directory, independent=True)
    assert second.ok, second.fault
    assert second == first


def test_it_uses_no_native_verifier(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    import zkpot_prover

    def broken(*_arguments: object) -> None:
        raise zkpot_prover.ProofError("broken on purpose")

    for name in ("verify", "verify_wellformed", "verify_many", "verify_wellformed_many"):
        monkeypatch.setattr(zkpot_prover, name, broken)
    assert not audit_directory(finished.directory).ok
    assert audit_directory(finished.directory, independent=True).ok


def test_it_refuses_for_the_same_reasons(task: Task) -> None:
    """Garbage of any length gets the reason that the native verifier gives."""
    native, second = load_system(task), load_independent(task)
    size = native.proof_bytes  # type: ignore[attr-defined]
    rows = b"\x00" * 32
    for proof in (None, b"", rows, b"\xff" * size, bytes(size)):
        reasons = []
        for system in (native, second):
            with pytest.raises(Rejected) as rejected:
                system.verify_wellformed(rows * 12, Digest(bytes(32)), proof)
            reasons.append(rejected.value.reason)
        assert reasons[0] is reasons[1]
        assert reasons[0] in (Reason.COMMITMENT_NOT_WELLFORMED, Reason.COMMITMENT_MALFORMED)


def test_it_does_not_apply_to_ezkl(task: Task) -> None:
    with pytest.raises(Fatal, match="does not apply") as fatal:
        load_independent(replace(task, proof_system=EZKL))
    assert fatal.value.exit_code is ExitCode.USAGE


def test_it_cannot_prove(task: Task) -> None:
    system = load_independent(task)
    assert isinstance(system, IndependentSystem)
    with pytest.raises(ProvingFailed) as failed:
        system.prove_wellformed(None, Digest(bytes(32)))  # type: ignore[arg-type]
    assert failed.value.obstacle is Obstacle.UNAVAILABLE

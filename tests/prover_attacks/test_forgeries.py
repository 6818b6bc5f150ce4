"""What a cheating owner or thief could try with honest pieces, through the Python API."""

import contextlib
import itertools
import os
import signal
import struct
import time
import warnings
from pathlib import Path

import pytest
import zkpot_prover as native
from tests.prover_attacks.owner import Owner
from zkpot_prover import _native


def test_honest(owner: Owner, rival: Owner) -> None:
    for honest in (owner, rival):
        honest.verify()
        honest.verify_wellformed()


def test_every_other_count(owner: Owner) -> None:
    for count in set(range(10)) - {owner.count}:
        with pytest.raises(native.ProofError):
            owner.verify(count=count)


def test_a_proof_about_another_commitment(owner: Owner, rival: Owner) -> None:
    for stolen in ({"commitment": rival.commitment}, {"accuracy": rival.accuracy}):
        with pytest.raises(native.ProofError):
            owner.verify(context=rival.context, **stolen)
    for stolen in ({"commitment": rival.commitment}, {"wellformed": rival.wellformed}):
        with pytest.raises(native.ProofError):
            owner.verify_wellformed(**stolen)


def test_a_copied_or_shifted_commitment(owner: Owner, rival: Owner) -> None:
    thief = bytes(32)
    shifted = native.add(owner.shape, [owner.commitment, rival.commitment], [1, -1])
    negated = native.add(owner.shape, [owner.commitment], [-1])
    for commitment in (owner.commitment, shifted, negated):
        with pytest.raises(native.ProofError):
            owner.verify_wellformed(commitment=commitment, context=thief)
    for commitment in (shifted, negated):
        with pytest.raises(native.ProofError):
            owner.verify_wellformed(commitment=commitment)
        with pytest.raises(native.ProofError):
            owner.verify(commitment=commitment)


def test_bad_proofs_are_named_wherever_they_stand(owner: Owner, rival: Owner) -> None:
    last = int.from_bytes(owner.accuracy[-32:], "little")
    order = 2**252 + 27742317777372353535851937790883648493

    def off_by(error: int) -> tuple[bytes, bytes, int, bytes]:
        # The last scalar's error enters the group equation as it is: +1 and -1 would cancel.
        scalar = ((last + error) % order).to_bytes(32, "little")
        return *owner.item[:3], owner.accuracy[:-32] + scalar

    good, bad = [owner.item, rival.item], [off_by(1), off_by(-1)]
    for order_of_items in set(itertools.permutations([0, 1, 2, 3])):
        items = [(good + bad)[i] for i in order_of_items]
        reasons = native.verify_many(owner.shape, owner.inputs, owner.labels, items)
        assert [reason is not None for reason in reasons] == [i >= 2 for i in order_of_items]


def test_a_proof_copied_within_a_batch(owner: Owner, rival: Owner) -> None:
    copied = (rival.commitment, rival.context, owner.count, owner.accuracy)
    reasons = native.verify_many(owner.shape, owner.inputs, owner.labels, [owner.item, copied])
    assert reasons[0] is None
    assert reasons[1] is not None


@pytest.mark.parametrize("value", [-(2**63), -(2**63) + 1, 2**63 - 1, 2**32, -(2**32)])
def test_openings_at_the_ends_of_64_bits(owner: Owner, value: int) -> None:
    parameters = owner.shape.parameters
    theta = struct.pack(f"<{parameters}i", 1, *[0] * (parameters - 1))
    commitment = native.commit(owner.shape, theta, owner.blinding)
    scaled = native.add(owner.shape, [commitment], [value])
    blinding = native.add_blindings(owner.shape, [owner.blinding], [value])
    opened = struct.pack(f"<{parameters}q", value, *[0] * (parameters - 1))
    native.check_opening(owner.shape, scaled, opened, blinding)
    for other in {-value, value - 1, value + 1, 0, value ^ (1 << 63)}:
        if -(2**63) <= other < 2**63:
            opened = struct.pack(f"<{parameters}q", other, *[0] * (parameters - 1))
            with pytest.raises(native.ProofError, match="does not open"):
                native.check_opening(owner.shape, scaled, opened, blinding)


def test_the_installed_library_has_no_switch() -> None:
    """No environment variable of ours, no hook of the prototype, nothing of the test code."""
    library = Path(_native.__file__).read_bytes()
    assert b"zkpot/sumcheck/v1/accuracy" in library, "strings can be found in it"
    for name in (b"ZKPOT_", b"GKR_", b"TAMPER", b"test rows hold small integers"):
        assert name not in library


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_can_verify(owner: Owner) -> None:
    """A child has none of its parent's threads: work handed to them would never be done."""
    owner.verify()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: forks with threads
        child = os.fork()
    if child == 0:
        # Straight out, whatever happens: this is a copy of the whole test session.
        with contextlib.suppress(BaseException):
            owner.verify()
            os._exit(0)
        os._exit(1)
    end = time.monotonic() + 60
    done, status = 0, 0
    while not done and time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if not done:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert done, "the child never came back"
    assert os.waitstatus_to_exitcode(status) == 0

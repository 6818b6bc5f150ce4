"""Real proofs of one batch, verified together: each refusal has the reason it has alone."""

import numpy as np
import pytest

pytest.importorskip("zkpot_prover")

from bench.record import Fleet

from zkpot.check_entries import EntryRejected, check_verdicts
from zkpot.errors import Reason
from zkpot.proof.together import VerifiesMany, verify_together
from zkpot.record import Verdict, Verdicts
from zkpot.verify import read_claim
from zkpot.wire.codec import encode

pytestmark = pytest.mark.prover

DEVICES = 4


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet("8-4-3", 6, DEVICES)


def test_a_bent_proof_is_refused_for_what_it_is_and_spoils_no_other(fleet: Fleet) -> None:
    assert isinstance(fleet.system, VerifiesMany)
    get = fleet.objects.__getitem__
    claims = []
    for verdict in fleet.verdicts.verdicts:
        assert verdict.submission is not None
        claim = read_claim(fleet.proof_terms, verdict.submission, get, (), fleet.system)
        claims.append((claim.statement, claim.proof))
    assert verify_together(fleet.system, claims) == [None] * DEVICES
    bent = np.frombuffer(claims[1][1], np.uint8).copy()
    bent[-1] ^= 1
    claims[1] = (claims[1][0], bent.tobytes())
    claims[2] = (claims[2][0], claims[2][1][:-1])
    outcomes = verify_together(fleet.system, claims)
    reasons = [None if each is None else each.reason for each in outcomes]
    assert reasons == [None, Reason.PROOF_INVALID, Reason.PROOF_MALFORMED, None]


def test_a_record_with_every_proof_is_checked_together(fleet: Fleet) -> None:
    fleet.check_seal()
    fleet.check_verdicts(together=True)
    fleet.check_verdicts(together=False)
    first, *others = fleet.verdicts.verdicts
    lie = Verdict(first.device, Reason.PROOF_INVALID, 0, first.submission)
    data = encode(Verdicts((lie, *others)))
    with pytest.raises(EntryRejected, match="the pipeline says accepted") as caught:
        check_verdicts(data, fleet.proof_terms, fleet.objects.__getitem__, fleet.system)
    assert caught.value.device == first.device

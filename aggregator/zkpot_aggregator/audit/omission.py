"""Whether something that a device said is missing from what the aggregator made of it.

What is shown is that the device said it and that the aggregator left it out. That it was said
in time is the word of whoever heard it: see docs/validators.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from zkpot.check_record import CheckFailed
from zkpot.cid import Cid, split_object
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId
from zkpot.proof.system import ProofSystem
from zkpot.record import Verdicts
from zkpot.verify import (
    RoundTerms,
    check_commitment_message,
    check_submission_message,
    verify_commitment,
)
from zkpot.wire.messages import Commitment

COMMITMENT = "omitted-commitment"
SUBMISSION = "omitted-submission"
OMISSIONS = (COMMITMENT, SUBMISSION)
"""The names of these checks in a fault report."""


@dataclass(frozen=True)
class Said:
    """A device's envelope and the proof object that it names, empty if it names none."""

    envelope: bytes
    proof: bytes

    def get(self, cid: Cid) -> bytes:
        """A `GetObject` that has this proof alone."""
        if split_object(self.proof)[0] != cid:
            raise Rejected(Reason.NOT_FOUND, "not the proof that was heard")
        return self.proof


def check_commitment_listed(
    terms: RoundTerms, sealed: Mapping[DeviceId, Commitment], said: Said, system: ProofSystem
) -> None:
    """Raises `CheckFailed` if the list lacks this commitment, which it should have taken."""
    try:
        device = check_commitment_message(terms, said.envelope).signer
        if device in sealed:
            return
        verify_commitment(terms, said.envelope, said.get, system)
    except Rejected:
        return
    missing = Rejected(Reason.OMITTED, "a valid commitment is not in the sealed list")
    raise CheckFailed(COMMITMENT, missing, device)


def check_submission_judged(
    terms: RoundTerms, sealed: Mapping[DeviceId, Commitment], verdicts: Verdicts, said: Said
) -> None:
    """Raises `CheckFailed` if the verdicts say that nothing was submitted."""
    try:
        opened = check_submission_message(terms, sealed.keys(), said.envelope, ())
        said.get(opened.message.proof)
    except Rejected:
        return
    for verdict in verdicts.verdicts:
        if verdict.device == opened.signer and verdict.submission is None:
            missing = Rejected(Reason.OMITTED, "a submission was judged as no submission")
            raise CheckFailed(SUBMISSION, missing, opened.signer)

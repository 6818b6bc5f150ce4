"""What the aggregator does for groups in secure aggregation: fetch, open, unmask, merge.

Seeds and masks exist in a worker process only while a sum is unmasked.
"""

from zkpot.errors import Reason, Rejected, Transient
from zkpot.record import Verdicts
from zkpot.secure.exchange import (
    VECTOR_OVERHEAD_BYTES,
    MaskedInput,
    SealedRelease,
    decode_masked_vector,
    open_release,
)
from zkpot.secure.groups import round_groups
from zkpot.secure.mask import check_lengths, lengths_of
from zkpot.secure.sums import decode_group_sum
from zkpot.timing import timed
from zkpot.verify import RoundTerms
from zkpot.wire.envelope import open_as
from zkpot_aggregator import verifying
from zkpot_aggregator.content.base import get_object, put_object
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.work import Worker


class GroupWorker(Worker):
    """A worker that can also sum models that it does not see."""

    async def fetch_vector(self, terms: RoundTerms, state: at.Masking, envelope: bytes) -> on.Event:
        """Fetches a masked vector from its device; it must be as long as the model."""
        opened = open_as(MaskedInput, envelope, terms.roster.public_keys)
        commitment = self.sealed(terms, state.sealed.cid)[opened.signer].commitment
        lengths = lengths_of(terms.task.model.shape, commitment)
        try:
            data = await self.exchange.fetch(
                opened.message.vector,
                opened.signer,
                deadline_s=terms.task.deadlines.aggregate,
                max_bytes=lengths.vector_bytes + VECTOR_OVERHEAD_BYTES,
            )
            check_lengths(lengths, decode_masked_vector(data))
        except Transient as error:
            return on.VectorFetched(envelope, Reason.OBJECT_UNAVAILABLE, str(error))
        except Rejected as rejection:
            return on.VectorFetched(envelope, rejection.reason, rejection.detail)
        return on.VectorFetched(envelope, None)

    async def open_release(self, terms: RoundTerms, envelope: bytes) -> on.Event:
        """Opens what a member has released, which must be sealed to the operator."""
        message = open_as(SealedRelease, envelope, terms.roster.public_keys).message
        try:
            return on.ReleaseOpened(envelope, open_release(self.key, message))
        except Rejected as rejection:
            return on.ReleaseOpened(envelope, None, rejection.reason, rejection.detail)

    async def unmask(self, terms: RoundTerms, state: at.Masking, index: int) -> on.Event:
        """Takes the masks off a group's sum, checks it against the commitments, and stores it."""
        session = state.groups[index].session
        sealed = self.sealed(terms, state.sealed.cid)
        commitments = {device: sealed[device].commitment for device in session.survivors}
        deadline = terms.task.deadlines.aggregate
        with timed(self.journal, terms.round, "unmask"):
            try:
                vectors = {
                    each.device: await self.exchange.fetch(
                        each.vector, each.device, deadline_s=deadline
                    )
                    for each in session.masked
                }
                found = await self.verifier.run(
                    verifying.unmask_group,
                    self.backend,
                    tuple(run.session.group for run in state.groups),
                    session,
                    commitments,
                    vectors,
                )
            except Transient as error:
                return on.GroupRefused(index, Reason.OBJECT_UNAVAILABLE, str(error))
            except Rejected as rejection:
                return on.GroupRefused(index, rejection.reason, rejection.detail)
        if isinstance(found, verifying.GroupFault):
            return on.GroupRefused(index, found.reason, found.detail, found.liar)
        return on.GroupSummed(index, put_object(self.content, found))

    async def merge(self, terms: RoundTerms, state: at.Merging) -> on.Event:
        """Adds the groups' sums up, and stores the new model with its count on the batch."""
        accepted = Verdicts(state.verdicts).accepted
        groups = round_groups(terms, state.drawn.beacon, state.sealed.devices, accepted)
        sums = tuple(decode_group_sum(get_object(self.content, cid)) for cid in state.sums)
        with timed(self.journal, terms.round, "sum"):
            model, blinding = await self.verifier.run(
                verifying.merge_groups, self.backend, groups, sums
            )
        return self._summed(terms, state.drawn, model, blinding)

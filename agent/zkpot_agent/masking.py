"""A device in secure aggregation: which group it is in, and what it answers there.

The two long steps run in a child process: dealing shares takes as long as a group is large,
masking as long as the model is. What comes out leaves, and is remembered, only by the round
machine's decision.
"""

from dataclasses import dataclass

from zkpot.errors import Reason, Rejected
from zkpot.ids import Round
from zkpot.journal import Journal
from zkpot.keys import KeyPair
from zkpot.proof import child
from zkpot.proof.system import ModelOpening, Progress, ProvingFailed
from zkpot.record import Roster, SealedList, Verdicts
from zkpot.secure.exchange import Delivery, KeyList
from zkpot.secure.groups import check_policy, group_of, round_groups
from zkpot.secure.member import Answer, Own, advertise, answer
from zkpot.secure.states import encode_state
from zkpot.task import Task
from zkpot.timing import timed
from zkpot.verify import RoundTerms
from zkpot_agent import jobs
from zkpot_agent.blocks import JournalBlocks
from zkpot_agent.config import AgentConfig
from zkpot_agent.round import events as on
from zkpot_agent.round.states import Seated, Submitted
from zkpot_agent.round_secrets import kept_member, kept_opening

_LONG: dict[type, str] = {KeyList: "deal", Delivery: "mask"}
"""The long steps, by the message that asks for them, as reports call them."""


@dataclass(frozen=True)
class Membership:
    """One device's tools as a member of a group."""

    config: AgentConfig
    task: Task
    key: KeyPair
    journal: Journal
    blocks: JournalBlocks
    progress: Progress

    def advertise(
        self, submitted: Submitted, verdicts: Verdicts, sealed: SealedList, roster: Roster
    ) -> on.Advertised:
        """Finds our group and makes keys for it.

        Raises `Rejected` if there is none, or not one that this device's owner agrees to.
        """
        joined, accepted = submitted.joined, verdicts.accepted
        if accepted.get(self.key.id) != submitted.count:
            raise Rejected(Reason.VERDICT_MISMATCH, "our own count is not as proven")
        terms = RoundTerms(self.config.task_id, self.task, joined.round, joined.parent, roster)
        groups = round_groups(terms, submitted.beacon, sealed.open(roster).keys(), accepted)
        owners = {entry.device: entry.owner for entry in roster.entries}
        policy = self.config.privacy.group_policy
        group = check_policy(group_of(groups, self.key.id), self.key.id, owners, policy)
        state, advertisement = advertise(group, self.key, kept_member(self.journal, joined.round))
        return on.Advertised(joined.round, group, advertisement, encode_state(state))

    async def answer(self, seated: Seated, roster: Roster) -> on.Answered | on.Refused:
        """The answer to the last message, or why there is none."""
        round_number = seated.group.round
        try:
            found = await self._answer(seated, roster)
        except (Rejected, ProvingFailed) as error:
            return on.Refused(round_number, str(error))
        if found.vector is not None:
            self.blocks.offer(found.vector)
        return on.Answered(round_number, found.message, encode_state(found.state))

    async def _answer(self, seated: Seated, roster: Roster) -> Answer:
        state = kept_member(self.journal, seated.group.round)
        if state is None:
            raise Rejected(Reason.OUT_OF_PHASE, "our place in the group is gone")
        opening = self.opening(seated.group.round)
        message = seated.last_told
        own = Own(self.key, roster.public_keys, opening, self.task.operator_box_key)
        what = _LONG.get(type(message))
        if what is None:
            return answer(state, message, own)
        limits = self.config.limits.of(self.task.deadlines.aggregate)
        with timed(self.journal, seated.group.round, what):
            return await child.run(
                jobs.answer, state, message, own, limits=limits, progress=self.progress
            )

    def opening(self, round_number: Round) -> ModelOpening:
        """What this device masks: the secret opening of its commitment."""
        return kept_opening(self.journal, self.task.model.shape, round_number)

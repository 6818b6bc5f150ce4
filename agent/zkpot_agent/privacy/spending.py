"""The budget of this device's data, in its journal: charged once for each round.

What is charged is on disk before training begins, so before anything of the round can leave.
A round whose training begins again, after a restart, has let nothing out yet: it is not
charged twice, and at most one of its models is ever committed to.
"""

import json
from dataclasses import dataclass

from zkpot.ids import Round
from zkpot.journal import Journal
from zkpot.proof import child
from zkpot.proof.child import Limits
from zkpot.proof.system import Progress
from zkpot_agent.notes import EPSILON
from zkpot_agent.privacy.budget import Spent, decode_spent, encode_spent
from zkpot_agent.privacy.job import charge_round
from zkpot_agent.privacy.settings import PrivacySettings

SPENT_KEY = "privacy/spent"
CHARGED_KEY = "privacy/charged"
"""The round that was charged last."""


@dataclass(frozen=True)
class Budget:
    """What may be spent, and what has been."""

    journal: Journal
    settings: PrivacySettings

    async def charge(self, round_number: Round, limits: Limits, progress: Progress) -> None:
        """Charges a round and notes what all rounds together have spent.

        Raises `Rejected` (POLICY_REFUSED) if the budget does not allow one more.
        """
        charged = round_number.to_bytes(8, "big")
        if self.journal.get(CHARGED_KEY) == charged:
            return
        after = await child.run(
            charge_round, self.spent, self.settings, limits=limits, progress=progress
        )
        note = json.dumps([after.epsilon, self.settings.delta]).encode()
        self.journal.note(EPSILON, str(round_number), note, rolling=True)
        self.journal.transition({SPENT_KEY: encode_spent(after.spent), CHARGED_KEY: charged})

    @property
    def spent(self) -> Spent:
        """Everything charged so far."""
        stored = self.journal.get(SPENT_KEY)
        return Spent() if stored is None else decode_spent(stored)

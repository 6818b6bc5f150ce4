"""Checks of what is announced while a round runs, before there is a record of it.

In order: 1. link: the announcement continues the chain and the model; 2. roster, as on chain;
3. seal: the list on chain, every commitment and its proof; 4. draw: the beacon on chain, and
the batch that it draws; 5. accepted set: every verdict is what the pipeline says. An
announcement must name what its phase makes, and is checked up to what it names.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from zkpot.aggregate import decode_global_model
from zkpot.batch import Batch, check_reveal
from zkpot.check_entries import Seal, check_roster, check_seal, check_verdicts
from zkpot.errors import Reason, Rejected, Transient
from zkpot.ids import DeviceId, Digest, TaskId
from zkpot.model import count_correct
from zkpot.proof.system import ProofSystem
from zkpot.record import Verdicts
from zkpot.task import Task
from zkpot.verify import GetObject, ProofTerms, RoundTerms
from zkpot.wire.messages import Announcement, Commitment, Phase
from zkpot_aggregator.audit.rounds import Progress, drawn_samples
from zkpot_aggregator.ledger.views import ZERO, RoundView


@dataclass(frozen=True, eq=False)
class Checked:
    """What an announcement is found to name: commitments, and verdicts if it names them."""

    terms: RoundTerms
    sealed: Mapping[DeviceId, Commitment]
    verdicts: Verdicts | None


@dataclass(frozen=True, eq=False)
class AnnouncedCheck:
    """The checks for one round, whose `view` is the chain's and `progress` the checker's own."""

    task_id: TaskId
    task: Task
    view: RoundView
    progress: Progress
    get: GetObject
    system: ProofSystem

    def run(self, announced: Announcement) -> Checked:
        """Raises `Rejected` for a fault, `Transient` if the chain is not as far yet."""
        terms = self.roster(announced)
        sealed = self._seal(announced, terms)
        phase, verdicts = announced.phase, None
        if phase is not Phase.SEAL or announced.batch or announced.verdicts:
            batch = self._draw(announced)
            if phase is Phase.AGGREGATE or announced.verdicts:
                verdicts = self._accepted(announced, terms, sealed, batch)
        return Checked(terms, sealed, verdicts)

    def roster(self, announced: Announcement) -> RoundTerms:
        """Checks 1 and 2; enough to tell who may take part."""
        # 1
        number, parent = self.view.round, Digest(self.view.parent)
        _require(announced.round == number, Reason.STALE_ROUND, f"round {announced.round}")
        _require(number <= self.task.rounds, Reason.RECORD_LINK, "after the task's last round")
        _require(announced.parent == parent, Reason.RECORD_LINK, "another parent than on chain")
        model = self.progress.model
        _require(model in (None, announced.model), Reason.MODEL_MISMATCH, "another model")
        # 2
        root = Digest(self.view.roster_root)
        roster = check_roster(self.get(announced.roster), root, self.task)
        return RoundTerms(self.task_id, self.task, number, parent, roster)

    def _seal(self, announced: Announcement, terms: RoundTerms) -> dict[DeviceId, Commitment]:
        if self.view.root == ZERO:
            raise Transient(f"round {self.view.round} is not sealed on chain yet")
        if announced.sealed is None:
            raise Rejected(Reason.SEAL_MISMATCH, "no list of commitments is named")
        seal = Seal(Digest(self.view.root), self.view.count)
        return check_seal(self.get(announced.sealed), seal, terms, self.get, self.system)

    def _draw(self, announced: Announcement) -> Batch:
        if self.view.beacon == ZERO:
            raise Transient(f"round {self.view.round} is not drawn on chain yet")
        if announced.batch is None:
            raise Rejected(Reason.DRAW_MISMATCH, "no batch is named")
        same = announced.beacon == self.view.beacon
        _require(same, Reason.BEACON_MISMATCH, "another beacon than on chain")
        indices = drawn_samples(self.task, self.view, self.progress.spent)
        shape, pool = self.task.model.shape, self.task.pool
        return check_reveal(self.get(announced.batch), shape, pool.root, pool.size, indices)

    def _accepted(
        self,
        announced: Announcement,
        terms: RoundTerms,
        sealed: Mapping[DeviceId, Commitment],
        batch: Batch,
    ) -> Verdicts:
        if announced.verdicts is None:
            raise Rejected(Reason.VERDICT_MISMATCH, "no verdicts are named")
        shape = self.task.model.shape
        model = decode_global_model(shape, self.get(announced.model))
        own = count_correct(shape, model.theta, batch.inputs, batch.labels)
        threshold = self.task.gate.threshold(own)
        proof_terms = ProofTerms(terms, sealed, self.view.beacon, batch, threshold)
        return check_verdicts(self.get(announced.verdicts), proof_terms, self.get, self.system)


def _require(condition: bool, reason: Reason, detail: str) -> None:
    if not condition:
        raise Rejected(reason, detail)

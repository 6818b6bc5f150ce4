"""Differential privacy in child processes: the accountant takes 100 MB, training more."""

from collections.abc import Callable
from typing import Any

from zkpot.aggregate import GlobalModel
from zkpot.errors import Reason, Rejected
from zkpot.proof.system import ModelOpening, Progress
from zkpot.task import Task
from zkpot_agent.privacy.accountant import load_accountant
from zkpot_agent.privacy.budget import BudgetExhausted, Charge, Spent, charge
from zkpot_agent.privacy.mechanism import privatize
from zkpot_agent.privacy.settings import PrivacySettings
from zkpot_agent.profile_holds import Holds


def charge_round(_progress: Progress, spent: Spent, settings: PrivacySettings) -> Charge:
    """Charges one more round; raises `Rejected` (POLICY_REFUSED) if it does not fit."""
    try:
        return charge(spent, settings, load_accountant())
    except BudgetExhausted as error:
        raise Rejected(Reason.POLICY_REFUSED, str(error)) from error


def train_privately(
    training: Callable[..., ModelOpening],
    settings: PrivacySettings,
    progress: Progress,
    holds: Holds,
    task: Task,
    start: GlobalModel,
    *how: Any,
) -> ModelOpening:
    """Runs `training` and lets out only what differential privacy allows."""
    trained = training(progress, holds, task, start, *how)
    return ModelOpening(privatize(task.model, start, trained.theta, settings), trained.blinding)

"""Check 9 of a record: whose models are in the new global model, and that it is their sum.

1. the summands are distinct accepted devices, at least `minimum_devices`, with the task's
   weights;
2. the sum, by the task's aggregation:
   - secure: every group's sum opens the commitments of its survivors, in groups that are
     drawn here again; together they are the record's sum and the new model;
   - federated averaging in plain mode: the new model opens the sum of the commitments;
   - another rule: the new model is within bounds; nothing shows what the operator did with
     the models, and the record claims nothing.
"""

from collections.abc import Mapping

import numpy as np

from zkpot.aggregate import GlobalModel, decode_global_model
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId
from zkpot.model import check_bounds
from zkpot.proof.system import Commitments, ModelOpening
from zkpot.record import Record
from zkpot.secure.groups import round_groups
from zkpot.secure.sums import check_group_sum, decode_group_sum, merge_sums
from zkpot.verify import GetObject, ProofTerms


def check_sum(
    record: Record,
    accepted: Mapping[DeviceId, int],
    terms: ProofTerms,
    get_object: GetObject,
    commitments: Commitments,
) -> GlobalModel:
    """The new global model, if it is what its record says; raises `Rejected` if not.

    `accepted` has the count of each accepted device.
    """
    task = terms.round.task
    # 1
    devices = [summand.device for summand in record.sum.summands]
    weights = [summand.weight for summand in record.sum.summands]
    _require(
        devices == sorted(set(devices)) and set(devices) <= accepted.keys(),
        "the summands are not distinct accepted devices",
    )
    _require(len(devices) >= task.minimum_devices, "too few summands")
    _require(
        weights == [task.weight(accepted[device]) for device in devices],
        "the weights are not the task's",
    )
    # 2
    after = decode_global_model(task.model.shape, get_object(record.model_after))
    combination = task.combination
    _require(combination.is_secure or not record.groups, "groups without secure aggregation")
    if not combination.is_sum:
        _require(
            after.weight <= sum(weights) and not record.sum.blinding,
            f"{task.aggregation} gives no opening, and no more weight than its models have",
        )
        check_bounds(task.model.shape, after.theta)
        return after
    _require(after.weight == sum(weights), "another total weight")
    if combination.is_secure:
        _check_groups(record, accepted, after, terms, get_object, commitments)
        return after
    total = commitments.add([terms.sealed[device].commitment for device in devices], weights)
    try:
        commitments.check_opening(total, ModelOpening(after.theta_sum, record.sum.blinding))
    except Rejected as rejection:
        raise Rejected(Reason.SUM_MISMATCH, rejection.detail) from rejection
    return after


def _check_groups(
    record: Record,
    accepted: Mapping[DeviceId, int],
    after: GlobalModel,
    terms: ProofTerms,
    get_object: GetObject,
    commitments: Commitments,
) -> None:
    groups = round_groups(terms.round, terms.beacon, terms.sealed.keys(), accepted)
    sealed = {device: message.commitment for device, message in terms.sealed.items()}
    sums = [decode_group_sum(get_object(cid)) for cid in record.groups]
    for item in sums:
        check_group_sum(groups, item, sealed, commitments)
    model, total = merge_sums(groups, sums, commitments)
    _require(total == record.sum, "the groups' sums make another sum than the record's")
    _require(
        np.array_equal(model.theta_sum, after.theta_sum), "the groups' sums make another model"
    )


def _require(condition: bool, detail: str) -> None:
    if not condition:
        raise Rejected(Reason.SUM_MISMATCH, detail)

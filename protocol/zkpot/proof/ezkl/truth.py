"""Whether a statement fits a shape, and whether it is true, before anything is proven."""

import numpy as np

from zkpot.batch import Batch
from zkpot.errors import Reason, Rejected
from zkpot.ids import DIGEST_BYTES
from zkpot.model import Int64Array, Shape, split_theta
from zkpot.proof.ezkl.circuit import batch_tensors
from zkpot.proof.ezkl.points import read_point
from zkpot.statement import Statement


def check_statement(shape: Shape, batch_size: int, statement: Statement) -> None:
    """Raises `Rejected` unless the statement could be about this shape and batch size."""
    batch = statement.batch
    expected = (batch_size, shape.features)
    if batch.inputs.shape != expected or batch.labels.shape != expected[:1]:
        raise Rejected(Reason.BATCH_MISMATCH, f"batch {batch.inputs.shape}, expected {expected}")
    if batch.inputs.dtype != np.uint8 or batch.labels.dtype != np.uint8:
        raise Rejected(Reason.BATCH_MISMATCH, "samples and labels are bytes")
    if int(batch.labels.max()) >= shape.classes:
        raise Rejected(Reason.BATCH_MISMATCH, f"a label is not below {shape.classes}")
    if not 0 <= statement.count <= batch_size:
        raise Rejected(Reason.COUNT_MISMATCH, f"count {statement.count} of {batch_size}")
    if len(statement.context) != DIGEST_BYTES:
        raise Rejected(Reason.CONTEXT_MISMATCH, f"{len(statement.context)} bytes")
    read_point(statement.commitment, Reason.COMMITMENT_MALFORMED, "commitment")


def evaluate(shape: Shape, theta: Int64Array, batch: Batch) -> tuple[int, int]:
    """Largest magnitude the circuit decomposes, and the count, in exact integers.

    Python integers, because nothing here has checked the bounds that keep int64 exact.
    """
    current = batch.inputs.astype(object)
    largest = 0
    *hidden, last = split_theta(shape, theta)
    for layer in hidden:
        current = current @ layer.weights.astype(object) + layer.biases.astype(object)
        largest = max(largest, int(np.abs(current).max()))
        current = np.maximum(current, 0)
    logits = current @ last.weights.astype(object) + last.biases.astype(object)
    _, onehot, ties = batch_tensors(shape, batch)
    own = (logits * onehot).sum(axis=1, keepdims=True)
    lead = logits + ties - own
    largest = max(largest, int(np.abs(lead).max()))
    return largest, int((np.maximum(lead, 0).sum(axis=1) == 0).sum())

"""What a device notes in its journal, for its owner, for reports, and as evidence."""

RECEIPT = "receipt"
"""Receipts, by the digest of the envelope they answer."""

COUNT = "count"
"""By round, how many samples of the batch our model labels right."""

EPSILON = "epsilon"
"""By round, what the device's data has spent so far, and at which delta."""

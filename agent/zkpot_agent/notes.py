"""What a device notes in its journal, for its owner, for reports, and as evidence."""

from zkpot.errors import reason_text
from zkpot.wire.messages import Receipt

RECEIPT = "receipt"
"""Receipts, by `receipt_key`."""

COUNT = "count"
"""By round, how many samples of the batch our model labels right."""

EPSILON = "epsilon"
"""By round, what the device's data has spent so far, and at which delta."""


def receipt_key(receipt: Receipt) -> str:
    """The digest of the envelope that it answers, with the reason if it refuses that.

    What was refused because not all of it arrived may be taken when it is sent again.
    """
    name = receipt.envelope.hex()
    return name if receipt.reason is None else f"{name}/{reason_text(receipt.reason)}"

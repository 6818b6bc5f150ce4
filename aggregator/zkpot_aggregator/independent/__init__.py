"""A second verifier of the `sumcheck` proof system, in plain Python.

It is written from `docs/proof-system.md` and shares no code with the native library: where
the two disagree, the document or one of them is wrong. It is slow and meant for audits and
for the vectors that hold document and library together.
"""

from zkpot_aggregator.independent.verify import verify, verify_wellformed

__all__ = ["verify", "verify_wellformed"]

"""Zero-knowledge proofs of model accuracy: commit, prove, verify, add.

An accuracy proof counts only together with a well-formedness proof of the identical commitment,
dims and bias bits under the same owner's context: accept both or neither (docs/proof-system.md,
section 1). Buffers are bytes; see the stubs for their layout.
"""

from zkpot_prover._native import (
    ProofError,
    Shape,
    ShapeError,
    add,
    add_blindings,
    check_opening,
    commit,
    count,
    prove,
    prove_wellformed,
    random_blinding,
    verify,
    verify_many,
    verify_wellformed,
    verify_wellformed_many,
)

__all__ = [
    "ProofError",
    "Shape",
    "ShapeError",
    "add",
    "add_blindings",
    "check_opening",
    "commit",
    "count",
    "prove",
    "prove_wellformed",
    "random_blinding",
    "verify",
    "verify_many",
    "verify_wellformed",
    "verify_wellformed_many",
]

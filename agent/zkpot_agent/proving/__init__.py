"""Where a device's proofs are made: here, or at a prover its owner trusts."""

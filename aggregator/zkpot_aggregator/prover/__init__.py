"""The prover: makes proofs for devices that hand them over. A role of its own, with its own key."""

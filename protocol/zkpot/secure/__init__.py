"""Secure aggregation: sums of models that nobody sees, checked against their commitments."""

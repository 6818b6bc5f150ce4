"""Proof systems: one Protocol, several backends, named by the task."""

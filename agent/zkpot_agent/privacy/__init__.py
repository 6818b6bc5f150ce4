"""Differential privacy at the device: clipping, noise, and a budget that is never exceeded."""

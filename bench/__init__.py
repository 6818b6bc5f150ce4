"""Benchmarks of the parts whose cost decides what a device can do. Not part of the wheel."""

"""Defaults that need no other process."""

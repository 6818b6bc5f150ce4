"""The demonstration: a whole task as separate processes on loopback, then its audit."""

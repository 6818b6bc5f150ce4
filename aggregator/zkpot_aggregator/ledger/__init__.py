"""The ledger: tasks, rounds, beacons and record digests on an EVM chain."""

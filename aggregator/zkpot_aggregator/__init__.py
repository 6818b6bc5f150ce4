"""The aggregator's side: runs rounds, verifies, aggregates, records and audits.

py_ecc, which web3 brings, sets Python's recursion limit to 100,000 at its first import, more
than the stack can hold: nested JSON would end the process. Here the limit is put back.
"""

import sys

_limit = sys.getrecursionlimit()
import py_ecc  # noqa: E402, F401

sys.setrecursionlimit(_limit)

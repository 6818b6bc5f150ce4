"""What agents, aggregators and auditors compute identically or put on the wire."""

__version__ = "0.1.0"

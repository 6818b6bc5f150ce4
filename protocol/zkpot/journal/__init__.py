"""The durable store under every service: what it knows, and what it still has to send."""

from zkpot.journal.journal import Event, Journal, Outgoing, Pending

__all__ = ["Event", "Journal", "Outgoing", "Pending"]

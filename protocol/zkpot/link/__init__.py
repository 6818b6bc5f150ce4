"""The link to the message broker, and the transfer of content over it."""

from zkpot.link.base import BrokerSettings, Incoming, Link, Tls

__all__ = ["BrokerSettings", "Incoming", "Link", "Tls"]

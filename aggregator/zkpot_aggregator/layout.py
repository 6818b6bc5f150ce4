"""The files of an aggregator."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Where everything lies below the state directory."""

    root: Path

    @property
    def journal(self) -> Path:
        """The aggregator's own state."""
        return self.root / "journal.sqlite"

    @property
    def chain(self) -> Path:
        """The embedded ledger."""
        return self.root / "chain"

    @property
    def calls(self) -> Path:
        """The calls that took effect on an external ledger."""
        return self.root / "ledger-calls.json"

    @property
    def content(self) -> Path:
        """The content store."""
        return self.root / "content"

    @property
    def intake(self) -> Path:
        """What devices sent and nobody judged yet."""
        return self.root / "intake"

    @property
    def pool(self) -> Path:
        """The publisher's secret test pool."""
        return self.root / "pool.cbor"

    @property
    def broker(self) -> Path:
        """The embedded broker's password file."""
        return self.root / "broker"

    @property
    def task(self) -> Path:
        """The task's id, for whoever audits this directory."""
        return self.root / "task"

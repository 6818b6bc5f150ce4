"""The validator's configuration file."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from zkpot.credentials import Credentials
from zkpot.ids import TaskId
from zkpot.link import BrokerSettings
from zkpot.wire.codec import Span
from zkpot_aggregator.config import ContentConfig
from zkpot_aggregator.ledger.settings import JsonRpcSettings

CREDENTIAL = "validator"
"""The id of `LoadCredential=` in the unit."""

_HEX_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class ValidateConfig:
    """Everything `zkpot-aggregator validate` needs; relative paths start at the file's folder.

    `key_file` signs messages; the account of `ledger` votes. The task must name both. A message
    counts as in time only with `margin_s` to spare, which must be longer than messages take
    through the broker and calls into a confirmed block. `fetch_s` is how long the aggregator
    is asked for one object.
    """

    task: str
    operator_key: str
    key_file: Path
    state_dir: Path
    broker: BrokerSettings
    ledger: JsonRpcSettings
    content: ContentConfig = field(default_factory=ContentConfig)
    cache_dir: Path | None = None
    margin_s: Annotated[float, Span(0, 86_400)] = 60.0
    fetch_s: Annotated[float, Span(0, 600)] = 30.0
    poll_s: Annotated[float, Span(0, 600)] = 1.0

    def __post_init__(self) -> None:
        for name, text in (("task", self.task), ("operator_key", self.operator_key)):
            if not _HEX_DIGEST.fullmatch(text):
                raise ValueError(f"{name}: expected 64 hexadecimal digits")
        if self.content.keep_rounds is not None:
            raise ValueError("content.keep_rounds: a validator keeps what it attested")

    @property
    def task_id(self) -> TaskId:
        """The task to validate."""
        return TaskId(bytes.fromhex(self.task))


def with_credentials(config: ValidateConfig) -> ValidateConfig:
    """`config` with the service manager's copies of its secret files, where there are some."""
    copies, ledger = Credentials(CREDENTIAL), config.ledger
    return replace(
        config,
        key_file=copies.file(config.key_file),
        broker=copies.broker(config.broker),
        ledger=replace(
            ledger,
            url_file=ledger.url_file and copies.file(ledger.url_file),
            key_file=ledger.key_file and copies.file(ledger.key_file),
        ),
    )

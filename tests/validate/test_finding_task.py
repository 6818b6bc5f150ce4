"""A validator that starts before all of its task can be had."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zkpot.cid import Cid
from zkpot.errors import Reason, Rejected, Transient, ZkpotError
from zkpot.keys import create_key_file
from zkpot.link import BrokerSettings
from zkpot.task import manifest_cid
from zkpot_aggregator.ledger.settings import JsonRpcSettings
from zkpot_aggregator.validate.config import ValidateConfig
from zkpot_aggregator.validate.service import ValidatorService


@pytest.mark.parametrize(
    "failure", [Rejected(Reason.NOT_FOUND, "the genesis model"), Transient("IPFS is away")]
)
def test_a_link_that_drops_between_manifest_and_model_is_waited_for(
    tmp_path: Path, failure: ZkpotError
) -> None:
    key = create_key_file(tmp_path / "key")
    config = ValidateConfig(
        task=(b"t" * 32).hex(),
        operator_key=(b"o" * 32).hex(),
        key_file=tmp_path / "key",
        state_dir=tmp_path / "state",
        broker=BrokerSettings("localhost", 1),
        ledger=JsonRpcSettings(chain_id=1, contract="0x" + "00" * 20, url="http://127.0.0.1:1"),
        poll_s=0.01,
    )
    task: Any = SimpleNamespace(
        operator_key=b"o" * 32, validators=[SimpleNamespace(public_key=key.public_key)]
    )
    failures, pinned = [failure, failure], list[Cid]()

    class Chain:
        async def read(self, _question: object) -> Any:
            return task

    class Library:
        of_closed = None
        shelf = SimpleNamespace(content=SimpleNamespace(pin=pinned.append))

        def hold(self, _root: Cid) -> None:
            if failures:
                raise failures.pop()

    chain: Any = Chain()
    library: Any = Library()
    assert asyncio.run(ValidatorService(config)._find_task(chain, library)) is task
    assert pinned == [manifest_cid(config.task_id)]

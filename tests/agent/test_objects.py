"""What a device fetches before it can take part."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import pytest
from tests.protocol.rounds import make_samples, make_task

from zkpot.cid import Cid, node_cid
from zkpot.errors import ExitCode, Fatal, Reason, Rejected, Transient
from zkpot.ids import DeviceId, TaskId
from zkpot.link.blocks import BlockExchange
from zkpot.task import encode_task
from zkpot_agent.objects import Objects, fetch_task

TASK = make_task(make_samples(), node_cid(b"genesis"))


@dataclass(frozen=True)
class Answers(Objects):
    """An aggregator that gives these answers, in this order."""

    answers: Iterator[bytes | Exception]

    async def fetch(self, cid: Cid) -> bytes:
        """See `Objects.fetch`."""
        del cid
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def fetched(*answers: bytes | Exception) -> object:
    objects = Answers(cast("BlockExchange", None), DeviceId(bytes(20)), iter(answers))
    return asyncio.run(fetch_task(objects, TaskId(bytes(32))))


def test_a_task_that_the_aggregator_does_not_have_yet_is_waited_for() -> None:
    absent = Rejected(Reason.OBJECT_UNAVAILABLE, "0 of ? blocks")
    assert fetched(absent, Transient("late"), absent, encode_task(TASK)) == TASK


@pytest.mark.parametrize("answer", [b"", Rejected(Reason.OVERSIZE), Rejected(Reason.CID_MISMATCH)])
def test_what_is_no_task_ends_the_service(answer: bytes | Exception) -> None:
    with pytest.raises(Fatal, match="cannot be joined") as caught:
        fetched(answer)
    assert caught.value.exit_code is ExitCode.CONFIG

"""Auditing without any directory: from a node and an IPFS daemon or gateway."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zkpot.errors import ExitCode, Fatal
from zkpot.ids import DIGEST_BYTES, TaskId
from zkpot.proof.system import ProofSystem
from zkpot.task import Task
from zkpot_aggregator.audit.audit import Sources
from zkpot_aggregator.content.base import ContentStore
from zkpot_aggregator.content.gateway import GatewayStore
from zkpot_aggregator.content.kubo import KuboStore
from zkpot_aggregator.ledger.jsonrpc import open_for_audit


@dataclass(frozen=True)
class Remote:
    """A contract on a node's chain, and the RPC of a daemon (`content`) or a gateway."""

    ledger: str
    contract: str
    content: str | None
    gateway: str | None
    first_block: int = 0


@contextlib.contextmanager
def remote_sources(
    remote: Remote, task: str | None, load_system: Callable[[Task], ProofSystem]
) -> Iterator[tuple[TaskId, Sources]]:
    """What an audit reads there; raises `Fatal` (USAGE) for options that do not fit."""
    try:
        task_id = TaskId(bytes.fromhex(task or ""))
    except ValueError as error:
        raise Fatal(ExitCode.USAGE, f"not a task id: {task}") from error
    if len(task_id) != DIGEST_BYTES:
        raise Fatal(ExitCode.USAGE, "--ledger needs --task with 64 hexadecimal digits")
    if (remote.content is None) == (remote.gateway is None):
        raise Fatal(ExitCode.USAGE, "--ledger needs either --content or --gateway")
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(
            open_for_audit(remote.ledger, remote.contract, first_block=remote.first_block)
        )
        content: ContentStore
        if remote.content is not None:
            content = stack.enter_context(KuboStore(remote.content))
        else:
            assert remote.gateway is not None
            content = GatewayStore(remote.gateway)
            stack.callback(content.close)
        yield task_id, Sources(ledger, content, load_system)

"""Making the task: pool, genesis model and manifest, then the chain.

Order: the pool's file, then the manifest in the journal, then content, then chain, so that
a process that dies in between goes on with the same task.
"""

import secrets
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

from zkpot.aggregation import GroupTerms
from zkpot.cid import split_object
from zkpot.errors import ExitCode, Fatal, Rejected
from zkpot.ids import TaskId
from zkpot.initial import initial_model
from zkpot.journal import Journal
from zkpot.keys import KeyPair
from zkpot.task import (
    Deadlines,
    Gate,
    LedgerTerms,
    Pool,
    Task,
    Validator,
    Weighting,
    decode_task,
    encode_task,
    task_id,
)
from zkpot_aggregator.chain import note_gas
from zkpot_aggregator.config import TaskConfig
from zkpot_aggregator.content.base import ContentStore, put_object
from zkpot_aggregator.ledger.base import Ledger, LedgerConflict
from zkpot_aggregator.ledger.calls import Address, CreateTask
from zkpot_aggregator.publisher import Publisher, create_pool, load_pool
from zkpot_aggregator.rules.registry import check_rule
from zkpot_aggregator.task_data import TaskData

_MANIFEST_KEY = "task/manifest"


@dataclass(frozen=True)
class TaskHandle:
    """A task that exists on chain, and its publisher."""

    id: TaskId
    task: Task
    publisher: Publisher


def ensure_task(
    config: TaskConfig,
    data: TaskData,
    pool_file: Path,
    key: KeyPair,
    journal: Journal,
    content: ContentStore,
    ledger: Ledger,
) -> TaskHandle:
    """The task of this journal, created if there is none yet; idempotent."""
    stored = journal.get(_MANIFEST_KEY)
    genesis = initial_model(data.spec, config.seed).encode()
    publisher = _pool(pool_file, data, must_exist=stored is not None)
    nonce = secrets.token_bytes(16) if stored is None else decode_task(stored).nonce
    task = _manifest(config, data, publisher, genesis, key, ledger, nonce)
    manifest = encode_task(task)
    if stored is None:
        journal.transition({_MANIFEST_KEY: manifest})
    elif stored != manifest:
        _refuse_changes(decode_task(stored), task)
    put_object(content, genesis)
    cid = put_object(content, manifest, [task.genesis])
    content.pin(cid)
    identity = task_id(cid)
    accounts = tuple(Address(validator.address) for validator in task.validators)
    call = CreateTask(identity, task.ledger.draw_delay, accounts, task.quorum)
    try:
        receipt = ledger.submit(call)
    except LedgerConflict as conflict:
        raise Fatal(
            ExitCode.LEDGER,
            "another account has registered this task first: it cannot speak for the task, but"
            " holds its name on the contract. Start a new task in a new state_dir",
        ) from conflict
    note_gas(journal, call, receipt)
    return TaskHandle(identity, task, publisher)


def _refuse_changes(task: Task, configured: Task) -> NoReturn:
    """A task is immutable: a changed configuration is a new task, in a new directory."""
    changed = [
        field.name
        for field in fields(Task)
        if getattr(task, field.name) != getattr(configured, field.name)
    ]
    raise Fatal(
        ExitCode.CONFIG,
        f"the task exists and cannot change, but the configuration differs in: "
        f"{', '.join(changed)}. Undo that, or start a new task in a new state_dir",
    )


def _pool(pool_file: Path, data: TaskData, *, must_exist: bool) -> Publisher:
    if must_exist or pool_file.exists():
        return load_pool(pool_file)
    return create_pool(pool_file, data.pool)


def _manifest(
    config: TaskConfig,
    data: TaskData,
    publisher: Publisher,
    genesis: bytes,
    key: KeyPair,
    ledger: Ledger,
    nonce: bytes,
) -> Task:
    identity = ledger.identity()
    validators = tuple(
        Validator(bytes.fromhex(each.address.removeprefix("0x")), bytes.fromhex(each.public_key))
        for each in config.validators
    )
    try:
        task = Task(
            name=config.name,
            model=data.spec,
            batch_size=config.batch_size,
            proof_system=config.proof_system,
            srs=config.srs,
            pool=Pool(publisher.root, len(publisher.pool), config.reuse_pool),
            rounds=config.rounds,
            minimum_devices=config.needed_devices,
            maximum_devices=config.maximum_devices,
            gate=Gate(config.gate_minimum, config.gate_margin),
            aggregation=config.chosen_aggregation,
            groups=GroupTerms(config.group_size, config.group_minimum),
            weighting=Weighting[config.weighting.upper().replace("-", "_")],
            deadlines=Deadlines(
                commit=config.commit_s,
                prove=config.prove_s,
                aggregate=config.aggregate_s,
                record=config.record_s,
                chain=config.chain_s,
                attest=config.attest_s,
            ),
            operator_key=key.public_key,
            operator_box_key=key.box_key,
            genesis=split_object(genesis)[0],
            ledger=LedgerTerms(identity.chain_id, identity.contract, config.draw_delay_blocks),
            validators=validators,
            quorum=config.quorum or len(validators) // 2 + bool(validators),
            nonce=nonce,
        )
        check_rule(task.combination, task.minimum_devices)
    except (Rejected, KeyError) as error:
        raise Fatal(ExitCode.CONFIG, f"task: {error}") from error
    return task

"""Verification in worker processes, so that no proof can hurt the aggregator's own.

Jobs are idempotent and return a verdict instead of raising, so that any Executor can run
them. A worker keeps the proof system it has loaded.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import TypeAlias, TypeVar, TypeVarTuple

import numpy as np

from zkpot.aggregate import GlobalModel
from zkpot.aggregation import Aggregation
from zkpot.cid import Cid
from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId
from zkpot.model import Int64Array, check_bounds
from zkpot.parent import tie_to_parent
from zkpot.proof.jobs import Backend
from zkpot.proof.system import ModelOpening, ProofSystem
from zkpot.secure.exchange import decode_masked_vector
from zkpot.secure.groups import Group
from zkpot.secure.mask import lengths_of
from zkpot.secure.session import Session
from zkpot.secure.sums import GroupSum, check_group_sum, encode_group_sum, merge_sums
from zkpot.secure.unmask import DealerFailed, unmask
from zkpot.verify import ProofTerms, RoundTerms, verify_commitment, verify_submission
from zkpot_aggregator.rules.registry import find_rule

_logger = logging.getLogger(__name__)

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

Verdict: TypeAlias = tuple[Reason | None, str]
"""No reason means valid."""


class Verifier:
    """Runs verification jobs on `workers` processes, replacing those that die."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor = _start(workers)
        self._suspects = 0
        self._turn = asyncio.Lock()
        self._lone: Executor | None = None

    async def run(self, job: Callable[[*Ts], R], *args: *Ts) -> R:
        """The result of `job(*args)`.

        A worker that dies takes with it the jobs of all others, and any may have killed it: each
        is tried once more, alone. If its worker dies then too, the input is what kills it:
        `Rejected` (PROOF_INVALID).
        """
        executor = self._executor
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, job, *args)
        except BrokenProcessPool:
            _logger.warning("a verification worker died")
            if self._executor is executor:
                executor.shutdown(wait=False)
                self._executor = _start(self._workers)
        self._suspects += 1
        try:
            async with self._turn:
                return await self._run_alone(job, *args)
        finally:
            self._suspects -= 1
            if not self._suspects:
                self._stop_lone()

    def stop(self) -> None:
        """Ends the workers."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._stop_lone()

    async def _run_alone(self, job: Callable[[*Ts], R], *args: *Ts) -> R:
        """On a worker that is kept for the next suspect, unless this one might hurt it still."""
        self._lone = self._lone or _start(1)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._lone, job, *args)
        except BrokenProcessPool:
            self._stop_lone()
            raise Rejected(Reason.PROOF_INVALID, "the verifier died of it twice") from None
        except asyncio.CancelledError:
            self._stop_lone()
            raise

    def _stop_lone(self) -> None:
        if self._lone is not None:
            self._lone.shutdown(wait=False, cancel_futures=True)
            self._lone = None


def _start(workers: int) -> Executor:
    # The pool starts its workers in the thread of the first job, which is the event loop's:
    # the kernel takes that thread for their parent.
    return ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_die_with_parent
    )


def _die_with_parent() -> None:
    """A worker waits on its queue for ever, and would keep our standard output open."""
    tie_to_parent()()


@cache
def _system(backend: Backend) -> ProofSystem:
    return backend.prepared()


def warm_up(backend: Backend) -> None:
    """Loads the proof system in a worker before it is needed."""
    _system(backend)


def judge_commitment(
    backend: Backend, terms: RoundTerms, envelope: bytes, objects: Mapping[Cid, bytes]
) -> Verdict:
    """`zkpot.verify.verify_commitment` as a job."""
    try:
        verify_commitment(terms, envelope, objects.__getitem__, _system(backend))
    except Rejected as rejection:
        return rejection.reason, rejection.detail
    return None, ""


def judge_submission(
    backend: Backend, terms: ProofTerms, envelope: bytes, objects: Mapping[Cid, bytes]
) -> Verdict:
    """`zkpot.verify.verify_submission` as a job."""
    try:
        verify_submission(terms, envelope, objects.__getitem__, (), _system(backend))
    except Rejected as rejection:
        return rejection.reason, rejection.detail
    return None, ""


def judge_opening(backend: Backend, commitment: bytes, opening: ModelOpening) -> Verdict:
    """A plain opening: every parameter in range, and it opens the commitment."""
    try:
        check_bounds(backend.shape, opening.theta)
        _system(backend).commitments.check_opening(commitment, opening)
    except Rejected as rejection:
        return rejection.reason, rejection.detail
    return None, ""


def sum_openings(
    backend: Backend,
    commitments: tuple[bytes, ...],
    openings: tuple[ModelOpening, ...],
    weights: tuple[int, ...],
) -> ModelOpening:
    """The opening of the weighted sum, checked against the sum of the commitments.

    Raises ValueError if it does not open it, which the checks of its parts rule out.
    """
    scheme = _system(backend).commitments
    total = scheme.add_openings(openings, weights)
    try:
        scheme.check_opening(scheme.add(commitments, weights), total)
    except Rejected as rejection:
        raise ValueError(f"the sum does not open: {rejection}") from rejection
    return total


@dataclass(frozen=True)
class GroupFault:
    """Why a group has no sum that counts; `liar` is the member proven false, if one is."""

    reason: Reason
    detail: str
    liar: DeviceId | None = None


def unmask_group(
    backend: Backend,
    groups: tuple[Group, ...],
    session: Session,
    sealed: Mapping[DeviceId, bytes],
    vectors: Mapping[DeviceId, bytes],
) -> bytes | GroupFault:
    """The object of a group's sum, which opens the sum of its survivors' commitments.

    `groups` are all of the round; `sealed` and `vectors` have each survivor's commitment and
    the object of its masked vector.
    """
    lengths = lengths_of(backend.shape, next(iter(sealed.values())))
    masked = {device: decode_masked_vector(data) for device, data in vectors.items()}
    try:
        found = unmask(session, lengths, masked)
        check_group_sum(groups, found, sealed, _system(backend).commitments)
    except Rejected as rejection:
        liar = rejection.device if isinstance(rejection, DealerFailed) else None
        return GroupFault(rejection.reason, rejection.detail, liar)
    return encode_group_sum(found)


def merge_groups(
    backend: Backend, groups: tuple[Group, ...], sums: tuple[GroupSum, ...]
) -> tuple[GlobalModel, bytes]:
    """The new model from sums that were checked, and the blinding that opens it."""
    model, total = merge_sums(groups, sums, _system(backend).commitments)
    return model, total.blinding


def apply_rule(
    aggregation: Aggregation,
    reference: Int64Array,
    openings: tuple[ModelOpening, ...],
    weights: tuple[int, ...],
) -> GlobalModel:
    """The new global model by a rule that is no sum; `reference` is the round's own, int64 [P]."""
    rule = find_rule(aggregation, reference)
    return rule(np.stack([opening.theta for opening in openings]), weights)

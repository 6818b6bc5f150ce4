"""Which announcements a device acts on: all, or those that enough validators vouch for.

In a task with validators the seal, the draw and the accepted set wait here until a quorum of
them has endorsed exactly what was announced; so does the record, if the owner wants final
records only. What is announced later takes the place of what waits.
"""

import logging
from collections.abc import Callable

from zkpot.endorsement import Endorsements
from zkpot.errors import Rejected
from zkpot.ids import TaskId
from zkpot.link import Incoming
from zkpot.task import MAX_VALIDATORS, Task
from zkpot.wire.messages import Announcement, Phase

_logger = logging.getLogger(__name__)

_MAX_EARLY = MAX_VALIDATORS * len(Phase)
"""Endorsements kept until the task, and with it the validators' keys, is there."""


class EndorsedAnnouncements:
    """Passes announcements on to `act` once they may be acted on."""

    def __init__(
        self, task_id: TaskId, act: Callable[[Announcement], None], *, final_only: bool
    ) -> None:
        self._task_id = task_id
        self._act = act
        self._final_only = final_only
        self._endorsements: Endorsements | None = None
        self._early: dict[str, bytes] = {}
        self._waiting: Announcement | None = None

    def begin(self, task: Task) -> None:
        """Takes what came before the task was known."""
        if task.validators:
            _logger.info("validators: %d, quorum %d", len(task.validators), task.quorum)
        else:
            _logger.warning("validators: none; this device relies on the aggregator's word")
        self._endorsements = Endorsements(self._task_id, task)
        early, self._early = self._early, {}
        for payload in early.values():
            self._count(payload)
        self._pass_on()

    def announced(self, announcement: Announcement) -> None:
        """The aggregator's announcement, new or again."""
        self._waiting = announcement
        self._pass_on()

    def endorsed(self, incoming: Incoming) -> None:
        """A validator's endorsement, or what pretends to be one."""
        if self._endorsements is not None:
            self._count(incoming.payload)
            self._pass_on()
        elif incoming.topic in self._early or len(self._early) < _MAX_EARLY:
            self._early[incoming.topic] = incoming.payload

    def _count(self, payload: bytes) -> None:
        assert self._endorsements is not None
        try:
            self._endorsements.add(payload)
        except Rejected as rejection:
            _logger.warning("refused an endorsement: %s", rejection)

    def _pass_on(self) -> None:
        announcement = self._waiting
        if announcement is None or self._endorsements is None:
            return
        if announcement.phase is not Phase.CLOSED or self._final_only:
            missing = self._endorsements.missing(announcement)
            if missing:
                phase = announcement.phase.name.lower()
                _logger.info(
                    "round %d, %s: waiting for %d more validators",
                    announcement.round,
                    phase,
                    missing,
                )
                return
        self._waiting = None
        self._act(announcement)

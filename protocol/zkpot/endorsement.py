"""What validators vouch for, and when it is enough to act on.

An endorsement is about one announcement, word for word. It takes the task's quorum of
different validators, and a task without validators needs none. Endorsed are the seal, the
draw, the accepted set and the record; everything else is announced without.
"""

from zkpot.errors import Reason, Rejected
from zkpot.ids import DeviceId, Digest, TaskId, device_text, digest
from zkpot.keys import device_id
from zkpot.task import Task
from zkpot.wire.codec import encode
from zkpot.wire.envelope import open_as
from zkpot.wire.messages import Announcement, Endorsement, Phase

ENDORSED = (Phase.SEAL, Phase.PROVE, Phase.AGGREGATE, Phase.CLOSED)
"""Phases whose announcements validators endorse."""


def announcement_digest(announcement: Announcement) -> Digest:
    """Names exactly what was announced."""
    return digest("announcement", encode(announcement))


def endorse(announcement: Announcement) -> Endorsement:
    """The message that vouches for `announcement`."""
    return Endorsement(
        announcement.task,
        announcement.round,
        announcement.phase,
        announcement_digest(announcement),
    )


class Endorsements:
    """The validators' latest endorsements of a task, one of each validator and phase."""

    def __init__(self, task_id: TaskId, task: Task) -> None:
        self._task_id = task_id
        self._keys = {device_id(v.public_key): v.public_key for v in task.validators}
        self._quorum = task.quorum
        self._latest: dict[tuple[DeviceId, Phase], Endorsement] = {}

    def add(self, envelope: bytes) -> Endorsement:
        """Takes an endorsement; raises `Rejected` for one that cannot count.

        1. envelope, signed by a validator of the task; 2. for this task, in a phase that is
        endorsed; 3. not of a round that is past; 4. the first of its validator for that
        phase of that round: a different second one is EQUIVOCATION.
        """
        # 1
        opened = open_as(Endorsement, envelope, self._keys)
        endorsement, validator = opened.message, opened.signer
        # 2
        if endorsement.task != self._task_id:
            raise Rejected(Reason.UNKNOWN_TASK, endorsement.task.hex())
        if endorsement.phase not in ENDORSED:
            raise Rejected(Reason.OUT_OF_PHASE, endorsement.phase.name.lower())
        key = validator, endorsement.phase
        known = self._latest.get(key)
        # 3
        if known is not None and endorsement.round < known.round:
            raise Rejected(Reason.STALE_ROUND, f"for round {endorsement.round}")
        # 4
        if known is not None and endorsement.round == known.round and endorsement != known:
            raise Rejected(Reason.EQUIVOCATION, f"a second endorsement by {device_text(validator)}")
        self._latest[key] = endorsement
        return endorsement

    def missing(self, announcement: Announcement) -> int:
        """How many more validators have to vouch for `announcement` before it may be acted on."""
        if announcement.phase not in ENDORSED:
            return 0
        wanted = endorse(announcement)
        found = sum(
            endorsement == wanted
            for (_, phase), endorsement in self._latest.items()
            if phase is announcement.phase
        )
        return max(0, self._quorum - found)

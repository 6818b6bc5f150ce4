"""What a validator works with."""

from dataclasses import dataclass

from zkpot.ids import TaskId
from zkpot.journal import Journal, Outgoing
from zkpot.keys import KeyPair
from zkpot.task import Task
from zkpot.wire import topics
from zkpot.wire.envelope import sign
from zkpot.wire.messages import Endorsement
from zkpot_aggregator.chain import Chain
from zkpot_aggregator.validate.library import Library
from zkpot_aggregator.validate.remember import RememberingSystem


@dataclass(frozen=True)
class Tools:
    """One validator's tools for one task."""

    task_id: TaskId
    task: Task
    key: KeyPair
    journal: Journal
    chain: Chain
    library: Library
    system: RememberingSystem

    def endorsement(self, message: Endorsement) -> Outgoing:
        """A signed endorsement on its way."""
        topic = topics.endorsement(self.task_id, self.key.id, message.phase)
        return Outgoing(topic, sign(message, self.key), retain=True, replaces=topic)

    def fault(self, envelope: bytes) -> Outgoing:
        """A signed fault report on its way."""
        topic = topics.fault(self.task_id, self.key.id)
        return Outgoing(topic, envelope, retain=True, replaces=topic)

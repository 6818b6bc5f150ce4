"""A device that may lead: the check of a record that it is asked to sign."""

from dataclasses import dataclass, replace

from zkpot.check_record import Expected
from zkpot.cid import Cid
from zkpot.errors import Rejected
from zkpot.journal import Journal
from zkpot.keys import KeyPair
from zkpot.proof import child
from zkpot.proof.jobs import Backend
from zkpot.record import Record, Roster, SealedList, decode_object
from zkpot.task import Task
from zkpot.timing import timed
from zkpot.wire.codec import decode
from zkpot.wire.envelope import envelope_digest, sign
from zkpot.wire.messages import Receipt
from zkpot_agent import jobs
from zkpot_agent.config import AgentConfig
from zkpot_agent.notes import RECEIPT
from zkpot_agent.objects import Objects
from zkpot_agent.round import events as on
from zkpot_agent.round.machine import opening_message
from zkpot_agent.round.states import Opened, Seated


@dataclass(frozen=True)
class Leader:
    """One device's tools to check a record."""

    config: AgentConfig
    task: Task
    key: KeyPair
    journal: Journal
    objects: Objects
    backend: Backend

    async def check(self, opened: Opened | Seated, cid: Cid) -> on.RecordChecked:
        """Checks a proposed record against the announcements we acted on."""
        submitted = opened.submitted
        joined = submitted.joined
        try:
            record = decode_object(Record, await self.objects.fetch(cid))
            names = {*record.references, joined.roster, submitted.sealed}
            objects = {name: await self.objects.fetch(name) for name in sorted(names)}
            sealed = decode_object(SealedList, objects[submitted.sealed])
            expected = Expected(
                task_id=self.config.task_id,
                task=self.task,
                round=joined.round,
                parent=joined.parent,
                model=joined.model,
                roster_root=decode_object(Roster, objects[joined.roster]).root,
                sealed_root=sealed.root,
                sealed_count=len(sealed.envelopes),
                beacon=submitted.beacon,
                indices=None,
            )
            with timed(self.journal, joined.round, "check"):
                await child.run(
                    jobs.check_record,
                    self.backend,
                    expected,
                    record,
                    objects,
                    self._own_entry(opened),
                    limits=self.config.limits.of(self.task.deadlines.record),
                )
        except Rejected as rejection:
            return on.RecordChecked(joined.round, cid, rejection.reason, rejection.detail)
        return on.RecordChecked(joined.round, cid, None, "")

    def _own_entry(self, opened: Opened | Seated) -> jobs.OwnEntry:
        """What a record must say of us; an opening only if we have a receipt for it."""
        entry = jobs.OwnEntry(self.key.id, opened.submitted.count)
        if isinstance(opened, Seated):
            if opened.confirmed is None:
                return entry
            return replace(entry, confirmed=jobs.Confirmed(opened.group.index, opened.confirmed))
        name = envelope_digest(sign(opening_message(opened), self.key)).hex()
        receipts = (receipt for receipt in self.journal.events(RECEIPT) if receipt.key == name)
        taken = any(decode(Receipt, r.value, limit=1024).reason is None for r in receipts)
        return replace(entry, opening_taken=taken)

"""An aggregator that lies about sums, for the demonstration and the tests alone.

`python -m zkpot_aggregator.demo.lying --config FILE` runs it. In every round but the task's
last it has another sum signed than the commitments have: a vector altered, dropped, or counted
twice. In the last it lets an honest record be signed, and puts another model in its place.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from zkpot.aggregate import GlobalModel
from zkpot.cid import Cid
from zkpot.config import load_config
from zkpot.errors import ExitCode
from zkpot.process import exit_with, log_to_stderr, run_until_signalled
from zkpot.record import Record
from zkpot.verify import RoundTerms
from zkpot.wire.codec import encode
from zkpot_aggregator.config import AggregatorConfig
from zkpot_aggregator.content.base import put_object
from zkpot_aggregator.group_work import GroupWorker
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.service import AggregatorService
from zkpot_aggregator.ui.events import event_printer


class LyingWorker(GroupWorker):
    """See the module."""

    async def sum(self, terms: RoundTerms, state: at.Summing) -> on.Event:
        """See `GroupWorker.sum`."""
        if terms.round == terms.task.rounds:
            return await super().sum(terms, state)
        first, *others = state.openings
        match terms.round % 3:
            case 1:
                event = await super().sum(terms, state)
                if isinstance(event, on.Summed):
                    return replace(event, model=self._altered(event.model))
                return event
            case 2:
                return await super().sum(terms, replace(state, openings=tuple(others)))
            case _:
                return await super().sum(terms, replace(state, openings=(first, first, *others)))

    async def close(
        self, terms: RoundTerms, record: Record, leader_signature: bytes, total: int
    ) -> on.Event:
        """See `GroupWorker.close`."""
        if terms.round == terms.task.rounds:
            record = replace(record, model_after=self._altered(record.model_after))
            put_object(self.content, encode(record), record.references)
        return await super().close(terms, record, leader_signature, total)

    def _altered(self, name: Cid) -> Cid:
        model = self.model(name)
        theta = model.theta_sum.copy()
        theta[0] += 1 if theta[0] < 0 else -1
        return put_object(self.content, GlobalModel(theta, model.weight).encode())


def serve(config: Path, *, json_output: bool) -> ExitCode:
    """Runs the task's rounds, lying."""
    log_to_stderr(verbose=False)
    service = AggregatorService(
        load_config(AggregatorConfig, config),
        worker_type=LyingWorker,
        **event_printer(json_output=json_output),
    )
    return run_until_signalled(service.run)


def main() -> None:
    """Takes the options of `zkpot-aggregator run`."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    exit_with(lambda: serve(options.config, json_output=options.json))


if __name__ == "__main__":
    main()

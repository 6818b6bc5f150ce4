"""An aggregator that lies about sums, for the demonstration and the tests alone.

`python -m zkpot_aggregator.demo.lying --config FILE` runs it. In every round but the task's
last it wants another sum signed than the commitments have: with a vector altered, dropped or
added. In the last it lets an honest record be signed, and puts another model in its place.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from zkpot.aggregate import GlobalModel
from zkpot.config import load_config
from zkpot.errors import ExitCode
from zkpot.ids import Round
from zkpot.model import Int64Array
from zkpot.process import exit_with, log_to_stderr, run_until_signalled
from zkpot.record import Record
from zkpot.secure.sums import decode_group_sum, encode_group_sum
from zkpot.verify import RoundTerms
from zkpot.wire.codec import encode
from zkpot_aggregator.config import AggregatorConfig
from zkpot_aggregator.content.base import get_object, put_object
from zkpot_aggregator.group_work import GroupWorker
from zkpot_aggregator.round import events as on
from zkpot_aggregator.round import states as at
from zkpot_aggregator.service import AggregatorService
from zkpot_aggregator.ui.events import event_printer


class LyingWorker(GroupWorker):
    """See the module."""

    async def sum(self, terms: RoundTerms, state: at.Summing) -> on.Event:
        """See `GroupWorker.sum`."""
        event = await super().sum(terms, state)
        if terms.round == terms.task.rounds or not isinstance(event, on.Summed):
            return event
        honest = self.model(event.model)
        theta = bent(honest.theta_sum, len(state.openings), terms.round)
        lie = put_object(self.content, GlobalModel(theta, honest.weight).encode())
        return replace(event, model=lie)

    async def unmask(self, terms: RoundTerms, state: at.Masking, index: int) -> on.Event:
        """See `GroupWorker.unmask`."""
        event = await super().unmask(terms, state, index)
        if terms.round == terms.task.rounds or not isinstance(event, on.GroupSummed):
            return event
        honest = decode_group_sum(get_object(self.content, event.sum))
        theta = bent(honest.theta_sum, len(honest.survivors), terms.round)
        lie = put_object(self.content, encode_group_sum(replace(honest, theta_sum=theta)))
        return replace(event, sum=lie)

    async def close(
        self, terms: RoundTerms, record: Record, leader_signature: bytes, total: int
    ) -> on.Event:
        """See `GroupWorker.close`."""
        if terms.round == terms.task.rounds:
            honest = self.model(record.model_after)
            theta = bent(honest.theta_sum, len(record.sum.summands), Round(1))
            lie = put_object(self.content, GlobalModel(theta, honest.weight).encode())
            record = replace(record, model_after=lie)
            put_object(self.content, encode(record), record.references)
        return await super().close(terms, record, leader_signature, total)


def bent(total: Int64Array, summands: int, number: Round) -> Int64Array:
    """Another sum of vectors: one altered, one of average size dropped, or one added."""
    one = total // summands
    match number % 3:
        case 1:
            altered = total.copy()
            altered[0] += 1 if altered[0] < 0 else -1
            return altered
        case 2:
            return total - one
        case _:
            return total + one


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

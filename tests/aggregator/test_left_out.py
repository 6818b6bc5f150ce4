"""A device that keeps spoiling sums has no place in the next round."""

from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("zkpot_prover")

from tests.aggregator.secure_fleet import Fleet, device_key, random_model, task_config
from tests.asynchronous import in_loop

from zkpot.record import Roster, decode_object
from zkpot.wire.codec import decode, encode
from zkpot_agent.hostile import WrongSum
from zkpot_aggregator.content.base import get_object
from zkpot_aggregator.driver import STRIKES_KEY
from zkpot_aggregator.strikes import LIMIT, Count, Strikes

pytestmark = pytest.mark.usefixtures("in_process")

LIAR = device_key(0).id


@dataclass(frozen=True)
class Liar(WrongSum):
    """Masks another vector than it committed to."""

    training = staticmethod(random_model)


@in_loop
async def test_one_strike_too_many_is_the_last(tmp_path: Path) -> None:
    config = task_config(rounds=2)
    async with Fleet(tmp_path, 10, config=config, device_types={0: Liar}) as fleet:
        earlier = Strikes((Count(LIAR, LIMIT - 1),))
        fleet.aggregator.journal.transition({STRIKES_KEY: encode(earlier)})
        await fleet.until_over()
        rosters = [
            set(
                decode_object(Roster, get_object(fleet.content, fleet.record(n).roster)).public_keys
            )
            for n in (1, 2)
        ]
        assert rosters == [fleet.devices, fleet.devices - {LIAR}]
        fleet.check(fleet.devices - {LIAR}, 2)
        stored = fleet.aggregator.journal.get(STRIKES_KEY)
        assert stored is not None
        strikes = decode(Strikes, stored, limit=1 << 16)
        assert strikes.out == (LIAR,)
        assert {each.device: each.number for each in strikes.counts} == {LIAR: LIMIT}

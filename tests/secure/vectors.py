"""Values that every implementation must agree on: `python -m tests.secure.vectors`.

Writes vectors.json next to this file; a test makes them again and compares.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zkpot.ids import Beacon, DeviceId, Round, TaskId, digest
from zkpot.keys import KeyPair
from zkpot.secure.exchange import ShareKind
from zkpot.secure.groups import draw_groups
from zkpot.secure.keys import MaskKeys, channel_secret, pair_seed, survivors_statement
from zkpot.secure.mask import Lengths, Total, expand
from zkpot.secure.shares import combine, seed_digest, share_digest

FILE = Path(__file__).with_name("vectors.json")
SHARED = {1: bytes(range(32)), 3: bytes(range(32, 64)), 4: bytes(range(64, 96))}


def make() -> dict[str, Any]:
    """Everything, as JSON has it."""
    devices = [KeyPair.from_seed(digest("test-key", bytes([n]))) for n in range(70)]
    ids = [device.id for device in devices]
    weights = {each: number % 9 + 1 for number, each in enumerate(ids) if number % 10}
    task, beacon = TaskId(digest("test-task")), Beacon(digest("test-beacon"))
    groups = draw_groups(task, Round(3), beacon, ids, weights)
    group = groups[0]
    first, second = (next(d for d in devices if d.id == each) for each in group.devices[:2])
    mine, theirs = (
        MaskKeys(bytes([1] * 32), bytes([2] * 32)),
        MaskKeys(bytes([3] * 32), bytes([4] * 32)),
    )
    advertised = theirs.advertise(group, second)
    lengths = Lengths(4, 2)
    mask = expand(bytes(range(32)), lengths)
    total = Total(lengths)
    total.add_weighted(np.array([-1, 2, -(2**30), 5]), bytes(range(64)), 7)
    total.subtract(mask)
    pair = (group, ShareKind.MASK_KEY, first.id, second.id, bytes(32))
    return {
        "groups": [[device.hex() for device in each.devices] for each in groups],
        "group digests": [each.digest.hex() for each in groups],
        "another round": replace(group, round=Round(4)).digest.hex(),
        "threshold": group.threshold,
        "advertisement": [
            advertised.channel_key.hex(),
            advertised.mask_key.hex(),
            advertised.signature.hex(),
        ],
        "pair seed": pair_seed(group, mine.mask, first.id, advertised).hex(),
        "channel": channel_secret(
            group, mine.channel, advertised.channel_key, first.id, second.id
        ).hex(),
        "survivors": survivors_statement(group, group.devices).hex(),
        "share digest": share_digest(*pair).hex(),
        "seed digest": seed_digest(group, DeviceId(first.id), bytes(32)).hex(),
        "mask words": mask.words.tolist(),
        "mask limbs": mask.limbs.tolist(),
        "masked": [total.theta.hex(), total.blinding.hex()],
        "combined": combine(SHARED).hex(),
    }


def main() -> None:
    """Writes the file."""
    FILE.write_text(json.dumps(make(), indent=1) + "\n")


if __name__ == "__main__":
    main()

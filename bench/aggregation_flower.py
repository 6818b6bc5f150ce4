"""One group's steps from the public building blocks of Flower's SecAgg+.

Runs in an interpreter that has flwr 1.41 and not zkpot: reads a job from standard input,
writes seconds and bytes as JSON. The order of calls is that of Flower's own client and
server, which only run inside its runtime. Its device columns are one device's; what Flower
does not do (signed keys, a round that makes survivors agree, a check of the sum) is null.
"""

import json
import os
import statistics
import sys
import time
from importlib import import_module
from typing import Any

import numpy as np

RANGE = 1 << 32
TARGET_RANGE = 1 << 22
CLIPPING = 8.0
_REPEATS = 3


def main() -> None:
    """Answers one job."""
    json.dump(measured(**json.load(sys.stdin)), sys.stdout)


def measured(group: int, threshold: int, parameters: int, dropped: int) -> dict[str, Any]:
    """Seconds per step and bytes of one device, and the server's seconds for one group."""
    keys: Any = import_module("flwr.supercore.primitives.asymmetric")
    shamir: Any = import_module("flwr.common.secure_aggregation.crypto.shamir")
    box: Any = import_module("flwr.common.secure_aggregation.crypto.symmetric_encryption")
    arithmetic: Any = import_module("flwr.common.secure_aggregation.ndarrays_arithmetic")
    quantization: Any = import_module("flwr.common.secure_aggregation.quantization")
    tools: Any = import_module("flwr.common.secure_aggregation.secaggplus_utils")
    common: Any = import_module("flwr.common")
    dimensions = [(1,), (parameters,)]
    peers = [(keys.generate_key_pairs(), keys.generate_key_pairs()) for _ in range(group)]
    own = peers[0]

    def advertise() -> list[bytes]:
        return [keys.public_key_to_bytes(keys.generate_key_pairs()[1]) for _ in range(2)]

    def deal() -> tuple[list[bytes], list[bytes], list[bytes]]:
        seed = os.urandom(32)
        seeds = shamir.create_shares(seed, threshold, group)
        secrets = shamir.create_shares(keys.private_key_to_bytes(own[0][0]), threshold, group)
        sealed = []
        for index in range(1, group):
            shared = box.generate_shared_key(own[1][0], peers[index][1][1])
            plain = tools.share_keys_plaintext_concat(0, index, seeds[index], secrets[index])
            sealed.append(box.encrypt(shared, plain))
        return seeds, secrets, sealed

    def mask() -> list[Any]:
        vector = quantization.quantize([floats], CLIPPING, TARGET_RANGE)
        vector = arithmetic.factor_combine(1, vector)
        total = arithmetic.parameters_addition(
            vector, tools.pseudo_rand_gen(os.urandom(32), RANGE, dimensions)
        )
        for peer in peers[1:]:
            shared = box.generate_shared_key(own[0][0], peer[0][1])
            pairwise = tools.pseudo_rand_gen(shared, RANGE, dimensions)
            total = arithmetic.parameters_addition(total, pairwise)
        return list(arithmetic.parameters_mod(total, RANGE))

    def unmask() -> None:
        total = masked
        for _ in range(group - dropped - 1):
            total = arithmetic.parameters_addition(total, masked)
        for _ in range(group - dropped):
            seed = shamir.combine_shares(seeds[:threshold])
            mask = tools.pseudo_rand_gen(seed, RANGE, dimensions)
            total = arithmetic.parameters_subtraction(total, mask)
        for _ in range(dropped):
            secret = keys.bytes_to_private_key(shamir.combine_shares(secrets[:threshold]))
            for peer in peers[dropped:]:
                shared = box.generate_shared_key(secret, peer[0][1])
                mask = tools.pseudo_rand_gen(shared, RANGE, dimensions)
                total = arithmetic.parameters_addition(total, mask)
        arithmetic.parameters_mod(total, RANGE)

    floats = np.random.default_rng(0).normal(size=parameters)
    keys_s, public = _timed(advertise)
    shares_s, (seeds, secrets, sealed) = _timed(deal)
    mask_s, masked = _timed(mask)
    unmask_s, _ = _timed(unmask, repeats=1)
    sent = len(b"".join(public)) + len(b"".join(sealed))
    sent += sum(len(common.ndarray_to_bytes(array)) for array in masked)
    sent += len(b"".join(seeds[dropped:])) + len(b"".join(secrets[:dropped]))
    return {
        "keys_s": keys_s,
        "shares_s": shares_s,
        "mask_s": mask_s,
        "confirm_s": None,
        "release_s": None,
        "up_bytes": sent,
        "down_bytes": group * len(b"".join(public)) + len(b"".join(sealed)),
        "collect_s": None,
        "unmask_s": unmask_s,
        "check_s": None,
    }


def _timed(work: Any, repeats: int = _REPEATS) -> tuple[float, Any]:
    seconds, result = [], None
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), result


if __name__ == "__main__":
    main()

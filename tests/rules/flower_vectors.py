"""What Flower's rules make of random models: `python tests/rules/flower_vectors.py`.

Needs flwr 1.41 in an environment of its own: beside our dependencies it would pin older
versions of some. Writes flower_vectors.json next to this file; the test compares against
that, and regenerates it where flwr can be imported.
"""

import json
import math
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("flower_vectors.json")
SIZES = ((3, 5), (5, 7), (8, 6), (11, 9), (20, 4))


def cases() -> list[dict[str, Any]]:
    """Random models with outliers, and Flower's answer for each rule that fits their number."""
    flower = import_module("flwr.server.strategy.aggregate")
    privacy = import_module("flwr.supercore.differential_privacy")

    found: list[dict[str, Any]] = []
    for number, parameters in SIZES:
        generator = np.random.default_rng([number, parameters])
        thetas = generator.integers(-128, 128, (number, parameters))
        thetas[: number // 5] *= 1000
        weights = generator.integers(1, 100, number).tolist()
        results = [
            ([theta.astype(float)], weight) for theta, weight in zip(thetas, weights, strict=True)
        ]
        inputs = {"thetas": thetas.tolist(), "weights": weights}

        def add(rule: str, mean: Any, inputs: dict[str, Any] = inputs) -> None:
            found.append({**inputs, "rule": rule, "mean": mean[0].tolist()})

        add("fedavg", flower.aggregate(results))
        add("median", flower.aggregate_median(results))
        for percent in (0, 10, 25, 40):
            add(f"trimmed-mean:{percent}", flower.aggregate_trimmed_avg(results, percent / 100))
        # Of three models two are each other's nearest: Flower then goes by their order.
        for liars in range((number - 3) // 2 + 1) if number > 3 else ():
            add(f"krum:{liars}", flower.aggregate_krum(results, liars, 0))
            for keep in sorted({1, 2, number - liars}):
                add(f"multi-krum:{liars}:{keep}", flower.aggregate_krum(results, liars, keep))
        for bound in (100, 100_000):
            clipped = []
            for theta, weight in zip(thetas, weights, strict=True):
                update = [theta.astype(float)]
                privacy.compute_clip_model_update(update, [np.zeros(parameters)], bound)
                clipped.append((update, weight))
            add(f"norm-clipping:{bound}", flower.aggregate(clipped))
    return found


def main() -> None:
    """Writes the file."""
    everything = cases()
    assert all(math.isfinite(value) for case in everything for value in case["mean"])
    lines = (json.dumps(case, separators=(",", ":")) for case in everything)
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()

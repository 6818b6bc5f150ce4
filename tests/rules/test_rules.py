"""Rules against Flower's, against sums by hand, and against what their papers promise."""

import json
from collections.abc import Sequence
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.rules import flower_vectors

from zkpot.aggregate import GlobalModel, decode_global_model
from zkpot.aggregation import parse_aggregation
from zkpot.errors import Reason, Rejected
from zkpot.model import Int64Array, Shape
from zkpot_aggregator.rules.base import Rule
from zkpot_aggregator.rules.fedavg import FedAvg
from zkpot_aggregator.rules.krum import Krum, squared_norm
from zkpot_aggregator.rules.median import Median
from zkpot_aggregator.rules.multi_krum import MultiKrum
from zkpot_aggregator.rules.norm_clipping import NormClipping, clip
from zkpot_aggregator.rules.registry import check_rule, find_rule
from zkpot_aggregator.rules.trimmed_mean import TrimmedMean

CASES = json.loads(flower_vectors.FILE.read_text())
PARAMETERS = 6
ZERO = np.zeros(PARAMETERS, np.int64)
RULES: dict[str, Rule] = {
    "fedavg": FedAvg(),
    "median": Median(),
    "trimmed mean": TrimmedMean(20),
    "krum": Krum(1),
    "multi-krum": MultiKrum(1, 3),
    "norm clipping": NormClipping(ZERO, 300),
}


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Int64Array, list[int]]:
    number = draw(st.integers(5, 12))
    values = st.integers(-(2**20), 2**20)
    thetas = draw(arrays(np.int64, (number, PARAMETERS), elements=values))
    return thetas, draw(st.lists(st.integers(1, 10_000), min_size=number, max_size=number))


def same(one: GlobalModel, other: GlobalModel) -> bool:
    return one.weight == other.weight and np.array_equal(one.theta_sum, other.theta_sum)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{len(case['weights'])} {case['rule']}")
def test_flower_makes_the_same(case: dict[str, list[list[int]] | list[int] | str]) -> None:
    thetas = np.array(case["thetas"], dtype=np.int64)
    weights = [int(weight) for weight in np.array(case["weights"])]
    named = parse_aggregation(f"plain:{case['rule']}")
    rule = find_rule(named, np.zeros(thetas.shape[1], np.int64))
    found = rule(thetas, weights)
    # Clipped updates are rounded towards zero, one unit at most.
    tolerance = 1.0 if isinstance(rule, NormClipping) else 1e-6
    assert np.allclose(found.mean, np.array(case["mean"], dtype=float), rtol=0, atol=tolerance)


def test_the_vectors_are_flowers() -> None:
    pytest.importorskip("flwr", reason="flwr has an environment of its own")
    assert flower_vectors.cases() == CASES


@given(fleets())
def test_against_sums_by_hand(fleet: tuple[Int64Array, list[int]]) -> None:
    thetas, weights = fleet
    columns = list(zip(*thetas.tolist(), strict=True))
    number = len(weights)
    mean = [sum(w * v for w, v in zip(weights, c, strict=True)) / sum(weights) for c in columns]
    assert np.allclose(FedAvg()(thetas, weights).mean, mean)
    assert Median()(thetas, weights).mean.tolist() == [median(column) for column in columns]
    cut = int(number * 0.2 + 1e-9)
    kept = [sorted(column)[cut : number - cut] for column in columns]
    trimmed = TrimmedMean(20)(thetas, weights)
    assert trimmed.theta_sum.tolist() == [sum(column) for column in kept]
    assert trimmed.weight == number - 2 * cut
    rows = thetas.tolist()

    def score(own: int) -> int:
        others = [
            sum((a - b) ** 2 for a, b in zip(rows[own], rows[other], strict=True))
            for other in range(number)
            if other != own
        ]
        return sum(sorted(others)[: number - 1 - 2])

    best = min(range(number), key=lambda own: (score(own), rows[own]))
    assert Krum(1)(thetas, weights).theta_sum.tolist() == rows[best]


@pytest.mark.parametrize("name", RULES)
@given(fleet=fleets(), seed=st.integers(0, 2**32))
def test_the_order_of_models_does_not_matter(
    name: str, fleet: tuple[Int64Array, list[int]], seed: int
) -> None:
    thetas, weights = fleet
    order = np.random.default_rng(seed).permutation(len(weights))
    if name == "multi-krum" and len({tuple(row) for row in thetas.tolist()}) < len(weights):
        weights = [1] * len(weights)  # equal models of unequal weight: either may be kept
    shuffled = [weights[index] for index in order]
    assert same(RULES[name](thetas, weights), RULES[name](thetas[order], shuffled))


@pytest.mark.parametrize("name", RULES)
@given(fleet=fleets())
def test_results_stay_within_the_models(name: str, fleet: tuple[Int64Array, list[int]]) -> None:
    thetas, weights = fleet
    found = RULES[name](thetas, weights)
    low, high = thetas.min(axis=0), thetas.max(axis=0)
    if name == "norm clipping":
        low, high = np.minimum(low, ZERO), np.maximum(high, ZERO)
    assert (low * found.weight <= found.theta_sum).all()
    assert (found.theta_sum <= high * found.weight).all()
    assert (low <= found.theta).all()
    assert (found.theta <= high).all()


@pytest.mark.parametrize("name", RULES)
def test_one_opinion_is_everybodys(name: str) -> None:
    thetas = np.tile(np.arange(PARAMETERS, dtype=np.int64), (7, 1))
    assert RULES[name](thetas, [1, 2, 3, 4, 5, 6, 7]).theta.tolist() == list(range(PARAMETERS))


@pytest.mark.parametrize(
    ("rule", "number", "liars"),
    [
        (Median(), 9, 4),
        (Median(), 10, 4),
        (TrimmedMean(40), 10, 4),
        (TrimmedMean(20), 10, 2),
        (Krum(3), 9, 3),
        (MultiKrum(3, 6), 9, 3),
    ],
)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([10**3, 10**9]), split=st.booleans())
def test_as_many_liars_as_promised_move_nothing_out_of_the_honest_range(
    rule: Rule, number: int, liars: int, seed: int, size: int, split: bool
) -> None:
    generator = np.random.default_rng(seed)
    honest = generator.integers(-128, 128, (number - liars, PARAMETERS))
    false = np.full((liars, PARAMETERS), size) + generator.integers(0, 5, (liars, PARAMETERS))
    if split:
        false[::2] *= -1
    found = rule(np.concatenate([honest, false]), [1] * number)
    assert (found.theta >= honest.min(axis=0)).all()
    assert (found.theta <= honest.max(axis=0)).all()


@pytest.mark.parametrize(
    ("rule", "number", "liars"), [(FedAvg(), 9, 1), (Median(), 9, 5), (TrimmedMean(20), 10, 3)]
)
def test_one_liar_more_moves_it(rule: Rule, number: int, liars: int) -> None:
    honest = np.zeros((number - liars, PARAMETERS), np.int64)
    false = np.full((liars, PARAMETERS), 10**6)
    found = rule(np.concatenate([honest, false]), [1] * number)
    assert (found.theta > 1000).all()


@given(
    arrays(np.int64, PARAMETERS, elements=st.integers(-(2**31), 2**31)), st.integers(1, 2**30 - 1)
)
def test_a_clipped_update_keeps_its_direction_and_is_no_longer_than_the_bound(
    update: Int64Array, bound: int
) -> None:
    clipped = clip(update, bound)
    square = sum(int(value) ** 2 for value in update)
    assert squared_norm(update) == square
    assert sum(int(value) ** 2 for value in clipped) <= bound**2 or square <= bound**2
    assert (np.sign(clipped) * np.sign(update) >= 0).all()
    if square > bound**2:
        ideal = update * (bound / square**0.5)
        # The norm is rounded up and the result towards zero: less than a unit each.
        assert np.abs(clipped - ideal).max() <= 2 + bound * 1e-9


def test_squares_are_exact_where_they_do_not_fit() -> None:
    vector = np.full(100_000, 2**32 - 1)
    vector[::2] *= -1
    assert squared_norm(vector) == 100_000 * (2**32 - 1) ** 2


def test_a_result_is_a_global_model() -> None:
    shape = Shape((2, 2), (), 8)
    thetas = np.arange(42, dtype=np.int64).reshape(7, 6)
    for rule in RULES.values():
        found = rule(thetas, [1] * 7)
        assert same(decode_global_model(shape, found.encode()), found)


@pytest.mark.parametrize(
    "text",
    ["multi-krum:1:0", "trimmed-mean:50", "norm-clipping:0"],
)
def test_numbers_that_no_rule_can_have(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        find_rule(parse_aggregation(f"plain:{text}"), ZERO)
    assert caught.value.reason is Reason.TASK_INVALID


@pytest.mark.parametrize(
    ("text", "needed"),
    [("plain:median", 1), ("plain:krum:2", 7), ("plain:multi-krum:1:6", 7), ("secure", 1)],
)
def test_a_task_must_have_as_many_devices_as_its_rule_needs(text: str, needed: int) -> None:
    aggregation = parse_aggregation(text)
    check_rule(aggregation, needed)
    if needed == 1:
        return
    with pytest.raises(Rejected) as caught:
        check_rule(aggregation, needed - 1)
    assert caught.value.reason is Reason.TASK_INVALID


@pytest.mark.parametrize(
    ("rule", "number"), [(FedAvg(), 0), (Median(), 0), (Krum(2), 6), (MultiKrum(0, 5), 4)]
)
def test_too_few_models(rule: Rule, number: int) -> None:
    with pytest.raises(Rejected) as caught:
        rule(np.zeros((number, PARAMETERS), np.int64), [1] * number)
    assert caught.value.reason is Reason.OUT_OF_RANGE


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 0]])
def test_misuse(weights: Sequence[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        FedAvg()(np.zeros((3, PARAMETERS), np.int64), weights)

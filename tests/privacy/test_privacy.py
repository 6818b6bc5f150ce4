"""Differential privacy: the noise that was promised, and a budget that holds."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkpot.aggregate import GlobalModel
from zkpot.errors import ExitCode, Fatal, Rejected
from zkpot.model import ModelSpec, Shape, check_bounds
from zkpot_agent.privacy import accountant as accountant_module
from zkpot_agent.privacy.accountant import load_accountant
from zkpot_agent.privacy.budget import (
    BudgetExhausted,
    Epsilon,
    Releases,
    Spent,
    charge,
    decode_spent,
    encode_spent,
)
from zkpot_agent.privacy.mechanism import clip_update, gaussian, privatize
from zkpot_agent.privacy.settings import PrivacySettings
from zkpot_agent.train.network import scales

SPEC = ModelSpec(Shape((30, 20, 4), (4,), 16), 4, (4, 4))
SETTINGS = PrivacySettings(clip=2.0, noise_multiplier=1.0, epsilon=8.0, delta=1e-5)
START = GlobalModel(np.zeros(SPEC.shape.parameters, np.int64), 3)


def normal_cdf(value: float) -> float:
    return math.erfc(-value / math.sqrt(2)) / 2


def exact_delta(epsilon: float, noise: float) -> float:
    """Balle and Wang 2018 (arXiv 1805.06530), theorem 5: of one Gaussian release."""
    a, b = 1 / (2 * noise), epsilon * noise
    return normal_cdf(a - b) - math.exp(epsilon) * normal_cdf(-a - b)


def analytic(spent: Spent, delta: float) -> float:
    """The exact epsilon: Gaussian releases compose to one whose precision is the sum."""
    noise = sum(item.count * (1e6 / item.noise_micro) ** 2 for item in spent.releases) ** -0.5
    low, high = 0.0, 700.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if exact_delta(middle, noise) > delta else (low, middle)
    return high


def seeded(seed: int) -> Callable[[int], bytes]:
    return np.random.default_rng(seed).bytes


@pytest.fixture(scope="module")
def epsilon() -> Epsilon:
    return load_accountant()


@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("count", [1, 10, 300])
def test_the_accountant_is_an_upper_bound_and_not_a_loose_one(
    epsilon: Epsilon, noise: float, count: int
) -> None:
    spent = Spent((Releases(int(noise * 1e6), count), Releases(10**9, 1)))
    exact, found = analytic(spent, 1e-5), epsilon(spent, 1e-5)
    assert exact <= found <= 1.2 * exact + 0.1


def test_the_real_accountant_refuses_in_the_end(epsilon: Epsilon) -> None:
    spent = Spent()
    for _ in range(2):
        spent = charge(spent, SETTINGS, epsilon).spent
    with pytest.raises(BudgetExhausted, match="the budget is 8"):
        charge(spent, SETTINGS, epsilon)


@given(st.floats(0.5, 50), st.floats(0.5, 20), st.integers(0, 12))
def test_charges_add_up_until_the_budget_is_spent(
    noise: float, budget: float, earlier: int
) -> None:
    settings = PrivacySettings(1.0, noise, budget, 1e-5)
    spent = Spent((Releases(3_000_000, earlier),)) if earlier else Spent()
    reported: list[float] = []
    while len(reported) < 20:
        try:
            after = charge(spent, settings, analytic)
        except BudgetExhausted:
            break
        spent = decode_spent(encode_spent(after.spent))
        assert spent == after.spent
        assert sum(item.count for item in spent.releases) == earlier + len(reported) + 1
        reported.append(after.epsilon)
    assert reported == sorted(reported)
    assert all(value <= budget for value in reported)


def test_what_was_spent_with_less_noise_counts() -> None:
    generous = PrivacySettings(1.0, 0.6, 20.0, 1e-5)
    careful = PrivacySettings(1.0, 50.0, 1.0, 1e-5)
    charge(Spent(), careful, analytic)
    with pytest.raises(BudgetExhausted):
        charge(charge(Spent(), generous, analytic).spent, careful, analytic)


def test_an_accountant_that_does_not_know_is_a_refusal() -> None:
    with pytest.raises(BudgetExhausted):
        charge(Spent(), SETTINGS, lambda *_: math.nan)


def test_a_damaged_budget_is_not_read_as_an_empty_one() -> None:
    for data in (b"", encode_spent(Spent((Releases(5, 1),)))[:-1], b"\xa0"):
        with pytest.raises(Rejected):
            decode_spent(data)


def test_without_the_extra_there_is_no_privacy(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(accountant_module, "import_module", missing)
    with pytest.raises(Fatal) as caught:
        load_accountant()
    assert caught.value.exit_code is ExitCode.DEPENDENCY


def test_noise_is_standard_normal() -> None:
    draws = gaussian(200_001, seeded(1))
    assert draws.shape == (200_001,)
    for bound in (-3.0, -1.5, -0.5, 0.0, 0.7, 2.0, 3.5):
        assert abs(np.mean(draws <= bound) - normal_cdf(bound)) < 0.005
    assert abs(draws.std() - 1) < 0.01
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.01
    half = len(draws) // 2
    assert abs(np.corrcoef(draws[:half], draws[half : 2 * half])[0, 1]) < 0.01
    assert not np.array_equal(gaussian(50, seeded(1)), gaussian(50, seeded(2)))
    assert np.isfinite(gaussian(9, bytes)).all()


@given(st.integers(0, 2**32), st.floats(0.01, 100))
def test_updates_are_cut_to_the_bound(seed: int, clip: float) -> None:
    update = np.random.default_rng(seed).normal(size=40)
    cut = clip_update(update, clip)
    assert np.linalg.norm(cut) <= clip * (1 + 1e-12)
    assert np.allclose(cut * np.linalg.norm(update), update * np.linalg.norm(cut))


def test_the_release_is_the_clipped_update_and_the_noise_that_was_charged() -> None:
    grid = scales(SPEC)
    theta = np.random.default_rng(0).integers(-30, 30, SPEC.shape.parameters)
    quiet = PrivacySettings(2.0, 1e-3, 8.0, 1e-5)
    first = privatize(SPEC, START, theta, quiet, seeded(3))
    assert first.dtype == np.int64
    check_bounds(SPEC.shape, first)
    clipped = clip_update(grid.to_float(theta), 2.0)
    # Rounding to the grid moves a parameter by half a unit, the noise by a few thousandths.
    assert np.abs(grid.to_float(first) - clipped).max() < 0.5 / 16 + 0.05
    runs = [
        grid.to_float(privatize(SPEC, START, theta, SETTINGS, seeded(seed))) for seed in range(50)
    ]
    errors = np.array(runs)[:, -4:] - clipped[-4:]  # biases have a wide range: nothing is cut
    assert abs(errors.std() / SETTINGS.deviation - 1) < 0.15
    assert not np.array_equal(
        privatize(SPEC, START, theta, SETTINGS), privatize(SPEC, START, theta, SETTINGS)
    )


@pytest.mark.parametrize(
    "values", [(0, 1, 1, 1e-5), (1, 0, 1, 1e-5), (1, 1, math.nan, 1e-5), (1, 1, 1, 0.5)]
)
def test_settings_out_of_range(values: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        PrivacySettings(*values)

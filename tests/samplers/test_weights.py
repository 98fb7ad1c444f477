"""Importance weights: closed forms of Gaussian ratios, shapes of Pareto laws, refusals."""

import numpy as np
import pytest
from scipy import stats

from conjugate_moments.samplers.weights import (
    ess_fraction,
    generalised_pareto_shape,
    log_mean_weight,
    pareto_shape,
    shape_limit,
    summarise_weights,
)

RNG = np.random.default_rng


def gaussian_log_weights(n, deviation, seed=0):
    """Of N(0, 1), times e^5, at draws of N(0, deviation²)."""
    y = deviation * RNG(seed).normal(size=n)
    return 5 + stats.norm.logpdf(y) - stats.norm.logpdf(y, scale=deviation)


def test_ess_of_weights_by_hand():
    assert ess_fraction(np.zeros(7)) == pytest.approx(1)
    assert ess_fraction(np.log([3.0, 1.0])) == pytest.approx(16 / 10 / 2)
    assert ess_fraction([0.0, -np.inf, -np.inf, -np.inf]) == pytest.approx(1 / 4)
    assert ess_fraction(np.array([1e4, 1e4 - 1])) == pytest.approx(ess_fraction([0.0, -1.0]))


def test_gaussian_weights_in_closed_form():
    """For q = N(0, s²) the mean square weight is s²/√(2s² - 1)."""
    n, s = 100_000, 1.5
    found = summarise_weights(gaussian_log_weights(n, s))
    expected = np.sqrt(2 * s**2 - 1) / s**2
    # The weights are bounded by s: the relative error of the mean square is below s²/√n.
    assert found.ess_fraction == pytest.approx(expected, rel=5 * s**2 / np.sqrt(n))
    assert found.standard_error == pytest.approx(np.sqrt((1 / expected - 1) / n), rel=0.02)
    assert abs(found.log_normaliser - 5) < 5 * found.standard_error
    assert not found.collapsed


def test_standard_error_is_calibrated():
    scores = []
    for seed in range(400):
        value, error = log_mean_weight(gaussian_log_weights(500, 1.5, seed))
        scores.append((value - 5) / error)
    # The variance of 400 squares of normals has a deviation of √(2/400) = 0.07.
    assert np.mean(np.square(scores)) == pytest.approx(1, abs=5 * 0.07)


@pytest.mark.parametrize("shape", [-0.3, 0.2, 0.7, 1.2])
def test_shape_of_generalised_pareto_draws(shape):
    n = 5000
    draws = stats.genpareto(shape, scale=3.0).rvs(n, random_state=RNG(1))
    # Deviation (1 + k)/√n of the maximum-likelihood estimate for k > -1/2 (Smith 1987).
    assert generalised_pareto_shape(draws) == pytest.approx(shape, abs=4 * (1 + shape) / np.sqrt(n))
    assert generalised_pareto_shape(draws) == pytest.approx(
        stats.genpareto.fit(draws, floc=0)[0], abs=0.3 * (1 + shape) / np.sqrt(n)
    )


@pytest.mark.parametrize("shape", [0.3, 0.9])
def test_shape_of_the_tail_of_weights(shape):
    """Weights that are themselves Pareto draws: 3√n of them are fitted, with ten prior draws of shape 1/2."""
    n = 40_000
    weights = stats.pareto(1 / shape).rvs(n, random_state=RNG(2))
    tail = 3 * np.sqrt(n)
    assert pareto_shape(np.log(weights)) == pytest.approx(shape, abs=4 * (1 + shape) / np.sqrt(tail))


def test_a_proposal_too_narrow_collapses():
    """For q = N(0, s²) with s < 1 the shape is 1 - s²: above 0.7 for s = 0.4, near 0.1 for s = 0.95."""
    assert summarise_weights(gaussian_log_weights(20_000, 0.4)).collapsed
    assert not summarise_weights(gaussian_log_weights(20_000, 0.95)).collapsed


def test_one_weight_that_outweighs_all_collapses():
    logs = np.zeros(1000)
    logs[3] = np.log(200)
    found = summarise_weights(logs)
    assert found.largest_share == pytest.approx(200 / 1199)
    assert found.collapsed


def test_equal_weights_have_no_tail():
    found = summarise_weights(np.full(100, -3.0))
    assert found.pareto_shape == -np.inf
    assert (found.log_normaliser, found.standard_error) == (pytest.approx(-3), 0.0)
    assert not found.collapsed


def test_limits_of_the_shape():
    assert shape_limit(100) == pytest.approx(0.5)
    assert shape_limit(10**6) == 0.7


@pytest.mark.parametrize(
    ("logs", "message"),
    [
        ([0.0], "log_weights: found shape"),
        (np.zeros((3, 3)), "log_weights: found shape"),
        ([0.0, np.nan], "log_weights: found 1 of 2 NaN"),
        ([0.0, np.inf], "log_weights: found 1 of 2 NaN or .inf"),
        ([-np.inf, -np.inf], "log_weights: found -inf alone"),
        (np.zeros(24), "log_weights: found 24, allowed: at least 25"),
    ],
)
def test_bad_weights_are_refused(logs, message):
    with pytest.raises(ValueError, match=message):
        summarise_weights(logs)

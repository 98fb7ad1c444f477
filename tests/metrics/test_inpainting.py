"""Scores of restored pixels, calibration of posterior draws, and the baselines against their closed forms."""

import jax
import numpy as np
import pytest

from conjugate_moments.metrics.inpainting import (
    conditional_gaussian,
    conditional_mean,
    coverage,
    mean_fill,
    nearest_fill,
    psnr,
    spread_error_ratio,
    ssim,
)

KEY = jax.random.key(0)
MASK = np.array([True, False, True, False])
MEAN = np.array([1.0, -2.0, 0.5, 3.0])
ROOT = np.array([[2.0, 0, 0, 0], [0.5, 1, 0, 0], [-1, 0.3, 1.5, 0], [0.7, -0.6, 0.4, 0.8]])
COV = ROOT @ ROOT.T


def normals(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_psnr_counts_missing_pixels_only():
    truth = np.array([[10.0, 20, 30, 40], [0, 0, 0, 0]])
    found = truth + np.array([[100.0, 3, -100, 4], [7, 0, 7, 0]])
    # Errors of 3 and 4: a mean square of 12.5.
    np.testing.assert_allclose(psnr(found, truth, MASK, 255), [10 * np.log10(255**2 / 12.5), np.inf], rtol=1e-15)
    # The unit does not matter, and a tenth of the error is 20 dB.
    half = psnr(found[:1] / 2, truth[:1] / 2, MASK, 255 / 2)
    np.testing.assert_allclose(half, psnr(found[:1], truth[:1], MASK, 255), rtol=1e-12)
    nearer = truth + (found - truth) / 10
    np.testing.assert_allclose(psnr(nearer[:1], truth[:1], MASK, 255) - half, 20, rtol=1e-12)


def test_psnr_takes_bytes_without_wrapping():
    found, truth = np.array([[0, 1, 0, 0]], dtype=np.uint8), np.array([[0, 3, 0, 0]], dtype=np.uint8)
    np.testing.assert_allclose(psnr(found, truth, MASK, 255), 10 * np.log10(255**2 / 2), rtol=1e-15)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (9, 7, 1)])
def test_ssim_of_equal_of_noisy_and_of_inverted_images(shape):
    truth = np.random.default_rng(0).uniform(0, 16, size=(2, np.prod(shape)))
    assert ssim(truth, truth, shape, 16).shape == (2,)
    np.testing.assert_allclose(ssim(truth, truth, shape, 16), 1, rtol=1e-12)
    noisy = truth + np.random.default_rng(1).normal(size=truth.shape)
    assert np.all(ssim(noisy, truth, shape, 16) < 1)
    assert np.all(ssim(16 - truth, truth, shape, 16) < 0)
    np.testing.assert_allclose(ssim(15 * noisy, 15 * truth, shape, 240), ssim(noisy, truth, shape, 16), rtol=1e-10)


def test_ssim_of_constant_images_is_the_closed_form():
    """Without variance only (2ab + c)/(a² + b² + c) is left, c = (0.01 · levels)²."""
    a, b, c = 4.0, 6.0, 0.16**2
    found = ssim(np.full((1, 64), a), np.full((1, 64), b), (8, 8), 16)
    np.testing.assert_allclose(found, (2 * a * b + c) / (a**2 + b**2 + c), rtol=1e-10)


@pytest.mark.parametrize("s", [1, 2, 5, 19, 40])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_of_an_exchangeable_truth_is_the_level_for_few_draws_too(s, level):
    n = 2000
    draws = normals(s + 1, n, 4, seed=s)
    found = coverage(draws[1:], draws[0], MASK, level)
    # A weight in [0, 1] of mean `level` has at most the variance of a coin; 2 of 4 pixels are missing.
    assert abs(found - level) < 3 * np.sqrt(level * (1 - level) / (2 * n))


def test_coverage_is_exact_over_all_ranks():
    """Each of s + 1 values in turn as the truth: the mean is the level to rounding."""
    for s in (1, 4, 9, 10, 99):
        values = np.arange(s + 1.0)
        samples = np.stack([np.delete(values, i) for i in values.astype(int)], axis=1)
        both = np.stack([samples, samples], axis=2)
        truth = np.stack([values, values], axis=1)
        assert abs(coverage(both, truth, np.array([True, False]), 0.9) - 0.9) < 1e-14


def test_coverage_sees_a_spread_that_is_too_small_or_too_large():
    draws = normals(100, 500, 4)
    truth = normals(500, 4, seed=1)
    assert coverage(draws / 2, truth, MASK) < 0.7
    assert coverage(2 * draws, truth, MASK) > 0.98
    # A biased one is not covered from one side.
    assert coverage(draws + 2, truth, MASK) < 0.5
    # Observed pixels are not looked at.
    assert coverage(np.where(MASK, 50, draws), truth, MASK) == coverage(draws, truth, MASK)


def test_coverage_is_of_the_central_interval():
    """Misses below count as misses above: of 10 ranks one half of each end is inside."""
    low, high = (np.full((9, 1, 4), value) for value in (1.0, -1.0))
    assert coverage(low, np.zeros((1, 4)), MASK) == coverage(high, np.zeros((1, 4)), MASK) == 0.5


def test_coverage_of_clipped_pixels():
    """Two thirds of the values are equal at the end of the range: ties are as likely in each order."""
    n = 4000
    draws = np.maximum(normals(20, n, 4) - 0.43, 0)
    found = coverage(draws[1:], draws[0], MASK)
    assert abs(found - 0.9) < 3 * np.sqrt(0.9 * 0.1 / (2 * n))
    np.testing.assert_allclose(coverage(np.zeros((7, 2, 4)), np.zeros((2, 4)), MASK), 0.9, rtol=1e-14)


@pytest.mark.parametrize("s", [2, 10])
def test_spread_matches_the_error_of_an_exact_posterior(s):
    """Truths and draws given the same observed pixels, from N(MEAN, COV)."""
    n = 4000
    truth = MEAN + normals(n, 4) @ ROOT.T
    samples = conditional_gaussian(truth, MASK, MEAN, COV, n_samples=s, key=jax.random.key(1))
    ratio = spread_error_ratio(samples, truth, MASK)
    # Relative errors of means of n squares (the two pixels dependent at worst): √(2/n) of the error, √(2/(n(s-1))) of
    # the variance; half of each in the root.
    tolerance = 3 * np.hypot(np.sqrt(2 / n), np.sqrt(2 / (n * (s - 1)))) / 2
    assert abs(ratio - 1) < tolerance
    # Half the spread, and with the mean kept half the ratio, but for the error of that mean.
    centre = conditional_mean(truth, MASK, MEAN, COV)
    assert spread_error_ratio(centre + (samples - centre) / 2, truth, MASK) < 0.75
    assert abs(coverage(samples, truth, MASK) - 0.9) < 3 * np.sqrt(0.9 * 0.1 / n)


def test_spread_of_draws_around_the_truth_itself():
    truth = np.zeros((3, 4))
    samples = np.stack([truth + 1, truth - 1])
    assert spread_error_ratio(samples, truth, MASK) == np.inf
    # Variance 2, error 2² and the factor 3/2.
    np.testing.assert_allclose(spread_error_ratio(samples, truth + 2, MASK), np.sqrt(1.5 * 2 / 4), rtol=1e-15)


def test_mean_fill_and_nearest_fill():
    observed = np.array([[1.0, np.nan, 2.0, np.nan], [5.0, np.inf, 6.0, 0.0]])
    np.testing.assert_array_equal(mean_fill(observed, MASK, MEAN), [[1, -2, 2, 3], [5, -2, 6, 3]])
    # The second is nearest to the first image in all pixels but the observed ones.
    train = np.array([[4.0, 10, 6, 11], [1.5, 20, 2, 21], [-9, 30, 0, 31]])
    np.testing.assert_array_equal(nearest_fill(observed, MASK, train), [[1, 20, 2, 21], [5, 10, 6, 11]])
    assert np.isnan(observed[0, 1])


def test_conditional_gaussian_in_the_plane_is_the_closed_form():
    """x₂ given x₁: mean m₂ + (c/a)(x₁ - m₁), variance b - c²/a."""
    mean, cov, n = np.array([1.0, -1.0]), np.array([[4.0, 1.2], [1.2, 2.0]]), 20_000
    mask, observed = np.array([True, False]), np.array([[3.0, 99.0]])
    centre, variance = -1 + 1.2 / 4 * 2, 2 - 1.2**2 / 4
    # Off by the jitter of 3e-8, times the slope.
    np.testing.assert_allclose(conditional_mean(observed, mask, mean, cov), [[3, centre]], rtol=1e-7)
    draws = conditional_gaussian(observed, mask, mean, cov, n_samples=n, key=KEY)[:, 0]
    assert np.all(draws[:, 0] == 3)
    assert abs(draws[:, 1].mean() - centre) < 4 * np.sqrt(variance / n)
    assert abs(draws[:, 1].var() - variance) < 4 * variance * np.sqrt(2 / n)


def test_conditional_gaussian_has_the_moments_of_the_formula():
    n, observed = 20_000, np.array([[0.0, 0, 1.0, 0], [2.5, 7, -1.0, 7]])
    draws = conditional_gaussian(observed, MASK, MEAN, COV, n_samples=n, key=KEY)
    assert draws.shape == (n, 2, 4)
    assert np.all(draws[..., MASK] == observed[:, MASK])
    gain = COV[np.ix_(~MASK, MASK)] @ np.linalg.inv(COV[np.ix_(MASK, MASK)])
    expected = MEAN[~MASK] + (observed - MEAN)[:, MASK] @ gain.T
    cov = COV[np.ix_(~MASK, ~MASK)] - gain @ COV[np.ix_(MASK, ~MASK)]
    np.testing.assert_allclose(conditional_mean(observed, MASK, MEAN, COV)[:, ~MASK], expected, atol=1e-6)
    variances = np.diag(cov)
    for i in range(2):
        missing = draws[:, i, ~MASK]
        assert np.all(np.abs(missing.mean(axis=0) - expected[i]) < 4 * np.sqrt(variances / n))
        # Var of an entry of a sample covariance: (σ_ii σ_jj + σ_ij²)/n.
        assert np.all(np.abs(np.cov(missing.T) - cov) < 4 * np.sqrt((np.outer(variances, variances) + cov**2) / n))
    # Images are drawn independently of each other.
    across = np.mean((draws[:, 0, ~MASK] - expected[0]) * (draws[:, 1, ~MASK] - expected[1]), axis=0)
    assert np.all(np.abs(across) < 4 * variances / np.sqrt(n))


def test_constant_and_dependent_pixels_are_restored():
    """A singular covariance: the missing pixels are the double of an observed one, and a constant."""
    cov = np.zeros((4, 4))
    cov[np.ix_([0, 1], [0, 1])] = [[1, 2], [2, 4]]
    cov[2, 2] = 3
    observed = np.array([[4.0, 0, 0, 0]])
    draws = conditional_gaussian(observed, MASK, np.zeros(4), cov, n_samples=50, key=KEY)
    # The jitter is 1e-8 of a mean variance of 2: a standard deviation of √(1 + 2²) · 1.4e-4.
    np.testing.assert_allclose(draws[:, 0, 1], 8, atol=5 * np.sqrt(5 * 2e-8))
    np.testing.assert_allclose(draws[:, 0, 3], 0, atol=5 * np.sqrt(2e-8))


def test_a_key_decides_the_draws():
    observed = np.zeros((2, 4))
    first = conditional_gaussian(observed, MASK, MEAN, COV, n_samples=3, key=KEY)
    np.testing.assert_array_equal(first, conditional_gaussian(observed, MASK, MEAN, COV, n_samples=3, key=KEY))
    other = conditional_gaussian(observed, MASK, MEAN, COV, n_samples=3, key=jax.random.key(1))
    assert not np.any(first[..., ~MASK] == other[..., ~MASK])


GOOD = np.zeros((2, 4))
DRAWS = np.zeros((3, 2, 4))
FULL, EMPTY = np.ones(4, dtype=bool), np.zeros(4, dtype=bool)


@pytest.mark.parametrize("mask", [FULL, EMPTY, np.array([True, False]), np.ones(4)])
@pytest.mark.parametrize(
    "call",
    [
        lambda mask: psnr(GOOD, GOOD, mask, 1),
        lambda mask: coverage(DRAWS, GOOD, mask),
        lambda mask: spread_error_ratio(DRAWS, GOOD, mask),
        lambda mask: mean_fill(GOOD, mask, MEAN),
        lambda mask: nearest_fill(GOOD, mask, GOOD),
        lambda mask: conditional_gaussian(GOOD, mask, MEAN, COV, n_samples=1, key=KEY),
        lambda mask: conditional_mean(GOOD, mask, MEAN, COV),
    ],
)
def test_bad_masks_are_refused(call, mask):
    with pytest.raises(ValueError, match="mask: found"):
        call(mask)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: psnr(GOOD, GOOD[:1], MASK, 1), r"found: found shape \[2, 4\], allowed: \[1, 4\]"),
        (lambda: psnr(GOOD, GOOD, MASK, -1), "levels: found -1"),
        (lambda: psnr(GOOD * np.nan, GOOD, MASK, 1), "found: found 8 NaN or infinite"),
        (lambda: ssim(GOOD, GOOD, (2, 2), 1), r"shape: found \(2, 2\), allowed: .* of 4 numbers, sides >= 7"),
        (lambda: ssim(np.zeros((1, 64)), np.zeros((1, 64)), (64,), 1), r"shape: found \(64,\)"),
        (lambda: ssim(np.zeros((1, 64)), np.zeros((1, 64)), (8, 9), 1), r"shape: found \(8, 9\)"),
        (lambda: coverage(GOOD, GOOD, MASK), r"samples: found shape \[2, 4\], allowed: \[s, 2, 4\]"),
        (lambda: coverage(DRAWS, GOOD, MASK, 1.0), "level: found 1.0"),
        (lambda: coverage(DRAWS + np.inf, GOOD, MASK), "samples: found 24 NaN or infinite"),
        (lambda: spread_error_ratio(DRAWS[:1], GOOD, MASK), "allowed: .* s >= 2"),
        (lambda: mean_fill(GOOD, MASK, MEAN[:2]), r"mean: found shape \[2\], allowed: \[4\]"),
        (lambda: mean_fill(GOOD + np.nan, MASK, MEAN), "observed: found 4 NaN or infinite"),
        (lambda: mean_fill(GOOD[0], MASK, MEAN), r"observed: found shape \[4\]"),
        (lambda: nearest_fill(GOOD, MASK, GOOD[:, :2]), r"train: found shape \[2, 2\]"),
        (lambda: conditional_mean(GOOD, MASK, MEAN, COV[:3]), r"cov: found shape \[3, 4\], allowed: a symmetric"),
        (lambda: conditional_mean(GOOD, MASK, MEAN, ROOT), "cov: found .* allowed: a symmetric"),
        (lambda: conditional_mean(GOOD, MASK, MEAN, COV - np.eye(4)), "cov: found a matrix that is not positive"),
        (
            lambda: conditional_gaussian(GOOD, MASK, MEAN, COV, n_samples=0, key=KEY),
            "n_samples: found 0, allowed: at least 1",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

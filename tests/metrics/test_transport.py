"""Distances between samples against closed forms."""

import jax
import numpy as np
import pytest
from scipy.stats import ortho_group

from conjugate_moments import _random, fit_gaussian
from conjugate_moments.metrics.transport import gibbs_distance, matched_w2, noise_floor, sinkhorn_divergence
from conjugate_moments.metrics.uvp import l2_uvp

SHIFT = np.array([0.6, -0.8])


def normals(n, dim, seed):
    return _random.normal(jax.random.key(seed), (n, dim))


def test_uvp_of_an_affine_error_on_a_gaussian():
    """E|(A - S)(x - a)|² = tr((A - S)² S) for x ~ N(a, S), and Var(ρ) = tr S³."""
    cov = np.diag([1.0, 8.0, 27.0])
    fit = fit_gaussian(np.ones(3), cov)
    x = fit.sample_gibbs(20_000, key=jax.random.key(0))
    error = np.diag([0.1, -0.2, 0.3])
    wrong = fit.transport(x) + (x - fit.gibbs_mean) @ error
    expected = 100 * np.trace(error @ fit.gibbs_cov @ error) / np.trace(cov)
    value, standard_error = l2_uvp(wrong, fit.transport(x), np.trace(cov))
    assert abs(value - expected) < 5 * standard_error
    # Var of the quadratic form x'Mx is 2 tr((M S)²).
    spread = 100 * np.sqrt(2 * np.trace((error @ fit.gibbs_cov @ error) @ (error @ fit.gibbs_cov @ error)))
    assert np.isclose(standard_error, spread / np.trace(cov) / np.sqrt(20_000), rtol=0.1)
    assert l2_uvp(wrong, wrong, 1.0) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("found", "truth", "variance", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 1)), 1.0, "map_at, truth_at: expected the same shape"),
        (np.zeros(3), np.zeros(3), 1.0, "map_at, truth_at: expected the same shape"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), 1.0, "map_at, truth_at: expected finite"),
        (np.zeros((3, 2)), np.zeros((3, 2)), 0.0, "variance: expected a positive"),
    ],
)
def test_bad_maps_are_refused(found, truth, variance, message):
    with pytest.raises(ValueError, match=message):
        l2_uvp(found, truth, variance)


def test_sinkhorn_divergence_of_a_moved_sample_is_the_squared_distance_at_any_epsilon():
    x = normals(150, 2, 0)
    for epsilon in (0.3, 3.0):
        same = sinkhorn_divergence(x, x, epsilon=epsilon)
        assert abs(same.value) < 1e-5
        assert same.residual <= 1e-4
        # The three values are off by at most the cost times the error of their marginals.
        assert abs(sinkhorn_divergence(x, x + SHIFT, epsilon=epsilon).value - 1) < 1e-3


def test_sinkhorn_divergence_between_gaussians_is_near_their_w2():
    """W2² between N(0, I) and N(c, s² I) is |c|² + d (s - 1)²: here 1 + 2 · 0.25."""
    x, y = normals(150, 2, 0), 1.5 * normals(150, 2, 1) + SHIFT
    found = sinkhorn_divergence(x, y, epsilon=0.2).value
    # The mean alone is off by 2 |c| √((1 + s²)/n) = 0.3 at one deviation.
    assert abs(found - 1.5) < 0.9


def test_unconverged_sinkhorn_is_refused(monkeypatch):
    monkeypatch.setattr("conjugate_moments.metrics.transport.LARGEST_STEPS", 10)
    from conjugate_moments.metrics import transport

    transport._solver.cache_clear()
    with pytest.raises(ArithmeticError, match=r"not converged at epsilon 0\.001"):
        sinkhorn_divergence(normals(50, 2, 0), 3 * normals(50, 2, 1), epsilon=0.001)
    transport._solver.cache_clear()


def test_matched_w2_of_a_moved_and_shuffled_sample_is_the_distance():
    x = normals(200, 5, 0)
    shift = np.arange(5.0)
    assert np.isclose(matched_w2(x, x[::-1] + shift), np.linalg.norm(shift), rtol=1e-12)
    assert matched_w2(x, x[::-1]) == 0
    # The scaling x ↦ 2x is the gradient of a convex function, hence optimal.
    assert np.isclose(matched_w2(x, 2 * x[::-1]), np.sqrt(np.mean(np.sum(x**2, axis=1))), rtol=1e-12)


@pytest.mark.parametrize("dim", [2, 64])
def test_gibbs_distance_of_moved_and_enlarged_samples(dim):
    x, key = normals(500, dim, 0), jax.random.key(1)
    shift = np.linspace(-1, 1, dim)
    moved = gibbs_distance(x, x[::-1] + shift, key=key)
    assert np.isclose(moved.value, np.linalg.norm(shift), rtol=1e-12)
    assert moved.standard_error < 1e-12
    assert np.isclose(gibbs_distance(x, 2 * x, key=key).value, np.sqrt(np.mean(np.sum(x**2, axis=1))), rtol=1e-12)
    assert gibbs_distance(x, x, key=key) == (0.0, 0.0)
    assert gibbs_distance(x, x[::-1], key=key).value < 1e-12


def test_gibbs_distance_of_an_anisotropic_scaling_within_its_standard_error():
    """The images of an empirical law under random directions: against many more of them."""
    x = normals(300, 3, 0)
    y = x * np.array([1.0, 2.0, 4.0])
    found = gibbs_distance(x, y, key=jax.random.key(0))
    frames = ortho_group(3, seed=0).rvs(4000)
    gaps = np.sort(np.einsum("ni,fij->fnj", x, frames), axis=1) - np.sort(np.einsum("ni,fij->fnj", y, frames), axis=1)
    assert abs(found.value - np.sqrt(np.mean(np.sum(gaps**2, axis=(1, 2)) / 300))) < 5 * found.standard_error
    assert 0 < found.standard_error < 0.05 * found.value


def test_noise_floor_is_between_independent_samples():
    fit = fit_gaussian(np.zeros(2), np.eye(2))
    floors = [noise_floor(matched_w2, fit.sample, n, key=jax.random.key(0)) for n in (50, 800)]
    assert 0 < floors[1] < floors[0] < 1


@pytest.mark.parametrize("distance", [matched_w2, lambda x, y: gibbs_distance(x, y, key=jax.random.key(0))])
def test_samples_of_unequal_size_are_refused(distance):
    with pytest.raises(ValueError, match="x, y: expected two samples of the same size, found 3 and 4"):
        distance(np.zeros((3, 2)), np.zeros((4, 2)))


def test_bad_samples_are_refused():
    good = np.zeros((3, 2))
    with pytest.raises(ValueError, match="x, y: expected non-empty samples"):
        matched_w2(good, np.zeros((3, 1)))
    with pytest.raises(ValueError, match="x, y: expected finite"):
        matched_w2(good, np.full((3, 2), np.inf))
    with pytest.raises(ValueError, match="x, y: at most 3000 points"):
        matched_w2(np.zeros((3001, 1)), np.zeros((3001, 1)))
    with pytest.raises(ValueError, match="epsilon: expected a positive finite number, found 0"):
        sinkhorn_divergence(good, good, epsilon=0.0)

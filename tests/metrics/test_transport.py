"""Distances between samples against closed forms."""

import jax
import numpy as np
import pytest
from scipy.stats import ortho_group

from conjugate_moments import _random, fit_gaussian
from conjugate_moments._ott import importing_ott
from conjugate_moments.metrics._entropic import entropic_self_transport, entropic_transport
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


def heavy(n, seed):
    """Neal's funnel: a few points lie far from all the others."""
    z = normals(n, 2, seed)
    return np.stack([3 * z[:, 0], z[:, 1] * np.exp(1.5 * z[:, 0])], axis=-1)


def test_two_points_against_two_have_their_closed_form():
    """Costs 0 and c: both potentials are constant, and f + g = ε log(2 / (1 + e^{-c/ε}))."""
    for c, epsilon in ((1.0, 0.3), (2.0, 0.02)):
        cost = np.array([[0.0, c], [c, 0.0]])
        expected = epsilon * np.log(2 / (1 + np.exp(-c / epsilon)))
        for solve in (entropic_transport, entropic_self_transport):
            assert np.isclose(solve(cost, epsilon, threshold=1e-9, most=50).value, expected, rtol=1e-9)


def test_value_is_that_of_ott():
    """Another solver, by Sinkhorn's iterations, to a threshold at which it is exact to 1e-6."""
    with importing_ott():
        from ott.geometry.pointcloud import PointCloud
        from ott.solvers.linear import solve
    x, y = heavy(60, 0), heavy(50, 1)
    cost = np.sum((x[:, None] - y) ** 2, axis=-1)
    epsilon = 0.05 * cost.mean()
    with jax.enable_x64(True):
        peer = solve(PointCloud(x, y, epsilon=epsilon), threshold=1e-6, max_iterations=20_000)
        # Its plan is e^{(f + g - C)/ε}, without the weights.
        expected = peer.f.mean() + peer.g.mean() + epsilon * np.log(60 * 50)
    assert peer.converged
    found = entropic_transport(cost, epsilon, threshold=1e-6, most=50)
    assert np.isclose(found.value, float(expected), rtol=1e-6)


def test_newton_steps_are_few_on_heavy_tails():
    x, y = heavy(300, 0), heavy(300, 1)
    found = sinkhorn_divergence(x, y, epsilon=5e-3 * y.var(axis=0).sum())
    assert found.residual <= 1e-4
    assert found.steps <= 30  # relaxed Sinkhorn iterations: 3,510 for 1,000 points of this law


def test_dual_rises_to_the_value_of_the_transposed_problem():
    """No step lowers it, and both orders of the samples, whose iterations differ, end at the same value."""
    x, y = heavy(60, 0), heavy(70, 1)
    cost = np.sum((x[:, None] - y) ** 2, axis=-1)
    epsilon = 0.05 * cost.mean()
    values = [entropic_transport(cost, epsilon, threshold=0.0, most=steps).value for steps in range(8)]
    assert np.all(np.diff(values) >= -1e-12 * abs(values[-1]))
    assert np.isclose(values[-1], entropic_transport(cost.T, epsilon, threshold=1e-9, most=50).value, rtol=1e-9)


def test_unconverged_sinkhorn_is_refused(monkeypatch):
    monkeypatch.setattr("conjugate_moments.metrics.transport.LARGEST_STEPS", 1)
    with pytest.raises(ArithmeticError, match=r"not converged at epsilon 0\.001, .* after 1 steps"):
        sinkhorn_divergence(normals(50, 2, 0), 3 * normals(50, 2, 1), epsilon=0.001)


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

"""Smooth maxima of quadratics, and their conjugates as targets of chains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from conjugate_moments.conjugates.newton import Newton
from conjugate_moments.conjugates.potential import ConjugateTarget
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.potentials.base import gradients, hessians, values
from conjugate_moments.potentials.quadratic_maxima import QuadraticFrame, QuadraticMaxima
from conjugate_moments.samplers.chains import sample

DIM, KEY = 3, jax.random.key(0)
SOLVER = RelativeConjugate(Newton(tolerance=1e-4), jnp.ones(DIM))


def maximum(components, smoothing=0.1):
    keys = jax.random.split(KEY, 5)
    frame = QuadraticFrame(
        centre=jnp.array([0.3, -0.2, 0.1]),
        scale=jnp.array([0.5, 1.0, 2.0]),
        image=jnp.array([1.0, 0.0, -1.0]),
        spread=jnp.ones(DIM),
        distance=jnp.asarray(3.0),
        smoothing=jnp.asarray(smoothing),
    )
    slopes, offsets = jax.random.normal(keys[0], (components, DIM)), jax.random.normal(keys[1], (components,))
    shapes, log_curvature = jax.random.normal(keys[2], (components, 2, DIM)), jax.random.normal(keys[3], slopes.shape)
    return QuadraticMaxima(frame, 10 * slopes, offsets, 5 * shapes, log_curvature / (2 * frame.curvature))


POINTS = jax.random.normal(jax.random.key(1), (20, DIM))


def test_derivatives_are_those_of_the_value():
    network = maximum(5)
    np.testing.assert_allclose(
        gradients(network, POINTS), jax.vmap(jax.grad(network.value))(POINTS), rtol=2e-4, atol=1e-4
    )
    expected = jax.vmap(jax.hessian(network.value))(POINTS)
    np.testing.assert_allclose(
        hessians(network, POINTS), expected, rtol=2e-3, atol=2e-3 * float(jnp.abs(expected).max())
    )


def test_the_map_is_the_mean_of_affine_maps_by_their_shares():
    network = maximum(5)
    points, log_shares = jax.vmap(network.gradient_and_log_shares)(POINTS)
    np.testing.assert_allclose(points, gradients(network, POINTS), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.exp(log_shares).sum(axis=1), 1, rtol=1e-5)
    matrices, offsets = network.affine_maps()
    maps = np.einsum("kde,ne->nkd", matrices, POINTS) + offsets
    expected = np.einsum("nk,nkd->nd", np.exp(log_shares), maps)
    np.testing.assert_allclose(points, expected, rtol=1e-4, atol=1e-4 * float(jnp.abs(expected).max()))


def test_the_hessian_is_at_least_the_least_curvature():
    network = maximum(5, smoothing=0.01)
    least = jnp.min(jnp.exp(network.frame.curvature * network.log_curvature) / network.frame.scale**2)
    assert np.linalg.eigvalsh(hessians(network, POINTS)).min() >= 0.99 * float(least)


def test_where_one_quadratic_is_largest_the_map_is_that_of_its_gaussian():
    network, far = maximum(4, smoothing=1e-4), 40 * POINTS[:5]
    frame = network.frame
    t = (far - frame.centre) / frame.scale
    s = network._arguments(frame, t[0])[0]
    k = int(jnp.argmax(s))
    assert float(jnp.sort(s)[-1] - jnp.sort(s)[-2]) > 1
    L = frame.shape * network.shapes[k]
    matrix = jnp.diag(jnp.exp(network.frame.curvature * network.log_curvature[k])) + L.T @ L
    expected = frame.image + (matrix @ t[0] + frame.slope * network.slopes[k]) / frame.scale
    np.testing.assert_allclose(network.gradient(far[0]), expected, rtol=1e-4)


def test_shares_do_not_feel_the_rounding_of_the_common_curvature():
    """In d = 784 that is most of each quadratic: ½‖t‖² ≈ 392, whose rounding was a hundredth of β."""
    rng, dim, components, beta = np.random.default_rng(0), 784, 64, 0.05
    one = np.ones(dim, np.float32)
    frame = QuadraticFrame(0 * one, one, 0 * one, one, distance=jnp.asarray(10.0), smoothing=jnp.asarray(beta / 10))
    a, logs, t = rng.normal(size=(components, dim)), 0.1 * rng.normal(size=(components, dim)), rng.normal(size=dim)
    # All parts count at t, as they do where chains are: between them.
    b = beta * rng.normal(size=components) - a @ t - (np.exp(logs) - np.exp(logs).mean(axis=0)) @ t**2 / 2
    leaves = a / frame.slope, b / frame.offset, np.zeros((components, 1, dim)), logs / frame.curvature
    network = QuadraticMaxima(frame, *(jnp.asarray(leaf, jnp.float32) for leaf in leaves))
    points = jnp.tile(jnp.asarray(t, jnp.float32), (32, 1))
    found = np.exp(jax.vmap(network.gradient_and_log_shares)(points)[1])
    # The same leaves and point, as rounded, with nothing rounded after.
    a, b, logs = (np.asarray(leaf, np.float64) for leaf in (network.slopes, network.offsets, network.log_curvature))
    t = np.asarray(t, np.float32).astype(np.float64)
    a, b, curvature = float(frame.slope) * a, float(frame.offset) * b, np.exp(frame.curvature * logs)
    expected = softmax((a @ t + curvature @ t**2 / 2 + b) / beta)
    assert np.abs(found / expected - 1).max() < 1e-3  # 3e-4; with the common curvature 5e-3


def test_the_frame_is_not_trained():
    network = maximum(3)
    slopes = jax.grad(lambda net: jnp.sum(values(net, POINTS)))(network)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(slopes.frame))
    assert np.any(slopes.offsets)


def test_conjugate_target_meets_fenchel_and_young():
    network = maximum(5)
    target = ConjugateTarget(network, SOLVER)
    x = gradients(network, POINTS)
    value, slope = target.from_guess(x, 0 * x)
    np.testing.assert_allclose(slope, POINTS, atol=2e-3)
    np.testing.assert_allclose(value + values(network, POINTS), jnp.sum(x * POINTS, axis=1), rtol=1e-4, atol=1e-4)


def test_conjugate_target_is_infinite_where_it_is_not_solved():
    network = maximum(5, smoothing=1e-3)
    solver = RelativeConjugate(Newton(tolerance=1e-6, max_steps=1), jnp.ones(DIM))
    value, _ = ConjugateTarget(network, solver).from_guess(10 * POINTS, POINTS)
    solved = np.asarray(solver.solve(network, 10 * POINTS, POINTS).converged)
    assert np.mean(solved) < 0.5
    np.testing.assert_array_equal(np.isfinite(value), solved)


def test_chains_on_a_conjugate_have_its_moments():
    # One quadratic: w is quadratic too, with the inverse matrix, and P_w has the covariance ∇²φ.
    network = maximum(1)
    cov = np.asarray(network.hessian(POINTS[0]), np.float64)
    target = ConjugateTarget(network, SOLVER)
    start = (
        jnp.asarray(np.linalg.cholesky(cov), jnp.float32) @ jax.random.normal(KEY, (DIM, 64))
        + network.gradient(network.frame.centre)[:, None]
    )
    root = jnp.asarray(np.linalg.cholesky(cov), jnp.float32)
    drawn = sample(target, 4000, key=KEY, start=start.T, root=root)
    assert bool(drawn.diagnostics.converged)
    whitened = np.linalg.solve(
        np.linalg.cholesky(cov), (np.asarray(drawn.points) - np.asarray(drawn.points).mean(axis=0)).T
    )
    # Half of the effective draws, which are counted for means.
    error = np.sqrt(2 / (float(jnp.min(drawn.diagnostics.ess)) * 4000 / drawn.diagnostics.draws / 2))
    assert np.all(np.abs(whitened.var(axis=1) - 1) < 5 * error)


@pytest.mark.parametrize("components", [1, 6])
def test_translation_of_the_image_moves_the_map(components):
    network = maximum(components)
    shift = jnp.array([0.5, -1.0, 2.0])
    frame = QuadraticFrame(**{**vars(network.frame), "image": network.frame.image + shift})
    moved = QuadraticMaxima(frame, network.slopes, network.offsets, network.shapes, network.log_curvature)
    np.testing.assert_allclose(gradients(moved, POINTS), gradients(network, POINTS) + shift, rtol=1e-4, atol=1e-4)

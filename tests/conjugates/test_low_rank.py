"""Conjugates of maxima of quadratics: Newton's method by diagonals and rows, and the path from smooth to sharp."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments.conjugates.continuation import FACTORS, Continuation
from conjugate_moments.conjugates.low_rank import LowRankNewton, solve_low_rank
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.potentials.base import gradients, hessians, low_rank_hessians
from conjugate_moments.potentials.quadratic_maxima import LEADING, SHAPED, QuadraticFrame, QuadraticMaxima


def maximum(dim, components, *, smoothing, rank=1, seed=0):
    """Parts of curvature about 1/4, with slopes a few units apart."""
    rng = np.random.default_rng(seed)
    slopes = rng.normal(0, 4 / np.sqrt(dim), (components, dim))
    one, distance = np.ones(dim), np.float64(np.linalg.norm(slopes[:, None] - slopes, axis=-1).mean())
    frame = QuadraticFrame(0 * one, one, 0 * one, one, distance, np.float64(smoothing))
    numbers = (
        slopes / frame.slope,
        rng.normal(0, 0.1, components),
        rng.normal(0, 0.5, (components, rank, dim)) / (frame.shape * np.sqrt(dim)),
        np.log(rng.uniform(0.2, 0.3, (components, dim))) / frame.curvature,
    )
    return jax.tree.map(jnp.asarray, QuadraticMaxima(frame, *numbers))


@pytest.mark.parametrize(("rows", "dim"), [(3, 20), (20, 3), (5, 5)])
def test_low_rank_systems_are_solved(rows, dim):
    rng = np.random.default_rng(1)
    diagonal, factor = rng.uniform(0.5, 2, (4, dim)), rng.normal(size=(4, rows, dim))
    vectors = rng.normal(size=(4, dim))
    found = solve_low_rank(jnp.asarray(diagonal), jnp.asarray(factor), jnp.asarray(vectors))
    for d, r, v, p in zip(diagonal, factor, vectors, found, strict=True):
        np.testing.assert_allclose((np.diag(d) + r.T @ r) @ p, v, rtol=1e-4, atol=1e-4)


def test_rows_give_the_hessian_where_they_hold_every_part():
    potential = maximum(6, SHAPED, smoothing=0.1)
    points = jnp.asarray(np.random.default_rng(2).normal(size=(10, 6)))
    diagonal, rows = low_rank_hessians(potential, points)
    expected = jax.vmap(jax.hessian(potential.value))(points)
    whole = jnp.einsum("nmd,nme->nde", rows, rows) + diagonal[:, :, None] * jnp.eye(6)
    np.testing.assert_allclose(whole, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(hessians(potential, points), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dim", [4, 100])
def test_conjugates_of_many_parts_are_solved(dim):
    """In d = 4 by dense systems, in d = 100 by those of Woodbury; with more parts than a step looks at."""
    potential = maximum(dim, 2 * LEADING, smoothing=0.02)
    rng = np.random.default_rng(3)
    truth = jnp.asarray(rng.normal(size=(16, dim)), jnp.float32)
    targets = gradients(potential, truth)
    found = LowRankNewton(tolerance=1e-3).solve(potential, targets, jnp.zeros_like(truth))
    assert jnp.all(found.converged)
    # φ is 0.2-strongly convex: a residual r bounds the distance to the solution by 5 r, in the Euclidean norm.
    assert jnp.max(jnp.linalg.norm(found.point - truth, axis=1)) < 5 * 1e-3 * np.sqrt(dim)


def test_coming_from_afar_gives_the_same_solution_in_fewer_steps():
    potential = maximum(12, 40, smoothing=2e-3)
    targets = jnp.asarray(0.5 * np.random.default_rng(4).normal(size=(16, 12)), jnp.float32)
    bare = RelativeConjugate(LowRankNewton(tolerance=1e-3, max_steps=200), jnp.ones(12))
    direct = bare.solve(potential, targets, targets)
    along = Continuation(bare).solve(potential, targets, targets)
    assert jnp.all(direct.converged & along.converged)
    assert jnp.max(jnp.linalg.norm(direct.point - along.point, axis=1)) < 2 * 5 * 1e-3 * np.sqrt(12)
    assert jnp.mean(along.steps) < 0.7 * jnp.mean(direct.steps)


def test_a_smoother_maximum_is_larger_by_no_more_than_its_entropy():
    """β log Σ exp(s/β) rises with β, by at most the logarithm of the number of parts."""
    potential = maximum(5, 8, smoothing=0.05)
    x = jnp.asarray(np.random.default_rng(5).normal(size=5))
    before = potential.value(x)
    for factor in FACTORS:
        risen = potential.smoother(factor).value(x) - before
        beta = potential.frame.smoothing * potential.frame.distance
        assert 0 <= risen <= (factor - 1) * beta * np.log(8)


def test_a_conjugate_that_is_given_too_few_steps_says_so():
    potential = maximum(12, 40, smoothing=2e-3)
    targets = jnp.asarray(0.5 * np.random.default_rng(4).normal(size=(16, 12)), jnp.float32)
    bare = RelativeConjugate(LowRankNewton(tolerance=1e-3, max_steps=1), jnp.ones(12))
    found = Continuation(bare).solve(potential, targets, targets)
    assert not jnp.any(found.converged)

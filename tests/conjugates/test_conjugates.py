"""Solvers of the conjugate: Fenchel-Young, inverse gradients, closed forms, implicit derivatives, honest failures."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments.conjugates import (
    LBFGS,
    Newton,
    NewtonCG,
    conjugate_solver,
    discrete_start,
    mean_preconditioner,
    transport,
)
from conjugate_moments.conjugates.base import Rows
from conjugate_moments.conjugates.line_search import line_search
from conjugate_moments.potentials.base import gradients, values
from conjugate_moments.potentials.icnn import InputConvexNetwork
from conjugate_moments.potentials.quadratic import Quadratic

DIM = 3
MEAN = np.array([0.5, -1.0, 0.2])
S = np.array([[1.0, 0.2, 0.0], [0.2, 0.7, -0.3], [0.0, -0.3, 2.0]])
SOLVERS = [Newton, NewtonCG, LBFGS]


def steep():
    """A network far from quadratic: units twice as steep, sharp, most of the curvature in a few of them."""
    net = InputConvexNetwork.initial(MEAN, S @ S @ S, widths=(12, 8), smoothing=0.05, key=jax.random.key(0))
    return replace(
        net,
        factor=net.factor / 3,
        inputs=tuple(2 * A for A in net.inputs),
        mixing=tuple(3 * raw for raw in net.mixing),
        output=2 * net.output + 1,
    )


def draws(n, seed=1):
    return np.random.default_rng(seed).normal(size=(n, DIM)) @ S + MEAN


@pytest.mark.parametrize("kind", SOLVERS)
def test_transport_inverts_the_gradient(kind):
    """∇w*(∇w(y)) = y, to the tolerance over the least curvature; and ∇w(∇w*(x)) = x to the tolerance."""
    with jax.enable_x64(True):
        net, y = steep(), draws(40)
        x = gradients(net, y)
        solution = kind(tolerance=1e-9, max_steps=300).solve(net, x, x)
        assert jnp.all(solution.converged)
        np.testing.assert_allclose(gradients(net, solution.point), x, atol=1e-9)
        np.testing.assert_allclose(solution.point, y, atol=1e-6)
        np.testing.assert_allclose(solution.value, jnp.sum(x * y, axis=1) - values(net, y), atol=1e-9)


def test_fenchel_young():
    """w(y) + w*(x) ≥ ⟨x, y⟩ for every pair, with equality at the solution."""
    with jax.enable_x64(True):
        net, x, y = steep(), draws(40, seed=2), draws(25, seed=3)
        solution = Newton(tolerance=1e-9, max_steps=300).solve(net, x, x)
        assert jnp.all(solution.converged)
        gap = values(net, y)[None] + solution.value[:, None] - x @ y.T
        assert jnp.all(gap > 0)
        own = values(net, solution.point) + solution.value - jnp.sum(x * solution.point, axis=1)
        np.testing.assert_allclose(own, 0, atol=1e-12)


def test_solvers_agree_in_float32_and_flag_nothing():
    net, x = steep(), draws(40)
    one, *others = (kind(max_steps=300).solve(net, x, x) for kind in SOLVERS)
    for solution in (one, *others):
        assert jnp.all(solution.converged)
        assert jnp.all(solution.residual <= 1e-3)
        assert solution.point.dtype == jnp.float32
        # Concave in y, so both values are within residual·|Δy| of the supremum.
        np.testing.assert_allclose(solution.value, one.value, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("kind", [Newton, NewtonCG])
def test_quadratic_takes_one_newton_step(kind):
    with jax.enable_x64(True):
        w, x = Quadratic.from_gaussian(MEAN, S @ S @ S), draws(10)
        matched = {} if kind is Newton else {"preconditioner": jnp.asarray(S)}
        solution = kind(tolerance=1e-10, **matched).solve(w, x, np.zeros_like(x))
        np.testing.assert_array_equal(solution.steps, 1)
        np.testing.assert_allclose(solution.point, x @ S + np.linalg.solve(np.eye(DIM) + S, MEAN), atol=1e-9)


def test_lbfgs_is_exact_on_a_quadratic_with_the_matching_preconditioner():
    with jax.enable_x64(True):
        w, x = Quadratic.from_gaussian(MEAN, S @ S @ S), draws(10)
        model = mean_preconditioner(w, x[:1])
        np.testing.assert_allclose(model, S, atol=1e-12)
        solution = LBFGS(tolerance=1e-9, preconditioner=model).solve(w, x, np.zeros_like(x))
        assert jnp.all(solution.converged)
        assert jnp.all(solution.steps <= 3)


def test_unconverged_rows_are_flagged():
    net, x = steep(), draws(40)
    solved = Newton(max_steps=300).solve(net, x, x).point
    start = jnp.where((jnp.arange(40) < 20)[:, None], solved, 100.0)
    solution = Newton(max_steps=1).solve(net, x, start)
    np.testing.assert_array_equal(solution.converged, jnp.arange(40) < 20)
    np.testing.assert_array_equal(solution.steps, jnp.arange(40) >= 20)
    np.testing.assert_array_equal(solution.point[:20], start[:20])
    np.testing.assert_allclose(
        solution.residual, jnp.max(jnp.abs(gradients(net, solution.point) - x), axis=1), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("kind", SOLVERS)
def test_not_a_number_is_not_converged_and_stays_in_its_row(kind):
    net, x = steep(), draws(40)
    start = jnp.asarray(x).at[3].set(jnp.nan)
    solution = kind(max_steps=300).solve(net, x, start)
    np.testing.assert_array_equal(solution.converged, jnp.arange(40) != 3)
    assert solution.steps[3] == 0


def test_line_search_never_raises_the_objective():
    """Descent moves from far too short to too long; nearly exact where the line's minimum is inside."""
    with jax.enable_x64(True):
        net, x, y = steep(), jnp.asarray(draws(40)), jnp.asarray(draws(40, seed=4))
        slope = gradients(net, y) - x
        objective = values(net, y) - jnp.sum(x * y, axis=1)
        rows = Rows(x, y, objective, slope, jnp.zeros(40, int), None)
        move = -slope * 10 ** np.linspace(-3, 1, 40)[:, None]
        moved, length = line_search(net, rows, move, jnp.arange(40) != 7)
        fell, length = np.asarray(moved.objective < objective), np.asarray(length)
        first, last = (np.sum(s * move, axis=1) for s in (slope, moved.slope))
    np.testing.assert_array_equal(length > 0, np.arange(40) != 7)
    np.testing.assert_array_equal(fell, length > 0)
    assert np.all(length[:5] == 1)
    inside = (length > 0) & (length < 1)
    assert inside.sum() > 5
    assert np.all(np.abs(last[inside]) <= 0.5 * np.abs(first[inside]))


def test_the_tail_of_a_batch_is_solved_as_alone():
    """A large batch gathers its last rows: each ends where a solve of its own ends."""
    with jax.enable_x64(True):
        net, x = steep(), draws(160)
        solver = Newton(tolerance=1e-9, max_steps=300)
        together = solver.solve(net, x, x)
        alone = [solver.solve(net, x[i : i + 40], x[i : i + 40]) for i in range(0, 160, 40)]
        np.testing.assert_array_equal(together.steps, jnp.concatenate([part.steps for part in alone]))
        np.testing.assert_allclose(together.point, jnp.concatenate([part.point for part in alone]), atol=1e-9)


def test_mixed_precision_is_promoted():
    """Targets in float32 for leaves in float64."""
    with jax.enable_x64(True):
        w, x = Quadratic.from_gaussian(MEAN, S @ S @ S), jnp.asarray(draws(10), jnp.float32)
        solution = Newton(tolerance=1e-10).solve(w, x, x)
        assert solution.point.dtype == jnp.float64
        assert jnp.all(solution.converged)


def test_solves_inside_a_scan():
    net, x = steep(), jnp.asarray(draws(8), dtype=jnp.float32)

    def step(y, shift):
        solution = Newton().solve(net, x + shift, y)
        return solution.point, solution.converged

    _, converged = jax.jit(lambda: jax.lax.scan(step, x, jnp.linspace(0, 0.1, 4)))()
    assert jnp.all(converged)


def test_discrete_start_attains_the_discrete_transform():
    net = steep()
    y, others = (jnp.asarray(draws(n, seed=seed), dtype=jnp.float32) for n, seed in ((40, 1), (9, 2)))
    x = gradients(net, others)
    start = discrete_start(net, x, y, jnp.full_like(x, 50.0))
    objectives = values(net, y) - x @ y.T
    np.testing.assert_array_equal(start, y[np.argmin(objectives, axis=1)])
    np.testing.assert_array_equal(discrete_start(net, x, y, jnp.full_like(x, 50.0), values(net, y)), start)


def test_discrete_start_takes_what_is_finite():
    """The solution of a row, whether it is among the candidates or is that row's guess; never a point without w."""
    net, y = steep(), jnp.asarray(draws(6), dtype=jnp.float32)
    x, good = gradients(net, y), (jnp.arange(6) % 2 == 0)[:, None]
    start = discrete_start(net, x, jnp.where(good, y, jnp.nan), jnp.where(good, jnp.nan, y))
    np.testing.assert_array_equal(start, y)


@pytest.mark.parametrize("dense", [True, False])
def test_implicit_derivative_matches_differences(dense, monkeypatch):
    """Of a scalar of ∇w*, by the targets and by every leaf of w at once, in float64."""
    if not dense:
        monkeypatch.setattr("conjugate_moments.conjugates.implicit.LARGEST_DENSE", 0)
    with jax.enable_x64(True):
        net, x, weights = steep(), jnp.asarray(draws(4)), jnp.asarray(draws(4, seed=5))
        solver = Newton(tolerance=1e-12, max_steps=200)

        def score(net, x):
            return jnp.sum(weights * jnp.sin(transport(net, x, solver=solver)))

        rng = np.random.default_rng(6)
        fixed = jax.tree.map(jnp.zeros_like, net.frame)
        direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), (net, x))
        direction = (replace(direction[0], frame=fixed), direction[1])
        slopes = jax.grad(score, argnums=(0, 1))(net, x)
        reverse = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (slopes, direction)), strict=True))
        _, forward = jax.jvp(score, (net, x), direction)
        step = 1e-5
        ends = [score(*jax.tree.map(lambda a, b, h=h: a + h * b, (net, x), direction)) for h in (step, -step)]
        difference = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(reverse, forward, rtol=1e-6)
        # Central differences: step² times a third derivative of a map of slopes up to ten.
        np.testing.assert_allclose(forward, difference, rtol=1e-4)


def test_transport_never_returns_an_unconverged_row():
    net, x = steep(), draws(40)
    y = transport(net, x, solver=Newton(max_steps=1), start=100 + np.zeros_like(x))
    assert jnp.all(jnp.isnan(y))


def test_selection_follows_the_dimension():
    solvers = [conjugate_solver(d, tolerance=1e-2) for d in (1, 2, 32, 64, 784)]
    assert all(solver.tolerance == 1e-2 for solver in solvers)
    assert isinstance(solvers[0], Newton)
    assert isinstance(solvers[-1], LBFGS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w, x: Newton().solve(w, x[:, :2], x), r"targets: expected shape \[n, 3\]"),
        (lambda w, x: Newton().solve(w, x, x[0]), r"start: expected shape \[n, 3\]"),
        (lambda w, x: Newton().solve(w, x, x[:2]), r"start: expected shape \[5, 3\]"),
        (lambda w, x: transport(w, x[0], solver=Newton()), r"targets: expected shape \[n, 3\]"),
        (lambda w, x: discrete_start(w, x, x[:0], x), "candidates: expected at least one"),
        (lambda w, x: discrete_start(w, x, x, x[:2]), r"guess: expected shape \[5, 3\]"),
        (lambda w, x: LBFGS(preconditioner=jnp.eye(2)).solve(w, x, x), "preconditioner: expected shape"),
        (lambda w, x: NewtonCG(max_products=0), "max_products: expected an integer > 0, found 0"),
        (lambda w, x: LBFGS(history=0), "history: expected an integer > 0, found 0"),
        (lambda w, x: Newton(tolerance=0.0), "tolerance: expected a number > 0, found 0.0"),
        (lambda w, x: Newton(max_steps=0), "max_steps: expected an integer > 0, found 0"),
        (lambda w, x: conjugate_solver(0), "dim: expected an integer > 0, found 0"),
        (lambda w, x: conjugate_solver(2, history=3), "overrides: Newton has no history"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(Quadratic.from_gaussian(MEAN, S), draws(5))

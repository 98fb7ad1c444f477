"""Invariance, balance, adaptation and refusals of the Langevin sampler."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from conjugate_moments.samplers import mala
from conjugate_moments.samplers.mala import initial_state, mala_step, refresh, run, warm_up

KEY = jax.random.key(7)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Quadratic:
    precision: jax.Array

    def value(self, x):
        return x @ self.precision @ x / 2


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Quartic:
    scale: jax.Array

    def value(self, x):
        return jnp.sum((x / self.scale) ** 4) / 4


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Gamma:
    """The law of density x e^{-x} on x > 0; NaN elsewhere."""

    shift: jax.Array

    def value(self, x):
        return jnp.sum(x - jnp.log(x) + self.shift)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Cube:
    side: jax.Array

    def value(self, x):
        return jnp.where(jnp.all(jnp.abs(x) < self.side / 2), 0.0, jnp.inf)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Norm:
    scale: jax.Array

    def value(self, x):
        return self.scale * jnp.sqrt(jnp.sum(x**2))


ROOT = np.array([[2.0, 0.3], [-0.5, 0.4]])
STANDARD = Quadratic(jnp.eye(2))


@partial(jax.jit, static_argnames="leaps")
def moved(potential, state, root=None, leaps=1):
    """The chains after 40 moves of fixed step."""

    def move(state, key):
        return mala_step(potential, state, key=key, root=root, leaps=leaps)[0], None

    return jax.lax.scan(move, state, jax.random.split(jax.random.fold_in(KEY, 1), 40))[0]


def assert_mean(samples, expected):
    """The mean of independent rows is `expected` within five standard errors."""
    samples = np.asarray(samples, dtype=np.float64)
    error = samples.std(axis=0) / np.sqrt(len(samples))
    np.testing.assert_array_less(np.abs(samples.mean(axis=0) - expected), 5 * error)


@pytest.mark.parametrize("root", [None, ROOT])
def test_detailed_balance(root):
    """π(x) q(x, y) α(x, y) is symmetric, with q written out from the Langevin proposal's Gaussian law."""
    with jax.enable_x64(True):
        potential, step = Quartic(jnp.array([1.0, 2.0])), 0.4
        x, y = jax.random.normal(KEY, (2, 50, 2))
        matrix = np.eye(2) if root is None else root

        @jax.jit
        def flow(start, end):
            state = initial_state(potential, start, step=step)
            drift = step * state.gradient @ matrix @ matrix.T
            noise = (end - start + drift) @ np.linalg.inv(matrix).T / np.sqrt(2 * step)
            way = mala._trajectory(potential, state, noise, jnp.sqrt(2 * step), root, 1)
            log_flow = -state.value - jnp.sum(noise**2, axis=1) / 2
            return log_flow + jnp.minimum(mala._log_ratio(state, noise, way), 0), way.position

        (forth, proposed), (back, _) = flow(x, y), flow(y, x)
        np.testing.assert_allclose(proposed, y, atol=1e-12)
        np.testing.assert_allclose(forth, back, rtol=1e-10)


@pytest.mark.parametrize("root", [None, ROOT])
def test_trajectories_are_reversible_and_keep_volume(root):
    """Of several leaps: back to the start from the end with the momentum turned round, at the inverse ratio."""
    with jax.enable_x64(True):
        potential, leaps, length = Quartic(jnp.array([1.0, 2.0])), 5, 0.3
        x, momentum = jax.random.normal(KEY, (2, 50, 2))

        @jax.jit
        def sent(x, momentum):
            state = initial_state(potential, x, step=1.0)
            way = mala._trajectory(potential, state, momentum, length, root, leaps)
            return way.position, -way.momentum, mala._log_ratio(state, momentum, way)

        end, turned, ratio = sent(x, momentum)
        back, momentum_back, inverse = sent(end, turned)
        np.testing.assert_allclose(back, x, atol=1e-11)
        np.testing.assert_allclose(momentum_back, momentum, atol=1e-11)
        np.testing.assert_allclose(inverse, -ratio, atol=1e-11)
        assert np.abs(ratio).max() > 0.01

        def row(both):
            found = sent(both[None, :2], both[None, 2:])
            return jnp.concatenate([found[0][0], found[1][0]])

        jacobians = jax.jit(jax.vmap(jax.jacobian(row)))(jnp.concatenate([x, momentum], axis=1))
        np.testing.assert_allclose(jnp.abs(jnp.linalg.det(jacobians)), 1.0, rtol=1e-9)


@pytest.mark.parametrize("leaps", [1, 4])
def test_exact_draws_stay_exact(leaps):
    """At h = 1 the unadjusted chain would double the variance; the adjusted one keeps every moment."""
    state = initial_state(STANDARD, jax.random.normal(KEY, (20_000, 2)), step=1.0)
    end = moved(STANDARD, state, leaps=leaps).position
    assert_mean(end, 0.0)
    assert_mean(end**2, 1.0)
    assert_mean(end**4, 3.0)
    assert_mean(end[:, 0] * end[:, 1], 0.0)


def test_stein_identity():
    """E[x_i ∂_i w] = 1 for every law e^{-w} on the whole space, from exact draws of e^{-x⁴/4} at a step of order 1."""
    potential = Quartic(jnp.array([1.0, 3.0]))
    white = stats.gennorm(4, scale=4**0.25).rvs((20_000, 2), random_state=0)
    start = jnp.asarray(white * np.array([1.0, 3.0]), jnp.float32)
    end = moved(potential, initial_state(potential, start, step=0.5), jnp.diag(potential.scale))
    assert_mean(end.position * end.gradient, 1.0)
    assert_mean(end.position, 0.0)


def test_leaps_do_not_turn_back_at_random():
    """Where deviations are from 1 to 10, moves of five leaps give many times the ESS of as many gradients."""
    deviations = jnp.linspace(1, 10, 10)
    potential, start = Quadratic(jnp.diag(deviations**-2)), 2 * deviations * jax.random.normal(KEY, (50, 10))
    ess = {}
    for leaps in (1, 5):
        state = warm_up(potential, initial_state(potential, start, step=0.1), 1000 // leaps, key=KEY, leaps=leaps)
        ess[leaps] = float(jnp.min(run(potential, state, 2000 // leaps, key=KEY, leaps=leaps).diagnostics.ess))
    assert ess[5] > 2 * ess[1]


def test_no_coordinate_comes_back_at_every_move():
    """Half a turn, or a whole one, at the mean length of a trajectory: the coordinate or its square would be the same.

    The correlation of squares after a move is E cos² θ, θ = n a the turn of n leaps, each by an angle a.
    """
    leaps, turns = 6, jnp.array([jnp.pi, 2 * jnp.pi])
    length = 0.5
    frequencies = 2 * jnp.sin(turns / leaps / 2) / length  # of which a leap of this length turns by turns/leaps
    potential = Quadratic(jnp.diag(frequencies**2))
    state = initial_state(potential, jax.random.normal(KEY, (2000, 2)) / frequencies, step=length**2 / 2)
    found = run(potential, state, 100, key=KEY, leaps=leaps)
    squares = np.square(np.asarray(found.draws, np.float64) * frequencies)
    correlation = [np.corrcoef(squares[:-1, :, i].ravel(), squares[1:, :, i].ravel())[0, 1] for i in range(2)]
    # Half a turn ± a half is uniform enough for a mean of cos² near ½; rejections, a tenth or so, add to it.
    assert max(correlation) < 0.65


def test_the_root_is_a_change_of_variables():
    """Chains on w with root R are the images under R of chains on w∘R with root I."""
    with jax.enable_x64(True):
        start = jax.random.normal(KEY, (10, 2))
        standard = Quadratic(jnp.eye(2))
        white = moved(standard, initial_state(standard, start, step=0.7))
        inverse = np.linalg.inv(ROOT)
        potential = Quadratic(jnp.asarray(inverse.T @ inverse))
        image = moved(potential, initial_state(potential, start @ ROOT.T, step=0.7), jnp.asarray(ROOT))
        np.testing.assert_allclose(image.position, white.position @ ROOT.T, atol=1e-12)
        assert image.position.dtype == image.log_step.dtype == jnp.float64


def test_a_diagonal_root_moves_as_its_matrix():
    """Moves and acceptance probabilities alike."""
    with jax.enable_x64(True):
        potential, diagonal = Quartic(jnp.array([1.0, 3.0])), jnp.array([0.5, 2.0])
        state = initial_state(potential, jax.random.normal(KEY, (50, 2)), step=0.5)
        (one, told), (other, same) = (
            mala_step(potential, state, key=KEY, root=root) for root in (diagonal, jnp.diag(diagonal))
        )
        one, told, other, same = (jax.tree.map(np.asarray, found) for found in (one, told, other, same))
    np.testing.assert_allclose(one.position, other.position, atol=1e-13)
    np.testing.assert_allclose(told.probability, same.probability, atol=1e-12)
    assert 0 < told.accepted.mean() < 1


@pytest.mark.parametrize("step", [1e-4, 1e2])
def test_adaptation_reaches_the_target(step):
    potential = Quadratic(jnp.diag(jnp.array([1.0, 9.0])))
    state = initial_state(potential, jax.random.normal(KEY, (200, 2)), step=step)
    state = warm_up(potential, state, 500, key=KEY)
    found = run(potential, state, 1000, key=jax.random.fold_in(KEY, 1), thin=10).diagnostics
    assert abs(found.acceptance - mala.TARGET_ACCEPTANCE) < 0.05
    assert abs(state.acceptance - mala.TARGET_ACCEPTANCE) < 0.05


@pytest.mark.parametrize("step", [1e-6, 1e6])
def test_chains_that_do_not_mix_are_flagged(step):
    state = initial_state(STANDARD, jax.random.normal(KEY, (200, 2)), step=step)
    assert not run(STANDARD, state, 1000, key=KEY, thin=10).diagnostics.converged


def test_proposals_outside_the_domain_are_rejected():
    """Invariance on a bounded domain, and where w is NaN outside."""
    cube = Cube(jnp.asarray(2.0))
    end = moved(cube, initial_state(cube, jax.random.uniform(KEY, (20_000, 2), minval=-1), step=0.3))
    assert jnp.all(jnp.abs(end.position) < 1)
    assert_mean(end.position**2, 1 / 3)
    gamma = Gamma(jnp.asarray(0.0))
    start = -jnp.sum(jnp.log(jax.random.uniform(KEY, (20_000, 2, 2))), axis=2)
    end = moved(gamma, initial_state(gamma, start, step=1.0))
    assert jnp.all(end.position > 0)
    assert_mean(end.position, 2.0)
    assert_mean(end.position**2, 6.0)


def test_a_gradient_that_is_not_finite_is_rejected():
    """That of |x| is NaN at 0, where the first trajectory passes at its first leap."""
    norm = Norm(jnp.ones(()))
    state = initial_state(norm, jnp.array([[1.0, 0.0], [5.0, 0.0]]), step=1.0)
    momentum = jnp.array([[-0.5, 0.0], [-0.5, 0.0]])
    for leaps in (1, 2):
        way = mala._trajectory(norm, state, momentum, jnp.ones(()), None, leaps)
        np.testing.assert_array_equal(jnp.isfinite(mala._log_ratio(state, momentum, way)), [False, True])


def test_refresh_after_a_change_of_potential():
    state = initial_state(STANDARD, jax.random.normal(KEY, (5, 2)), step=0.1)
    other = Quartic(jnp.ones(2))
    fresh = refresh(other, state)
    np.testing.assert_allclose(fresh.value, jnp.sum(state.position**4, axis=1) / 4, rtol=1e-6)
    np.testing.assert_allclose(fresh.gradient, state.position**3, rtol=1e-5)
    np.testing.assert_array_equal(fresh.position, state.position)


def test_bad_arguments_are_named():
    start = jnp.zeros((4, 2))
    with pytest.raises(ValueError, match="positions: expected a non-empty array"):
        initial_state(STANDARD, jnp.zeros(2), step=1.0)
    with pytest.raises(ValueError, match="step: expected a finite number > 0, found 0"):
        initial_state(STANDARD, start, step=0.0)
    with pytest.raises(ValueError, match="moves: expected a multiple of thin=3"):
        run(STANDARD, initial_state(STANDARD, start, step=1.0), 20, key=KEY, thin=3)

"""Posterior draws against closed forms, the gradient against differences, trajectories, and failures that must show."""

from dataclasses import dataclass, replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments import _cosine
from conjugate_moments.conjugates import LBFGS, ConjugateSolution, Newton, NewtonCG
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.inference import inpainting
from conjugate_moments.inference._completions import R_HAT_LIMIT, Completions, trusted
from conjugate_moments.inference.inpainting import complete, posterior_root
from conjugate_moments.potentials.base import gradients
from conjugate_moments.potentials.image_network import ImageNetwork
from conjugate_moments.potentials.quadratic import Quadratic
from conjugate_moments.samplers.diagnostics import effective_sample_size

KEY = jax.random.key(3)
DIM, IMAGES, CHAINS, NOISE = 4, 3, 100, 0.3
MEAN = np.array([0.5, -1.0, 0.2, 0.0])
SPREAD = np.array([0.8, 1.2, 0.5, 1.0])  # S, so that cov = S³
SEEN = np.array([[1.0, 0.5, 0.0, -0.3], [0.0, 1.0, 1.0, 0.2]])
OBSERVED = np.array([[0.0, 0.0], [1.0, -2.0], [-1.5, 0.5]])
GAUSSIAN = Quadratic.from_gaussian(MEAN, np.diag(SPREAD**3))
START = np.zeros((IMAGES, DIM))
FEW = {"chains": 4, "draws": 8, "moves": 8, "warmup": 1, "leaps": 1}
EXACT = Newton(1e-4)  # one step, for a quadratic
TIGHT = NewtonCG(1e-11)  # in float64


def observe(points):
    return points @ jnp.asarray(SEEN.T, points.dtype)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class GaussianEnergy:
    mean: jax.Array
    variance: jax.Array

    def value(self, x):
        return jnp.sum((x - self.mean) ** 2 / self.variance) / 2


OTHER = np.array([1.0, 0.5, -0.5, 0.0]), np.array([0.5, 2.0, 1.0, 0.3])  # another source: its mean and variances
SOURCES = {
    "gibbs": (GAUSSIAN, MEAN / (1 + SPREAD), SPREAD),
    "gaussian": (GaussianEnergy(*map(jnp.asarray, OTHER)), *OTHER),
}


def completed(prior=GAUSSIAN, solver=EXACT, potential=GAUSSIAN, **changes):
    given = {
        "observe": observe,
        "observed": OBSERVED,
        "noise": NOISE,
        "start": START,
        "root": None,
        "key": KEY,
        "draws": 4000,
        "chains": CHAINS,
        "moves": 120,
        "warmup": 80,
        "leaps": 5,
    } | changes
    return complete(potential, prior, solver, given.pop("observe"), given.pop("observed"), **given)


def closed_form(mean, variance, noise):
    """Means `[n, d]` and covariance of x ~ N(mean, variance) given b = M (S x + a) + noise, a the centre of w."""
    adjoint = SPREAD[:, None] * SEEN.T
    cov = np.linalg.inv(np.diag(1 / variance) + adjoint @ adjoint.T / noise**2)
    centre = MEAN / (1 + SPREAD)
    return mean + (OBSERVED - (SPREAD * mean + centre) @ SEEN.T) @ (cov @ adjoint / noise**2).T, cov


def assert_gaussian(found: Completions, means, cov):
    """Moments of the sources within five standard errors, from the smallest effective sample size of each image."""
    for image, mean in enumerate(means):
        x = found.sources[:, image].astype(np.float64)
        chains = jnp.asarray(x.reshape(-1, CHAINS, DIM))
        ess = min(float(effective_sample_size(rows).min()) for rows in (chains, (chains - mean) ** 2))
        assert ess > 1000  # of 4,000: else the errors below are too wide to tell
        np.testing.assert_array_less(np.abs(x.mean(axis=0) - mean), 5 * np.sqrt(np.diag(cov) / ess))
        error = 5 * np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / ess)
        np.testing.assert_array_less(np.abs((x - mean).T @ (x - mean) / len(x) - cov), error)


@pytest.mark.parametrize(("source", "rooted"), [("gibbs", True), ("gaussian", True), ("gibbs", False)])
def test_the_posterior_of_a_gaussian_is_its_closed_form(source, rooted):
    prior, mean, variance = SOURCES[source]
    root = posterior_root(SPREAD, np.sqrt(variance), observe, NOISE) if rooted else None
    found = completed(prior, root=root)
    assert found.points.shape == found.sources.shape == (4000, IMAGES, DIM)
    assert np.all(found.converged)
    assert found.unconverged == 0
    assert abs(found.acceptance - inpainting.TARGET_ACCEPTANCE) < 0.1
    assert_gaussian(found, *closed_form(mean, variance, NOISE))
    np.testing.assert_allclose(found.points, found.sources * SPREAD + MEAN / (1 + SPREAD), atol=1e-3)


def test_one_leap_is_mala_and_has_the_same_law():
    found = completed(leaps=1, moves=120, root=posterior_root(SPREAD, np.sqrt(SPREAD), observe, NOISE))
    assert_gaussian(found, *closed_form(*SOURCES["gibbs"][1:], NOISE))


def test_noise_without_bound_gives_the_prior_back():
    found = completed(noise=1e4)
    assert_gaussian(found, np.tile(MEAN / (1 + SPREAD), (IMAGES, 1)), np.diag(SPREAD))


@pytest.mark.parametrize("noise", [1e-6, 0.3, 1e6])
def test_the_root_squares_to_the_posterior_covariance(noise):
    """Relative to each posterior deviation, with σ so small that a difference of covariances keeps no digit."""
    with jax.enable_x64(True):
        root = posterior_root(SPREAD, np.sqrt(SPREAD), observe, noise)
        full = posterior_root(np.diag(SPREAD), np.diag(np.sqrt(SPREAD)), observe, noise)
    np.testing.assert_allclose(full, root, atol=1e-15)
    # Of RᵀPR, P the precision: assembled, P itself would lose the digits.
    factor = np.concatenate([root / np.sqrt(SPREAD)[:, None], SEEN @ (SPREAD[:, None] * root) / noise])
    np.testing.assert_allclose(factor.T @ factor, np.eye(DIM), atol=1e-8)


@cache
def network():
    """A convex network of 4 × 4 images, sharp and steep enough to be far from quadratic."""
    with jax.enable_x64(False):
        return _network(1 / (1 + np.arange(16.0)))


def _network(variance):
    net = ImageNetwork.near(
        np.zeros(16),
        variance,
        curvature=variance ** (-1 / 3),
        slope_mean=np.zeros(16),
        shape=(4, 4, 1),
        widths=(3, 5),
        pieces=3,
        patch=2,
        stride=2,
        smoothing=0.3,
        quadratic=0.3,
        slope=1.0,
        key=KEY,
    )
    return replace(net, output=net.output + 1)


UPPER = np.arange(8)  # pixels of the upper half


def upper(points):
    return _cosine.pixels(points, (4, 4, 1))[..., UPPER]


def image_posterior(net, solver, rows=6, noise=0.2):
    key_points, key_seen = jax.random.split(KEY)
    points = jax.random.normal(key_points, (rows, 16)) * net.frame.scale
    seen = upper(points) + noise * jax.random.normal(key_seen, (rows, 8))
    posterior = inpainting._Posterior(net, net, seen, jnp.asarray(noise), jnp.ones(16), solver, upper)
    return posterior, gradients(net, points) + 0.3, points


def in_float64(net):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), net)


@pytest.fixture(scope="module")
def exact_leap():
    """A leapfrog step on posteriors of images in float64, all of it exact to rounding; compiled once."""
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(inpainting, "ACCURACY", 1e-12)
        posterior, x, y = image_posterior(in_float64(network()), TIGHT)
        root = jnp.diag(jnp.linspace(0.2, 0.4, 16))
        leap = jax.jit(lambda path, step: inpainting._leap(posterior, path, step, root))
        leap(path_at(x, y), 0.0)
        yield leap, x, y


def path_at(x, y):
    """A trajectory whose first leap of length 0 finds energy and gradient, with any momentum kept."""
    rows = len(x)
    state = inpainting._Chains(x, jnp.zeros(rows), jnp.zeros_like(x), y, jnp.zeros((rows, 1)))
    return path_of(state, jnp.zeros_like(x))


def path_of(state, momentum):
    rows = len(momentum)
    return inpainting._Path(state, state.point, momentum, jnp.ones(rows, bool), jnp.zeros(rows, int), jnp.zeros(rows))


def test_the_gradient_is_that_of_the_energy(exact_leap):
    leap, x, y = exact_leap
    with jax.enable_x64(True):
        found = leap(path_at(x, y), 0.0)
        assert np.all(found.solved)
        h = 1e-5
        for j in range(16):
            move = h * jnp.eye(16)[j]
            up, down = (leap(path_at(x + sign * move, y), 0.0).now.value for sign in (1, -1))
            np.testing.assert_allclose(found.now.gradient[:, j], (up - down) / (2 * h), rtol=1e-6, atol=1e-6)


def test_trajectories_are_reversible_and_keep_the_energy_to_second_order(exact_leap):
    leap, x, y = exact_leap
    with jax.enable_x64(True):
        momentum = jax.random.normal(KEY, x.shape)
        state = leap(path_at(x, y), 0.0).now
        errors = []
        for leaps in (4, 8, 16):
            path = path_of(state, momentum)
            for _ in range(leaps):
                path = leap(path, 0.2 / leaps)
            rise = path.now.value - state.value + jnp.sum(path.momentum**2 - momentum**2, axis=1) / 2
            errors.append(float(jnp.abs(rise).max()))
            back = path_of(path.now, -path.momentum)
            for _ in range(leaps):
                back = leap(back, 0.2 / leaps)
            np.testing.assert_allclose(back.now.position, x, atol=1e-7)
            np.testing.assert_allclose(back.momentum, -momentum, atol=1e-6)
        orders = np.log2(np.array(errors[:-1]) / errors[1:])
        assert np.all(orders > 1.7), orders


class Unsolved:
    """Takes the start for the solution, whatever its residual."""

    def solve(self, potential, targets, start):
        rows = len(start)
        return ConjugateSolution(start, jnp.zeros(rows), jnp.zeros(rows), jnp.zeros(rows, int), jnp.ones(rows, bool))


def test_a_residual_of_the_conjugate_enters_the_energy_to_second_order(monkeypatch):
    monkeypatch.setattr(inpainting, "ACCURACY", 1e-12)
    with jax.enable_x64(True):
        posterior, _, y = image_posterior(in_float64(network()), Unsolved())
        x, shift = gradients(posterior.potential, y), jnp.cos(jnp.arange(16.0))
        energy = jax.jit(lambda amount: inpainting._energy(posterior, x, y + amount * shift).value)
        small, large = (np.abs(energy(amount) - energy(0.0)) for amount in (1e-4, 1e-3))
        np.testing.assert_allclose(large / small, 100, rtol=0.1)


def test_the_model_of_the_hessian_is_exact_where_that_is_diagonal():
    norms = inpainting._row_norms(GAUSSIAN, jnp.zeros((2, DIM)), KEY)
    np.testing.assert_allclose(norms, 1 / SPREAD, rtol=1e-5)


def test_equal_keys_give_equal_draws():
    first, again, other = completed(**FEW), completed(**FEW), completed(**FEW, key=jax.random.key(4))
    np.testing.assert_array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)


def test_conjugates_that_are_not_solved_are_counted_and_never_kept():
    found = completed(solver=LBFGS(1e-4, max_steps=1), **FEW)
    assert found.unconverged > 0.1
    assert not np.any(found.converged)
    residual = np.abs(gradients(GAUSSIAN, found.points.reshape(-1, DIM)) - found.sources.reshape(-1, DIM))
    assert residual.max() < 1.1e-4  # the tolerance, and rounding


def test_conjugates_that_are_missed_too_often_are_not_converged_whatever_r_hat_says():
    rows = IMAGES * CHAINS
    summary = jax.random.normal(KEY, (1000, 1, rows, 3))
    solved = jnp.ones((1000, rows), bool).at[:200, 0].set(False)  # 0.2 % of the moves of the first image
    told = inpainting._Move(solved, solved, solved, solved, summary[:, 0])
    r_hat, share = inpainting._by_image(told, IMAGES, CHAINS)
    assert np.all(r_hat < R_HAT_LIMIT)
    np.testing.assert_array_equal(trusted(r_hat, share), [False, True, True])
    assert not trusted(np.array([np.nan]), np.ones(1))[0]


def test_chains_that_have_not_met_are_not_converged():
    far = 20.0 * np.arange(4)[:, None, None] + np.zeros((4, IMAGES, DIM))
    found = completed(start=far, noise=1e3, **FEW)
    assert np.all(found.r_hat > 2)
    assert not np.any(found.converged)


def test_a_solver_in_units_of_the_source_serves_as_well():
    solver = RelativeConjugate.of_spread(LBFGS(1e-4), np.sqrt(SPREAD) / 10)
    found = completed(solver=solver, **FEW)
    assert found.unconverged == 0
    residual = np.abs(gradients(GAUSSIAN, found.points.reshape(-1, DIM)) - found.sources.reshape(-1, DIM))
    assert residual.max() < 1e-4 * 0.2  # of the largest unit, 1/8, and rounding


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": 0.0}, "noise: found 0.0"),
        ({"noise": float("nan")}, "noise: found nan"),
        ({"chains": 2}, "chains: found 2"),
        ({"draws": 110}, "draws: found 110"),
        ({"moves": 3, "draws": 100}, "moves: found 3"),
        ({"moves": 121}, "moves: found 121"),
        ({"warmup": 0}, "warmup: found 0"),
        ({"leaps": 0}, "leaps: found 0"),
        ({"observed": OBSERVED[:, :1]}, r"observed: found shape \[3, 1\]"),
        ({"observed": OBSERVED[0]}, r"observed: found shape \[2\]"),
        ({"observed": OBSERVED * np.nan}, "observed: found NaN"),
        ({"start": START[:2]}, r"start: found shape \[2, 4\]"),
        ({"start": START + np.inf}, "start: found NaN"),
        ({"root": np.ones(3)}, r"root: found shape \[3\]"),
    ],
)
def test_bad_input_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        completed(**changes)


@pytest.mark.parametrize(
    ("map_matrix", "source_root", "noise", "message"),
    [
        (np.ones((4, 3)), SPREAD, 1.0, r"map_matrix: found shape \[4, 3\]"),
        (SPREAD[:3], SPREAD, 1.0, r"map_matrix: found shape \[3\]"),
        (SPREAD, -SPREAD, 1.0, "source_root: found a diagonal"),
        (SPREAD, SPREAD, -1.0, "noise: found -1.0"),
    ],
)
def test_bad_input_of_the_root_is_named(map_matrix, source_root, noise, message):
    with pytest.raises(ValueError, match=message):
        posterior_root(map_matrix, source_root, observe, noise)

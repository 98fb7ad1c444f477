"""Posteriors in parts against closed forms and quadrature, sources that are not Gaussian, failures that must show."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments.inference import particles
from conjugate_moments.inference.particles import Gaussian, complete_in_parts
from conjugate_moments.potentials.base import gradients
from conjugate_moments.potentials.quadratic_maxima import QuadraticFrame, QuadraticMaxima

KEY, DIM, NOISE = jax.random.key(0), 3, 0.3
MEAN = np.array([0.5, -1.0, 0.2])
ROOT = np.array([[0.8, 0.0, 0.0], [0.3, 1.2, 0.0], [0.0, -0.4, 0.5]])
SEEN = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 1.0]])
OBSERVED = np.array([[0.0, 0.0], [1.0, -2.0]])
NUMBERS = {"populations": 4, "particles": 1000}


def observe(points):
    return points @ jnp.asarray(SEEN.T, points.dtype)


def maximum(slopes, offsets, shapes, curvature, smoothing=0.01):
    """Parts ⟨a, x⟩ + b + ½⟨q, x²⟩ + ½‖L x‖² in plain units: those of the frame are divided out."""
    slopes, shapes = jnp.asarray(slopes, jnp.float32), jnp.asarray(shapes, jnp.float32)
    dim = slopes.shape[1]
    one = jnp.ones(dim)
    frame = QuadraticFrame(0 * one, one, 0 * one, one, distance=jnp.ones(()), smoothing=jnp.asarray(smoothing))
    log_curvature = jnp.log(jnp.asarray(curvature, jnp.float32)) / frame.curvature
    return QuadraticMaxima(
        frame,
        slopes / frame.slope,
        jnp.asarray(offsets, jnp.float32) / frame.offset,
        shapes / frame.shape,
        log_curvature,
    )


SHAPE = np.array([[[0.5, -0.2, 0.3]]])


def same(count):
    """A quadratic as a maximum of `count` equal ones, but for a constant."""
    parts = [[0.3, 0.1, -0.2]], [0.0], SHAPE, [[0.8, 1.2, 0.5]]
    return maximum(*(np.repeat(part, count, axis=0) for part in parts))


ONE = same(1)
MATRIX, SHIFT = (np.asarray(part[0], np.float64) for part in ONE.affine_maps())


def posterior(mean, cov):
    """Means `[n, d]` and covariance of x ~ N(mean, cov) given b = M(A x + c) + noise."""
    seen = SEEN @ MATRIX
    gain = cov @ seen.T @ np.linalg.inv(seen @ cov @ seen.T + NOISE**2 * np.eye(2))
    return mean + (OBSERVED - (MATRIX @ mean + SHIFT) @ SEEN.T) @ gain.T, cov - gain @ seen @ cov


def assert_gaussian(sources, means, cov, effective):
    """Moments of draws `[s, n, d]` within five standard errors of as many effective ones."""
    for image, mean in enumerate(means):
        x = sources[:, image].astype(np.float64)
        np.testing.assert_array_less(np.abs(x.mean(axis=0) - mean), 5 * np.sqrt(np.diag(cov) / effective))
        error = 5 * np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / effective)
        np.testing.assert_array_less(np.abs((x - mean).T @ (x - mean) / len(x) - cov), error)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Energy:
    """That of N(mean, cov), unknown beyond `reach` standard deviations."""

    mean: jax.Array
    precision: jax.Array
    reach: float = field(default=np.inf, metadata={"static": True})

    def value(self, x):
        return (x - self.mean) @ self.precision @ (x - self.mean) / 2

    def from_guess(self, positions, guess):
        values = jax.vmap(self.value)(positions)
        return jnp.where(2 * values < self.reach**2, values, jnp.inf), guess


def energy(mean, cov, **more):
    return Energy(jnp.asarray(mean, jnp.float32), jnp.asarray(np.linalg.inv(cov), jnp.float32), **more)


def completed(potential=ONE, prior=None, **changes):
    given = {"observe": observe, "observed": OBSERVED, "noise": NOISE, "key": KEY, "source": Gaussian(MEAN, ROOT)}
    given |= NUMBERS | changes
    leading = (given.pop(name) for name in ("observe", "observed"))
    return complete_in_parts(potential, given.pop("source"), prior, *leading, **given)


@pytest.mark.parametrize("parts", [1, 3])
def test_the_posterior_of_a_gaussian_is_its_closed_form(parts):
    found = completed(same(parts))
    assert found.points.shape == found.sources.shape == (4000, 2, DIM)
    assert np.all(found.converged)
    assert found.unconverged == 0
    assert found.acceptance > 0.99  # the proposals keep it
    # Half of the particles are lost at a change of temperature, and as good as new after ten moves that all succeed.
    assert_gaussian(found.sources, *posterior(MEAN, ROOT @ ROOT.T), 4000 / 2)
    np.testing.assert_allclose(found.points, found.sources @ MATRIX + SHIFT, atol=1e-5)


def test_a_source_that_is_not_the_gaussian_is_bridged_to():
    mean, cov = MEAN + np.array([0.4, -0.5, 0.2]), 0.6 * ROOT @ ROOT.T + 0.1 * np.eye(DIM)
    found = completed(prior=energy(mean, cov))
    assert np.all(found.converged)
    means, covs = posterior(mean, cov)
    # Far enough from the posterior of the Gaussian itself to tell.
    assert np.abs(means - posterior(MEAN, ROOT @ ROOT.T)[0]).max() > 0.2
    assert_gaussian(found.sources, means, covs, 4000 / 8)


TWO = maximum([[-4.0], [4.0]], [0.0, 0.8], [[[0.1]], [[0.1]]], [[0.3], [0.5]])  # two parts, far from each other
WIDE = 3.5


def by_quadrature(observed, log_source):
    """Mean of y, and the share of its right part, under the posterior of a source of one coordinate."""
    x = np.linspace(-8, 8, 200_001)
    y = np.asarray(gradients(TWO, jnp.asarray(x[:, None], jnp.float32)), np.float64)[:, 0]
    log_density = log_source(x) - (y - observed) ** 2 / (2 * WIDE**2)
    weights = np.exp(log_density - log_density.max())
    return np.average(y, weights=weights), np.average(y > 0, weights=weights)


@pytest.mark.parametrize("bridged", [False, True])
def test_two_parts_that_no_chain_would_cross_have_their_shares(bridged):
    """The likelihood is wide enough for both, the gap too narrow for any move of a chain."""
    variance = 0.5 if bridged else 1.0
    prior = energy([0.0], [[variance]]) if bridged else None
    found = complete_in_parts(
        TWO,
        Gaussian(np.zeros(1), np.ones(1)),
        prior,
        lambda points: points,
        np.array([[0.5], [-1.0]]),
        noise=WIDE,
        key=KEY,
        **NUMBERS,
    )
    assert np.all(found.converged)
    y = found.points[..., 0]
    for image, observed in enumerate((0.5, -1.0)):
        mean, share = by_quadrature(observed, lambda x: -(x**2) / (2 * variance))
        assert 0.1 < share < 0.9
        error = np.sqrt(share * (1 - share) / (4000 / 4))
        assert abs(np.mean(y[:, image] > 0) - share) < 5 * error
        assert abs(y[:, image].mean() - mean) < 5 * y[:, image].std() / np.sqrt(4000 / 4)


def test_energies_that_are_not_known_are_counted_and_never_kept():
    cov = ROOT @ ROOT.T
    found = completed(prior=energy(MEAN, cov, reach=1.5), particles=100)
    assert found.unconverged > 0.05
    assert not np.any(found.converged)
    shifted = found.sources - MEAN
    distance = np.einsum("sni,ij,snj->sn", shifted, np.linalg.inv(cov), shifted)
    assert distance.max() < 1.5**2 * (1 + 1e-4)


def test_populations_that_do_not_agree_have_not_converged(monkeypatch):
    """Four particles of each, and an observation so sharp that few of the first draws have a part of it."""
    monkeypatch.setattr(particles, "MOVES", 1)
    rng = np.random.default_rng(0)
    potential = maximum(6 * rng.normal(size=(40, DIM)), np.zeros(40), np.tile(SHAPE, (40, 1, 1)), np.ones((40, DIM)))
    found = completed(potential, particles=4, noise=0.5, observed=6 * OBSERVED)
    assert not np.any(found.converged)


def test_rounds_that_do_not_arrive_have_not_converged(monkeypatch):
    monkeypatch.setattr(particles, "MOST_ROUNDS", 1)
    jax.clear_caches()
    assert not np.any(completed(noise=1e-3, particles=200).converged)
    jax.clear_caches()


def test_equal_keys_give_equal_draws():
    first, again, other = (completed(particles=8, key=jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": 0.0}, "noise: found 0.0"),
        ({"populations": 3}, "populations: found 3"),
        ({"particles": 3}, "particles: found 3"),
        ({"observed": OBSERVED[:, :1]}, r"observed: found shape \[2, 1\]"),
        ({"observed": OBSERVED * np.nan}, "observed: found NaN"),
        ({"source": Gaussian(MEAN[:2], ROOT)}, r"source.mean: found shape \[2\]"),
        ({"source": Gaussian(MEAN, ROOT[:2])}, r"source.root: found shape \[2, 3\]"),
        ({"source": Gaussian(MEAN, ROOT + np.inf)}, "source.root: found NaN"),
    ],
)
def test_bad_input_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        completed(**changes)

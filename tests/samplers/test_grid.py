"""Normalisers against closed forms and laws of the draws, on the line and in the plane."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from conjugate_moments.samplers.grid import grid_distribution

KEY = jax.random.key(3)
DRAWS = 20_000


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Quadratic:
    mean: jax.Array
    precision: jax.Array

    def value(self, x):
        return (x - self.mean) @ self.precision @ (x - self.mean) / 2


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Quartic:
    scale: jax.Array

    def value(self, x):
        return jnp.sum((x / self.scale) ** 4) / 4


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Linear:
    """slope · x on the box [low, high], +inf elsewhere."""

    slope: jax.Array
    low: jax.Array
    high: jax.Array

    def value(self, x):
        return jnp.where(jnp.all((x >= self.low) & (x <= self.high)), self.slope @ x, jnp.inf)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Disc:
    radius: jax.Array

    def value(self, x):
        return jnp.where(x @ x <= self.radius**2, 0.0, jnp.inf)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class DoubleWell:
    wells: jax.Array

    def value(self, x):
        return jnp.sum((x**2 - self.wells**2) ** 2)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Slope:
    direction: jax.Array

    def value(self, x):
        return self.direction @ x


def assert_law(samples, cdf):
    """Kolmogorov-Smirnov at a level that independent tests of this file pass for good."""
    assert stats.kstest(np.asarray(samples), cdf).pvalue > 1e-4


def assert_honest(found, log_normaliser, largest):
    assert found.converged
    assert abs(found.log_normaliser - log_normaliser) <= found.normaliser_error <= largest
    assert found.tail_bound <= 1e-10


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_gaussian_on_the_line(scale):
    """From a box of size 1 far from the mode, on three scales, to the precision of float64."""
    with jax.enable_x64(True):
        potential = Quadratic(jnp.array([30.0]), jnp.array([[scale**-2.0]]))
        found = grid_distribution(potential, centre=[0.0])
        assert_honest(found, np.log(2 * np.pi * scale**2) / 2, 1e-10)
        np.testing.assert_allclose(found.mean, 30.0, rtol=1e-12, atol=1e-9 * scale)
        np.testing.assert_allclose(found.cov, [[scale**2]], rtol=1e-7)
        assert_law(found.sample(DRAWS, key=KEY)[:, 0], stats.norm(30.0, scale).cdf)


def test_correlated_gaussian_in_the_plane():
    mean, cov = np.array([1.0, -2.0]), np.array([[1.0, 1.2], [1.2, 2.0]])
    with jax.enable_x64(True):
        found = grid_distribution(Quadratic(jnp.asarray(mean), jnp.asarray(np.linalg.inv(cov))), centre=[0.0, 0.0])
        assert_honest(found, np.log(2 * np.pi) + np.linalg.slogdet(cov)[1] / 2, 1e-10)
        np.testing.assert_allclose(found.mean, mean, atol=1e-8)
        np.testing.assert_allclose(found.cov, cov, atol=1e-7)
        draws = found.sample(DRAWS, key=KEY)
    white = np.linalg.solve(np.linalg.cholesky(cov), (draws - mean).T)
    for coordinate in (*white, (white[0] + white[1]) / np.sqrt(2)):
        assert_law(coordinate, stats.norm.cdf)


@pytest.mark.parametrize("dim", [1, 2])
def test_quartic(dim):
    with jax.enable_x64(True):
        scale = np.array([0.5, 3.0])[:dim]
        found = grid_distribution(Quartic(jnp.asarray(scale)), centre=np.full(dim, 0.2))
        exact = np.sum(np.log(scale)) + dim * np.log(2 * 4**0.25 * special.gamma(1.25))
        assert_honest(found, exact, 1e-10)
        draws = found.sample(DRAWS, key=KEY)
        for coordinate, size in zip(draws.T, scale, strict=True):
            assert_law(coordinate, stats.gennorm(4, scale=size * 4**0.25).cdf)


def test_float32_error_includes_rounding():
    found = grid_distribution(Quadratic(jnp.array([3.0]), jnp.array([[4.0]])), centre=[0.0])
    assert_honest(found, np.log(2 * np.pi / 4) / 2, 1e-5)


def test_draws_are_exact_on_a_coarse_grid():
    """16 cells over about 14 standard deviations: the envelope is rough, the draws are not."""
    with jax.enable_x64(True):
        found = grid_distribution(Quadratic(jnp.zeros(1), jnp.eye(1)), centre=[0.3], cells=16)
        assert found.acceptance < 0.97
        assert_law(found.sample(DRAWS, key=KEY)[:, 0], stats.norm.cdf)


def test_box_domain():
    """Edges of the domain are found to working precision, so that the rule is of second order."""
    with jax.enable_x64(True):
        slope = np.array([1.0, 2.0])
        low, high = np.array([-1.3, 0.2]), np.array([0.4, 2.0])
        exact = np.sum(np.log((np.exp(-slope * low) - np.exp(-slope * high)) / slope))
        potential = Linear(jnp.asarray(slope), jnp.asarray(low), jnp.asarray(high))
        fine, coarse = (grid_distribution(potential, centre=[0.0, 0.5], cells=cells) for cells in (256, 128))
        assert_honest(fine, exact, 1e-4)
        np.testing.assert_allclose(fine.box.faces(), [low, high], atol=1e-12)
        order = np.log2(abs((coarse.log_normaliser - exact) / (fine.log_normaliser - exact)))
        np.testing.assert_allclose(order, 2, atol=0.02)
        draws = fine.sample(DRAWS, key=KEY)
    for i in range(2):
        law = stats.truncexpon(slope[i] * (high[i] - low[i]), loc=low[i], scale=1 / slope[i])
        assert_law(draws[:, i], law.cdf)


def test_half_line():
    potential = Linear(jnp.ones(1), jnp.array([-1.0]), jnp.array([jnp.inf]))
    found = grid_distribution(potential, centre=[0.5])
    assert_honest(found, 1.0, 1e-4)
    assert_law(found.sample(DRAWS, key=KEY)[:, 0], stats.expon(loc=-1).cdf)


def test_round_domain():
    """Cells that the edge cuts count in the error, and every draw is inside."""
    found = grid_distribution(Disc(jnp.asarray(2.0)), centre=[0.3, -0.5], tolerance=0.02)
    assert_honest(found, np.log(4 * np.pi), 0.02)
    draws = found.sample(DRAWS, key=KEY)
    radius = np.hypot(*draws.T) / 2
    assert radius.max() <= 1
    assert_law(radius**2, stats.uniform.cdf)
    assert_law(np.arctan2(*draws.T), stats.uniform(-np.pi, 2 * np.pi).cdf)
    assert not grid_distribution(Disc(jnp.asarray(2.0)), centre=[0.3, -0.5]).converged


@pytest.mark.parametrize(
    ("potential", "settings", "message"),
    [
        (Slope(jnp.ones(1)), {}, "potential: no box within"),
        (Slope(jnp.zeros(2)), {"centre": [0.0, 0.0]}, "potential: no box within"),
        (DoubleWell(jnp.array(2.0)), {}, "potential: expected a convex function"),
        (Slope(jnp.full(1, jnp.nan)), {}, "potential: its value is NaN"),
        (Disc(jnp.array(0.1)), {"centre": [1.0, 0.0]}, "centre: w is not finite"),
        (Slope(jnp.ones(3)), {"centre": [0.0, 0.0, 0.0]}, "centre: expected 1 or 2"),
        (Slope(jnp.ones(1)), {"tail_mass": 0.5}, "tail_mass: expected a number"),
        (Slope(jnp.ones(1)), {"cells": 17}, "cells: expected an even number"),
        (Slope(jnp.ones(1)), {"scale": 0.0}, "scale: expected a finite number"),
        (
            Quadratic(jnp.zeros(2), jnp.array([[1.0, 0.99999], [0.99999, 1.0]]) * 1e5),
            {"cells": 16, "centre": [0.1, 0.1]},
            "cells: 16 do not resolve",
        ),
    ],
)
def test_refusals(potential, settings, message):
    dim = (
        2 if isinstance(potential, Quadratic) or (isinstance(potential, Slope) and potential.direction.size == 2) else 1
    )
    with pytest.raises(ValueError, match=message):
        grid_distribution(potential, **{"centre": [0.1] * dim, **settings})

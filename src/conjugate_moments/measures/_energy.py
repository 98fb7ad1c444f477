"""What is known of an unnormalised density, and the truths that several of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout


@dataclass(frozen=True, eq=False)
class Modes:
    """Where the mass of a multimodal law is: boxes, which may overlap where modes do.

    Args:
      centres: `[k, d]`.
      radius: half the side of each box, so that a point belongs to it if |y - centre|_∞ <= radius.
      masses: share of the law in each box, `[k]`.
    """

    centres: Array
    radius: float
    masses: Array


@dataclass(frozen=True, eq=False)
class Energy:
    """A law ρ on R^d, known up to its constant, with what is known of it besides.

    Args:
      name: its key in `ENERGIES`.
      dim: dimension d.
      log_density: unnormalised log ρ at one point `[d]`, a scalar; traced by JAX, in the precision of the point.
      describe: one line for captions.
      scale: standard deviation of a Gaussian at 0 that is about as wide as ρ, as a user would guess it.
      log_normaliser: log ∫ e^{log_density}; None where unknown.
      sampler: of `n` independent draws, `[n, d]`, from n and a key; None where there is none.
      modes: None where ρ has one, or too many to count.
    """

    name: str
    dim: int
    log_density: Callable[[jax.Array], jax.Array]
    describe: str
    scale: float
    log_normaliser: float | None = None
    sampler: Callable[[int, jax.Array], Array] | None = None
    modes: Modes | None = None

    def sample(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent exact draws, `[n, d]` float64.

        Raises:
          ValueError: if there is no exact sampler, or `n` is not positive.
        """
        if self.sampler is None:
            raise ValueError(f"sample: found {self.name!r}, allowed: energies with exact draws")
        if n < 1:
            raise ValueError(f"n: found {n}, allowed: an integer >= 1")
        return self.sampler(n, key)


def mixture_modes(weights: Array, centres: Array, deviation: float, radius: float) -> Modes:
    """Boxes at the centres of a mixture of isotropic Gaussians, with exact masses."""
    offsets = centres[:, None] - centres
    sides = special.ndtr((offsets + radius) / deviation) - special.ndtr((offsets - radius) / deviation)
    return Modes(centres, radius, np.prod(sides, axis=-1) @ weights)


@dataclass(frozen=True, eq=False)
class DoubleWell:
    """The law on the line with density ∝ exp(-(t² - 2)² + tilt · t): wells at ±√2, a barrier of e^{-4} at 0.

    Args:
      tilt: that makes the right well heavier, by about e^{2√2 tilt}.
    """

    tilt: float

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        # The trapezoidal rule is exact to rounding for an analytic density that is e^{-196} at the ends.
        t = np.linspace(-4.0, 4.0, 2**16 + 1)
        density = np.exp(-((t**2 - 2) ** 2) + self.tilt * t)
        steps = (density[1:] + density[:-1]) / 2 * (t[1] - t[0])
        return t, np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def log_normaliser(self) -> float:
        """Log of the integral of the density above."""
        return float(np.log(self._table[1][-1]))

    def cdf(self, t: float) -> float:
        """P(T <= t)."""
        points, cumulative = self._table
        return float(np.interp(t, points, cumulative) / cumulative[-1])

    def ppf(self, levels: Array) -> Array:
        """Quantiles at levels in (0, 1), any shape; the table's steps of 1.2e-4 leave errors below 1e-6."""
        points, cumulative = self._table
        return np.interp(levels * cumulative[-1], cumulative, points)


def box_mass(density: Callable[[Array], Array], centre: Array, radius: float) -> float:
    """Integral of a planar density over a box by the midpoint rule, to about 1e-5 of a density of width 0.2."""
    line = radius * (2 * (np.arange(800) + 0.5) / 800 - 1)
    points = centre + np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1)
    return float(density(points).sum() * (2 * radius / 800) ** 2)

"""The density e^{-w}/Z of a convex piecewise-linear w, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]  # float64 throughout


def _relative_decay(z: Array) -> Array:
    """(1 - e^{-z})/z, 1 at 0."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return np.where(np.abs(z) < 1e-8, 1.0 - z / 2, -np.expm1(-z) / z)


@dataclass(frozen=True, eq=False)
class PiecewiseExponential:
    """Density e^{-w}/Z with w convex and linear between `knots`, infinite or linear beyond them.

    Args:
      knots: strictly increasing, `[k]`.
      slopes: non-decreasing slopes of w between knots, `[k - 1]`.
    """

    knots: Array
    slopes: Array

    @cached_property
    def potential_at_knots(self) -> Array:
        """w at the knots, `[k]`, 0 at its minimum."""
        w = np.concatenate([[0.0], np.cumsum(self.slopes * np.diff(self.knots))])
        return w - w.min()

    @cached_property
    def masses(self) -> Array:
        """Probability between neighbouring knots, `[k - 1]`."""
        width = np.diff(self.knots)
        # From the higher end of each piece, so that no exponential overflows.
        w = np.minimum(self.potential_at_knots[:-1], self.potential_at_knots[1:])
        pieces = np.exp(-w) * width * _relative_decay(np.abs(self.slopes) * width)
        return pieces / pieces.sum()

    @cached_property
    def log_normaliser(self) -> float:
        """log Z for the w that is 0 at its minimum."""
        width = np.diff(self.knots)
        w = np.minimum(self.potential_at_knots[:-1], self.potential_at_knots[1:])
        return float(np.log(np.sum(np.exp(-w) * width * _relative_decay(np.abs(self.slopes) * width))))

    def potential(self, x: Array) -> Array:
        """w at `x`, any shape; infinite beyond the knots."""
        inside = (x >= self.knots[0]) & (x <= self.knots[-1])
        return np.where(inside, np.interp(x, self.knots, self.potential_at_knots), np.inf)

    def cdf(self, x: Array) -> Array:
        """Mass to the left of `x`, any shape."""
        x = np.clip(x, self.knots[0], self.knots[-1])
        piece = np.clip(np.searchsorted(self.knots, x, side="right") - 1, 0, len(self.slopes) - 1)
        width, slope = np.diff(self.knots)[piece], self.slopes[piece]
        distance = x - self.knots[piece]
        # Measure a rising density from its right end: there it is largest.
        rising = slope < 0
        part = np.where(rising, width - distance, distance)
        decay = np.abs(slope)
        share = part * _relative_decay(decay * part) / (width * _relative_decay(decay * width))
        share = np.where(rising, 1.0 - share, share)
        before = np.concatenate([[0.0], np.cumsum(self.masses)])[piece]
        return np.clip(before + share * self.masses[piece], 0.0, 1.0)

    def quantile(self, t: Array) -> Array:
        """Points with mass `t` to their left, any shape."""
        cumulative = np.concatenate([[0.0], np.cumsum(self.masses)])
        piece = np.clip(np.searchsorted(cumulative, t, side="right") - 1, 0, len(self.slopes) - 1)
        width, slope, mass = np.diff(self.knots)[piece], self.slopes[piece], self.masses[piece]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.clip(np.where(mass > 0, (t - cumulative[piece]) / mass, 0.0), 0.0, 1.0)
        rising, decay = slope < 0, np.abs(slope)
        part = np.where(rising, 1.0 - share, share)
        z = decay * width
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.where(z < 1e-8, part * width, -np.log1p(part * np.expm1(-z)) / decay)
        return self.knots[piece] + np.clip(np.where(rising, width - distance, distance), 0.0, width)

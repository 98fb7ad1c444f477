"""Factorisations of laws with a density, on panels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments.fits._conjugate import gibbs_measure
from conjugate_moments.fits._levels import Levels
from conjugate_moments.fits.factorization import UnivariateFactorization
from conjugate_moments.potentials.mills import LogConcaveDensity
from conjugate_moments.potentials.panels import PiecewiseFunction

Array = NDArray[np.floating]  # float64 throughout


@dataclass(frozen=True, eq=False)
class ConjugateUnivariate(UnivariateFactorization):
    """Conjugate factorisation of a law with a density.

    w is resolved on `domain`; beyond, w' is continued linearly up to the ends of `support`, the domain of w.
    """

    levels: Levels
    slope: Array
    support: tuple[float, float]

    @cached_property
    def density(self) -> LogConcaveDensity:
        """The Gibbs measure P_w."""
        return gibbs_measure(self.levels, self.slope, self.support)

    @cached_property
    def _slope(self) -> PiecewiseFunction:
        return PiecewiseFunction(self.levels.panels, self.slope)

    @property
    def domain(self) -> tuple[float, float]:
        """Ends of the interval on which w is resolved."""
        return float(self.levels.panels.edges[0]), float(self.levels.panels.edges[-1])

    def _outside(self, points: Array) -> Array:
        low, high = self.domain
        return np.where(points < low, points - low, np.where(points > high, points - high, 0.0))

    def potential(self, y: ArrayLike) -> Array:
        """Potential w, normalised; infinite outside the hull of the law's support."""
        points = np.asarray(y, dtype=np.float64)
        return -self.density.log_density(points.ravel()).reshape(points.shape)

    def gibbs_cdf(self, x: ArrayLike) -> Array:
        """Distribution function of P_w."""
        points = np.asarray(x, dtype=np.float64)
        return self.density.cdf(points.ravel()).reshape(points.shape)

    def gibbs_ppf(self, t: ArrayLike) -> Array:
        """Quantile of P_w."""
        t = np.asarray(t, dtype=np.float64)
        levels = t.ravel()
        cdf, x = np.exp(self.levels.log_cdf).ravel(), self.slope.ravel()
        start = np.interp(levels, cdf, x)
        with np.errstate(divide="ignore"):
            return self.density.quantile(np.log(levels), np.log1p(-levels), start).reshape(t.shape)

    def transport(self, x: ArrayLike) -> Array:
        """(w*)', from P_w to the law."""
        points = np.asarray(x, dtype=np.float64)
        low, high = float(self.slope[0, 0]), float(self.slope[-1, -1])
        below, above = np.minimum(points - low, 0.0), np.maximum(points - high, 0.0)
        curvature = self.density.left_curvature, self.density.right_curvature
        inner = self._slope.inverse(points)
        return np.clip(inner + below / curvature[0] + above / curvature[1], *self.support)

    def inverse_transport(self, y: ArrayLike) -> Array:
        """w', from the law to P_w."""
        points = np.asarray(y, dtype=np.float64)
        outside = self._outside(points)
        curvature = np.where(outside < 0, self.density.left_curvature, self.density.right_curvature)
        return np.clip(self._slope(points) + curvature * outside, *self.support)

    def gibbs_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of P_w, the image of the law under w'."""
        mean = self.levels.expectation(self.slope)
        return mean, float(np.sqrt(self.levels.expectation((self.slope - mean) ** 2)))

    def _arrays(self) -> dict[str, Array]:
        levels = self.levels
        return {
            "edges": levels.panels.edges,
            "log_cdf": levels.log_cdf,
            "log_sf": levels.log_sf,
            "slope": self.slope,
            "support": np.asarray(self.support),
        }


@dataclass(frozen=True, eq=False)
class MomentUnivariate(UnivariateFactorization):
    """Moment factorisation of a law with a density, with u' = 0 at 0.

    Beyond the resolved interval, where less than 1e-14 of the mass lies, u is continued linearly.
    """

    levels: Levels
    x: Array
    log_density: Array

    @cached_property
    def _x(self) -> PiecewiseFunction:
        return PiecewiseFunction(self.levels.panels, np.maximum.accumulate(self.x.ravel()).reshape(self.x.shape))

    def transport(self, x: ArrayLike) -> Array:
        """u' + shift, from P_u to the law."""
        return self._x.inverse(x)

    def inverse_transport(self, y: ArrayLike) -> Array:
        """(u*)' at y - shift, from the law to P_u."""
        return self._x(y)

    def potential(self, y: ArrayLike) -> Array:
        """Potential u, normalised."""
        points = np.asarray(y, dtype=np.float64)
        at = self.transport(points)
        with np.errstate(divide="ignore"):
            inner = -np.log(np.maximum(self._density(at), 0.0))
        # Relative accuracy in the tails, where the density falls by orders of magnitude on a panel.
        panel, _ = self._log_density.panels.locate(at.ravel())
        smooth = self._smooth[panel].reshape(points.shape)
        inner = np.where(smooth, -self._log_density(at), inner)
        low, high = self._x.values[0, 0], self._x.values[-1, -1]
        outside = np.where(points < low, points - low, np.where(points > high, points - high, 0.0))
        return inner + (at - self.shift) * outside

    @cached_property
    def _log_density(self) -> PiecewiseFunction:
        return PiecewiseFunction(self.levels.panels, self.log_density)

    @cached_property
    def _smooth(self) -> NDArray[np.bool_]:
        """Panels on which the log density is resolved; at a bounded end of the law it is not."""
        return self._log_density.truncation() < 1e-10

    @cached_property
    def _density(self) -> PiecewiseFunction:
        return PiecewiseFunction(self.levels.panels, np.exp(self.log_density))

    @cached_property
    def _cdf(self) -> PiecewiseFunction:
        return PiecewiseFunction(self.levels.panels, np.exp(self.levels.log_cdf))

    def gibbs_cdf(self, x: ArrayLike) -> Array:
        """Distribution function of P_u: that of the law at the image."""
        return np.clip(self._cdf(self.transport(x)), 0.0, 1.0)

    def gibbs_ppf(self, t: ArrayLike) -> Array:
        """Quantile of P_u: the inverse map of the law's."""
        return self._x(self._cdf.inverse(t))

    def gibbs_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of P_u, the image of the law under the inverse map."""
        mean = self.levels.expectation(self.x)
        return mean, float(np.sqrt(self.levels.expectation((self.x - mean) ** 2)))

    def _arrays(self) -> dict[str, Array]:
        levels = self.levels
        return {
            "edges": levels.panels.edges,
            "log_cdf": levels.log_cdf,
            "log_sf": levels.log_sf,
            "x": self.x,
            "log_density": self.log_density,
        }

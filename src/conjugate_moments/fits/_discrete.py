"""Factorisations of samples, whose potentials are piecewise linear."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments.fits import _quadrature
from conjugate_moments.fits._atoms import Atoms
from conjugate_moments.fits.factorization import UnivariateFactorization
from conjugate_moments.potentials.piecewise_linear import PiecewiseExponential

Array = NDArray[np.floating]  # float64 throughout


@dataclass(frozen=True, eq=False)
class ConjugateAtoms(UnivariateFactorization):
    """Conjugate factorisation of a sample: w is linear between neighbours, (w*)' takes each value on one interval."""

    atoms: Atoms
    slopes: Array

    @cached_property
    def density(self) -> PiecewiseExponential:
        """The Gibbs measure P_w."""
        return PiecewiseExponential(self.atoms.points, self.slopes)

    def potential(self, y: ArrayLike) -> Array:
        """Potential w, normalised; infinite outside the sample's range."""
        return self.density.potential(np.asarray(y, dtype=np.float64)) + self.density.log_normaliser

    def gibbs_cdf(self, x: ArrayLike) -> Array:
        """Distribution function of P_w."""
        return self.density.cdf(np.asarray(x, dtype=np.float64))

    def gibbs_ppf(self, t: ArrayLike) -> Array:
        """Quantile of P_w."""
        return self.density.quantile(np.asarray(t, dtype=np.float64))

    def transport(self, x: ArrayLike) -> Array:
        """(w*)': a value of the sample."""
        return self.atoms.points[np.searchsorted(self.slopes, np.asarray(x, dtype=np.float64))]

    def inverse_transport(self, y: ArrayLike) -> Array:
        """w' between values of the sample; at one of them the middle of the interval that is sent to it."""
        y = np.asarray(y, dtype=np.float64)
        ends = np.concatenate([self.atoms.points[:1], self.slopes, self.atoms.points[-1:]])
        left, right = (np.searchsorted(self.atoms.points, y, side=side) for side in ("left", "right"))
        return (ends[left] + ends[right]) / 2

    def gibbs_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of P_w, by Gauss-Legendre between knots."""
        return _quadrature.moments(self.gibbs_pdf, self.atoms.points)

    def _arrays(self) -> dict[str, Array]:
        return {"points": self.atoms.points, "weights": self.atoms.weights, "slopes": self.slopes}


@dataclass(frozen=True, eq=False)
class MomentAtoms(UnivariateFactorization):
    """Moment factorisation of a sample: u is the upper envelope of lines whose slopes are the sample."""

    atoms: Atoms
    kinks: Array
    log_density: Array

    def _piece(self, x: Array) -> NDArray[np.intp]:
        return np.searchsorted(self.kinks, x)

    def potential(self, y: ArrayLike) -> Array:
        """Potential u, normalised, finite everywhere."""
        x = np.asarray(y, dtype=np.float64)
        piece = self._piece(x)
        knot = np.clip(piece - 1, 0, len(self.kinks) - 1)
        return (self.atoms.points[piece] - self.shift) * (x - self.kinks[knot]) - self.log_density[knot]

    def gibbs_cdf(self, x: ArrayLike) -> Array:
        """Distribution function of P_u."""
        x = np.asarray(x, dtype=np.float64)
        piece = self._piece(x)
        cumulative = np.concatenate([[0.0], np.cumsum(self.atoms.weights)])
        slope = self.atoms.points[piece] - self.shift
        left, right = np.maximum(piece - 1, 0), np.minimum(piece, len(self.kinks) - 1)
        anchor = np.where(piece == 0, right, left)
        z = slope * (x - self.kinks[anchor])
        with np.errstate(divide="ignore", invalid="ignore"):
            mass = np.exp(self.log_density[anchor]) * np.where(
                np.abs(z) < 1e-8, x - self.kinks[anchor], -np.expm1(-z) / slope
            )
        base = np.where(piece == 0, cumulative[1], cumulative[piece])
        return np.clip(base + mass, 0.0, 1.0)

    def gibbs_ppf(self, t: ArrayLike) -> Array:
        """Quantile of P_u."""
        t = np.asarray(t, dtype=np.float64)
        cumulative = np.cumsum(self.atoms.weights)
        last = len(self.kinks)
        piece = np.minimum(np.searchsorted(cumulative[:-1], t), last)
        slope = self.atoms.points[piece] - self.shift
        anchor = np.maximum(piece - 1, 0)
        scaled = (t - cumulative[anchor]) * np.exp(-self.log_density[anchor])
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(np.abs(slope * scaled) < 1e-12, scaled, -np.log1p(-slope * scaled) / slope)
            # The outer pieces are exponential tails, of the mass of their atom.
            step = np.where(piece == 0, -np.log(t / self.atoms.weights[0]) / slope, step)
            step = np.where(piece == last, -np.log((1 - t) / self.atoms.weights[-1]) / slope, step)
        return self.kinks[anchor] + step

    def transport(self, x: ArrayLike) -> Array:
        """u' + shift: a value of the sample."""
        return self.atoms.points[self._piece(np.asarray(x, dtype=np.float64))]

    def inverse_transport(self, y: ArrayLike) -> Array:
        """Kink of u between values of the sample; at one of them the middle of its piece (the kink, at the ends)."""
        y = np.asarray(y, dtype=np.float64)
        left, right = (np.searchsorted(self.atoms.points, y, side=side) for side in ("left", "right"))
        last = len(self.kinks) - 1
        return (self.kinks[np.clip(left - 1, 0, last)] + self.kinks[np.clip(right - 1, 0, last)]) / 2

    def gibbs_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of P_u, by Gauss-Legendre between kinks."""
        tails = self.gibbs_ppf(np.asarray([1e-16, 1e-12, 1e-8, 1e-4]))
        upper = self.gibbs_ppf(1 - np.asarray([1e-4, 1e-8, 1e-12, 1e-15]))
        return _quadrature.moments(self.gibbs_pdf, np.unique(np.concatenate([tails, self.kinks, upper])))

    def _arrays(self) -> dict[str, Array]:
        return {
            "points": self.atoms.points,
            "weights": self.atoms.weights,
            "kinks": self.kinks,
            "log_density": self.log_density,
        }

"""Checks of a factorisation on quadrature points of their own, never on the solver's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from conjugate_moments.measures.univariate import UnivariateLaw

if TYPE_CHECKING:
    from conjugate_moments.fits.factorization import UnivariateFactorization

Array = NDArray[np.floating]  # float64 throughout

POINTS = 16
_NODES, _WEIGHTS = legendre.leggauss(POINTS)
_TO_COEFFICIENTS = np.linalg.inv(legendre.legvander(_NODES, POINTS - 1))
_CUMULATE = (
    np.stack([legendre.legval(_NODES, legendre.legint(unit, lbnd=-1)) for unit in np.eye(POINTS)], axis=1)
    @ _TO_COEFFICIENTS
)


def moments(density: Callable[[Array], Array], breaks: Array) -> tuple[float, float]:
    """Mean and standard deviation of a density that is smooth between `breaks`."""
    halves, middles = np.diff(breaks)[:, None] / 2, (breaks[1:] + breaks[:-1])[:, None] / 2
    x = middles + halves * _NODES
    mass = halves * _WEIGHTS * density(x)
    mean = float(np.sum(mass * x) / np.sum(mass))
    return mean, float(np.sqrt(np.sum(mass * (x - mean) ** 2) / np.sum(mass)))


def transport_residual(fit: UnivariateFactorization, law: UnivariateLaw) -> float:
    """W2 between the push-forward of the Gibbs measure and the law: the L² distance of their quantile functions.

    The Gibbs density is integrated afresh by Gauss-Legendre between quantiles of the Gibbs measure and images of
    evenly spaced points, which bracket every kink of the map; the law's quantiles are its own `ppf`.
    """
    logits = np.linspace(-36.0, 36.0, 97)
    levels = 1.0 / (1.0 + np.exp(-logits))
    quantiles = fit.gibbs_ppf(levels)
    # The Gibbs tails are at least exponential: as far again on either side squares what mass is left out.
    reach = np.linspace(0.0, 1.0, 25)[1:] * (quantiles[-1] - quantiles[0])
    quantiles = np.concatenate([quantiles[0] - reach[::-1], quantiles, quantiles[-1] + reach])
    inside = fit.transport(quantiles)
    images = fit.inverse_transport(np.linspace(inside[0], inside[-1], 96))
    breaks = np.unique(np.concatenate([quantiles, images[(images > quantiles[0]) & (images < quantiles[-1])]]))
    halves, middles = np.diff(breaks)[:, None] / 2, (breaks[1:] + breaks[:-1])[:, None] / 2
    x = middles + halves * _NODES
    density = fit.gibbs_pdf(x)
    masses = halves[:, 0] * (density @ _WEIGHTS)
    total = masses.sum()
    below = np.concatenate([[0.0], np.cumsum(masses)[:-1]])[:, None] + halves * (density @ _CUMULATE.T)
    above = (
        np.concatenate([np.cumsum(masses[::-1])[::-1][1:], [0.0]])[:, None]
        + halves * ((density[:, ::-1] @ _CUMULATE.T)[:, ::-1])
    )
    cdf, sf = np.clip(below / total, 0.0, 1.0).ravel(), np.clip(above / total, 0.0, 1.0).ravel()
    upper = cdf > 0.5
    expected = np.empty_like(cdf)
    expected[~upper] = law.ppf(cdf[~upper])
    isf = getattr(law, "isf", None)
    expected[upper] = isf(sf[upper]) if callable(isf) else law.ppf(1.0 - sf[upper])
    error = fit.transport(x.ravel()) - expected
    weights = (halves * _WEIGHTS * density / total).ravel()
    # Quantiles further out are beyond what some laws' own functions can do, and weigh nothing; without `isf` none is
    # known above the last level before 1.
    counted = np.minimum(cdf, sf) > 1e-17
    counted &= callable(isf) | ~upper | (1.0 - sf < 1.0)
    return float(np.sqrt(np.sum(weights[counted] * error[counted] ** 2))) if counted.any() else float("nan")


def atoms_residual(cdf_at_breaks: Array, points: Array, weights: Array) -> float:
    """W2 between a discrete law and a push-forward with the same atoms but the cumulative masses given."""
    reached = np.concatenate([[0.0], cdf_at_breaks, [1.0]])
    wanted = np.concatenate([[0.0], np.cumsum(weights)])
    wanted[-1] = 1.0
    levels = np.unique(np.concatenate([reached, wanted]))
    middle = (levels[1:] + levels[:-1]) / 2
    last = len(points) - 1
    pushed = points[np.clip(np.searchsorted(reached, middle) - 1, 0, last)]
    target = points[np.clip(np.searchsorted(wanted, middle) - 1, 0, last)]
    return float(np.sqrt(np.sum(np.diff(levels) * (pushed - target) ** 2)))

"""Fits evaluated on grids, for figures: densities, maps and potentials of both factorisations of a law."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments.fits.factorization import UnivariateFactorization
from conjugate_moments.measures.univariate import UnivariateLaw

Array = NDArray[np.floating]  # float64 throughout

BULK = (0.001, 0.999)  # levels of the Gibbs measure between which maps and potentials are drawn
POINTS = 801


def profile(law: UnivariateLaw | Array, fits: Sequence[UnivariateFactorization]) -> dict[str, Array]:
    """Named arrays of points and values.

    Args:
      law: ρ; an array stands for its empirical law, whose density is drawn as a histogram.
      fits: its factorisations; of one that did not converge, only `{factorization}_converged` is given.

    Returns:
      `density_x`, `law_density` and, for each factorisation, `{f}_converged`, `{f}_density` (on `density_x`),
      `{f}_x`, `{f}_map` and `{f}_potential` (on `{f}_x`, minus its minimum), all `[n]` but for the flag; and
      `density_limit`, the height at which densities are to be cut.
    """
    solved = [fit for fit in fits if fit.converged]
    windows = [_window(law, (0.002, 0.998)), *(_window(fit, (0.02, 0.98)) for fit in solved)]
    low, high = min(start for start, _ in windows), max(end for _, end in windows)
    x = _grid(low, high, law)
    arrays = {"density_x": x, "law_density": _density(law, x)}
    heights = [_density(law, _quantiles(law, np.linspace(0.05, 0.95, 91)))]
    for fit in fits:
        arrays[f"{fit.factorization}_converged"] = np.asarray(fit.converged)
    for fit in solved:
        name = fit.factorization
        points = np.linspace(*_window(fit, BULK), POINTS)
        potential = fit.potential(points)
        arrays[f"{name}_density"] = fit.gibbs_pdf(x)
        arrays[f"{name}_x"], arrays[f"{name}_map"] = points, fit.transport(points)
        arrays[f"{name}_potential"] = potential - potential.min()
        heights.append(arrays[f"{name}_density"])
    return {**arrays, "density_limit": np.asarray(1.1 * max(float(values.max()) for values in heights))}


def _window(law: UnivariateLaw | Array | UnivariateFactorization, levels: tuple[float, float]) -> tuple[float, float]:
    low, high = _quantiles(law, np.asarray(levels))
    margin = 0.05 * (high - low) if not isinstance(law, UnivariateFactorization) else 0.0
    return float(low - margin), float(high + margin)


def _quantiles(law: UnivariateLaw | Array | UnivariateFactorization, levels: Array) -> Array:
    if isinstance(law, np.ndarray):
        return np.quantile(law, levels)
    return np.asarray(law.gibbs_ppf(levels) if isinstance(law, UnivariateFactorization) else law.ppf(levels))


def _grid(low: float, high: float, law: UnivariateLaw | Array) -> Array:
    """Evenly spaced points, with both sides of the ends of the support, where a density may jump."""
    ends = np.asarray((law.min(), law.max()) if isinstance(law, np.ndarray) else law.support(), dtype=np.float64)
    step = 1e-9 * (high - low)
    sides = np.concatenate([ends - step, ends + step])
    return np.unique(np.concatenate([np.linspace(low, high, POINTS), sides[(sides > low) & (sides < high)]]))


def _density(law: UnivariateLaw | Array, x: ArrayLike) -> Array:
    x = np.asarray(x, dtype=np.float64)
    if not isinstance(law, np.ndarray):
        return np.asarray(law.pdf(x), dtype=np.float64)
    heights, edges = np.histogram(law, bins="auto", density=True)
    return np.concatenate([[0.0], heights, [0.0]])[np.searchsorted(edges, x)]

"""Normalised densities from convex potentials: log det ∇²w and log ∫ e^{-w}, each with its error.

The law ρ = ∇w*♯P_w has the density log q(y) = −w(∇w(y)) + log det ∇²w(y) − log Z_w, Z_w = ∫ e^{-w}: the Monge–Ampère
equation of Vesseron, Béthune & Cuturi 2025.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from conjugate_moments._matrices import correlations
from conjugate_moments.inference._bridge import LogNormaliser, bridged
from conjugate_moments.inference._log_det import LogDet, exact_log_det, lanczos_log_det
from conjugate_moments.potentials.base import Potential, check_points, hessians
from conjugate_moments.samplers.grid import GridDistribution, grid_distribution

__all__ = [
    "LogDensity",
    "LogDet",
    "LogNormaliser",
    "check_finite",
    "curvature_root",
    "grid_normaliser",
    "log_det_hessian",
    "log_normaliser",
]

Array = NDArray[np.floating]

EXACT_DIM = 64  # largest d whose Hessians are formed and factored for every point


@dataclass(frozen=True, eq=False)
class LogDensity:
    """log q at points, with its errors: one kind for each point, one that they share.

    The mean of `value` over n points has the standard error √((s² + mean standard_error²)/n + normaliser² ), s being
    the standard deviation of the values and the last term `normaliser.standard_error`. Trust nothing where the
    normaliser has not converged.

    Args:
      value: `[n]`, float64; NaN where a conjugate did not converge or a Hessian is not positive definite.
      standard_error: of the log-determinant, `[n]`, independent from point to point; 0 where that is exact.
      normaliser: log Z, which every value contains.
    """

    value: Array
    standard_error: Array
    normaliser: LogNormaliser


def check_finite(points: ArrayLike, dim: int, name: str = "y") -> Array:
    """The points as an array.

    Raises:
      ValueError: if they are not finite numbers of shape `[n, dim]`.
    """
    array = np.asarray(points)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name}: found an array of {array.dtype.name}, allowed: integers or floats")
    if array.ndim != 2 or array.shape[1] != dim:
        raise ValueError(f"{name}: found shape {list(array.shape)}, allowed: [n, {dim}]")
    bad = int(np.sum(~np.isfinite(array)))
    if bad:
        raise ValueError(f"{name}: found {bad} NaN or infinite entries, allowed: none")
    return array


def log_det_hessian(
    potential: Potential, points: ArrayLike, *, key: jax.Array, root: ArrayLike | None = None
) -> LogDet:
    """log det ∇²w at `points` `[n, d]`: exact for d up to `EXACT_DIM`, by stochastic Lanczos quadrature beyond.

    Args:
      potential: w.
      points: `[n, d]`.
      key: of the random probes, of which each point has its own; not used where exact.
      root: R, `[d, d]`, with Rᵀ ∇²w R near the identity, which makes the stochastic estimate precise; None for the
        identity.

    Raises:
      ValueError: if `points` is not `[n, d]`.
    """
    points = check_points(potential, points)
    if not len(points):
        return LogDet(np.zeros(0), np.zeros(0))
    if potential.dim <= EXACT_DIM:
        return exact_log_det(potential, points)
    return lanczos_log_det(potential, points, key=key, root=None if root is None else np.asarray(root, np.float64))


def log_normaliser(potential: Potential, *, start: ArrayLike, key: jax.Array) -> LogNormaliser:
    """log ∫ e^{-w} of a convex w: by quadrature in one and two dimensions, by bridge sampling beyond.

    Args:
      potential: w.
      start: points in the bulk of P_w ∝ e^{-w}, `[m, d]`, m at least 2d, best spread as wide as P_w.
      key: of the chains; not used by quadrature.

    Raises:
      ValueError: if `start` is not that, or as `grid_distribution`.
    """
    start = check_finite(start, potential.dim, "start").astype(np.float64)
    if len(start) < 2 * potential.dim:
        raise ValueError(f"start: found {len(start)} points, allowed: at least {2 * potential.dim}")
    if potential.dim <= 2:
        return grid_normaliser(grid_distribution(potential, centre=start.mean(axis=0)))
    return bridged(potential, start=start, key=key)


def grid_normaliser(grid: GridDistribution) -> LogNormaliser:
    """log ∫ e^{-w} as a grid has it."""
    return LogNormaliser(grid.log_normaliser, grid.normaliser_error, "quadrature", grid.converged)


def curvature_root(potential: Potential, points: ArrayLike) -> Array:
    """R `[d, d]` such that RᵀHR is the identity, H the mean of ∇²w over `points` `[m, d]`.

    Raises:
      LinAlgError: if H is not positive definite.
    """
    points = check_points(potential, points)
    mean = np.zeros((potential.dim, potential.dim))
    for point in points:
        mean += np.asarray(hessians(potential, point[None])[0], np.float64) / len(points)
    # Of the correlations: coordinates may differ in scale by any factor.
    correlation, scale = correlations(mean)
    return np.linalg.inv(np.linalg.cholesky(correlation)).T / scale[:, None]

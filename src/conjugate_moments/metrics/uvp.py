"""How far a map is from the true one, as a share of the variance it must produce."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Estimate(NamedTuple):
    """A Monte Carlo estimate.

    Args:
      value: the estimate.
      standard_error: of the value, in its unit.
    """

    value: float
    standard_error: float


def l2_uvp(map_at: ArrayLike, truth_at: ArrayLike, variance: float) -> Estimate:
    """L²-UVP = 100 · E_{x ~ P_w} |map(x) - truth(x)|² / Var(ρ), in per cent (Korotin et al. 2021).

    Args:
      map_at: images of independent draws x of the true Gibbs measure under the fitted map, `[n, d]`.
      truth_at: their images under the true map, `[n, d]`.
      variance: trace of the covariance of ρ, positive.

    Raises:
      ValueError: if the shapes differ or are not `[n, d]` with n >= 2, an entry is not finite, or the variance is not
        positive.
    """
    found, truth = np.asarray(map_at, dtype=np.float64), np.asarray(truth_at, dtype=np.float64)
    if found.ndim != 2 or found.shape != truth.shape or len(found) < 2:
        raise ValueError(
            f"map_at, truth_at: expected the same shape [n, d], n >= 2, found {found.shape} and {truth.shape}"
        )
    if not (np.all(np.isfinite(found)) and np.all(np.isfinite(truth))):
        raise ValueError("map_at, truth_at: expected finite numbers")
    if not (np.isfinite(variance) and variance > 0):
        raise ValueError(f"variance: expected a positive finite number, found {variance}")
    errors = 100 * np.sum((found - truth) ** 2, axis=1) / variance
    return Estimate(float(errors.mean()), float(errors.std(ddof=1) / np.sqrt(len(errors))))

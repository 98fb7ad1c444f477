"""Importance weights w = ρ/q of draws of q, from their logarithms: normaliser and effective sample size. Float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]  # float64 throughout


def check_log_weights(log_weights: ArrayLike) -> Array:
    """The log weights as float64, `[n]`; -inf is a weight of 0.

    Raises:
      ValueError: unless they are a vector of at least two numbers, none NaN or +inf and not all -inf.
    """
    found = np.asarray(log_weights, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2:
        raise ValueError(f"log_weights: found shape {found.shape}, allowed: [n], n >= 2")
    bad = int(np.sum(np.isnan(found) | (found == np.inf)))
    if bad:
        raise ValueError(f"log_weights: found {bad} of {len(found)} NaN or +inf, allowed: numbers and -inf")
    if np.all(found == -np.inf):
        raise ValueError("log_weights: found -inf alone, allowed: at least one weight above 0")
    return found


def shares(log_weights: ArrayLike) -> Array:
    """Weights scaled to sum to 1, `[n]`.

    Raises:
      ValueError: as `check_log_weights`.
    """
    found = check_log_weights(log_weights)
    weights = np.exp(found - found.max())
    return weights / weights.sum()


def ess_fraction(log_weights: ArrayLike) -> float:
    """1/(n Σ share²), the effective sample size of the weights as a fraction of the draws (Kong 1992).

    Raises:
      ValueError: as `check_log_weights`.
    """
    found = shares(log_weights)
    return float(1 / (len(found) * np.sum(found**2)))


def log_mean_weight(log_weights: ArrayLike) -> tuple[float, float]:
    """Log of the mean weight, which estimates log ∫ρ - log ∫q, and its standard error.

    The error is that of the mean weight, relative to it (the delta method): √((1/ess_fraction - 1)/(n - 1)). It says
    nothing where the weights have no variance; see `pareto_shape` in `conjugate_moments.metrics.importance`.

    Raises:
      ValueError: as `check_log_weights`.
    """
    found = check_log_weights(log_weights)
    top = found.max()
    value = top + np.log(np.mean(np.exp(found - top)))
    spread = max(1 / ess_fraction(found) - 1, 0.0)  # rounding may leave -1e-16
    return float(value), float(np.sqrt(spread / (len(found) - 1)))

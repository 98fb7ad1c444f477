"""Importance weights w = ρ/q of draws of q, from their logarithms: what they estimate, and whether to trust it.

Both densities are known up to a constant. Float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]  # float64 throughout

FEWEST_WEIGHTS = 25  # the tail that the shape is fitted to has five draws then
LARGEST_SHARE = 0.1  # of one weight: more, and a handful of draws is all that counts
LARGEST_SHAPE = 0.7  # Vehtari et al. 2024, for large samples


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
    nothing where the weights have no variance; see `pareto_shape`.

    Raises:
      ValueError: as `check_log_weights`.
    """
    found = check_log_weights(log_weights)
    top = found.max()
    value = top + np.log(np.mean(np.exp(found - top)))
    spread = max(1 / ess_fraction(found) - 1, 0.0)  # rounding may leave -1e-16
    return float(value), float(np.sqrt(spread / (len(found) - 1)))


@dataclass(frozen=True)
class ImportanceSummary:
    """What the weights of n draws say.

    Args:
      draws: n.
      ess_fraction: effective sample size over n.
      log_normaliser: log of the mean weight: log Z of ρ where q is normalised.
      standard_error: of it.
      largest_share: of one draw in the sum of the weights.
      pareto_shape: k̂ of the largest weights.
      collapsed: whether one weight has more than `LARGEST_SHARE` of the sum, or k̂ is at least `shape_limit(n)`:
        the other numbers then are no estimates.
    """

    draws: int
    ess_fraction: float
    log_normaliser: float
    standard_error: float
    largest_share: float
    pareto_shape: float
    collapsed: bool


def shape_limit(n: int) -> float:
    """k̂ from which n weights are not to be trusted: min(1 - 1/log₁₀ n, 0.7) (Vehtari et al. 2024)."""
    return float(min(1 - 1 / np.log10(n), LARGEST_SHAPE))


def summarise_weights(log_weights: ArrayLike) -> ImportanceSummary:
    """Diagnose log weights `[n]`.

    Raises:
      ValueError: if there are fewer than `FEWEST_WEIGHTS`, one is NaN or +inf, or all are -inf.
    """
    found = check_log_weights(log_weights)
    largest, shape = float(shares(found).max()), pareto_shape(found)
    value, error = log_mean_weight(found)
    return ImportanceSummary(
        draws=len(found),
        ess_fraction=ess_fraction(found),
        log_normaliser=value,
        standard_error=error,
        largest_share=largest,
        pareto_shape=shape,
        collapsed=largest > LARGEST_SHARE or shape >= shape_limit(len(found)),
    )


def pareto_shape(log_weights: ArrayLike) -> float:
    """k̂: shape of the generalised Pareto law of the largest weights; 1/k̂ of their moments exist (Vehtari et al. 2024).

    The tail is the min(n/5, 3√n) largest weights. -inf where they are all equal.

    Raises:
      ValueError: as `summarise_weights`.
    """
    found = check_log_weights(log_weights)
    if len(found) < FEWEST_WEIGHTS:
        raise ValueError(f"log_weights: found {len(found)}, allowed: at least {FEWEST_WEIGHTS}")
    weights = np.sort(np.exp(found - found.max()))
    tail = int(np.ceil(min(len(found) / 5, 3 * np.sqrt(len(found)))))
    excesses = weights[-tail:] - weights[-tail - 1]
    # Several equal weights at the cut leave excesses of 0, at which the likelihood has no limit.
    excesses = excesses[excesses > 0]
    return _regularised_shape(excesses) if len(excesses) > 1 else -np.inf


def _regularised_shape(excesses: Array) -> float:
    """Shape with the weakly informative prior of Vehtari et al. 2024: ten more draws, of shape 1/2."""
    n = len(excesses)
    return float((n * generalised_pareto_shape(excesses) + 10 * 0.5) / (n + 10))


def generalised_pareto_shape(excesses: ArrayLike) -> float:
    """Shape k of a generalised Pareto law, density ∝ (1 + kx/σ)^{-1/k - 1}, from draws x > 0, `[n]`.

    The mean of θ = -k/σ over its profile likelihood, with a prior scaled by the first quartile (Zhang & Stephens 2009).
    """
    x = np.sort(np.asarray(excesses, dtype=np.float64))
    n, count = len(x), 30 + int(np.sqrt(len(x)))
    quartile = x[int(n / 4 + 0.5) - 1]
    theta = 1 / x[-1] + (1 - np.sqrt(count / (np.arange(count) + 0.5))) / (3 * quartile)
    shape = np.mean(np.log1p(-theta[:, None] * x), axis=1)
    log_likelihood = n * (np.log(-theta / shape) - shape - 1)
    weights = np.exp(log_likelihood - log_likelihood.max())
    return float(np.mean(np.log1p(-np.average(theta, weights=weights) * x)))

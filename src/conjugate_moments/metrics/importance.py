"""How well a law with known density stands in for another: importance weights, and whether they can be trusted.

The weights are ρ/q at draws of the fitted law q, both densities known up to a constant. Float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from conjugate_moments.measures.energies import Modes
from conjugate_moments.metrics.uvp import Estimate
from conjugate_moments.samplers.weights import Array, check_log_weights, ess_fraction, log_mean_weight, shares

FEWEST_WEIGHTS = 25  # the tail that the shape is fitted to has five draws then
LARGEST_SHARE = 0.1  # of one weight: more, and a handful of draws is all that counts
LARGEST_SHAPE = 0.7  # Vehtari et al. 2024, for large samples
FEWEST_HITS = 10  # draws expected in each mode: a true law then misses one with probability e^{-10}
FOUND_SHARE = 0.1  # of its true mass, for a mode to count as found


@dataclass(frozen=True)
class ImportanceSummary:
    """What the weights of n draws say.

    Args:
      draws: n.
      ess_fraction: effective sample size over n.
      log_normaliser: log of the mean weight, and its standard error: log Z of ρ where q is normalised.
      largest_share: of one draw in the sum of the weights.
      pareto_shape: k̂ of the largest weights.
      collapsed: whether one weight has more than `LARGEST_SHARE` of the sum, or k̂ is at least `shape_limit(n)`:
        the other numbers then are no estimates.
    """

    draws: int
    ess_fraction: float
    log_normaliser: Estimate
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
    return ImportanceSummary(
        draws=len(found),
        ess_fraction=ess_fraction(found),
        log_normaliser=Estimate(*log_mean_weight(found)),
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


def mode_shares(draws: ArrayLike, modes: Modes, log_weights: ArrayLike | None = None) -> Array:
    """Share of the draws `[n, d]`, weighted if need be, in each mode, `[k]`.

    Raises:
      ValueError: if the draws are not finite points of the modes' dimension, or so few that fewer than `FEWEST_HITS`
        are expected in some mode.
    """
    points = np.asarray(draws, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != modes.centres.shape[1]:
        raise ValueError(f"draws: found shape {points.shape}, allowed: [n, {modes.centres.shape[1]}]")
    if not np.all(np.isfinite(points)):
        raise ValueError(
            f"draws: found {np.sum(~np.isfinite(points))} NaN or infinite entries, allowed: finite numbers"
        )
    fewest = int(np.ceil(FEWEST_HITS / modes.masses.min()))
    if len(points) < fewest:
        raise ValueError(
            f"draws: found {len(points)}, allowed: at least {fewest}, else small modes are missed by chance"
        )
    weights = np.full(len(points), 1 / len(points)) if log_weights is None else shares(log_weights)
    hits = [np.all(np.abs(points - centre) <= modes.radius, axis=1) for centre in modes.centres]
    return np.array([weights @ hit for hit in hits])


def modes_found(draws: ArrayLike, modes: Modes, log_weights: ArrayLike | None = None) -> int:
    """Number of modes that hold at least `FOUND_SHARE` of their true mass.

    Args:
      draws: `[n, d]`.
      modes: of the true law.
      log_weights: of the draws, `[n]`; None for equal ones.

    Raises:
      ValueError: as `mode_shares`.
    """
    return int(np.sum(mode_shares(draws, modes, log_weights) >= FOUND_SHARE * modes.masses))

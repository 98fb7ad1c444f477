"""How well a fit knows the unnormalised density that it was given: importance weights of its draws."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from conjugate_moments.samplers.weights import FEWEST_WEIGHTS, summarise_weights

SCORED = 4096  # draws of a fit by which its weights are judged
FEWEST_EFFECTIVE = 0.02  # share of them below which a fit has lost sight of the law
MOST_LOST = 0.01  # share of them that may be left out


@dataclass(frozen=True)
class DensityStatus:
    """How well a fit knows its density.

    Args:
      ess: effective sample size of importance weights ρ/q over `draws` draws of the fit, as a fraction of them.
      log_normaliser: estimate of log ∫ e^{-f} by these weights.
      standard_error: of it.
      pareto_shape: k̂ of the largest weights, see `ImportanceSummary`; infinite where there are too few of them.
      evaluations: of the density, all told.
      draws: that `ess` was measured on; those without a weight are left out.
      seen: whether the draws are what they are meant to be, as mixed chains are, at most `MOST_LOST` of them had no
        weight, and `ess` is at least `FEWEST_EFFECTIVE`; if not, nothing else here is to be trusted.
      converged: whether, besides, the weights have not collapsed, as k̂ and the largest of them say: if they have, the
        draws may still do, but `ess` and `log_normaliser` are no estimates.
    """

    ess: float
    log_normaliser: float
    standard_error: float
    pareto_shape: float
    evaluations: int
    draws: int
    seen: bool
    converged: bool

    @classmethod
    def of_weights(cls, log_weights: NDArray[np.floating], *, error: float, evaluations: int, sound: bool) -> Self:
        """The status that weights give.

        Args:
          log_weights: log ρ − log q, ρ up to its constant, `[n]`; NaN where a draw has none.
          error: standard error of log q that all draws share.
          evaluations: of the density.
          sound: whether the draws are what they are meant to be.
        """
        known = log_weights[~np.isnan(log_weights)]
        if len(known) < FEWEST_WEIGHTS or not np.any(known > -np.inf):
            return cls(0.0, -np.inf, np.inf, np.inf, evaluations, len(known), seen=False, converged=False)
        found = summarise_weights(known)
        lost = 1 - len(known) / len(log_weights)
        seen = bool(sound and lost <= MOST_LOST and found.ess_fraction >= FEWEST_EFFECTIVE)
        return cls(
            found.ess_fraction,
            found.log_normaliser,
            float(np.hypot(found.standard_error, error)),
            found.pareto_shape,
            evaluations,
            len(known),
            seen=seen,
            converged=seen and not found.collapsed,
        )

    def to_array(self) -> NDArray[np.float64]:
        """For files: `from_array` reads it."""
        return np.asarray(astuple(self), dtype=np.float64)

    @classmethod
    def from_array(cls, array: NDArray[np.float64]) -> Self:
        """What `to_array` wrote."""
        ess, value, error, shape, evaluations, draws, seen, converged = array.tolist()
        return cls(ess, value, error, shape, int(evaluations), int(draws), bool(seen), bool(converged))

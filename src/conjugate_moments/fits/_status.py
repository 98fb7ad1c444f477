"""How well a fit knows the unnormalised density that it was given: importance weights of its draws."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from conjugate_moments.samplers.weights import ess_fraction, log_mean_weight

SCORED = 4096  # draws of a fit by which its weights are judged
FEWEST_EFFECTIVE = 0.02  # share of them below which the weights have collapsed
MOST_LOST = 0.01  # share of them that may be left out


@dataclass(frozen=True)
class DensityStatus:
    """How well a fit knows its density.

    Args:
      ess: effective sample size of importance weights ρ/q over `draws` draws of the fit, as a fraction of them.
      log_normaliser: estimate of log ∫ e^{-f} by these weights.
      standard_error: of it.
      evaluations: of the density, all told.
      draws: that `ess` was measured on; those without a weight are left out.
      converged: whether `ess` is at least `FEWEST_EFFECTIVE`, at most `MOST_LOST` of the draws had no weight, and the
        chains behind them have mixed; if not, nothing else here is to be trusted.
    """

    ess: float
    log_normaliser: float
    standard_error: float
    evaluations: int
    draws: int
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
        if not np.any(known > -np.inf):
            return cls(0.0, -np.inf, np.inf, evaluations, len(known), False)
        ess, (value, own) = ess_fraction(known), log_mean_weight(known)
        sound = sound and len(known) >= (1 - MOST_LOST) * len(log_weights)
        return cls(
            ess, value, float(np.hypot(own, error)), evaluations, len(known), bool(sound and ess >= FEWEST_EFFECTIVE)
        )

    def to_array(self) -> NDArray[np.float64]:
        """For files: `from_array` reads it."""
        return np.asarray(astuple(self), dtype=np.float64)

    @classmethod
    def from_array(cls, array: NDArray[np.float64]) -> Self:
        """What `to_array` wrote."""
        ess, value, error, evaluations, draws, converged = array.tolist()
        return cls(ess, value, error, int(evaluations), int(draws), bool(converged))

"""Which modes of a law draws have found, with importance weights if need be. Float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from conjugate_moments.measures.energies import Modes
from conjugate_moments.samplers.weights import Array, shares

FEWEST_HITS = 10  # draws expected in each mode: a true law then misses one with probability e^{-10}
FOUND_SHARE = 0.1  # of its true mass, for a mode to count as found


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

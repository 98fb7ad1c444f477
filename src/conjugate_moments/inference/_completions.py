"""What samplers of a posterior given a noisy linear part of y share: their result, when it is trusted, and checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from conjugate_moments.samplers.diagnostics import worse_r_hat

Observe = Callable[[Array], Array]

FEWEST_CHAINS = 4  # or populations of particles, for each image: what R̂ compares
PROJECTIONS = 4  # directions of x, and of y, whose R̂ is looked at
# R̂² is about 1 + 1/(effective draws of a half chain): below 1.05 the eight half chains of an image have 80, or more.
R_HAT_LIMIT = 1.05
UNSOLVED_LIMIT = 1e-3  # share of an image's moves that are rejected for want of a conjugate


@dataclass(frozen=True, eq=False)
class Completions:
    """Draws of a posterior for each of n images, and whether to trust them.

    Args:
      points: y, `[s, n, d]`: of chains, in the order of the moves, those of all chains together; of populations, one
        population after the other.
      sources: x, `[s, n, d]`, with y = ∇w*(x) within the tolerance of the solver.
      acceptance: mean probability of acceptance, after the warm-up of chains.
      r_hat: `[n]`, the largest split R̂ of the energy and of random projections of x and of y, and of their distances
        from the median, over every move of the chains, or over the particles of independent populations.
      unconverged: share of the moves after the warm-up on which a conjugate was not solved. They are rejected: every
        draw has a solved conjugate, but where this is not small, draws are of another law.
      converged: `[n]`, whether R̂ < `R_HAT_LIMIT` and an image's own such share is at most `UNSOLVED_LIMIT`.
      conjugate_steps: of the solver, mean over conjugates after the warm-up: what they cost; 0 for particles.
      gradient_residual: relative, of the linear solve in the gradient; the mean over moves of the largest on each. It
        costs acceptance at most: the Metropolis rule corrects trajectories under every force that is a function of x.
        0 for particles, which need no gradient.
    """

    points: NDArray[np.floating]
    sources: NDArray[np.floating]
    acceptance: float
    r_hat: NDArray[np.floating]
    unconverged: float
    converged: NDArray[np.bool_]
    conjugate_steps: float = 0.0
    gradient_residual: float = 0.0


def trusted(r_hat: NDArray[np.floating], solved: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether draws of each image are to be used, `[n]`, by its R̂ and share of solved moves; NaN never is."""
    return (r_hat < R_HAT_LIMIT) & (solved >= 1 - UNSOLVED_LIMIT)


def largest_r_hat(summaries: Array) -> NDArray[np.floating]:
    """The largest `worse_r_hat` of each image's summaries `[m, n, chains, q]`: `[n]`."""
    return np.asarray(jax.vmap(worse_r_hat, in_axes=1)(summaries).max(axis=1))


def check_noise(noise: float) -> None:
    """Refuse noise that is not positive and finite."""
    if not 0 < noise < float("inf"):
        raise ValueError(f"noise: found {noise}, allowed: finite numbers > 0")


def check_chains(name: str, chains: int) -> None:
    """Refuse too few chains, or populations, for R̂ to compare."""
    if chains < FEWEST_CHAINS:
        raise ValueError(f"{name}: found {chains}, allowed: at least {FEWEST_CHAINS}")


def check_observed(observe: Observe, observed: ArrayLike, dim: int, dtype: Any) -> Array:
    """Observations `[n, k]` as finite floats of what `observe` makes of `[n, dim]`."""
    array = jnp.asarray(observed)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"observed: found shape {list(array.shape)}, allowed: non-empty [n, k]")
    seen = jax.eval_shape(observe, jax.ShapeDtypeStruct((len(array), dim), dtype)).shape
    if seen != array.shape:
        raise ValueError(f"observed: found shape {list(array.shape)}, allowed: {list(seen)}, that of observe")
    check_entries("observed", array)
    return array.astype(dtype)


def check_entries(name: str, array: Array) -> None:
    """Refuse entries that are not finite."""
    if not bool(jnp.all(jnp.isfinite(array))):
        raise ValueError(f"{name}: found NaN or infinite entries, allowed: none")

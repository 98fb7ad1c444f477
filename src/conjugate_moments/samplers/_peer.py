"""What the samplers of an unnormalised density have in common, so that they are compared by the same counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments.samplers.diagnostics import ChainDiagnostics

Array = NDArray[np.floating]  # float64 throughout
LogDensity = Callable[[jax.Array], jax.Array]


@dataclass(frozen=True, eq=False)
class PeerSample:
    """Draws of a density by a method that has never seen w, with the work they took.

    A density evaluation is one value of log ρ at one point, with or without its gradient; wasted ones count as well,
    such as those of a warm-up.

    Args:
      method: its name.
      draws: `[n, d]` float64.
      log_weights: of the draws, `[n]`; None where they are equal.
      density_evaluations: points at which log ρ was evaluated.
      gradient_evaluations: those of them at which its gradient was, too.
      log_normaliser: estimate of log ∫ρ; None where the method has none.
      log_normaliser_error: its standard error.
      diagnostics: of the chains; None where there are none.
      divergences: of trajectories that were given up; None where there are none to give up.
      converged: whether the method vouches for its draws by its own criterion.
    """

    method: str
    draws: Array
    log_weights: Array | None
    density_evaluations: int
    gradient_evaluations: int
    log_normaliser: float | None
    log_normaliser_error: float | None
    diagnostics: ChainDiagnostics | None
    divergences: int | None
    converged: bool


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class DensityTarget:
    """A log-density as the target of a sampler.

    Args:
      log_density: at one point.
    """

    log_density: LogDensity = field(metadata={"static": True})

    def value(self, x: jax.Array) -> jax.Array:
        """Minus the log-density."""
        return -self.log_density(x)


def starting_points(
    log_density: LogDensity, dim: int, n: int, scale: ArrayLike, *, key: jax.Array, outside: bool = False
) -> jax.Array:
    """Draws of N(0, scale²), `[n, dim]`, in JAX's default precision.

    Args:
      log_density: of one point.
      dim: d.
      n: number of points.
      scale: one number, or one a coordinate.
      key: of this call.
      outside: whether points of density 0 will do.

    Raises:
      ValueError: if a scale is not positive and finite or fits no coordinate, or log ρ is no finite scalar at a point;
        -inf passes where `outside` does.
    """
    points = jnp.asarray(check_scale(scale, dim)) * jax.random.normal(key, (n, dim))
    values = jax.vmap(log_density)(points)
    if values.shape != (n,):
        raise ValueError(f"log_density: found values of shape {values.shape[1:]}, allowed: a scalar")
    lost = int(jnp.sum(~(jnp.isfinite(values) | (outside & (values == -jnp.inf)))))
    if lost:
        raise ValueError(f"scale: found a log-density that is not finite at {lost} of {n} starts, allowed: none")
    return points


def check_scale(scale: ArrayLike, dim: int) -> Array:
    """The scale as float64; refuse it unless it is positive and finite, a number or one for each coordinate."""
    found = np.asarray(scale, dtype=np.float64)
    if found.shape not in ((), (dim,)) or not np.all((found > 0) & (found < np.inf)):
        raise ValueError(f"scale: found {found.tolist()}, allowed: one or {dim} finite numbers > 0")
    return found


def check_counts(**counts: int) -> None:
    """Refuse counts that are not integers above 0."""
    for name, count in counts.items():
        if not (isinstance(count, int) and count >= 1):
            raise ValueError(f"{name}: found {count}, allowed: an integer >= 1")

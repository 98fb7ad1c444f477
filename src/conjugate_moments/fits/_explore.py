"""A first look at an unnormalised density: whether it is one, where its mass lies, and how far it spreads."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from conjugate_moments import _random
from conjugate_moments._matrices import symmetric_power
from conjugate_moments.samplers._peer import LogDensity, PeerSample
from conjugate_moments.samplers.weights import shares

Array = NDArray[np.floating]  # float64 throughout

LOOKS = 4096  # points at which the density is looked at before anything is run
WIDEST = 0.4  # of the Gaussian's standard deviation, that draws may have: beyond it is widened
WIDENED = 4.0  # by this factor
ATTEMPTS = 6
POINTS = 2048  # that are kept; a training that renews them comes to each of them the less often, the more there are
# Scott's rule is for Gaussians: at 1, points left the wells of a product of eight, and a fit to it came to nothing
# (effective sample size 0.1 %, against 68 % here, after 600 steps).
KERNEL = 0.25


@dataclass(frozen=True, eq=False)
class Exploration:
    """Where the mass lies.

    Args:
      points: draws of about ρ, smoothed by a kernel, `[n, d]`: they cover what was seen, and are not exact.
      mean: of ρ, as estimated, `[d]`.
      cov: of ρ, as estimated, `[d, d]`.
      evaluations: of the density.
    """

    points: Array
    mean: Array
    cov: Array
    evaluations: int


def explore(log_density: LogDensity, dim: int, *, key: jax.Array, scale: float, budget: int) -> Exploration:
    """Temper particles from N(0, scale²) to ρ, from a wider one as long as they spread as far as it does.

    Args:
      log_density: log ρ + constant at one point `[d]`.
      dim: d.
      key: of this call.
      scale: standard deviation to begin with.
      budget: density evaluations of one attempt; at most `ATTEMPTS` are made.

    Raises:
      ValueError: if `log_density` is no log-density of a law, or its mass was not found; the message says what it did.
    """
    from conjugate_moments.samplers._smc import smc_sample  # which has blackjax to import

    check_log_density(log_density, dim, scale, key=jax.random.fold_in(key, 0))
    used, widths = LOOKS, scale * WIDENED ** np.arange(ATTEMPTS)
    for attempt, width in enumerate(widths):
        drawn = smc_sample(log_density, dim, key=jax.random.fold_in(key, attempt + 1), budget=budget, scale=width)
        used += drawn.density_evaluations
        if drawn.log_normaliser is None:
            raise ValueError(
                f"log_density: found no way to its mass from N(0, {width:g}²) in {drawn.density_evaluations} "
                "evaluations, allowed: a density that tempering reaches (change scale, or standardise y)"
            )
        mean, cov = _moments(drawn)
        if np.all(np.diag(cov) < (WIDEST * width) ** 2) and np.all(np.abs(mean) < width):
            points = _smoothed(drawn, cov, key=jax.random.fold_in(key, ATTEMPTS + 1))
            return Exploration(points, mean, cov, used)
    raise ValueError(
        f"log_density: found mass that spreads as far as it is sought, up to a standard deviation of {widths[-1]:.3g}, "
        "allowed: a density that integrates (raise scale if it does)"
    )


def _moments(drawn: PeerSample) -> tuple[Array, Array]:
    weights = shares(drawn.log_weights) if drawn.log_weights is not None else np.full(len(drawn.draws), 1.0)
    weights = weights / weights.sum()
    mean = weights @ drawn.draws
    centred = drawn.draws - mean
    cov = (weights * centred.T) @ centred
    # As many particles as a fit can do with are few for a covariance: its diagonal is surer.
    kept = len(weights) / (len(weights) + 2 * len(mean))
    return mean, kept * cov + (1 - kept) * np.diag(np.diag(cov))


def _smoothed(drawn: PeerSample, cov: Array, *, key: jax.Array) -> Array:
    """Draws by their weights, each moved by Gaussian noise of `KERNEL` times the width that Scott's rule gives."""
    key_rows, key_noise = jax.random.split(key)
    n, dim = drawn.draws.shape
    edges = np.cumsum(shares(drawn.log_weights)) if drawn.log_weights is not None else np.arange(1, n + 1) / n
    rows = np.minimum(np.searchsorted(edges, _random.uniform(key_rows, (POINTS,))), n - 1)
    noise = _random.normal(key_noise, (POINTS, dim)) @ symmetric_power(cov, 1 / 2)
    return drawn.draws[rows] + KERNEL * n ** (-1 / (dim + 4)) * noise


def check_log_density(log_density: LogDensity, dim: int, scale: float, *, key: jax.Array) -> None:
    """Refuse what is no log-density, as far as `LOOKS` draws of N(0, scale²) can tell.

    Raises:
      ValueError: naming what was found.
    """
    if not callable(log_density):
        raise ValueError(f"log_density: found {type(log_density).__name__}, allowed: a function of one point [d]")
    try:
        found = jax.eval_shape(log_density, jax.ShapeDtypeStruct((dim,), jnp.float32))
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        allowed = f"a function of one point [{dim}] written in jax.numpy"
        raise ValueError(f"log_density: found code that cannot be traced ({reason}), allowed: {allowed}") from error
    single = isinstance(found, jax.ShapeDtypeStruct) and found.shape == ()
    if not (single and jnp.issubdtype(found.dtype, jnp.floating)):
        raise ValueError(f"log_density: found the value {found}, allowed: one real number")
    points = scale * jax.random.normal(key, (LOOKS, dim))
    # Traced anew each time: what a function keeps in Python between its calls shows here.
    first, second = (np.asarray(jax.vmap(log_density)(points)) for _ in range(2))
    if not np.array_equal(first, second, equal_nan=True):
        raise ValueError(
            "log_density: found other values on a second call at the same points, allowed: a pure function"
        )
    for kind, bad in (("NaN", np.isnan(first)), ("+inf", first == np.inf)):
        if bad.any():
            where = np.array2string(np.asarray(points[int(np.argmax(bad))]), precision=3, threshold=6)
            raise ValueError(
                f"log_density: found {kind} at {int(bad.sum())} of {LOOKS} points, as at {where}, allowed: numbers, "
                "and -inf where the density is 0"
            )
    if np.all(first == -np.inf):
        raise ValueError(
            f"scale: found {scale:g}, which gives {LOOKS} points of density 0, allowed: one that reaches the support"
        )

"""Whether Markov chains have mixed: split R̂ and effective sample size, and the rule that decides."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

R_HAT_LIMIT = 1.01  # Vehtari et al. 2021, section 4
ESS_SHARE = 0.1  # of the draws kept: below it, thinning more costs less than storing more
FEWEST_DRAWS = 4  # two halves with a variance each


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ChainDiagnostics:
    """What the draws of several chains say about their mixing. A jax pytree; NaN never counts as convergence.

    Args:
      acceptance: mean probability of acceptance over chains and moves.
      step: step size of the moves, in the units of the sampler.
      r_hat: split R̂ of each coordinate x or of |x − median|, the larger one, `[d]`.
      ess: effective sample size of the same over all chains, the smaller one, `[d]`.
      draws: number of draws kept, over all chains.
      moves: number of moves of each chain behind these draws.
    """

    acceptance: jax.Array
    step: jax.Array
    r_hat: jax.Array
    ess: jax.Array
    draws: jax.Array
    moves: jax.Array

    @property
    def converged(self) -> jax.Array:
        """Whether, in every coordinate, R̂ < `R_HAT_LIMIT` and ESS >= `ESS_SHARE` of the draws."""
        return jnp.all(self.r_hat < R_HAT_LIMIT) & jnp.all(self.ess >= ESS_SHARE * self.draws)


def check_draws(draws: jax.Array) -> None:
    """Refuse arrays that are not the draws of chains.

    Raises:
      ValueError: unless the shape is `[m, n, d]` with m >= `FEWEST_DRAWS` and at least one chain and coordinate.
    """
    if draws.ndim != 3 or draws.shape[0] < FEWEST_DRAWS or 0 in draws.shape:
        raise ValueError(f"draws: expected shape [m, chains, d] with m >= {FEWEST_DRAWS}, found {draws.shape}")


def _variances(chains: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean variance within chains, and the variance of the chain means, of `[m, n, d]`; results `[d]`."""
    within = jnp.mean(jnp.var(chains, axis=0, ddof=1), axis=0)
    between = jnp.var(jnp.mean(chains, axis=0), axis=0, ddof=1) if chains.shape[1] > 1 else jnp.zeros_like(within)
    return within, between


@jax.jit
def split_r_hat(draws: jax.Array) -> jax.Array:
    """Split R̂ of each coordinate (Vehtari et al. 2021, equations 1-4, without ranks); infinite if no chain moves.

    The potential scale reduction of the half chains, so that drift within a chain shows as well. A middle draw that
    belongs to neither half is left out.

    Args:
      draws: `[m, n, d]`, m draws of n chains.

    Returns:
      `[d]`, near 1 when all halves agree; NaN where draws are NaN or all equal.

    Raises:
      ValueError: as `check_draws`.
    """
    check_draws(draws)
    half = draws.shape[0] // 2
    chains = jnp.concatenate([draws[:half], draws[-half:]], axis=1)
    within, between = _variances(chains)
    return jnp.sqrt((half - 1) / half + between / within)


def folded(draws: jax.Array) -> jax.Array:
    """|x − median| of each coordinate of draws `[m, n, d]`, the median being that of all chains (Vehtari et al. 2021).

    Its diagnostics see what those of x do not: chains with one mean and several widths, and moves that come back
    mirrored, which look better than independent draws.
    """
    return jnp.abs(draws - jnp.median(draws, axis=(0, 1)))


@jax.jit
def worse_r_hat(draws: jax.Array) -> jax.Array:
    """Split R̂ of each coordinate of draws `[m, n, d]`, or of the same `folded`: the larger one, `[d]`.

    Raises:
      ValueError: as `check_draws`.
    """
    return jnp.maximum(split_r_hat(draws), split_r_hat(folded(draws)))


def _autocovariance(draws: jax.Array) -> jax.Array:
    """Biased autocovariances at lags 0, …, m - 1 averaged over chains, `[m, d]`, by FFT."""
    m = draws.shape[0]
    size = 1 << (2 * m - 1).bit_length()  # zero padding makes the circular correlation a linear one
    spectrum = jnp.fft.rfft(draws - jnp.mean(draws, axis=0), n=size, axis=0)
    power = jnp.mean(jnp.abs(spectrum) ** 2, axis=1)
    return jnp.fft.irfft(power, n=size, axis=0)[:m] / m


@jax.jit
def effective_sample_size(draws: jax.Array) -> jax.Array:
    """Number of independent draws with the same variance of the mean, for each coordinate, over all chains.

    Autocorrelations pooled over chains (Vehtari et al. 2021, equations 10-12) and summed by Geyer's initial monotone
    sequence (Geyer 1992). Disagreeing chains lower it. At most `draws · log10(draws)`, for antithetic chains.

    Args:
      draws: `[m, n, d]`, m draws of n chains.

    Returns:
      `[d]`; NaN where draws are NaN or all equal.

    Raises:
      ValueError: as `check_draws`.
    """
    check_draws(draws)
    m, n, _ = draws.shape
    within, between = _variances(draws)
    total = within * (m - 1) / m + between
    correlation = (1 - (within - _autocovariance(draws)) / total).at[0].set(1)
    even, odd = correlation[: m - m % 2 : 2], correlation[1::2]
    pairs = even + odd
    # A NaN pair must not read as the end of the positive sequence, which would make the chains look independent.
    kept = jnp.cumprod(~(pairs <= 0), axis=0)
    monotone = jax.lax.cummin(jnp.where(kept, pairs, 0), axis=0)
    # The even lag at which the sequence stops is still a positive correlation for antithetic chains.
    ends = jnp.concatenate([jnp.ones_like(kept[:1]), kept[:-1]]) * (1 - kept)
    time = -1 + 2 * jnp.sum(monotone, axis=0) + jnp.sum(ends * jnp.maximum(even, 0), axis=0)
    return m * n / jnp.maximum(time, 1 / jnp.log10(jnp.asarray(m * n, draws.dtype)))


def diagnose(draws: jax.Array, *, acceptance: jax.Array, step: jax.Array, moves: int) -> ChainDiagnostics:
    """Diagnostics of draws `[m, n, d]`, and of the same `folded`, made by `moves` moves of each chain.

    Raises:
      ValueError: as `check_draws`.
    """
    check_draws(draws)
    count = jnp.asarray(draws.shape[0] * draws.shape[1])
    ess = jnp.minimum(effective_sample_size(draws), effective_sample_size(folded(draws)))
    return ChainDiagnostics(acceptance, step, worse_r_hat(draws), ess, count, jnp.asarray(moves))

"""Samplers of an unnormalised density that conjugate moment measures are compared with, at a budget of evaluations.

Each starts from N(0, scale²) and is tuned by its own warm-up, which is part of the budget. MALA's count is known
beforehand; those of NUTS and SMC depend on the density: they stop at the budget as nearly as they can tell, and
say what they used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from conjugate_moments import _random
from conjugate_moments.measures.energies import energy
from conjugate_moments.samplers import mala
from conjugate_moments.samplers._peer import Array, DensityTarget, LogDensity, PeerSample, check_counts, starting_points
from conjugate_moments.samplers._smc import smc_sample
from conjugate_moments.samplers.diagnostics import diagnose
from conjugate_moments.samplers.weights import log_mean_weight

__all__ = ["PeerSample", "logistic_truth", "mala_sample", "nuts_sample", "smc_sample"]

KEPT = 1000  # draws of each Langevin chain at most: its neighbours are correlated
FEWEST_MOVES = 60  # so that each stage of the warm-up has enough to be diagnosed
CHUNK = 50  # draws of each NUTS chain between two looks at the budget


def mala_sample(
    log_density: LogDensity, dim: int, *, key: jax.Array, budget: int, scale: ArrayLike = 1.0, chains: int = 16
) -> PeerSample:
    """Langevin chains in the metric of their own covariance; a third of the moves is warm-up.

    The start of a chain is two evaluations, and so is the point where it joins the others; every move is one.

    Args:
      log_density: of one point, traced by JAX.
      dim: d.
      key: of this call.
      budget: density evaluations, at least `FEWEST_MOVES` + 3 for each chain.
      scale: standard deviation of the starts, one number or one a coordinate.
      chains: how many, at least 2.

    Raises:
      ValueError: for counts out of range, or as `starting_points`.
    """
    check_counts(dim=dim, budget=budget, chains=chains)
    moves = budget // chains - 3
    if chains < 2 or moves < FEWEST_MOVES:
        raise ValueError(
            f"chains, budget: found {chains} and {budget}, allowed: >= 2 and >= {FEWEST_MOVES + 3} for each"
        )
    key_start, key_warmup, key_run = jax.random.split(key, 3)
    target = DensityTarget(log_density)
    points = starting_points(log_density, dim, chains, scale, key=key_start)
    stage = moves // 9
    state, root = _warm_up(target, points, stage, scale, key=key_warmup)
    thin = -(-(moves - 3 * stage) // KEPT)
    kept = (moves - 3 * stage) // thin
    found = mala.run(target, state, kept * thin, key=key_run, thin=thin, root=root)
    moved = 3 * stage + kept * thin
    return PeerSample(
        method="mala",
        draws=np.asarray(found.draws, dtype=np.float64).reshape(-1, dim),
        log_weights=None,
        density_evaluations=chains * (3 + moved),
        gradient_evaluations=chains * (2 + moved),
        log_normaliser=None,
        log_normaliser_error=None,
        diagnostics=found.diagnostics,
        divergences=None,
        converged=bool(found.diagnostics.converged),
    )


@partial(jax.jit, static_argnames="stage")
def _warm_up(
    target: DensityTarget, points: jax.Array, stage: int, scale: ArrayLike, *, key: jax.Array
) -> tuple[mala.MalaState, jax.Array]:
    """Chains near the bulk, with a common step, and the root of their covariance, after three stages of moves."""
    dim = points.shape[1]
    keys = jax.random.split(key, 3)
    first = jnp.diag(jnp.broadcast_to(jnp.asarray(scale, points.dtype), (dim,)))

    def approach(point: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        # One step for all would leave behind the chains that start where the density is steepest.
        state = mala.warm_up(target, mala.initial_state(target, point[None], step=0.1), stage, key=key, root=first)
        return state.position[0], state.log_step

    positions, log_steps = jax.vmap(approach)(points, jax.random.split(keys[0], len(points)))
    state = replace(mala.initial_state(target, positions, step=1.0), log_step=jnp.median(log_steps))
    seen = mala.run(target, state, stage, key=keys[1], root=first)
    root = _covariance_root(seen.draws.reshape(-1, dim), first)
    # Where the density is a Gaussian of this covariance, steps of order d^{-1/3} are accepted as often as they should.
    state = replace(seen.state, log_step=jnp.full_like(log_steps[0], -jnp.log(dim) / 3))
    return mala.warm_up(target, state, stage, key=keys[2], root=root), root


def _covariance_root(draws: jax.Array, first: jax.Array) -> jax.Array:
    """Cholesky factor of the covariance of draws `[n, d]`, its correlations shrunk by a tenth: they are few."""
    cov = jnp.cov(draws.T).reshape(first.shape) + 1e-6 * first @ first.T
    return jnp.linalg.cholesky(0.9 * cov + 0.1 * jnp.diag(jnp.diag(cov)))


def nuts_sample(
    log_density: LogDensity,
    dim: int,
    *,
    key: jax.Array,
    budget: int,
    scale: ArrayLike = 1.0,
    chains: int = 4,
    warmup: int = 500,
    acceptance: float = 0.8,
) -> PeerSample:
    """No-U-turn chains (Hoffman & Gelman 2014; blackjax), with step and diagonal metric from Stan's windows.

    Each chain adapts by itself. Draws come in rounds of `CHUNK` until another round would exceed the budget at the
    mean cost of a draw so far; one round is always made. So the count depends on the density, and is that of the
    leapfrog steps taken, those of the warm-up included. The lanes of a chain that waits for a longer one count nothing.

    Args:
      log_density: of one point, traced by JAX.
      dim: d.
      key: of this call.
      budget: density evaluations.
      scale: standard deviation of the starts.
      chains: how many, at least 2.
      warmup: draws of each chain that are thrown away.
      acceptance: that the step size is adapted to; higher ones diverge less in narrow places.

    Raises:
      ValueError: for counts out of range, or as `starting_points`.
    """
    check_counts(budget=budget)

    def goes_on(rounds: int, used: int, spent: int) -> bool:
        return used + spent / rounds <= budget

    return _nuts(log_density, dim, goes_on, key=key, scale=scale, chains=chains, warmup=warmup, acceptance=acceptance)


def _nuts(
    log_density: LogDensity,
    dim: int,
    goes_on: Callable[[int, int, int], bool],
    *,
    key: jax.Array,
    scale: ArrayLike,
    chains: int,
    warmup: int,
    acceptance: float,
) -> PeerSample:
    """Rounds of draws while `goes_on(rounds, evaluations, evaluations after the warm-up)` says so."""
    check_counts(dim=dim, chains=chains, warmup=warmup)
    if chains < 2 or not 0 < acceptance < 1:
        raise ValueError(f"chains, acceptance: found {chains}, {acceptance}, allowed: >= 2, between 0 and 1")
    key_start, key_warmup, key_run = jax.random.split(key, 3)
    points = starting_points(log_density, dim, chains, scale, key=key_start)
    adapt, advance = _nuts_programs(log_density, warmup, acceptance)
    state, parameters, warmup_steps = adapt(jax.random.split(key_warmup, chains), points)

    fixed, spent, rounds = 2 * chains + int(warmup_steps), 0, []
    while not rounds or goes_on(len(rounds), fixed + spent, spent):
        keys = jax.random.split(jax.random.fold_in(key_run, len(rounds)), (chains, CHUNK))
        state, (positions, steps, diverged, accepted) = advance(state, parameters, keys)
        rounds.append((positions, diverged, accepted))
        spent += int(jnp.sum(steps))
    positions, diverged, accepted = (np.concatenate(part, axis=1) for part in zip(*rounds, strict=True))
    draws = jnp.asarray(positions).swapaxes(0, 1)
    diagnostics = diagnose(
        draws, acceptance=jnp.mean(accepted), step=jnp.mean(parameters["step_size"]), moves=CHUNK * len(rounds)
    )
    divergences = int(diverged.sum())
    return PeerSample(
        method="nuts",
        draws=np.asarray(draws, dtype=np.float64).reshape(-1, dim),
        log_weights=None,
        density_evaluations=fixed + spent,
        gradient_evaluations=fixed + spent - chains,
        log_normaliser=None,
        log_normaliser_error=None,
        diagnostics=diagnostics,
        divergences=divergences,
        converged=bool(diagnostics.converged) and divergences == 0,
    )


@lru_cache(maxsize=8)
def _nuts_programs(log_density: LogDensity, warmup: int, acceptance: float) -> tuple[Any, Any]:
    """Compiled programs for all chains at once: the warm-up, and a round of draws after it."""
    import blackjax
    from blackjax.adaptation.base import get_filter_adapt_info_fn

    kernel = blackjax.nuts.build_kernel()
    adaptation = blackjax.window_adaptation(
        blackjax.nuts,
        log_density,
        target_acceptance_rate=acceptance,
        adaptation_info_fn=get_filter_adapt_info_fn(info_keys={"num_integration_steps"}),
    )
    run: Any = adaptation.run

    @jax.jit
    def adapt(keys: jax.Array, points: jax.Array) -> tuple[Any, Any, jax.Array]:
        result, info = jax.vmap(lambda key, point: run(key, point, warmup))(keys, points)
        return result.state, result.parameters, jnp.sum(info.info.num_integration_steps)

    def draw(state: Any, parameters: Any, keys: jax.Array) -> tuple[Any, Any]:
        def move(state: Any, key: jax.Array) -> tuple[Any, Any]:
            state, info = kernel(key, state, log_density, **parameters)
            return state, (state.position, info.num_integration_steps, info.is_divergent, info.acceptance_rate)

        return jax.lax.scan(move, state, keys)

    return adapt, jax.jit(jax.vmap(draw))


PROPOSALS = 100_000  # draws of Student's t for the normaliser
DEGREES = 10  # of freedom: a heavier tail than the posterior's


def logistic_truth(*, key: jax.Array, chains: int = 8, draws: int = 4000, warmup: int = 1000) -> PeerSample:
    """Draws of the logistic posterior by long NUTS chains, and its evidence by importance sampling.

    The proposals are Student's t with the mean and covariance of the draws; the normaliser's error is that of their
    weights. R̂, ESS and divergences are in the result, to be held against `converged`.

    Args:
      key: of this call.
      chains: how many.
      draws: of each chain, rounded up to a multiple of `CHUNK`.
      warmup: as for `nuts_sample`.

    Raises:
      ValueError: as `nuts_sample`.
    """
    check_counts(draws=draws)
    posterior = energy("logistic")
    key_chains, key_proposals = jax.random.split(key)
    needed = -(-draws // CHUNK)
    found = _nuts(
        posterior.log_density,
        posterior.dim,
        lambda rounds, used, spent: rounds < needed,
        key=key_chains,
        scale=posterior.scale,
        chains=chains,
        warmup=warmup,
        acceptance=0.8,
    )
    value, error = log_mean_weight(_student_weights(posterior.log_density, found.draws, key=key_proposals))
    used = found.density_evaluations + PROPOSALS
    return replace(found, density_evaluations=used, log_normaliser=value, log_normaliser_error=error)


def _student_weights(log_density: LogDensity, draws: Array, *, key: jax.Array) -> Array:
    """Log weights of `PROPOSALS` draws of a Student law fitted to draws `[n, d]`."""
    mean, root = draws.mean(axis=0), np.linalg.cholesky(np.cov(draws.T))
    key_normal, key_spread = jax.random.split(key)
    dim = len(mean)
    # White draws of variance 1, so that their covariance is that of the draws.
    square = special.chdtri(DEGREES, _random.uniform(key_spread, (PROPOSALS, 1)))
    white = _random.normal(key_normal, (PROPOSALS, dim)) * np.sqrt((DEGREES - 2) / square)
    points = jnp.asarray(mean + white @ root.T)
    values = np.asarray(jax.lax.map(log_density, points, batch_size=1000), dtype=np.float64)
    shape = np.diag(np.full(dim, (DEGREES - 2) / DEGREES))
    proposal: Any = stats.multivariate_t(np.zeros(dim), shape, df=DEGREES)  # pyright: ignore
    return values - proposal.logpdf(white) + float(np.sum(np.log(np.diag(root))))

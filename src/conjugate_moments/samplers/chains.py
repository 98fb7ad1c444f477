"""Draws of P_w ∝ e^{-w} by chains: which moves they take, and which they go on with where those did not mix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from conjugate_moments.samplers._target import Target
from conjugate_moments.samplers.diagnostics import ChainDiagnostics
from conjugate_moments.samplers.mala import TARGET_ACCEPTANCE, ChainRun, MalaState, initial_state, run, warm_up

DRAWS_PER_CHAIN = 100  # fewer, and the R̂ of correlated draws is far from 1 even in equilibrium


class Schedule(NamedTuple):
    """How chains move.

    Args:
      leaps: of each move, as for `mala_step`.
      acceptance: that the step size adapts to in the warm-up.
      warmup: moves of each chain before the first draw.
      thin: moves between draws.
    """

    leaps: int
    acceptance: float
    warmup: int
    thin: int


LANGEVIN = Schedule(leaps=1, acceptance=TARGET_ACCEPTANCE, warmup=500, thin=10)
# Above the 0.651 that is optimal as d grows (Beskos et al. 2013), lest chains stand still where w is rough.
TRAJECTORIES = Schedule(leaps=6, acceptance=0.8, warmup=60, thin=4)
SMALL = 32  # dimension up to which Langevin moves are tried first: from d = 64 on they did not mix


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class GibbsSample:
    """Draws of P_w, correlated as `diagnostics.ess` says, and worth using only if `diagnostics.converged`.

    Args:
      points: `[n, d]`.
      diagnostics: of the chains that the points are taken from.
      state: after the last move.
    """

    points: jax.Array
    diagnostics: ChainDiagnostics
    state: MalaState


def run_schedule(
    potential: Target,
    state: MalaState,
    schedule: Schedule,
    draws: int,
    *,
    key: jax.Array,
    root: jax.Array | None = None,
) -> ChainRun:
    """Adapt the step size, fix it, and keep so many draws of every chain, at least `DRAWS_PER_CHAIN`.

    Args:
      potential: w.
      state: of the chains, with the values of w.
      schedule: of their moves.
      draws: of each chain.
      key: of this call.
      root: as for `mala_step`.
    """
    leaps, acceptance, warmup, thin = schedule
    key_warmup, key_run = jax.random.split(key)
    state = warm_up(potential, state, warmup, key=key_warmup, target=acceptance, root=root, leaps=leaps)
    moves = thin * max(draws, DRAWS_PER_CHAIN)
    return run(potential, state, moves, key=key_run, thin=thin, root=root, leaps=leaps)


def run_chains(
    potential: Target, state: MalaState, draws: int = DRAWS_PER_CHAIN, *, key: jax.Array, root: jax.Array | None = None
) -> ChainRun:
    """As `run_schedule`, by Langevin moves in few dimensions, and from where these did not mix by trajectories.

    R̂² is about 1 + 2(τ - 1)/m for m draws a chain with an autocorrelation time of τ draws, in equilibrium too.
    """
    key_first, key_again = jax.random.split(key)
    small = state.position.shape[1] <= SMALL
    found = run_schedule(potential, state, LANGEVIN if small else TRAJECTORIES, draws, key=key_first, root=root)
    if small and not bool(found.diagnostics.converged):
        found = run_schedule(potential, found.state, TRAJECTORIES, draws, key=key_again, root=root)
    return found


def sample(
    potential: Target,
    n: int,
    *,
    key: jax.Array,
    start: ArrayLike,
    step: float = 0.5,
    root: jax.Array | None = None,
) -> GibbsSample:
    """`n` draws of P_w ∝ e^{-w} by chains, as `run_chains` moves them.

    Each chain gives at least `DRAWS_PER_CHAIN` draws, all of which are diagnosed; the last n are returned.

    Args:
      potential: w.
      n: number of draws.
      key: of this call.
      start: where the chains start, `[chains, d]`, with w finite; spread wider than P_w, so that R̂ can see a failure.
      step: first step size, adapted in the warm-up.
      root: R, `[d, d]` or its diagonal `[d]`; None for the identity.

    Raises:
      ValueError: if `n` is not positive, w is not finite at some `start`, or as `initial_state`.
    """
    if n < 1:
        raise ValueError(f"n: expected an integer >= 1, found {n}")
    state = initial_state(potential, start, step=step)
    chains, dim = state.position.shape
    lost = int(jnp.sum(~jnp.isfinite(state.value)))
    if lost:
        raise ValueError(f"start: w is not finite at {lost} of {chains} points, allowed are points of its domain")
    if root is not None and root.shape not in ((dim,), (dim, dim)):
        raise ValueError(f"root: expected shape {(dim, dim)} or {(dim,)}, found {root.shape}")
    found = run_chains(potential, state, -(-n // chains), key=key, root=root)
    return GibbsSample(found.draws.reshape(-1, dim)[-n:], found.diagnostics, found.state)

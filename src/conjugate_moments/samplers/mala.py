"""The Metropolis-adjusted Langevin algorithm on a batch of persistent chains (Roberts & Tweedie 1996).

A move proposes x' = x - h R Rᵀ∇w(x) + √(2h) R ξ, ξ ~ N(0, I), and accepts it with the Metropolis probability, so that
P_w ∝ e^{-w} is invariant for every step size h and every root R. A Gaussian fit with covariance S suggests R = S^{1/2}.
That is one leap of length √(2h) of Hamiltonian dynamics with the momentum ξ. A move of several (Duane et al. 1987) does
not turn at random between them, and goes as far as many moves of one.
Where w grows faster than a quadratic, proposals from far out overshoot and are all rejected: start near the bulk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from conjugate_moments._matrices import times
from conjugate_moments.samplers._target import SolvedTarget, Target, values_and_gradients
from conjugate_moments.samplers.diagnostics import FEWEST_DRAWS, ChainDiagnostics, diagnose

TARGET_ACCEPTANCE = 0.6  # just above the 0.574 that is optimal as d grows (Roberts & Rosenthal 1998)
MEMORY = 20  # moves that the running mean of the acceptance looks back
JITTER = 0.2  # of the length of leaps, relative


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class MalaState:
    """Chains and what the next move needs to know of them. A jax pytree, in the dtype of the positions.

    Args:
      position: `[n, d]`.
      value: w there, `[n]`.
      gradient: ∇w there, `[n, d]`.
      log_step: log of the step size h, one for all chains, scalar.
      acceptance: mean probability of acceptance over chains and about the last `MEMORY` moves; 0 before the first.
      moves: number of moves so far.
    """

    position: jax.Array
    value: jax.Array
    gradient: jax.Array
    log_step: jax.Array
    acceptance: jax.Array
    moves: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class MalaInfo:
    """One move of every chain.

    Args:
      probability: of accepting the proposal, `[n]`; 0 where the proposal, its value or its gradient is not finite.
      accepted: whether it was, `[n]`.
    """

    probability: jax.Array
    accepted: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ChainRun:
    """Draws of the chains with their diagnostics, and the state to continue from.

    Args:
      draws: `[m, n, d]`.
      diagnostics: of these draws.
      state: after the last move.
    """

    draws: jax.Array
    diagnostics: ChainDiagnostics
    state: MalaState


@jax.jit
def _evaluate(potential: Target, position: jax.Array, guess: jax.Array) -> tuple[jax.Array, jax.Array]:
    """w and ∇w at each position `[n, d]`; a guess of ∇w helps a potential that has to solve for it."""
    if isinstance(potential, SolvedTarget):
        return potential.from_guess(position, guess)
    return values_and_gradients(potential, position)


def initial_state(potential: Target, positions: ArrayLike, *, step: float) -> MalaState:
    """Chains at `positions`, `[n, d]`, with step size h = `step` > 0.

    Raises:
      ValueError: if `positions` is not a non-empty array of shape `[n, d]` or `step` is not positive and finite.
    """
    position = jnp.asarray(positions)
    if position.ndim != 2 or not position.size:
        raise ValueError(f"positions: expected a non-empty array of shape [n, d], found shape {position.shape}")
    if not 0 < step < float("inf"):
        raise ValueError(f"step: expected a finite number > 0, found {step}")
    value, gradient = _evaluate(potential, position, position)
    log_step = jnp.log(jnp.asarray(step, value.dtype))
    return MalaState(position, value, gradient, log_step, jnp.zeros_like(log_step), jnp.zeros((), jnp.int32))


def refresh(potential: Target, state: MalaState) -> MalaState:
    """The same chains on another potential, as after a training step: without this the next move is biased."""
    value, gradient = _evaluate(potential, state.position, state.gradient)
    return replace(state, value=value, gradient=gradient)


class _Way(NamedTuple):
    """How far trajectories have come: `[n, d]`, w and `sound` `[n]`; the momentum is in the frame of R."""

    position: jax.Array
    value: jax.Array
    gradient: jax.Array
    momentum: jax.Array
    sound: jax.Array


def _leap(potential: Target, way: _Way, length: jax.Array, root: jax.Array | None) -> _Way:
    def pushed(momentum: jax.Array, gradient: jax.Array) -> jax.Array:
        return momentum - length / 2 * (gradient if root is None else times(gradient, root))

    momentum = pushed(way.momentum, way.gradient)
    position = way.position + length * (momentum if root is None else times(momentum, root.T))
    value, gradient = _evaluate(potential, position, way.gradient)
    # -inf would beat every other value for ever, and a gradient that is not finite would freeze the chain there.
    sound = way.sound & jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient), axis=1)
    return _Way(position, value, gradient, pushed(momentum, gradient), sound)


def _trajectory(
    potential: Target,
    state: MalaState,
    momentum: jax.Array,
    length: jax.Array,
    root: jax.Array | None,
    leaps: int | jax.Array,
) -> _Way:
    start = _Way(state.position, state.value, state.gradient, momentum, jnp.ones(len(momentum), bool))
    return jax.lax.fori_loop(0, leaps, lambda _, way: _leap(potential, way, length, root), start)


def _log_ratio(state: MalaState, momentum: jax.Array, way: _Way) -> jax.Array:
    """Log of the Metropolis ratio, `[n]`.

    The reverse trajectory starts with the momentum at the end, its sign changed: no inverse of R is needed.
    """
    ratio = state.value - way.value + (jnp.sum(momentum**2, axis=1) - jnp.sum(way.momentum**2, axis=1)) / 2
    return jnp.where(way.sound & ~jnp.isnan(ratio), ratio, -jnp.inf)


def mala_step(
    potential: Target,
    state: MalaState,
    *,
    key: jax.Array,
    gain: ArrayLike = 0.0,
    target: ArrayLike = TARGET_ACCEPTANCE,
    root: jax.Array | None = None,
    leaps: int = 1,
) -> tuple[MalaState, MalaInfo]:
    """One move of every chain, with `leaps` evaluations of w and ∇w for each, on average.

    Args:
      potential: w; `state` must hold its values, else `refresh` first.
      state: of n chains.
      key: of this move.
      gain: of the Robbins-Monro update log h ← log h + gain · (mean acceptance - target). Only moves with gain 0
        leave P_w exactly invariant; a decreasing gain does so in the limit.
      target: acceptance that the step size adapts to.
      root: R, `[d, d]` or its diagonal `[d]`; None for the identity. Keep it fixed along a run.
      leaps: 1 for a Langevin move; of more, the length varies, and the number by a half of itself, the same for all
        chains: else some coordinates would come back to where they started, or to its mirror image, at every move.
    """
    key_noise, key_accept, key_length, key_count = jax.random.split(key, 4)
    noise = jax.random.normal(key_noise, state.position.shape, state.position.dtype)
    length, count = jnp.sqrt(2 * jnp.exp(state.log_step)), leaps
    if leaps > 1:
        count = jax.random.randint(key_count, (), leaps - leaps // 2, leaps + leaps // 2 + 1)
        length *= jax.random.uniform(key_length, (len(noise), 1), noise.dtype, 1 - JITTER, 1 + JITTER)
    way = _trajectory(potential, state, noise, length, root, count)
    log_ratio = _log_ratio(state, noise, way)
    accepted = jnp.log(jax.random.uniform(key_accept, log_ratio.shape, log_ratio.dtype)) < log_ratio
    probability = jnp.exp(jnp.minimum(log_ratio, 0))
    mean = jnp.mean(probability)
    moved = MalaState(
        position=jnp.where(accepted[:, None], way.position, state.position),
        value=jnp.where(accepted, way.value, state.value),
        gradient=jnp.where(accepted[:, None], way.gradient, state.gradient),
        log_step=state.log_step + gain * (mean - target),
        acceptance=state.acceptance + (mean - state.acceptance) / jnp.minimum(state.moves + 1, MEMORY),
        moves=state.moves + 1,
    )
    return moved, MalaInfo(probability, accepted)


@partial(jax.jit, static_argnames=("moves", "leaps"))
def warm_up(
    potential: Target,
    state: MalaState,
    moves: int,
    *,
    key: jax.Array,
    target: ArrayLike = TARGET_ACCEPTANCE,
    root: jax.Array | None = None,
    leaps: int = 1,
) -> MalaState:
    """Move the chains towards P_w while the step size adapts, with gains (1 + t/10)^{-0.6} for t = 0, …, moves - 1.

    The gains are not summable and their squares are, as Robbins & Monro (1951) ask.

    Args:
      potential: w.
      state: of n chains, with the values of w.
      moves: of each chain.
      key: of this call.
      target: acceptance to adapt to.
      root: as for `mala_step`.
      leaps: as for `mala_step`.
    """

    def move(state: MalaState, now: tuple[jax.Array, jax.Array]) -> tuple[MalaState, None]:
        return mala_step(potential, state, key=now[0], gain=now[1], target=target, root=root, leaps=leaps)[0], None

    gains = (1 + jnp.arange(moves, dtype=state.log_step.dtype) / 10) ** -0.6
    return jax.lax.scan(move, state, (jax.random.split(key, moves), gains))[0]


@partial(jax.jit, static_argnames=("moves", "thin", "leaps"))
def run(
    potential: Target,
    state: MalaState,
    moves: int,
    *,
    key: jax.Array,
    thin: int = 1,
    root: jax.Array | None = None,
    leaps: int = 1,
) -> ChainRun:
    """Move the chains with a fixed step size and keep every `thin`-th position: P_w is exactly invariant.

    Args:
      potential: w.
      state: of n chains, with the values of w.
      moves: of each chain, a multiple of `thin`, at least `FEWEST_DRAWS · thin`.
      key: of this call.
      thin: moves between draws.
      root: as for `mala_step`.
      leaps: as for `mala_step`.

    Raises:
      ValueError: if `moves` and `thin` do not fit.
    """
    if thin < 1 or moves % thin or moves < FEWEST_DRAWS * thin:
        raise ValueError(
            f"moves: expected a multiple of thin={thin} >= 1, at least {FEWEST_DRAWS} times, found {moves}"
        )

    def move(state: MalaState, key: jax.Array) -> tuple[MalaState, jax.Array]:
        state, info = mala_step(potential, state, key=key, root=root, leaps=leaps)
        return state, jnp.mean(info.probability)

    def draw(state: MalaState, keys: jax.Array) -> tuple[MalaState, tuple[jax.Array, jax.Array]]:
        state, acceptance = jax.lax.scan(move, state, keys)
        return state, (state.position, jnp.mean(acceptance))

    state, (draws, acceptance) = jax.lax.scan(draw, state, jax.random.split(key, (moves // thin, thin)))
    found = diagnose(draws, acceptance=jnp.mean(acceptance), step=jnp.exp(state.log_step), moves=moves)
    return ChainRun(draws, found, state)

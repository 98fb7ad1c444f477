"""Inpainting: draws of y = ∇w*(x) given a noisy linear part of y, by Markov chains on the posterior of x.

With x ~ e^{-prior} and b = M y + N(0, σ²) the posterior of x has the energy prior(x) + ‖M ∇w*(x) − b‖²/2σ². The prior
is w itself where the source is P_w (Vesseron, Béthune & Cuturi 2025), a Gaussian's energy for a Monge map from it.

∇w* is steep in some directions and flat in others, and so is the posterior: Langevin chains, a step at a time, do not
cross it. A move is a trajectory of leapfrog steps (Hamiltonian Monte Carlo, Duane et al. 1987; Neal 2011), of which one
alone is MALA. Where w* is what is known, as a maximum of quadratics, `particles` does not depend on such moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from conjugate_moments._matrices import times
from conjugate_moments.conjugates.base import Conjugate, select
from conjugate_moments.conjugates.newton_cg import conjugate_gradients
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.inference._completions import (
    PROJECTIONS,
    Completions,
    Observe,
    check_chains,
    check_entries,
    check_noise,
    check_observed,
    largest_r_hat,
    trusted,
)
from conjugate_moments.potentials.base import Potential, check_points, gradients, hessian_products
from conjugate_moments.samplers._target import Target, values_and_gradients
from conjugate_moments.samplers.diagnostics import FEWEST_DRAWS

LEAPS = 40  # leapfrog steps of a trajectory: on digits 20 mixed worse, with fewer gradients and less jitter
FIRST_STEP = 0.1  # in the frame of the root; adapted in the warm-up
TARGET_ACCEPTANCE = 0.65  # optimal for trajectories as d grows (Beskos et al. 2013)
JITTER = 0.5  # relative, of each trajectory's step size: in the right frame all periods are one, and may be met exactly
PROBES = 8  # random signs at each start, for a diagonal model of the Hessians
ACCURACY = 1e-3  # relative, of the linear solve in the gradient
MOST_PRODUCTS = 100  # of Hessians and vectors, in that solve


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Posterior:
    """One posterior a row; `curvature` `[d]` is a diagonal model of ∇²w that the rows share."""

    potential: Potential
    prior: Target
    observed: Array
    noise: Array
    curvature: Array
    solver: Conjugate | RelativeConjugate
    observe: Observe = field(metadata={"static": True})


class _Energy(NamedTuple):
    """The energy `[r]` at rows x and its gradient `[r, d]`, with y and what was needed to find them.

    Args:
      value: infinite where the conjugate was not solved.
      gradient: to the relative accuracy `residual` in its part from the likelihood.
      point: y, `[r, d]`.
      solved: whether its conjugate was, `[r]`.
      steps: of the solver, `[r]`.
      residual: relative, of the linear solve, `[r]`; 0 where the conjugate was not solved.
    """

    value: Array
    gradient: Array
    point: Array
    solved: Array
    steps: Array
    residual: Array


class _Chains(NamedTuple):
    """Chains x with their energy, its gradient, their images y and a step size each: `[r, d]`, `[r]` and `[r, 1]`."""

    position: Array
    value: Array
    gradient: Array
    point: Array
    log_step: Array


class _Path(NamedTuple):
    """A trajectory so far: where it is, the image before, its momentum, and what its conjugates cost, a row each."""

    now: _Chains
    before: Array
    momentum: Array
    solved: Array
    steps: Array
    residual: Array


class _Plan(NamedTuple):
    """Numbers of what is computed: chains for each image, moves in the warm-up and after, draws kept of each chain."""

    chains: int
    warmup: int
    moves: int
    kept: int
    leaps: int


class _Move(NamedTuple):
    """What one move tells, a row each: of acceptance, of the conjugates, and scalars whose R̂ is looked at, `[r, q]`."""

    probability: Array
    solved: Array
    steps: Array
    residual: Array
    summary: Array


def complete(
    potential: Potential,
    prior: Target,
    solver: Conjugate | RelativeConjugate,
    observe: Observe,
    observed: ArrayLike,
    *,
    noise: float,
    start: ArrayLike,
    root: ArrayLike | None,
    key: Array,
    draws: int,
    chains: int,
    moves: int,
    warmup: int,
    leaps: int = LEAPS,
) -> Completions:
    """Draw y = ∇w*(x) from its posterior given `observed`, for n images at once.

    Each chain makes `warmup` moves in which its image's step size adapts, then `moves` with it fixed, of which
    `draws`/`chains` are kept, evenly. Every conjugate starts from those before it on the trajectory; the gradient is by
    implicit differentiation, ∇²w*(x) = (∇²w(y))⁻¹. What the conjugate lacks enters the energy to second order only.
    Compiled once for the same object `observe`.

    Args:
      potential: w, whose conjugate maps.
      prior: energy of x: w again, or that of another source.
      solver: of the conjugate, a `Conjugate` or `RelativeConjugate`. Its tolerance times the slope of ∇w* should be
        below `noise`.
      observe: M, of points `[r, d]` to observations `[r, k]`, row by row; linear, and traced by JAX.
      observed: b, `[n, k]`.
      noise: σ > 0, in the unit of the observations.
      start: points y, `[n, d]`, or `[chains, n, d]` with one for each chain: R̂ sees more where these are spread wide.
      root: R, so that trajectories move in the frame R⁻¹x: `[d, d]`, or its diagonal `[d]`; None for the identity.
        `posterior_root` is right for an affine ∇w*. That of a fit to digits is so far from it that None did as well.
      key: of this call.
      draws: for each image, a multiple of `chains`.
      chains: for each image, at least 4.
      moves: of each chain after the warm-up, a multiple of `draws`/`chains`, at least `FEWEST_DRAWS`.
      warmup: moves of each chain before.
      leaps: leapfrog steps in a move, with a conjugate each; 1 for MALA.

    Raises:
      ValueError: naming the argument, for shapes that do not match, numbers out of range, or a start where the energy
        is not finite.
    """
    _check_counts(draws, chains, moves, warmup, leaps)
    starts, observed = _check_arrays(potential, observe, observed, start, chains)
    check_noise(noise)
    root = _check_root(root, potential.dim, starts.dtype)
    n = len(observed)
    key_norms, key_run, key_summary = jax.random.split(key, 3)
    rows = jnp.swapaxes(starts, 0, 1).reshape(n * chains, potential.dim)
    posterior = _Posterior(
        potential,
        prior,
        jnp.repeat(observed, chains, axis=0),
        jnp.asarray(noise, starts.dtype),
        _row_norms(potential, rows, key_norms),
        solver,
        observe,
    )
    state = _started(posterior, rows)
    _check_finite(state)
    directions = jax.random.normal(key_summary, (potential.dim, PROJECTIONS), starts.dtype)
    plan = _Plan(chains, warmup, moves, draws // chains, leaps)
    points, sources, told = _run(posterior, state, root, directions, key_run, plan)
    told = jax.tree.map(lambda leaf: leaf[warmup:], told)
    r_hat, solved = _by_image(told, n, chains)
    return Completions(
        points=_side_by_side(points, n),
        sources=_side_by_side(sources, n),
        acceptance=float(told.probability.mean()),
        r_hat=r_hat,
        unconverged=float(1 - solved.mean()),
        converged=trusted(r_hat, solved),
        conjugate_steps=float(told.steps.mean() / leaps),
        gradient_residual=float(told.residual.mean()),
    )


def posterior_root(
    map_matrix: ArrayLike, source_root: ArrayLike, observe: Observe, noise: float
) -> NDArray[np.float64]:
    """R `[d, d]` with R Rᵀ the covariance of x given M y + N(0, σ²), for x ~ N(·, S) and y = A x + constant.

    R = S^{1/2} (I + G Gᵀ)^{-1/2} with G = S^{1/2} A Mᵀ/σ, by the singular values of G: nothing cancels however small σ.
    Forms `[d, d]`, and is meant for d up to about 1,000; beyond, chains take a diagonal root or None.

    Args:
      map_matrix: A, symmetric `[d, d]` or its diagonal `[d]`, a model of ∇²w*: that of the Gaussian closed form, or
        better `mean_preconditioner` at data points y.
      source_root: S^{1/2}, symmetric `[d, d]` or its diagonal `[d]`, of the closed form or of ∇w at data points.
      observe: M, linear, of points `[r, d]` to observations `[r, k]`.
      noise: σ > 0.

    Raises:
      ValueError: naming the argument, for shapes that do not match, or numbers that are not finite or, on a diagonal
        and for `noise`, not positive.
    """
    map_matrix, source_root = _check_model("map_matrix", map_matrix), _check_model("source_root", source_root)
    dim = len(source_root)
    if len(map_matrix) != dim:
        raise ValueError(f"map_matrix: found shape {list(map_matrix.shape)}, allowed: {[dim]} or {[dim, dim]}")
    check_noise(noise)
    adjoint = np.asarray(observe(jnp.eye(dim)), np.float64)
    if adjoint.ndim != 2 or len(adjoint) != dim:
        raise ValueError(f"observe: found shape {list(adjoint.shape)}, allowed: [{dim}, k]")
    scaled = times(times(adjoint.T, map_matrix), source_root).T / noise
    vectors, values, _ = np.linalg.svd(scaled, full_matrices=False)
    shrunk = np.eye(dim) + (vectors * (1 / np.sqrt(1 + values**2) - 1)) @ vectors.T
    return times(shrunk, source_root).T  # both are symmetric


def _energy(posterior: _Posterior, sources: Array, start: Array) -> _Energy:
    """The energy of the posterior at x `[r, d]`, with the conjugate solved from `start` `[r, d]`."""
    potential = posterior.potential
    found = posterior.solver.solve(potential, sources, start)
    value, slope = values_and_gradients(posterior.prior, sources)
    seen, pull = jax.vjp(posterior.observe, found.point)
    misfit = (seen - posterior.observed) / posterior.noise
    (force,) = pull(misfit / posterior.noise)
    image, product = jax.linearize(lambda y: gradients(potential, y), found.point)
    # From 0 always: the force must not depend on where the chain comes from.
    accuracy = jnp.full(len(force), ACCURACY, force.dtype)
    shift = conjugate_gradients(product, force, 1 / posterior.curvature, accuracy, found.converged, MOST_PRODUCTS)
    # y is off by (∇²w)⁻¹(x − ∇w(y)) to first order, and the likelihood by its product with the force.
    missing = jnp.sum((sources - image) * shift, axis=1)
    value = value + jnp.sum(misfit**2, axis=1) / 2 + missing
    left, size = (jnp.linalg.norm(rows, axis=1) for rows in (product(shift) - force, force))
    residual = jnp.where(found.converged & (size > 0), left / size, 0)
    value = jnp.where(found.converged, value, jnp.inf)
    return _Energy(value, slope + shift, found.point, found.converged, found.steps, residual)


def _leap(posterior: _Posterior, path: _Path, step: Array, root: Array | None) -> _Path:
    """One leapfrog step of every row of which all conjugates were solved so far; the others stay."""
    now = path.now
    momentum = path.momentum - step / 2 * _turned(now.gradient, root)
    jump = step * (momentum if root is None else times(momentum, root.T))
    position = select(path.solved, now.position + jump, now.position)
    # The images lie on a smooth path too: extrapolated, the next one is known to second order.
    energy = _energy(posterior, position, 2 * now.point - path.before)
    momentum = momentum - step / 2 * _turned(energy.gradient, root)
    solved = path.solved & energy.solved
    ahead = _Chains(position, energy.value, energy.gradient, energy.point, now.log_step)
    return _Path(
        jax.tree.map(partial(select, solved), ahead, now),
        now.point,
        select(solved, momentum, path.momentum),
        solved,
        path.steps + energy.steps,
        jnp.maximum(path.residual, energy.residual),
    )


def _move(
    posterior: _Posterior, state: _Chains, root: Array | None, key: Array, leaps: int
) -> tuple[_Chains, Array, _Path]:
    """One trajectory of every row, the probabilities of acceptance `[r]`, and the trajectory's end."""
    key_momentum, key_step, key_accept = jax.random.split(key, 3)
    momentum = jax.random.normal(key_momentum, state.position.shape, state.position.dtype)
    jitter = jax.random.uniform(key_step, state.log_step.shape, state.log_step.dtype, 1 - JITTER, 1 + JITTER)
    step = jitter * jnp.exp(state.log_step)
    nothing = jnp.zeros_like(state.value)
    path = _Path(state, state.point, momentum, jnp.isfinite(state.value), nothing.astype(int), nothing)
    path = jax.lax.scan(lambda path, _: (_leap(posterior, path, step, root), None), path, length=leaps)[0]
    kinetic = (jnp.sum(momentum**2, axis=1) - jnp.sum(path.momentum**2, axis=1)) / 2
    log_ratio = state.value - path.now.value + kinetic
    log_ratio = jnp.where(path.solved & ~jnp.isnan(log_ratio), log_ratio, -jnp.inf)
    accepted = jnp.log(jax.random.uniform(key_accept, log_ratio.shape, log_ratio.dtype)) < log_ratio
    moved = jax.tree.map(partial(select, accepted), path.now, state)
    return moved, jnp.exp(jnp.minimum(log_ratio, 0)), path


def _turned(gradient: Array, root: Array | None) -> Array:
    """Rows Rᵀg."""
    return gradient if root is None else times(gradient, root)


@jax.jit
def _started(posterior: _Posterior, points: Array) -> _Chains:
    """Chains at x = ∇w(y) for points y `[r, d]`, whose conjugates are known."""
    sources = gradients(posterior.potential, points)
    energy = _energy(posterior, sources, points)
    log_step = jnp.full((len(points), 1), jnp.log(FIRST_STEP), energy.value.dtype)
    return _Chains(sources, energy.value, energy.gradient, energy.point, log_step)


@partial(jax.jit, static_argnames=("plan",))
def _run(
    posterior: _Posterior, state: _Chains, root: Array | None, directions: Array, key: Array, plan: _Plan
) -> tuple[Array, Array, _Move]:
    """Points and sources kept, `[kept, r, d]`, and what each move told, `[warmup + moves, r, ...]`.

    One loop for warm-up and draws, so that one program is compiled: gains as in `mala.warm_up`, then 0.
    """

    def move(carry: tuple[_Chains, Array, Array], now: tuple[Array, Array, Array]) -> tuple[tuple, _Move]:
        state, points, sources = carry
        key, gain, place = now
        state, probability, path = _move(posterior, state, root, key, plan.leaps)
        mean = jnp.repeat(probability.reshape(-1, plan.chains).mean(axis=1), plan.chains)
        state = state._replace(log_step=state.log_step + gain * (mean - TARGET_ACCEPTANCE)[:, None])
        sides = state.position @ directions, state.point @ directions
        summary = jnp.concatenate([state.value[:, None], *sides], axis=1)
        # The last move that writes to a place stays.
        carry = state, points.at[place].set(state.point), sources.at[place].set(state.position)
        return carry, _Move(probability, path.solved, path.steps, path.residual, summary)

    time = jnp.arange(plan.warmup + plan.moves)
    gains = jnp.where(time < plan.warmup, (1 + time / 10) ** -0.6, 0).astype(state.value.dtype)
    places = jnp.maximum(time - plan.warmup, 0) // (plan.moves // plan.kept)
    blank = jnp.zeros((plan.kept, *state.point.shape), state.point.dtype)
    (_, points, sources), told = jax.lax.scan(
        move, (state, blank, blank), (jax.random.split(key, len(time)), gains, places)
    )
    return points, sources, told


def _side_by_side(kept: Array, n: int) -> NDArray[np.floating]:
    """Draws `[kept, n · chains, d]` as `[kept · chains, n, d]`."""
    array = np.asarray(kept).reshape(len(kept), n, -1, kept.shape[-1])
    return array.swapaxes(1, 2).reshape(-1, n, kept.shape[-1])


def _by_image(told: _Move, n: int, chains: int) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """The largest R̂ of each image's summaries, and the share of its conjugates that were solved, both `[n]`."""
    summary = told.summary.reshape(len(told.summary), n, chains, -1)
    solved = told.solved.reshape(len(told.solved), n, chains).mean(axis=(0, 2))
    return largest_r_hat(summary), np.asarray(solved)


@jax.jit
def _row_norms(potential: Potential, points: Array, key: Array) -> Array:
    """Root mean square norms of the rows of ∇²w at `points` `[r, d]`, `[d]`, from random signs.

    The diagonal of a diagonal Hessian; unlike an estimated diagonal, positive whatever the signs.
    """

    def estimate(key: Array) -> Array:
        signs = jax.random.rademacher(key, points.shape, points.dtype)
        return jnp.mean(hessian_products(potential, points, signs) ** 2, axis=0)

    return jnp.sqrt(jax.lax.map(estimate, jax.random.split(key, PROBES)).mean(axis=0))


def _check_counts(draws: int, chains: int, moves: int, warmup: int, leaps: int) -> None:
    check_chains("chains", chains)
    if draws < chains or draws % chains:
        raise ValueError(f"draws: found {draws}, allowed: multiples of chains = {chains}")
    kept = draws // chains
    if moves < FEWEST_DRAWS or moves < kept or moves % kept:
        raise ValueError(f"moves: found {moves}, allowed: multiples of draws/chains = {kept}, at least {FEWEST_DRAWS}")
    for name, count in (("warmup", warmup), ("leaps", leaps)):
        if count < 1:
            raise ValueError(f"{name}: found {count}, allowed: at least 1")


def _check_arrays(
    potential: Potential, observe: Observe, observed: ArrayLike, start: ArrayLike, chains: int
) -> tuple[Array, Array]:
    """Starts `[chains, n, d]` and observations `[n, k]`, finite floats."""
    start, dim = jnp.asarray(start), potential.dim
    observed = check_observed(observe, observed, dim, jnp.promote_types(start.dtype, jnp.float32))
    n = len(observed)
    if start.shape not in ((n, dim), (chains, n, dim)):
        raise ValueError(f"start: found shape {list(start.shape)}, allowed: {[n, dim]} or {[chains, n, dim]}")
    starts = jnp.broadcast_to(start, (chains, n, dim)).reshape(-1, dim)
    starts = check_points(potential, starts).reshape(chains, n, dim)
    check_entries("start", starts)
    return starts, observed


def _check_root(root: ArrayLike | None, dim: int, dtype: Any) -> Array | None:
    if root is None:
        return None
    root = jnp.asarray(root, dtype)
    if root.shape not in ((dim,), (dim, dim)):
        raise ValueError(f"root: found shape {list(root.shape)}, allowed: {[dim]} or {[dim, dim]}")
    return root


def _check_model(name: str, model: ArrayLike) -> NDArray[np.float64]:
    """A matrix `[d, d]` or a diagonal `[d]`."""
    array = np.asarray(model, np.float64)
    if array.ndim not in (1, 2) or not array.size or array.shape[0] != array.shape[-1]:
        raise ValueError(f"{name}: found shape {list(array.shape)}, allowed: non-empty [d] or [d, d]")
    diagonal = array if array.ndim == 1 else np.diag(array)
    if not (np.all(np.isfinite(array)) and np.all(diagonal > 0)):
        raise ValueError(f"{name}: found a diagonal from {diagonal.min():.3g}, allowed: finite entries, a diagonal > 0")
    return array


def _check_finite(state: _Chains) -> None:
    lost = int(jnp.sum(~jnp.isfinite(state.value)))
    if lost:
        total = len(state.point)
        raise ValueError(f"start: found {lost} of {total} chains without finite energy, allowed: none")

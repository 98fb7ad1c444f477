"""What every solver of the conjugate shares: the solution it returns, its loop over a batch, and its derivative."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from conjugate_moments.potentials.base import Potential, check_points, values, values_and_gradients

SMALLEST_BUCKET = 16  # rows gathered for one evaluation, at least: fewer cost as much


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ConjugateSolution:
    """Approximate maximisers y of ⟨x, y⟩ − w(y) for a batch of targets x, each with its evidence.

    Args:
      point: y = ∇w*(x), `[n, d]`.
      value: ⟨x, y⟩ − w(y), `[n]`; at most w*(x), and equal to second order in the residual.
      residual: ‖∇w(y) − x‖_∞, `[n]`, in the unit of x; NaN where w was not finite at the start.
      steps: tried from the start, accepted or not, `[n]`, integers.
      converged: whether the residual is within the solver's tolerance, `[n]`, booleans.
    """

    point: Array
    value: Array
    residual: Array
    steps: Array
    converged: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Rows:
    """The state of a batch between two steps, one row for each target.

    Args:
      target: x, `[n, d]`.
      point: y, `[n, d]`.
      objective: w(y) − ⟨x, y⟩, `[n]`.
      slope: ∇w(y) − x, `[n, d]`.
      steps: tried so far, `[n]`.
      memory: what the method keeps for each row, arrays `[n, ...]`.
    """

    target: Array
    point: Array
    objective: Array
    slope: Array
    steps: Array
    memory: Any

    @property
    def residual(self) -> Array:
        """‖∇w(y) − x‖_∞, `[n]`."""
        return jnp.max(jnp.abs(self.slope), axis=1)


@dataclass(frozen=True)
class Conjugate(ABC):
    """A method for ∇w(y) = x: minimises the convex w(y) − ⟨x, y⟩, every row of a batch at once.

    Subclasses write one step for all rows; the loop, the stopping rule and the bookkeeping are here. Rows that have
    converged, or have used up their steps, do not move. Compiles under `jax.jit` and `jax.lax.scan`.

    Args:
      tolerance: on ‖∇w(y) − x‖_∞, in the unit of x. Float32 knows the gradient of a stiff potential to a few units of
        rounding of the largest term in its sum: 3e-6 was reached in every row with |x| up to 14, in d = 2, 8 and 32.
      max_steps: tried for each row.

    Raises:
      ValueError: if a setting is not positive.
    """

    tolerance: float = field(default=1e-3, metadata={"static": True})
    max_steps: int = field(default=100, metadata={"static": True})

    def __post_init__(self) -> None:
        """Validate both numbers."""
        if not self.tolerance > 0:
            raise ValueError(f"tolerance: expected a number > 0, found {self.tolerance}")
        if not (isinstance(self.max_steps, int) and self.max_steps > 0):
            raise ValueError(f"max_steps: expected an integer > 0, found {self.max_steps}")

    def solve(self, potential: Potential, targets: ArrayLike, start: ArrayLike) -> ConjugateSolution:
        """Solve ∇w(y) = x for each row x of `targets`, from the same row of `start`, both `[n, d]`.

        A constant for differentiation, as an envelope theorem (Danskin) wants it; `transport` is differentiable.

        Raises:
          ValueError: if `targets` or `start` is not `[n, d]`.
        """
        targets, start = check_points(potential, targets, "targets"), check_points(potential, start, "start")
        if start.shape != targets.shape:
            raise ValueError(f"start: expected shape {list(targets.shape)} to match targets, found {list(start.shape)}")
        return _solve(self, potential, targets, start)

    @abstractmethod
    def _memory(self, start: Array) -> Any:
        """The first `Rows.memory` for starts `[n, d]`."""

    @abstractmethod
    def _step(self, potential: Potential, rows: Rows) -> Rows:
        """One tried step for every row: new point, objective, slope and memory; the loop counts it."""

    def _active(self, rows: Rows) -> Array:
        return (rows.residual > self.tolerance) & (rows.steps < self.max_steps)


@jax.jit
def _solve(solver: Conjugate, potential: Potential, targets: Array, start: Array) -> ConjugateSolution:
    dtype = jnp.result_type(targets, start, *jax.tree.leaves(potential))
    targets, start = targets.astype(dtype), start.astype(dtype)
    potential, targets, start = jax.tree.map(jax.lax.stop_gradient, (potential, targets, start))
    value, gradient = values_and_gradients(potential, start)
    objective = value - jnp.sum(targets * start, axis=1)
    steps = jnp.zeros(len(start), dtype=int)
    rows = Rows(targets, start, objective, gradient - targets, steps, solver._memory(start))
    rows = _run(solver, potential, rows)
    residual = rows.residual
    return ConjugateSolution(rows.point, -rows.objective, residual, rows.steps, residual <= solver.tolerance)


def _run(solver: Conjugate, potential: Potential, rows: Rows) -> Rows:
    """Step until no row is active."""

    def step(rows: Rows) -> Rows:
        active = solver._active(rows)
        tried = solver._step(potential, rows)
        tried = replace(tried, steps=rows.steps + 1)
        return jax.tree.map(lambda new, old: select(active, new, old), tried, rows)

    return jax.lax.while_loop(lambda rows: jnp.any(solver._active(rows)), step, rows)


def on_active(function: Callable[..., Any], active: Array, *arrays: Array) -> Any:
    """`function` of the rows of `arrays` `[n, ...]` where `active` `[n]`; elsewhere zeros, or numbers without meaning.

    Computed for as few rows as hold the active ones among n, n/4, n/16, …: a batch does not wait at full cost for its
    slowest rows. Each of these sizes is compiled once, where halves took 1.3 to 1.7 times as long to compile and saved
    a tenth of the time to run (Newton in d = 2, L-BFGS in d = 16, 1,024 rows).
    """
    n = len(active)
    sizes = [n]
    while sizes[-1] // 4 >= SMALLEST_BUCKET:
        sizes.append(sizes[-1] // 4)
    place = jnp.where(active, jnp.cumsum(active) - 1, n)
    order = jnp.zeros(n, int).at[place].set(jnp.arange(n), mode="drop")

    def some(size: int, *arrays: Array) -> Any:
        rows = order[:size]
        found = function(*(array[rows] for array in arrays))
        return jax.tree.map(lambda leaf: jnp.zeros((n, *leaf.shape[1:]), leaf.dtype).at[rows].set(leaf), found)

    fits = jnp.sum(active) <= jnp.asarray(sizes[1:], int)
    return jax.lax.switch(jnp.sum(fits), [function, *(partial(some, size) for size in sizes[1:])], *arrays)


def select(mask: Array, new: Array, old: Array) -> Array:
    """Rows of `new` where `mask` `[n]`, else of `old`, both `[n, ...]`."""
    return jnp.where(mask.reshape(mask.shape + (1,) * (new.ndim - 1)), new, old)


def discrete_start(
    potential: Potential, targets: ArrayLike, candidates: ArrayLike, guess: ArrayLike, heights: Array | None = None
) -> Array:
    """Where w(y) − ⟨x, y⟩ is least, among `candidates` and its own guess, for each row x of `targets`: `[n, d]`.

    Its least value over many candidates is a discrete Legendre transform: candidates that cover the images of P_w are
    good starts wherever the map is steep, and a guess such as an affine map elsewhere. Points where w is not finite
    lose.

    Args:
      potential: w.
      targets: `[n, d]`.
      candidates: for all rows, `[m, d]`.
      guess: of each row, `[n, d]`.
      heights: w at the candidates, `[m]`, where it is known.

    Raises:
      ValueError: if a shape is not that of `targets`, or there is no candidate.
    """
    targets, guess = check_points(potential, targets, "targets"), check_points(potential, guess, "guess")
    candidates = check_points(potential, candidates, "candidates")
    if guess.shape != targets.shape:
        raise ValueError(f"guess: expected shape {list(targets.shape)}, found {list(guess.shape)}")
    if not len(candidates):
        raise ValueError("candidates: expected at least one")
    heights = _finite(values(potential, candidates) if heights is None else heights)
    # A point that is not finite has no finite w, and is out of the product too.
    candidates = select(heights < jnp.finfo(heights.dtype).max, candidates, jnp.zeros_like(candidates))
    pairs = targets @ candidates.T - heights
    most = jnp.max(pairs, axis=1)
    # Where the maximum is: XLA takes longer for its own argmax on the CPU.
    best = jnp.max(jnp.where(pairs >= most[:, None], jnp.arange(len(candidates)), 0), axis=1)
    guessed = jnp.sum(targets * guess, axis=1) - _finite(values(potential, guess))
    return select(guessed > most, guess, candidates[best])


def _finite(values: Array) -> Array:
    """The values `[n]`, large where they are not finite."""
    return jnp.where(jnp.isfinite(values), values, jnp.finfo(values.dtype).max)

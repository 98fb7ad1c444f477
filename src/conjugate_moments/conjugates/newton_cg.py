"""Newton's method without Hessians: truncated conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from conjugate_moments.conjugates.base import Conjugate, Rows, select
from conjugate_moments.conjugates.line_search import line_search
from conjugate_moments.conjugates.preconditioner import check_preconditioner, precondition
from conjugate_moments.potentials.base import Potential, gradients

FIRST_FORCING, LARGEST_FORCING = 0.25, 0.5  # relative residual asked of the linear solve


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class NewtonCG(Conjugate):
    """Truncated Newton: ∇²w p = x − ∇w by preconditioned conjugate gradients, each row to its own accuracy.

    The accuracy follows Eisenstat & Walker 1996 (choice 2): loose far from the solution, tight near it. The step is
    searched along its line.

    Args:
      max_products: of the Hessian and a vector, in one step.
      preconditioner: positive definite model of (∇²w)⁻¹, `[d, d]` or its diagonal `[d]`; None for the identity. See
        `mean_preconditioner`.

    Raises:
      ValueError: if a setting is not positive; on use, if the preconditioner has another shape.
    """

    max_products: int = field(default=50, metadata={"static": True})
    preconditioner: Array | None = None

    def __post_init__(self) -> None:
        """Validate the numbers."""
        super().__post_init__()
        if self.max_products < 1:
            raise ValueError(f"max_products: expected an integer > 0, found {self.max_products}")

    def _memory(self, start: Array) -> Array:
        """Relative residual asked of each row's linear solve, `[n]`."""
        return jnp.full(len(start), FIRST_FORCING, start.dtype)

    def _step(self, potential: Potential, rows: Rows) -> Rows:
        check_preconditioner(self.preconditioner, potential.dim)
        _, product = jax.linearize(lambda y: gradients(potential, y), rows.point)
        active, forcing = self._active(rows), rows.memory
        move = conjugate_gradients(product, -rows.slope, self.preconditioner, forcing, active, self.max_products)
        moved, _ = line_search(potential, rows, move, active)
        ratio = jnp.sum(moved.slope**2, axis=1) / jnp.sum(rows.slope**2, axis=1)
        # The safeguard keeps one lucky step from asking for too much accuracy at once.
        safeguard = jnp.where(0.9 * forcing**2 > 0.1, 0.9 * forcing**2, 0)
        forcing = jnp.clip(jnp.maximum(0.9 * ratio, safeguard), 1e-3, LARGEST_FORCING)
        return replace(moved, memory=forcing.astype(rows.memory.dtype))


class _Linear(NamedTuple):
    """State of conjugate gradients: iterate, residual, its preconditioned copy, direction, `[n, d]`; r·M⁻¹r, `[n]`."""

    products: Array
    solution: Array
    residual: Array
    direction: Array
    square: Array
    done: Array


def conjugate_gradients(
    product: Callable[[Array], Array],
    right: Array,
    preconditioner: Array | None,
    accuracy: Array,
    active: Array,
    max_products: int,
) -> Array:
    """Approximate solutions of one positive definite system a row, `[n, d]`.

    Args:
      product: of the matrices with vectors, `[n, d]` to `[n, d]`.
      right: right-hand sides, `[n, d]`.
      preconditioner: approximate inverse that the rows share, as in `NewtonCG`.
      accuracy: relative to the right-hand side, in Euclidean norm, `[n]`.
      active: rows to solve, `[n]`; the others return 0.
      max_products: in all.
    """
    goal = (accuracy**2) * jnp.sum(right**2, axis=1)
    first = precondition(preconditioner, right)
    start = _Linear(jnp.asarray(0), jnp.zeros_like(right), right, first, jnp.sum(right * first, axis=1), ~active)

    def step(now: _Linear) -> _Linear:
        image = product(now.direction)
        curvature = jnp.sum(now.direction * image, axis=1)
        length = now.square / curvature
        # Rounding may leave no curvature to divide by: what is solved so far stands.
        broken = ~(curvature > 0) | ~jnp.isfinite(length)
        move = ~(now.done | broken)
        solution = select(move, now.solution + length[:, None] * now.direction, now.solution)
        residual = select(move, now.residual - length[:, None] * image, now.residual)
        scaled = precondition(preconditioner, residual)
        square = jnp.sum(residual * scaled, axis=1)
        direction = scaled + (square / now.square)[:, None] * now.direction
        done = now.done | broken | (jnp.sum(residual**2, axis=1) <= goal)
        return _Linear(now.products + 1, solution, residual, direction, square, done)

    def more(now: _Linear) -> Array:
        return (now.products < max_products) & ~jnp.all(now.done)

    return jax.lax.while_loop(more, step, start).solution

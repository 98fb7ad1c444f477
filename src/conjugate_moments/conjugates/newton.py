"""Newton's method with dense Hessians and a damping for each row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from conjugate_moments.conjugates.base import Conjugate, Rows, on_active
from conjugate_moments.conjugates.line_search import line_search
from conjugate_moments.potentials.base import Potential, hessians

FIRST_DAMPING = 1e-3  # after the first short step, relative to the mean eigenvalue of the Hessian
FACTOR = 10.0  # by which the damping rises and falls
SHORT, FULL = 0.3, 0.9  # lengths along the step below which the damping rises, and above which it falls


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Newton(Conjugate):
    """Levenberg–Marquardt Newton: (∇²w + damping · mean eigenvalue · I) p = x − ∇w, for small d.

    The step is searched along its line, and each row's damping follows the length that the search kept; it starts
    from, and returns to, none. Each step costs one Hessian and one Cholesky factor a row.
    """

    def _memory(self, start: Array) -> Array:
        """Damping of each row, `[n]`."""
        return jnp.zeros(len(start), start.dtype)

    def _step(self, potential: Potential, rows: Rows) -> Rows:
        active, damping = self._active(rows), rows.memory
        move = on_active(partial(self._move, potential), active, rows.point, rows.slope, damping)
        moved, length = line_search(potential, rows, move, active)
        lowered = jnp.where(damping <= FIRST_DAMPING, 0, damping / FACTOR)
        raised = jnp.maximum(FIRST_DAMPING, damping * FACTOR)
        damping = jnp.where(length < SHORT, raised, jnp.where(length > FULL, lowered, damping))
        return replace(moved, memory=damping.astype(rows.memory.dtype))

    def _move(self, potential: Potential, points: Array, slopes: Array, damping: Array) -> Array:
        """−(∇²w + damping · mean eigenvalue · I)⁻¹ slope for each row, `[n, d]`."""
        matrices = hessians(potential, points)
        shift = damping * jnp.trace(matrices, axis1=1, axis2=2) / potential.dim
        matrices += shift[:, None, None] * jnp.eye(potential.dim, dtype=matrices.dtype)
        return -solve_positive(matrices, slopes)


def solve_positive(matrices: Array, vectors: Array) -> Array:
    """Solutions `[n, d]` of `[n, d, d]` positive definite systems; NaN where a matrix is not."""
    factors = jnp.linalg.cholesky(matrices)
    return jax.scipy.linalg.cho_solve((factors, True), vectors[..., None])[..., 0]

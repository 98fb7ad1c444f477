"""Newton's method for potentials whose Hessian is a diagonal and a few rows: nothing of size d² in high dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from conjugate_moments.conjugates.newton import Newton, solve_positive
from conjugate_moments.potentials.base import LowRankPotential, Potential, low_rank_hessians


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LowRankNewton(Newton):
    """`Newton` for a `LowRankPotential`: a step costs m²d + m³ for m rows of the Hessian, or d²m + d³ where m ≥ d."""

    def _move(self, potential: Potential, points: Array, slopes: Array, damping: Array) -> Array:
        assert isinstance(potential, LowRankPotential)
        diagonal, rows = low_rank_hessians(potential, points)
        trace = jnp.sum(diagonal, axis=1) + jnp.sum(rows**2, axis=(1, 2))
        diagonal += (damping * trace / potential.dim)[:, None]
        return -solve_low_rank(diagonal, rows, slopes)


def solve_low_rank(diagonal: Array, rows: Array, vectors: Array) -> Array:
    """Solutions `[n, d]` of (diag(D) + RᵀR) p = v, with D `[n, d]` positive, R `[n, m, d]` and v `[n, d]`.

    By the formula of Woodbury where m < d: p = D⁻¹v − D⁻¹Rᵀ(I + R D⁻¹Rᵀ)⁻¹R D⁻¹v.
    """
    if rows.shape[1] >= rows.shape[2]:
        matrices = jnp.einsum("nmd,nme->nde", rows, rows) + diagonal[:, :, None] * jnp.eye(rows.shape[2])
        return solve_positive(matrices.astype(vectors.dtype), vectors)
    scaled = rows / diagonal[:, None]
    inner = jnp.einsum("nmd,nkd->nmk", scaled, rows) + jnp.eye(rows.shape[1], dtype=rows.dtype)
    along = solve_positive(inner, jnp.einsum("nmd,nd->nm", scaled, vectors))
    return vectors / diagonal - jnp.einsum("nmd,nm->nd", scaled, along)

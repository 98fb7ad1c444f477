"""The conjugate of a potential as what chains run on."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from conjugate_moments.conjugates.continuation import Continuation
from conjugate_moments.potentials.quadratic_maxima import QuadraticMaxima


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ConjugateTarget:
    """w = φ*, a `Target` of the samplers: w(x) = ⟨x, y⟩ − φ(y) and ∇w(x) = y, with ∇φ(y) = x solved for.

    Args:
      potential: φ.
      solver: of its conjugate; proposals of a chain are far from where it stands.
    """

    potential: QuadraticMaxima
    solver: Continuation

    def value(self, x: Array) -> Array:
        """w at one point `[d]`, solved from x itself."""
        return self.from_guess(x[None], x[None])[0][0]

    def from_guess(self, positions: Array, guess: Array) -> tuple[Array, Array]:
        """w and ∇w at positions `[n, d]`, solved from a guess of ∇w `[n, d]`: `[n]` and `[n, d]`.

        w is infinite where the solver did not converge: a chain never goes there.
        """
        found = self.solver.solve(self.potential, positions, guess)
        return jnp.where(found.converged, found.value, jnp.inf), found.point

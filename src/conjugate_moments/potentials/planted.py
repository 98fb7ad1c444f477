"""The explicit potentials of the planted laws, as JAX functions in any precision."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from conjugate_moments.potentials.base import Potential


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class PlantedPotential(Potential):
    """w(y) = Σ_b (curvature_b |z_b|²/2 + temperature_b · log Σₖ exp((⟨a_bk, z_b⟩ + c_bk) / temperature_b)).

    Here z_b is the b-th pair of entries of Rᵀy. Strictly convex, smooth, not normalised; a truth for solvers of the
    conjugate and for samplers. The fields of a `measures.planted.PlantedLaw` are given by its `parameters`.

    Args:
      rotation: orthogonal R, `[d, d]`.
      curvatures: positive, `[d/2]`.
      slopes: a, `[d/2, m, 2]`.
      offsets: c, `[d/2, m]`.
      temperatures: positive, `[d/2]`.
    """

    rotation: jax.Array
    curvatures: jax.Array
    slopes: jax.Array
    offsets: jax.Array
    temperatures: jax.Array

    @property
    def dim(self) -> int:
        """Dimension d."""
        return self.rotation.shape[0]

    def value(self, x: jax.Array) -> jax.Array:
        """Value at one point `[d]`, a scalar."""
        z = (x @ self.rotation).reshape(-1, 2)
        logits = (jnp.einsum("bi,bki->bk", z, self.slopes) + self.offsets) / self.temperatures[:, None]
        smooth_maxima = self.temperatures * jax.nn.logsumexp(logits, axis=-1)
        return jnp.sum(self.curvatures * jnp.sum(z**2, axis=-1) / 2 + smooth_maxima)

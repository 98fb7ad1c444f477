"""Conjugates to a tolerance relative to the scale of the source, coordinate by coordinate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from conjugate_moments.conjugates.base import Conjugate, ConjugateSolution
from conjugate_moments.conjugates.lbfgs import LBFGS
from conjugate_moments.potentials.base import LowRankPotential, Potential, check_points


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Stretched(Potential):
    """z ↦ w(z/unit): its gradient is ∇w/unit."""

    potential: Potential
    unit: Array

    @property
    def dim(self) -> int:
        return self.potential.dim

    def value(self, x: Array) -> Array:
        return self.potential.value(x / self.unit)

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        value, gradient = self.potential.value_and_gradient(x / self.unit)
        return value, gradient / self.unit

    def hessian(self, x: Array) -> Array:
        return self.potential.hessian(x / self.unit) / self.unit[:, None] / self.unit


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _StretchedLowRank(_Stretched, LowRankPotential):
    """The same for a Hessian of a diagonal and rows."""

    def low_rank_hessian(self, x: Array) -> tuple[Array, Array]:
        assert isinstance(self.potential, LowRankPotential)
        diagonal, rows = self.potential.low_rank_hessian(x / self.unit)
        return diagonal / self.unit**2, rows / self.unit


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class RelativeConjugate:
    """A solver whose tolerance and residuals are on ‖(∇w(y) − x)/unit‖_∞. A jax pytree: compiled once for all units.

    An absolute one would ask too little of a source of standard deviation 0.01, and of one of 100 more than float32
    holds. Units are powers of two, so that dividing by them rounds nothing: Newton's method with units of 1 is as it
    was.

    Args:
      solver: its tolerance has no unit any more.
      unit: of each coordinate of the source, `[d]`.
      inverse: model of the diagonal of (∇²w)⁻¹, `[d]`; None for that of the conjugate closed form of a Gaussian.
    """

    solver: Conjugate
    unit: Array
    inverse: Array | None = None

    @classmethod
    def of_spread(cls, solver: Conjugate, spread: ArrayLike, inverse: ArrayLike | None = None) -> RelativeConjugate:
        """Units are the powers of two nearest to the source's standard deviations `spread`, `[d]`."""
        unit = 2.0 ** np.rint(np.log2(np.asarray(spread, dtype=np.float64)))
        return cls(solver, jnp.asarray(unit), None if inverse is None else jnp.asarray(inverse))

    def solve(self, potential: Potential, targets: ArrayLike, start: ArrayLike) -> ConjugateSolution:
        """As `Conjugate.solve`; residuals are in the units."""
        targets, start = check_points(potential, targets, "targets"), check_points(potential, start, "start")
        unit, solver = self.unit.astype(targets.dtype), self.solver
        if isinstance(solver, LBFGS) and solver.preconditioner is None:
            # S in the place of (∇²w)⁻¹, and its diagonal in the place of S, is what the closed form of a Gaussian has.
            inverse = unit**2 if self.inverse is None else self.inverse.astype(targets.dtype)
            solver = replace(solver, preconditioner=unit**2 * inverse)
        kind = _StretchedLowRank if isinstance(potential, LowRankPotential) else _Stretched
        found = solver.solve(kind(potential, unit), targets / unit, start * unit)
        return replace(found, point=found.point / unit)

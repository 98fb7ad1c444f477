"""Conjugates of maxima by a path from smooth ones to the sharp one (compare interior-point methods)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from conjugate_moments.conjugates.base import ConjugateSolution
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.potentials.quadratic_maxima import QuadraticMaxima

# On quadratic maxima of digits, from moves of a Langevin chain, 32 steps at the median and 57 at most came down to 17
# and 22; two stages (16, 4) had 16 and 23, six had 19 and 28.
FACTORS = (64.0, 16.0, 4.0)
ROUGH = 100.0  # times the tolerance: of all solutions but the last


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Continuation:
    """A solver that comes from afar: through potentials that are `FACTORS` times as smooth, each from the last's point.

    Where a potential is almost a maximum of a few functions, Newton's method changes the set of those that matter by
    one at a time; a smoother one sees them all. Close to the solution the bare solver is faster.

    Args:
      solver: of each stage.
    """

    solver: RelativeConjugate

    def solve(self, potential: QuadraticMaxima, targets: ArrayLike, start: ArrayLike) -> ConjugateSolution:
        """As `RelativeConjugate.solve`; steps are those of all stages."""
        return _follow(self.solver, potential, jnp.asarray(targets), jnp.asarray(start))


@jax.jit
def _follow(solver: RelativeConjugate, potential: QuadraticMaxima, targets: Array, start: Array) -> ConjugateSolution:
    rough = replace(solver, solver=replace(solver.solver, tolerance=ROUGH * solver.solver.tolerance))

    def stage(point: Array, factor: Array) -> tuple[Array, Array]:
        found = rough.solve(potential.smoother(factor), targets, point)
        return jnp.where(jnp.isfinite(found.residual)[:, None], found.point, point), found.steps

    point, steps = jax.lax.scan(stage, start, jnp.asarray(FACTORS, start.dtype))
    last = solver.solve(potential, targets, point)
    return replace(last, steps=jnp.sum(steps, axis=0) + last.steps)

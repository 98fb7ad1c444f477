"""The transport map ∇w* as a differentiable function."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from conjugate_moments.conjugates.base import Conjugate
from conjugate_moments.conjugates.newton import solve_positive
from conjugate_moments.conjugates.newton_cg import conjugate_gradients
from conjugate_moments.potentials.base import Potential, check_points, gradients, hessian_products, hessians

LARGEST_DENSE = 64  # d up to which the derivative factors Hessians; conjugate gradients beyond


def transport(potential: Potential, targets: ArrayLike, *, solver: Conjugate, start: ArrayLike | None = None) -> Array:
    """∇w*(x) for each row x of `targets` `[n, d]`, differentiable with respect to x and the leaves of the potential.

    By the implicit function theorem dy = (∇²w)⁻¹(dx − d_θ∇w), in forward and reverse mode, and to any order. Exact up
    to the solver's tolerance. `solver.solve` gives the evidence that this function lacks.

    Args:
      potential: w.
      targets: x, `[n, d]`.
      solver: of the conjugate.
      start: where it starts, `[n, d]`; None for x itself. Has no derivative.

    Returns:
      y = ∇w*(x), `[n, d]`: NaN in rows where the solver did not converge, so that none is used unseen. Derivatives are
      NaN there too, and where conjugate gradients (d > 64) did not reach the root of the machine precision.

    Raises:
      ValueError: if `targets` or `start` is not `[n, d]`.
    """
    targets = check_points(potential, targets, "targets")
    return _transport(potential, targets, targets if start is None else start, solver)


@jax.custom_jvp
def _transport(potential: Potential, targets: Array, start: ArrayLike, solver: Conjugate) -> Array:
    solution = solver.solve(potential, targets, start)
    return jnp.where(solution.converged[:, None], solution.point, jnp.nan)


@_transport.defjvp
def _transport_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    potential = primals[0]
    point = _transport(*primals)
    _, moved = jax.jvp(lambda leaves: gradients(leaves, point), (potential,), (tangents[0],))
    return point, _hessian_solve(potential, point, (tangents[1] - moved).astype(point.dtype))


def _hessian_solve(potential: Potential, points: Array, vectors: Array) -> Array:
    """(∇²w)⁻¹ v for each row, `[n, d]`, linear in `vectors`."""
    if potential.dim <= LARGEST_DENSE:
        return solve_positive(hessians(potential, points), vectors)
    return jax.lax.custom_linear_solve(
        lambda v: hessian_products(potential, points, v), vectors, _certified, symmetric=True
    )


def _certified(product: Callable[[Array], Array], right: Array) -> Array:
    """Conjugate gradients, NaN where they fail."""
    n, d = right.shape
    accuracy = jnp.full(n, jnp.sqrt(jnp.finfo(right.dtype).eps), right.dtype)
    solution = conjugate_gradients(product, right, None, accuracy, jnp.ones(n, dtype=bool), 4 * d)
    error = jnp.linalg.norm(product(solution) - right, axis=1)
    reached = error <= 10 * accuracy * jnp.linalg.norm(right, axis=1)
    return jnp.where(reached[:, None], solution, jnp.nan)

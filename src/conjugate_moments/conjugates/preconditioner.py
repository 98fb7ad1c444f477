"""A model of the inverse Hessian that all rows share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from conjugate_moments.potentials.base import Potential, hessians


def mean_preconditioner(potential: Potential, points: ArrayLike) -> Array:
    """Inverse of the mean of ∇²w over `points` `[n, d]`, `[d, d]`. A few dozen points are enough.

    For a potential near the closed form of a Gaussian, cov^{1/3} serves as well, at no cost.

    Raises:
      ValueError: if `points` is not `[n, d]`.
    """
    factor = jnp.linalg.cholesky(hessians(potential, points).mean(axis=0))
    inverse = jax.scipy.linalg.cho_solve((factor, True), jnp.eye(potential.dim, dtype=factor.dtype))
    return (inverse + inverse.T) / 2


def check_preconditioner(preconditioner: Array | None, dim: int) -> None:
    """Refuse a shape that is neither a diagonal nor a matrix.

    Raises:
      ValueError: saying which.
    """
    if preconditioner is not None and preconditioner.shape not in ((dim,), (dim, dim)):
        raise ValueError(
            f"preconditioner: expected shape [{dim}] or [{dim}, {dim}], found {list(preconditioner.shape)}"
        )


def precondition(preconditioner: Array | None, vectors: Array) -> Array:
    """The symmetric matrix or diagonal, None for the identity, times each row of `vectors` `[n, d]`."""
    if preconditioner is None:
        return vectors
    model = preconditioner.astype(vectors.dtype)
    return vectors * model if model.ndim == 1 else vectors @ model

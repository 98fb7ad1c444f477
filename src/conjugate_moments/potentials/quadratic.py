"""Quadratic potentials: the conjugate closed form of Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from conjugate_moments._matrices import symmetric_power
from conjugate_moments.potentials.base import Potential, check_gaussian, common_dtype


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Quadratic(Potential):
    """w(y) = ½‖factor (y − centre)‖².

    Build it with `from_factor`, `from_matrix` or `from_gaussian`, which check their arguments.

    Args:
      factor: `[k, d]`; strongly convex if its rank is d.
      centre: the minimum, `[d]`.
    """

    factor: Array
    centre: Array

    @classmethod
    def from_factor(cls, factor: ArrayLike, centre: ArrayLike) -> Quadratic:
        """½‖factor (y − centre)‖² with `factor` `[k, d]` and `centre` `[d]`.

        Raises:
          ValueError: if the shapes do not match.
        """
        dtype = common_dtype(factor, centre)
        factor, centre = jnp.asarray(factor, dtype), jnp.asarray(centre, dtype)
        if centre.ndim != 1:
            raise ValueError(f"centre: expected a vector, found shape {list(centre.shape)}")
        if factor.ndim != 2 or factor.shape[1] != centre.size:
            raise ValueError(f"factor: expected shape [k, {centre.size}], found {list(factor.shape)}")
        return cls(factor, centre)

    @classmethod
    def from_matrix(cls, matrix: ArrayLike, centre: ArrayLike) -> Quadratic:
        """½(y − centre)ᵀ matrix (y − centre) with `matrix` `[d, d]` symmetric positive definite.

        Raises:
          ValueError: if the shapes do not match or the matrix is not symmetric positive definite.
        """
        dtype = common_dtype(matrix, centre)
        try:
            centre, matrix = check_gaussian(centre, matrix)
        except ValueError as error:
            raise ValueError(str(error).replace("mean", "centre").replace("cov", "matrix")) from None
        return cls.from_factor(jnp.asarray(np.linalg.cholesky(matrix).T, dtype), jnp.asarray(centre, dtype))

    @classmethod
    def from_gaussian(cls, mean: ArrayLike, cov: ArrayLike) -> Quadratic:
        """The conjugate potential of N(mean, cov): with S = cov^{1/3}, the matrix is S⁻¹ and the centre (I + S)⁻¹ mean.

        Args:
          mean: `[d]`.
          cov: symmetric positive definite, `[d, d]`.

        Raises:
          ValueError: naming the argument, if the shapes do not match or `cov` is not symmetric positive definite.
        """
        dtype = common_dtype(mean, cov)
        mean, cov = check_gaussian(mean, cov)
        root = symmetric_power(cov, 1 / 3)
        centre = np.linalg.solve(np.eye(mean.size) + root, mean)
        return cls(jnp.asarray(symmetric_power(cov, -1 / 6), dtype), jnp.asarray(centre, dtype))

    @property
    def dim(self) -> int:
        """d."""
        return self.centre.shape[-1]

    def value(self, x: Array) -> Array:
        """w at one point `[d]`."""
        return jnp.sum((self.factor @ (x - self.centre)) ** 2) / 2

    def hessian(self, x: Array) -> Array:
        """factorᵀ factor, wherever `x` `[d]` is."""
        return self.factor.T @ self.factor

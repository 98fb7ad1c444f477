"""The contract of a convex potential, and its derivatives over batches of points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from conjugate_moments._matrices import correlation_range


class Potential(ABC):
    """A convex function w on R^d: a frozen dataclass registered as a JAX pytree, convex for every value of its leaves.

    Subclasses write `value` for one point. They may override `gradient` and `hessian`, also for one point, where they
    know a faster way than automatic differentiation. Computations follow the dtype of leaves and points.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """d."""

    @abstractmethod
    def value(self, x: Array) -> Array:
        """w at one point `[d]`, a scalar."""

    def gradient(self, x: Array) -> Array:
        """∇w at one point `[d]`, `[d]`."""
        return jax.grad(self.value)(x)

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """w and ∇w at one point `[d]`: a scalar and `[d]`."""
        return jax.value_and_grad(self.value)(x)

    def hessian(self, x: Array) -> Array:
        """∇²w at one point `[d]`, `[d, d]`."""
        return jax.hessian(self.value)(x)


class LowRankPotential(Potential):
    """A potential whose Hessian is known as a diagonal and a few rows."""

    @abstractmethod
    def low_rank_hessian(self, x: Array) -> tuple[Array, Array]:
        """D `[d]`, positive, and R `[m, d]` with ∇²w = diag(D) + RᵀR at one point `[d]`, to what a solver needs."""


def check_points(potential: Potential, points: ArrayLike, name: str = "points") -> Array:
    """The points as a floating array.

    Raises:
      ValueError: if they are not `[n, d]` with the d of `potential`.
    """
    array = jnp.asarray(points)
    if array.ndim != 2 or array.shape[1] != potential.dim:
        raise ValueError(f"{name}: expected shape [n, {potential.dim}], found {list(array.shape)}")
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def values(potential: Potential, points: ArrayLike) -> Array:
    """w at `points` `[n, d]`: `[n]`.

    Raises:
      ValueError: if `points` is not `[n, d]`; so for every function of this module.
    """
    return _over_rows("value", potential, check_points(potential, points))


def gradients(potential: Potential, points: ArrayLike) -> Array:
    """∇w at `points` `[n, d]`: `[n, d]`."""
    return _over_rows("gradient", potential, check_points(potential, points))


def values_and_gradients(potential: Potential, points: ArrayLike) -> tuple[Array, Array]:
    """w and ∇w at `points` `[n, d]`: `[n]` and `[n, d]`."""
    return _over_rows("value_and_gradient", potential, check_points(potential, points))


def hessians(potential: Potential, points: ArrayLike) -> Array:
    """∇²w at `points` `[n, d]`: `[n, d, d]`."""
    return _over_rows("hessian", potential, check_points(potential, points))


def low_rank_hessians(potential: LowRankPotential, points: ArrayLike) -> tuple[Array, Array]:
    """The two parts of ∇²w at `points` `[n, d]`: `[n, d]` and `[n, m, d]`."""
    return _over_rows("low_rank_hessian", potential, check_points(potential, points))


def hessian_products(potential: Potential, points: ArrayLike, vectors: ArrayLike) -> Array:
    """∇²w(y) v for each row y of `points` and v of `vectors`, both `[n, d]`: `[n, d]`, without forming ∇²w."""
    points, vectors = check_points(potential, points), check_points(potential, vectors, "vectors")
    if vectors.shape != points.shape:
        raise ValueError(f"vectors: expected shape {list(points.shape)} to match points, found {list(vectors.shape)}")
    tangents = vectors.astype(points.dtype)
    return jax.jvp(lambda y: _over_rows("gradient", potential, y), (points,), (tangents,))[1]


@partial(jax.jit, static_argnums=0)
def _over_rows(method: str, potential: Potential, points: Array) -> Any:
    return jax.vmap(getattr(potential, method))(points)


def common_dtype(*arrays: ArrayLike) -> jnp.dtype:
    """The floating dtype that JAX computes with for these arrays; numbers and lists of them have no say."""
    return jnp.result_type(*(array for array in arrays if hasattr(array, "dtype")), float)


def check_gaussian(mean: ArrayLike, cov: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The moments in float64, the covariance made exactly symmetric.

    Raises:
      ValueError: if they are not a finite `[d]` and a symmetric positive definite `[d, d]`.
    """
    mean, cov = np.asarray(mean, dtype=np.float64), np.asarray(cov, dtype=np.float64)
    if mean.ndim != 1 or not mean.size:
        raise ValueError(f"mean: expected a non-empty vector, found shape {list(mean.shape)}")
    if cov.shape != (mean.size, mean.size):
        raise ValueError(f"cov: expected shape {[mean.size, mean.size]} to match mean, found {list(cov.shape)}")
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(cov))):
        raise ValueError("mean, cov: expected finite entries, found NaN or infinity")
    # A covariance computed in float32 is symmetric to its rounding only.
    asymmetry = float(np.abs(cov - cov.T).max())
    if asymmetry > 1e-5 * np.abs(cov).max():
        raise ValueError(f"cov: expected a symmetric matrix, |cov - covᵀ| reaches {asymmetry:.3g}")
    cov = (cov + cov.T) / 2
    # Of the correlations: coordinates may differ in scale by any factor.
    smallest, largest = correlation_range(cov)
    if not smallest > mean.size * np.finfo(np.float64).eps * largest:
        raise ValueError(
            f"cov: expected a positive definite matrix, its correlations have eigenvalues from {smallest:.3g} to "
            f"{largest:.3g}"
        )
    return mean, cov

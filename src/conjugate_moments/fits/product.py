"""Exact factorisations of rotated products of univariate laws, in any dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments.fits.factorization import UnivariateFactorization
from conjugate_moments.fits.gaussian import Factorization
from conjugate_moments.fits.univariate import fit_univariate
from conjugate_moments.measures.univariate import UnivariateLaw

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout


@dataclass(frozen=True, eq=False)
class ProductFactorization:
    """ρ = R♯(ρ₁⊗…⊗ρ_d): the potential is Σ wᵢ((Rᵀy)ᵢ), and so for u. Float64; points have shape `[..., d]`.

    Args:
      rotation: orthogonal R, `[d, d]`.
      factors: factorisations of ρ₁, …, ρ_d, all of the same kind.
    """

    rotation: Array
    factors: tuple[UnivariateFactorization, ...]

    def _each(self, method: str, points: ArrayLike) -> Array:
        """Apply one method of every factor to its own coordinate, in the factors' frame."""
        points = np.asarray(points, dtype=np.float64)
        if points.shape[-1:] != (len(self.factors),):
            raise ValueError(f"points: expected shape [..., {len(self.factors)}], found {points.shape}")
        coordinates = points @ self.rotation
        # Equal laws share one factorisation object: evaluate all their coordinates in one call.
        result = np.empty_like(coordinates)
        for factor in dict.fromkeys(self.factors):
            mine = [i for i, other in enumerate(self.factors) if other is factor]
            result[..., mine] = getattr(factor, method)(coordinates[..., mine])
        return result

    def potential(self, y: ArrayLike) -> Array:
        """w or u, normalised so that e^{-potential} integrates to 1; result `[...]`."""
        return self._each("potential", y).sum(axis=-1)

    def gibbs_pdf(self, x: ArrayLike) -> Array:
        """Gibbs density; result `[...]`."""
        return np.exp(-self.potential(x))

    def transport(self, x: ArrayLike) -> Array:
        """∇w* or ∇u, from the Gibbs measure to ρ."""
        return self._each("transport", x) @ self.rotation.T

    def inverse_transport(self, y: ArrayLike) -> Array:
        """∇w or ∇u*, from ρ to the Gibbs measure."""
        return self._each("inverse_transport", y) @ self.rotation.T

    def sample_gibbs(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent draws of the Gibbs measure, `[n, d]`."""
        import jax

        columns = [factor.sample_gibbs(n, key=jax.random.fold_in(key, i)) for i, factor in enumerate(self.factors)]
        return np.stack(columns, axis=1) @ self.rotation.T

    def sample(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent draws of ρ as images of Gibbs draws, `[n, d]`."""
        return self.transport(self.sample_gibbs(n, key=key))

    @property
    def converged(self) -> bool:
        """Whether every factor converged."""
        return all(factor.converged for factor in self.factors)

    @property
    def variance(self) -> float:
        """Trace of the covariance of ρ."""
        return sum(factor.diagnostics.std**2 for factor in self.factors)

    @property
    def residual(self) -> float:
        """W2 between the push-forward and ρ, the root of the sum of the factors' squares."""
        return float(np.sqrt(sum(factor.residual**2 for factor in self.factors)))


def fit_product(
    laws: Sequence[UnivariateLaw | Any],
    rotation: ArrayLike | None = None,
    factorization: Factorization = "conjugate",
    **settings: Any,
) -> ProductFactorization:
    """Factorise R♯(ρ₁⊗…⊗ρ_d) exactly, one univariate problem for each distinct law object.

    Args:
      laws: ρ₁, …, ρ_d, as `fit_univariate` takes them.
      rotation: orthogonal `[d, d]`; None for the identity.
      factorization: "conjugate" or "moment".
      **settings: passed to `fit_univariate`.

    Raises:
      ValueError: if there is no law, the rotation is not an orthogonal `[d, d]` matrix, or as `fit_univariate`.
    """
    if not len(laws):
        raise ValueError("laws: expected at least one law")
    matrix = np.eye(len(laws)) if rotation is None else np.asarray(rotation, dtype=np.float64)
    if matrix.shape != (len(laws), len(laws)):
        raise ValueError(f"rotation: expected shape {(len(laws), len(laws))}, found {matrix.shape}")
    error = float(np.abs(matrix.T @ matrix - np.eye(len(laws))).max())
    if not error <= 1e-10:
        raise ValueError(f"rotation: expected an orthogonal matrix, |RᵀR - I| reaches {error:.3g}")
    distinct = {id(law): law for law in laws}
    fits = {name: fit_univariate(law, factorization, **settings) for name, law in distinct.items()}
    return ProductFactorization(matrix, tuple(fits[id(law)] for law in laws))

"""Laws in any dimension whose conjugate potential is known: what learned potentials are judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments._random import key_for, normal
from conjugate_moments.fits.gaussian import GaussianFactorization, fit_gaussian
from conjugate_moments.fits.product import fit_product
from conjugate_moments.measures.planted import orthogonal, planted
from conjugate_moments.measures.univariate import Mixture

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout

MODES, WIDTH = (-1.0, 1.0), 0.4  # of every factor of "product"
CONDITION = 30.0  # number of the covariance of "gaussian", whose variances have the geometric mean 1


class Truth(Protocol):
    """A law ρ with its exact potential w; points are `[n, d]`."""

    def transport(self, x: ArrayLike, /) -> Array:
        """∇w*."""
        ...

    def inverse_transport(self, y: ArrayLike, /) -> Array:
        """∇w."""
        ...

    def sample_gibbs(self, n: int, *, key: jax.Array) -> Array:
        """Draws of P_w, `[n, d]`."""
        ...

    def sample(self, n: int, *, key: jax.Array) -> Array:
        """Draws of ρ, `[n, d]`."""
        ...

    @property
    def variance(self) -> float:
        """Trace of the covariance of ρ."""
        ...


def truth(family: str, dim: int) -> Truth:
    """The law of a family in dimension `dim`, the same in every run.

    Args:
      family: "product", a randomly rotated product of two-mode laws; "gaussian", off centre, in a random frame; or a
        family of `planted`.
      dim: d; even for planted laws, at least 2 for "gaussian".

    Raises:
      ValueError: for another family, or a dimension that it does not have.
    """
    key = key_for(0, "truth", family, str(dim))
    if family == "gaussian":
        return _gaussian(dim, key)
    if family != "product":
        return planted(family, dim, key=key)  # pyright: ignore[reportArgumentType]
    from scipy import stats

    law = Mixture((0.5, 0.5), tuple(stats.norm(mode, WIDTH) for mode in MODES))
    return fit_product([law] * dim, orthogonal(key, dim))


def _gaussian(dim: int, key: jax.Array) -> GaussianFactorization:
    """N(m, Σ) with eigenvalues evenly spaced in the logarithm and a normal m."""
    import jax

    if dim < 2:
        raise ValueError(f"dim: found {dim}, allowed: an integer >= 2")
    variances = np.geomspace(CONDITION**-0.5, CONDITION**0.5, dim)
    rotation = orthogonal(jax.random.fold_in(key, 0), dim)
    return fit_gaussian(normal(jax.random.fold_in(key, 1), (dim,)), (rotation * variances) @ rotation.T)

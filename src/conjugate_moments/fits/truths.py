"""Laws in any dimension whose conjugate potential is known: what learned potentials are judged by."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments._random import key_for, normal
from conjugate_moments.fits.gaussian import GaussianFactorization, fit_gaussian
from conjugate_moments.fits.product import ProductFactorization, fit_product
from conjugate_moments.measures.planted import PlantedLaw, orthogonal, planted
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
    return fit_product([_two_modes()] * dim, orthogonal(key, dim))


@cache
def _two_modes() -> Mixture:
    """The factor of "product"."""
    from scipy import stats

    return Mixture((0.5, 0.5), tuple(stats.norm(mode, WIDTH) for mode in MODES))


def true_log_density(law: Truth, y: ArrayLike) -> Array:
    """Log-density of ρ at points `[n, d]`, `[n]`, exact: log P_w(∇w(y)) + log det ∇²w(y).

    Raises:
      TypeError: for a law that `truth` does not give.
    """
    if isinstance(law, GaussianFactorization):
        return law.log_prob(y)
    if isinstance(law, PlantedLaw):
        return law.log_density(y)
    if isinstance(law, ProductFactorization):
        return _two_modes().logpdf(np.asarray(y, dtype=np.float64) @ law.rotation).sum(axis=-1)
    raise TypeError(f"law: found {type(law).__name__}, allowed: what truth() gives")


def _gaussian(dim: int, key: jax.Array) -> GaussianFactorization:
    """N(m, Σ) with eigenvalues evenly spaced in the logarithm and a normal m."""
    import jax

    if dim < 2:
        raise ValueError(f"dim: found {dim}, allowed: an integer >= 2")
    variances = np.geomspace(CONDITION**-0.5, CONDITION**0.5, dim)
    rotation = orthogonal(jax.random.fold_in(key, 0), dim)
    return fit_gaussian(normal(jax.random.fold_in(key, 1), (dim,)), (rotation * variances) @ rotation.T)

"""Closed-form factorisations of a Gaussian in any dimension."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments import _random
from conjugate_moments._files import write_arrays
from conjugate_moments._matrices import correlation_range, symmetric_power

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout
Factorization = Literal["conjugate", "moment"]
FACTORIZATIONS: tuple[Factorization, ...] = ("conjugate", "moment")


def check_factorization(name: str) -> None:
    """Refuse a factorisation that does not exist.

    Raises:
      ValueError: naming the argument, what was found and what is allowed.
    """
    if name not in FACTORIZATIONS:
        raise ValueError(f"factorization: found {name!r}, allowed: {', '.join(map(repr, FACTORIZATIONS))}")


@dataclass(frozen=True, eq=False)
class GaussianFactorization:
    """ρ = N(mean, cov) as the image of a Gaussian Gibbs measure under a symmetric positive affine map. Float64.

    The potential is ½(y - centre)ᵀ precision (y - centre), normalised so that e^{-potential} integrates to 1.

    Args:
      factorization: which of the two.
      gibbs_mean: mean of the Gibbs measure, `[d]`.
      gibbs_cov: its covariance, `[d, d]`.
      matrix: the transport map is x ↦ matrix (x - gibbs_mean) + mean, `[d, d]`.
      mean: mean of ρ, `[d]`.
      cov: covariance of ρ, `[d, d]`.
      shift: what was subtracted from ρ to centre it, `[d]`; zero for the conjugate factorisation. The transport map
        adds it back.
    """

    factorization: Factorization
    gibbs_mean: Array
    gibbs_cov: Array
    matrix: Array
    mean: Array
    cov: Array
    shift: Array

    @cached_property
    def _root(self) -> Array:
        return symmetric_power(self.gibbs_cov, 1 / 2)

    @cached_property
    def _precision(self) -> Array:
        return symmetric_power(self.gibbs_cov, -1.0)

    @cached_property
    def _inverse(self) -> Array:
        return symmetric_power(self.matrix, -1.0)

    def potential(self, y: ArrayLike) -> Array:
        """-log of the Gibbs density, at points `[..., d]`; result `[...]`."""
        offset = np.asarray(y, dtype=np.float64) - self.gibbs_mean
        _, log_det = np.linalg.slogdet(2 * np.pi * self.gibbs_cov)
        return np.einsum("...i,ij,...j->...", offset, self._precision, offset) / 2 + log_det / 2

    def gibbs_pdf(self, x: ArrayLike) -> Array:
        """Gibbs density at points `[..., d]`; result `[...]`."""
        return np.exp(-self.potential(x))

    def sample_gibbs(self, n: int, *, key: jax.Array) -> Array:
        """`n` draws of the Gibbs measure, `[n, d]`."""
        return self.gibbs_mean + _random.normal(key, (n, len(self.mean))) @ self._root

    def transport(self, x: ArrayLike) -> Array:
        """Map from the Gibbs measure to ρ, at points `[..., d]`."""
        return (np.asarray(x, dtype=np.float64) - self.gibbs_mean) @ self.matrix + self.mean

    def inverse_transport(self, y: ArrayLike) -> Array:
        """Map from ρ to the Gibbs measure, at points `[..., d]`."""
        return (np.asarray(y, dtype=np.float64) - self.mean) @ self._inverse + self.gibbs_mean

    def sample(self, n: int, *, key: jax.Array) -> Array:
        """`n` draws of ρ as images of Gibbs draws, `[n, d]`."""
        return self.transport(self.sample_gibbs(n, key=key))

    def log_prob(self, y: ArrayLike) -> Array:
        """Log-density of ρ at points `[..., d]`, by the change of variables; result `[...]`.

        Raises:
          ValueError: for points that are not finite or not of dimension d.
        """
        y = np.asarray(y, dtype=np.float64)
        if y.shape[-1:] != self.mean.shape or not np.all(np.isfinite(y)):
            found = f"shape {list(y.shape)} with {int(np.sum(~np.isfinite(y)))} NaN or infinite entries"
            raise ValueError(f"y: found {found}, allowed: finite [..., {self.mean.size}]")
        return -self.potential(self.inverse_transport(y)) - np.linalg.slogdet(self.matrix)[1]

    @property
    def variance(self) -> float:
        """Trace of the covariance of ρ."""
        return float(np.trace(self.cov))

    @cached_property
    def residual(self) -> float:
        """Largest entry of |push-forward covariance - cov| and |push-forward mean - mean|, in units of ρ's scale."""
        cov_error = np.abs(self.matrix @ self.gibbs_cov @ self.matrix - self.cov).max() / np.abs(self.cov).max()
        mean_error = np.abs(self.transport(self.gibbs_mean) - self.mean).max() / np.sqrt(np.diag(self.cov).max())
        return float(max(cov_error, mean_error))

    def save(self, path: str | Path, *, provenance: Mapping[str, str] | None = None) -> None:
        """Write everything `load_gaussian` needs to one .npz file, whole or not at all."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        texts = {"factorization": self.factorization, "provenance": json.dumps(dict(provenance or {}))}
        write_arrays(path, {**arrays, **{name: np.asarray(text) for name, text in texts.items()}})


_ARRAYS = ("gibbs_mean", "gibbs_cov", "matrix", "mean", "cov", "shift")


def load_gaussian(path: str | Path) -> tuple[GaussianFactorization, dict[str, str]]:
    """Read what `GaussianFactorization.save` wrote: the factorisation and its provenance.

    Raises:
      ValueError: if the file does not hold a Gaussian factorisation.
    """
    with np.load(path, allow_pickle=False) as stored:
        missing = [name for name in (*_ARRAYS, "factorization", "provenance") if name not in stored]
        if missing:
            raise ValueError(f"path: {path} is not a Gaussian factorisation, it lacks {', '.join(missing)}")
        arrays = {name: np.asarray(stored[name], dtype=np.float64) for name in _ARRAYS}
        name, provenance = str(stored["factorization"]), json.loads(str(stored["provenance"]))
    return GaussianFactorization("conjugate" if name == "conjugate" else "moment", **arrays), provenance


def _check_moments(mean: ArrayLike, cov: ArrayLike) -> tuple[Array, Array]:
    mean, cov = np.asarray(mean, dtype=np.float64), np.asarray(cov, dtype=np.float64)
    if mean.ndim != 1 or not mean.size:
        raise ValueError(f"mean: expected a non-empty vector, found shape {mean.shape}")
    if cov.shape != (mean.size, mean.size):
        raise ValueError(f"cov: expected shape {(mean.size, mean.size)} to match mean, found {cov.shape}")
    for name, array in (("mean", mean), ("cov", cov)):
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name}: {np.sum(~np.isfinite(array))} of {array.size} entries are NaN or infinite")
    asymmetry = float(np.abs(cov - cov.T).max())
    if asymmetry > 1e-12 * np.abs(cov).max():
        raise ValueError(f"cov: not symmetric, |cov - covᵀ| reaches {asymmetry:.3g}")
    cov = (cov + cov.T) / 2
    # Of the correlations: coordinates may differ in scale by any factor.
    smallest, largest = correlation_range(cov)
    if not smallest > mean.size * np.finfo(np.float64).eps * largest:
        raise ValueError(
            "cov: not positive definite to working precision, its correlations have eigenvalues from "
            f"{smallest:.3g} to {largest:.3g}"
        )
    return mean, cov


def fit_gaussian(
    mean: ArrayLike, cov: ArrayLike, factorization: Factorization = "conjugate", *, center: bool = False
) -> GaussianFactorization:
    """Factorise N(mean, cov) in closed form.

    Conjugate: with S = cov^{1/3} and a = (I + S)⁻¹ mean, P_w = N(a, S) and ∇w*(x) = S x + a. Moment: P_u = N(0, cov⁻¹)
    and ∇u(x) = cov x, for a centred law (method: Vesseron, Béthune & Cuturi 2025; Cordero-Erausquin & Klartag 2015).

    Args:
      mean: `[d]`.
      cov: symmetric positive definite, `[d, d]`.
      factorization: "conjugate" or "moment".
      center: for "moment" only: subtract the mean first and record it as `shift`.

    Raises:
      ValueError: for NaN or infinite entries, shapes that do not match, a covariance that is not symmetric positive
        definite, an unknown factorisation, or the moment factorisation of an uncentred law without `center`.
    """
    check_factorization(factorization)
    mean, cov = _check_moments(mean, cov)
    if factorization == "conjugate":
        root = symmetric_power(cov, 1 / 3)
        gibbs_mean = np.linalg.solve(np.eye(mean.size) + root, mean)
        return GaussianFactorization("conjugate", gibbs_mean, root, root, mean, cov, np.zeros_like(mean))
    check_centred(float(np.abs(mean).max()), float(np.sqrt(np.diag(cov).max())), center=center)
    return GaussianFactorization("moment", np.zeros_like(mean), symmetric_power(cov, -1.0), cov, mean, cov, mean)


def check_centred(mean: float, std: float, *, center: bool) -> None:
    """Refuse the moment factorisation of an uncentred law unless told to centre it.

    Raises:
      ValueError: saying how far off the mean is, and the remedy.
    """
    if abs(mean) > 1e-8 * std and not center:
        raise ValueError(
            f"factorization: 'moment' needs a law of mean 0, found {mean:.6g} ({mean / std:.3g} standard deviations); "
            "subtract it, or pass center=True"
        )

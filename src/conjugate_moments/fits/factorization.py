"""What a factorisation of a law on the line is. Float64 throughout."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments import _random
from conjugate_moments._files import write_arrays
from conjugate_moments.fits.gaussian import Factorization

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """How well a factorisation was solved.

    Args:
      residual: W2 distance between the push-forward of the Gibbs measure and the law, by quadrature on points of its
        own, in the law's units.
      iterations: of the fixed point; 0 for a closed form.
      converged: whether the iteration met its tolerance (a closed form has none) and the residual is below
        a thousandth of a standard deviation.
      changes: largest change of w' in each iteration, relative to its distance from the Gibbs measure's mean plus one
        standard deviation.
      mean: of the law.
      std: of the law.
    """

    residual: float
    iterations: int
    converged: bool
    changes: tuple[float, ...]
    mean: float
    std: float


@dataclass(frozen=True, eq=False)
class UnivariateFactorization(ABC):
    """ρ as the image of a log-concave Gibbs measure under the gradient of a convex potential, on the line.

    Conjugate: `potential` is w, the Gibbs measure e^{-w}, `transport` (w*)' and `inverse_transport` w'. Moment: they
    are u, e^{-u}, u' and (u*)'. Potentials are normalised, so that e^{-potential} integrates to 1. Methods take and
    return float64 arrays of any shape.

    Args:
      factorization: "conjugate" or "moment".
      diagnostics: residual, iterations and status.
      shift: what was subtracted from the law to centre it (0 for the conjugate factorisation); `transport` adds it
        back.
    """

    factorization: Factorization
    diagnostics: Diagnostics
    shift: float

    @property
    def residual(self) -> float:
        """W2 distance between the push-forward and the law, in the law's units."""
        return self.diagnostics.residual

    @property
    def iterations(self) -> int:
        """Fixed-point iterations; 0 for a closed form."""
        return self.diagnostics.iterations

    @property
    def converged(self) -> bool:
        """Whether the iteration met its tolerance."""
        return self.diagnostics.converged

    @abstractmethod
    def potential(self, y: ArrayLike) -> Array:
        """The convex potential, normalised; infinite outside its domain."""

    @abstractmethod
    def gibbs_cdf(self, x: ArrayLike) -> Array:
        """Distribution function of the Gibbs measure."""

    @abstractmethod
    def gibbs_ppf(self, t: ArrayLike) -> Array:
        """Quantile of the Gibbs measure at levels in (0, 1)."""

    @abstractmethod
    def transport(self, x: ArrayLike) -> Array:
        """Monotone map from the Gibbs measure to the law."""

    @abstractmethod
    def inverse_transport(self, y: ArrayLike) -> Array:
        """Monotone map from the law to the Gibbs measure."""

    @abstractmethod
    def gibbs_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of the Gibbs measure."""

    @abstractmethod
    def _arrays(self) -> dict[str, Array]:
        """What `load` needs to restore the factorisation."""

    def gibbs_pdf(self, x: ArrayLike) -> Array:
        """Density of the Gibbs measure."""
        return np.exp(-self.potential(x))

    def sample_gibbs(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent draws of the Gibbs measure, by inversion, `[n]`."""
        return self.gibbs_ppf(_random.uniform(key, (n,)))

    def sample(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent draws of the law, as images of Gibbs draws, `[n]`."""
        return self.transport(self.sample_gibbs(n, key=key))

    def save(self, path: str | Path, *, provenance: Mapping[str, str] | None = None) -> None:
        """Write everything `load` needs to one .npz file, whole or not at all."""
        d = self.diagnostics
        write_arrays(
            path,
            {
                **self._arrays(),
                "kind": np.asarray(type(self).__name__),
                "shift": np.asarray(self.shift),
                "residual": np.asarray(d.residual),
                "iterations": np.asarray(d.iterations),
                "converged": np.asarray(d.converged),
                "changes": np.asarray(d.changes, dtype=np.float64),
                "mean": np.asarray(d.mean),
                "std": np.asarray(d.std),
                "provenance": np.asarray(json.dumps(dict(provenance or {}))),
            },
        )

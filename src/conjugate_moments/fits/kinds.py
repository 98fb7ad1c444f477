"""What potentials are fitted for: conjugate and classical moment measures, and maps from a Gaussian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from conjugate_moments import _random
from conjugate_moments._matrices import log_det, symmetric_power, times
from conjugate_moments.fits.result import FitResult, GibbsStatus
from conjugate_moments.inference.density import LogDet, LogNormaliser
from conjugate_moments.potentials.base import gradients

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class ConjugateFit(FitResult):
    """ρ = ∇w*♯P_w: sample the Gibbs measure of w, map by the gradient of its conjugate."""

    method = "cmfgen"

    def draw(self, n: int, *, key: jax.Array) -> tuple[Array, GibbsStatus]:
        """`n` draws of P_w, `[n, d]`, with their status."""
        return self._draw_gibbs(np.asarray(self._images), symmetric_power(self.cov, 1 / 6), n, key=key)

    def transport(self, x: ArrayLike) -> Array:
        """∇w* at points `[n, d]`; rows that did not converge are NaN."""
        return self._conjugate(x)

    def inverse_transport(self, y: ArrayLike) -> Array:
        """∇w at points `[n, d]`."""
        return np.asarray(gradients(self.network, y))

    def _normaliser(self) -> LogNormaliser:
        return self._log_integral(np.asarray(self._images))

    def _pull_back(self, y: Array) -> tuple[Array, LogDet]:
        return self.potential(gradients(self.network, y)), self._log_det(y)

    def _grid_centre(self) -> Array:
        return np.asarray(self._images, np.float64).mean(axis=0)


@dataclass(frozen=True, eq=False)
class GaussianSourceFit(FitResult):
    """ρ as the image of the Gaussian N(mean, cov)."""

    def draw(self, n: int, *, key: jax.Array) -> tuple[Array, GibbsStatus]:
        """`n` draws of the Gaussian, `[n, d]`."""
        points = self.mean + times(_random.normal(key, (n, self.dim)), symmetric_power(self.cov, 1 / 2))
        return points.astype(np.float32), _independent(n)

    def _normaliser(self) -> LogNormaliser:
        value = (self.dim * np.log(2 * np.pi) + log_det(self.cov)) / 2
        return LogNormaliser(float(value), 0.0, "closed form", True)

    def _source_energy(self, x: ArrayLike) -> Array:
        """½(x−m)ᵀΣ⁻¹(x−m) at points `[n, d]`, `[n]`."""
        return np.sum(times(np.asarray(x) - self.mean, symmetric_power(self.cov, -1 / 2)) ** 2, axis=1) / 2

    def _grid_centre(self) -> Array:
        return self.mean


def _independent(n: int) -> GibbsStatus:
    return GibbsStatus("exact", True, 1.0, 1.0, float(n), n)


@dataclass(frozen=True, eq=False)
class ForwardFit(GaussianSourceFit):
    """A fit whose potential is that of the map from the source to ρ: the other way is what is solved for."""

    def transport(self, x: ArrayLike) -> Array:
        """∇(potential), the map from the source to ρ, at points `[n, d]`."""
        return np.asarray(gradients(self.network, x))

    def inverse_transport(self, y: ArrayLike) -> Array:
        """The map from ρ to the source, at points `[n, d]`; rows that did not converge are NaN."""
        return self._conjugate(y)

    def _pull_back(self, y: Array) -> tuple[Array, LogDet]:
        found = self.solve(y)
        return self._source_energy(found.point), self._conjugate_log_det(found)


@dataclass(frozen=True, eq=False)
class MongeFit(GaussianSourceFit):
    """ρ as the image of a source measure under the Monge map.

    Args:
      source: draws of it, `[m, d]`; None for the Gaussian N(mean, cov) of the data, the "generative ICNN".
    """

    method = "monge"

    source: Array | None = None

    def draw(self, n: int, *, key: jax.Array) -> tuple[Array, GibbsStatus]:
        """`n` draws of the source measure, `[n, d]`; with replacement where it is given by draws."""
        if self.source is None:
            return super().draw(n, key=key)
        points = self.source[(_random.uniform(key, (n,)) * len(self.source)).astype(np.intp)]
        return points.astype(np.float32), _independent(n)

    def _more_arrays(self) -> dict[str, Array]:
        return {} if self.source is None else {"source": self.source}

    @staticmethod
    def _more_fields(arrays: Mapping[str, NDArray]) -> dict[str, Any]:
        return {"source": arrays.get("source")}

    def transport(self, x: ArrayLike) -> Array:
        """The Monge map at points `[n, d]`; rows that did not converge are NaN."""
        return self._conjugate(x)

    def inverse_transport(self, y: ArrayLike) -> Array:
        """The Monge map from ρ to the Gaussian, at points `[n, d]`."""
        return np.asarray(gradients(self.network, y))

    def _normaliser(self) -> LogNormaliser:
        if self.source is not None:
            raise ValueError("source: found a measure known by draws only, allowed: the Gaussian of the data (None)")
        return super()._normaliser()

    def _pull_back(self, y: Array) -> tuple[Array, LogDet]:
        return self._source_energy(gradients(self.network, y)), self._log_det(y)


@dataclass(frozen=True, eq=False)
class MomentFit(FitResult):
    """ρ − mean = ∇u♯P_u: the moment measure; the mean is added back after the map."""

    method = "moment"

    @cached_property
    def _sources(self) -> Array:
        """Points of P_u that are sent near the anchors."""
        found = self.solve(self.anchors - self.mean)
        return np.asarray(found.point)[np.asarray(found.converged)]

    @cached_property
    def _anchors(self) -> jax.Array:
        # Of P_u: conjugate solves start there.
        return jnp.asarray((self.anchors - self.mean) @ symmetric_power(self.cov, -1), jnp.float32)

    def draw(self, n: int, *, key: jax.Array) -> tuple[Array, GibbsStatus]:
        """`n` draws of P_u, `[n, d]`, with their status."""
        return self._draw_gibbs(self._sources, symmetric_power(self.cov, -1 / 2), n, key=key)

    def transport(self, x: ArrayLike) -> Array:
        """∇u + mean at points `[n, d]`."""
        return np.asarray(gradients(self.network, x)) + self.mean

    def inverse_transport(self, y: ArrayLike) -> Array:
        """∇u* at points − mean, `[n, d]`; rows that did not converge are NaN."""
        return self._conjugate(np.asarray(y) - self.mean)

    def _normaliser(self) -> LogNormaliser:
        return self._log_integral(self._sources)

    def _pull_back(self, y: Array) -> tuple[Array, LogDet]:
        found = self.solve(y - self.mean)
        return self.potential(found.point), self._conjugate_log_det(found)

    def _grid_centre(self) -> Array:
        return self._sources.astype(np.float64).mean(axis=0)

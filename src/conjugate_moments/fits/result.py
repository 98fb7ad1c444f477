"""What a trained fit is: a convex potential, its source measure, and how well both were computed."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from conjugate_moments import _random
from conjugate_moments._files import write_arrays
from conjugate_moments._matrices import times
from conjugate_moments.conjugates.base import ConjugateSolution, discrete_start
from conjugate_moments.conjugates.continuation import Continuation
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.conjugates.selection import conjugate_solver
from conjugate_moments.inference.density import (
    EXACT_DIM,
    LogDensity,
    LogDet,
    LogNormaliser,
    check_finite,
    curvature_root,
    grid_normaliser,
    log_det_hessian,
    log_normaliser,
)
from conjugate_moments.potentials.base import Potential, gradients, values
from conjugate_moments.potentials.icnn import InputConvexNetwork
from conjugate_moments.samplers.chains import sample
from conjugate_moments.samplers.grid import GridDistribution, grid_distribution
from conjugate_moments.settings import PeerSettings, QuadraticsSettings, TrainingSettings

Array = NDArray[np.floating]
Settings = TrainingSettings | PeerSettings | QuadraticsSettings

ANCHORS = 512  # data points kept: chains and conjugate solves start from them and their images
BATCH = 2048  # targets solved at once: memory does not grow with the number of points
# Of saved fits and checkpoints: to be raised when numbers change their meaning, which names and shapes do not show.
FORMAT = 2
CURVATURES = 16  # points whose mean Hessian preconditions the stochastic log-determinants


@dataclass(frozen=True)
class GibbsStatus:
    """Whether draws of the source measure are to be trusted.

    Args:
      method: "exact" for independent draws, "mala" for chains.
      converged: for chains, whether they mixed; for a grid, whether its error is within tolerance.
      acceptance: of the chains' moves, or of the grid's envelope.
      r_hat: largest over coordinates, as in `ChainDiagnostics`; 1 for independent draws.
      ess: smallest effective sample size over coordinates, likewise.
      draws: that `ess` is to be compared with.
    """

    method: str
    converged: bool
    acceptance: float
    r_hat: float
    ess: float
    draws: int


@dataclass(frozen=True, eq=False)
class FitResult(ABC):
    """A law as the image of a source measure under the gradient of a convex function, known from samples. Float32.

    Args:
      network: the potential; w for "cmfgen", u for "moment", the Brenier potential from ρ to the source for "monge",
        and from the source to ρ for "w2dual".
      settings: of the training.
      mean: of the data, `[d]`.
      cov: of the data, `[d, d]`, or its diagonal `[d]` where coordinates are taken as uncorrelated.
      anchors: some of the data, `[m, d]`.
      trace: of the training, one array `[steps]` per scalar.
    """

    method: ClassVar[str]
    settings_type: ClassVar[type[Settings]] = TrainingSettings

    network: Potential
    settings: Settings
    mean: Array
    cov: Array
    anchors: Array
    trace: Mapping[str, NDArray]

    @staticmethod
    def blank(settings: Any, arrays: Mapping[str, NDArray]) -> Potential:
        """A network with the structure, but not the numbers, of the one of which these are the saved arrays."""
        dim = len(arrays["mean"])
        start = {"widths": settings.widths, "pieces": settings.pieces, "key": jax.random.key(0)}
        start |= {"smoothing": settings.smoothing}
        return InputConvexNetwork.initial(np.zeros(dim), np.eye(dim), **start)

    @property
    def dim(self) -> int:
        """d."""
        return self.network.dim

    @property
    def diagnostics(self) -> dict[str, float]:
        """How the training ended: means over its last tenth, `unconverged` being the share of conjugates not solved."""
        last = max(1, len(next(iter(self.trace.values()))) // 10)
        return {name: float(np.mean(values[-last:])) for name, values in self.trace.items()}

    def potential(self, y: ArrayLike) -> Array:
        """The potential at points `[n, d]`, up to a constant: `[n]`."""
        return np.asarray(values(self.network, y))

    @abstractmethod
    def draw(self, n: int, *, key: jax.Array) -> tuple[Array, GibbsStatus]:
        """`n` draws of the source measure, `[n, d]`, with their status."""

    def sample_gibbs(self, n: int, *, key: jax.Array) -> Array:
        """`n` draws of the source measure (e^{-w}, e^{-u}; for "monge" the Gaussian), `[n, d]`.

        Raises:
          RuntimeError: if the chains have not mixed; `draw` returns what there is, with its status.
        """
        points, status = self.draw(n, key=key)
        if not status.converged:
            raise RuntimeError(
                f"sample_gibbs: the chains have not mixed, split R̂ {status.r_hat:.3g} and effective sample size "
                f"{status.ess:.0f} of {status.draws} draws; use draw() to see them all the same"
            )
        return points

    @abstractmethod
    def transport(self, x: ArrayLike) -> Array:
        """The map from the source measure to ρ, at points `[n, d]`; rows whose conjugate did not converge are NaN."""

    @abstractmethod
    def inverse_transport(self, y: ArrayLike) -> Array:
        """The map from ρ to the source measure, at points `[n, d]`; NaN as for `transport`."""

    def sample(self, n: int, *, key: jax.Array) -> Array:
        """`n` draws of the fitted law as images of source draws, `[n, d]`; NaN as for `transport`."""
        return self.transport(self.sample_gibbs(n, key=key))

    def log_prob(self, y: ArrayLike) -> Array:
        """Log-density of the fitted law at points `[n, d]`, in nats: `[n]`, float64.

        By the change of variables x = ∇w(y): log q(y) = −w(∇w(y)) + log det ∇²w(y) − log Z_w, and so for the other
        methods. Rows whose conjugate did not converge, or whose Hessian is not positive definite, are NaN.

        The first call of a fit estimates log Z, by chains where d > 2, and keeps it. `log_density` has the errors.

        Args:
          y: `[n, d]`.

        Raises:
          ValueError: if `y` is not finite numbers `[n, d]`, or the source measure is known by draws only.
          RuntimeError: if log Z is not to be trusted; `log_density` returns what there is, with its status.
        """
        found = self.log_density(y)
        if not found.normaliser.converged:
            raise RuntimeError(
                f"log_prob: log Z has not converged by {found.normaliser.method}, split R̂ {found.normaliser.r_hat:.3g} "
                f"and standard error {found.normaliser.standard_error:.3g}; use log_density() to see it all the same"
            )
        return found.value

    def log_density(self, y: ArrayLike) -> LogDensity:
        """As `log_prob`, with the standard errors of log-determinants and of log Z, and the status of the latter.

        Everything random here has a key that is the same for every fit: equal fits give equal numbers.

        Raises:
          ValueError: as `log_prob`.
        """
        y, normaliser = check_finite(y, self.dim), self.log_normaliser
        size = max(1, min(BATCH, len(y)))
        padded = np.concatenate([y, np.repeat(y[:1], -len(y) % size, axis=0)])
        value, error = np.empty(len(padded)), np.empty(len(padded))
        for first in range(0, len(y), size):
            piece = slice(first, first + size)
            energy, log_det = self._pull_back(padded[piece])
            value[piece], error[piece] = log_det.value - energy - normaliser.value, log_det.standard_error
        return LogDensity(value[: len(y)], error[: len(y)], normaliser)

    @cached_property
    def log_normaliser(self) -> LogNormaliser:
        """log Z: of e^{-w}, of e^{-u}, or of e^{-½(x−m)ᵀΣ⁻¹(x−m)} for a Gaussian source N(m, Σ). Computed once.

        Raises:
          ValueError: if the source is known by draws only.
        """
        return self._normaliser()

    @abstractmethod
    def _normaliser(self) -> LogNormaliser:
        """As `log_normaliser`, computed afresh."""

    @abstractmethod
    def _pull_back(self, y: Array) -> tuple[Array, LogDet]:
        """At points `[n, d]`: the source's energy at their inverse images, `[n]`, and log det of the inverse map."""

    def _log_integral(self, start: Array) -> LogNormaliser:
        """log ∫ e^{-potential}: by quadrature in one and two dimensions, by chains from `start` `[m, d]` beyond."""
        if self.dim <= 2:
            return grid_normaliser(self._grid)
        return log_normaliser(self.network, start=start, key=_random.key_for(0, "log normaliser"))

    def _log_det(self, points: ArrayLike) -> LogDet:
        """log det of the potential's Hessian at points `[n, d]`."""
        return log_det_hessian(self.network, points, key=_random.key_for(0, "log det"), root=self._curvature_root)

    def _conjugate_log_det(self, found: ConjugateSolution) -> LogDet:
        """log det of the Hessian of the potential's conjugate at solved targets `[n, d]`; NaN where not converged."""
        there = self._log_det(found.point)
        return LogDet(np.where(np.asarray(found.converged), -there.value, np.nan), there.standard_error)

    @cached_property
    def _curvature_root(self) -> Array | None:
        # Where the potential's arguments lie: a Hessian there is near their mean.
        return None if self.dim <= EXACT_DIM else curvature_root(self.network, self._anchors[:CURVATURES])

    def solve(self, x: ArrayLike) -> ConjugateSolution:
        """Solve ∇(potential)(y) = x for each row of `x` `[n, d]`: points, residuals, steps and status."""
        x = jnp.asarray(x, jnp.float32)
        found = [self._solve(self.solver, piece) for piece in pieces(x)]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[: len(x)], *found)

    @cached_property
    def solver(self) -> RelativeConjugate | Continuation:
        """Of the conjugate, with the tolerance of the training."""
        settings = self.settings
        solver = conjugate_solver(self.dim, tolerance=settings.tolerance, max_steps=settings.conjugate_steps)
        return RelativeConjugate.of_spread(solver, np.std(self._images, axis=0))

    def _solve(self, solver: Any, x: jax.Array) -> ConjugateSolution:
        centre, matrix = self._affine
        affine = times(x - centre[0], matrix) + centre[1]
        start = discrete_start(self.network, x, self._anchors, affine, self._heights)
        return solver.solve(self.network, x, start)

    @cached_property
    def _anchors(self) -> jax.Array:
        return jnp.asarray(self.anchors, jnp.float32)

    @cached_property
    def _heights(self) -> jax.Array:
        return values(self.network, self._anchors)

    @cached_property
    def _images(self) -> jax.Array:
        return gradients(self.network, self._anchors)

    @cached_property
    def _affine(self) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        """The affine map that fits anchors best as a function of their images, with a diagonal where `cov` is one."""
        images, anchors = np.asarray(self._images, np.float64), np.asarray(self._anchors, np.float64)
        centre = images.mean(axis=0), anchors.mean(axis=0)
        before, after = images - centre[0], anchors - centre[1]
        if self.cov.ndim == 1:  # coordinates that are taken as uncorrelated
            matrix = np.sum(before * after, axis=0) / np.sum(before**2, axis=0)
        else:
            matrix = np.linalg.lstsq(before, after)[0]
        first, second = (jnp.asarray(part, jnp.float32) for part in centre)
        return (first, second), jnp.asarray(matrix, jnp.float32)

    def _conjugate(self, x: ArrayLike) -> Array:
        found = self.solve(x)
        return np.where(np.asarray(found.converged)[:, None], np.asarray(found.point), np.nan)

    def _draw_gibbs(self, start: Array, root: Array, n: int, *, key: jax.Array) -> tuple[Array, GibbsStatus]:
        """Draws of e^{-potential}: exact in one and two dimensions, by chains from `start` `[m, d]` beyond."""
        if self.dim <= 2:
            grid = self._grid
            points = np.asarray(grid.sample(n, key=key), np.float32)
            return points, GibbsStatus("exact", grid.converged, grid.acceptance, 1.0, float(n), n)
        drawn = sample(self.network, n, key=key, start=start, root=jnp.asarray(root, jnp.float32))
        found = drawn.diagnostics
        numbers = float(found.acceptance), float(jnp.max(found.r_hat)), float(jnp.min(found.ess)), int(found.draws)
        return np.asarray(drawn.points), GibbsStatus("mala", bool(found.converged), *numbers)

    @cached_property
    def _grid(self) -> GridDistribution:
        return grid_distribution(self.network, centre=self._grid_centre())

    @abstractmethod
    def _grid_centre(self) -> Array:
        """A point in the bulk of the Gibbs measure, `[d]`."""

    def save(self, path: str | Path, *, provenance: Mapping[str, str] | None = None) -> None:
        """Write everything `load` needs to one .npz file, whole or not at all."""
        leaves = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(self.network))}
        texts = {
            "method": self.method,
            "settings": json.dumps(self.settings.to_dict()),
            "provenance": json.dumps(dict(provenance or {})),
            "format": str(FORMAT),
        }
        trace = {f"trace_{name}": values for name, values in self.trace.items()}
        arrays = {"mean": self.mean, "cov": self.cov, "anchors": self.anchors, **self._more_arrays()}
        write_arrays(path, {**leaves, **texts, **trace, **arrays})

    def _more_arrays(self) -> dict[str, Array]:
        """Fields of a subclass, for files."""
        return {}

    @staticmethod
    def _more_fields(arrays: Mapping[str, NDArray]) -> dict[str, Any]:
        """Fields of a subclass by name, from files."""
        return {}


def pieces(x: jax.Array) -> list[jax.Array]:
    """Rows in batches of one size, one at least, the last filled up with the first row: one compilation for all."""
    rows = x if len(x) else jnp.zeros((1, x.shape[1]), x.dtype)
    size = min(BATCH, len(rows))
    padded = jnp.concatenate([rows, jnp.repeat(rows[:1], -len(rows) % size, axis=0)])
    return [padded[i : i + size] for i in range(0, len(padded), size)]

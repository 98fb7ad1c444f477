"""Maps from a Gaussian to a law known by its unnormalised density, trained by reverse KL: what CMFMA is compared with.

ρ ∝ e^{-f} is fitted by q = T♯N(m, Σ), N(m, Σ) being what a tempered exploration of ρ saw. Up to log ∫ e^{-f},
KL(q | ρ) = E_x[f(T(x)) + log N(x) − log det ∂T(x)] over x ~ N(m, Σ), and its gradient goes through T (Rezende & Mohamed
2015). For "reverse_kl" T is the gradient of an input convex network, as in Huang et al. 2021; for "affine_kl" it is
affine, which is the variational fit of a Gaussian of full covariance (Kucukelbir et al. 2017). Reverse KL needs ∇f, and
gives no weight to modes that q misses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from conjugate_moments import _random
from conjugate_moments._matrices import gaussian_map, symmetric_power
from conjugate_moments.fits._explore import Exploration, LogDensity, explore
from conjugate_moments.fits._status import SCORED, DensityStatus
from conjugate_moments.fits._steps import Carry, descend, optimiser
from conjugate_moments.fits._training import DivergedError, train
from conjugate_moments.fits.density import log_det, training_fingerprint
from conjugate_moments.fits.kinds import ForwardFit
from conjugate_moments.fits.result import ANCHORS
from conjugate_moments.fits.samples import single
from conjugate_moments.potentials.base import Potential, gradients, hessians
from conjugate_moments.potentials.icnn import InputConvexNetwork
from conjugate_moments.potentials.quadratic import Quadratic
from conjugate_moments.settings import DensitySettings

Array = NDArray[np.floating]

# Points without a gradient are left out, which favours maps that send more there: not many can be.
MOST_LEFT_OUT = 0.1  # share of them, in the last tenth of the steps, beyond which ρ was not what was fitted


class Source(NamedTuple):
    """N(m, Σ), which every step is given: m `[d]`, the symmetric root of Σ `[d, d]`, and its entropy in nats."""

    mean: jax.Array
    root: jax.Array
    entropy: jax.Array


class Affine(NamedTuple):
    """x = m + Σ^{1/2} z ↦ m + Σ^{1/2}(shift + L z), L lower triangular with a positive diagonal.

    Not the Monge map between the two Gaussians, but easier to train: leaves have no unit, whatever those of y are.

    Args:
      shift: `[d]`.
      factor: L, its diagonal by logarithms, `[d, d]`; what is above it is not used.
    """

    shift: jax.Array
    factor: jax.Array

    @property
    def matrix(self) -> jax.Array:
        """L."""
        return jnp.tril(self.factor, -1) + jnp.diag(jnp.exp(jnp.diag(self.factor)))


# From a model, the source and standard normals `[n, d]`: images `[n, d]` of the draws of the source, log det ∂T `[n]`.
Push = Callable[[Any, Source, jax.Array], tuple[jax.Array, jax.Array]]


def _push_convex(network: InputConvexNetwork, source: Source, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    x = source.mean + noise @ source.root
    return gradients(network, x), log_det(hessians(network, x))


def _push_affine(model: Affine, source: Source, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = source.mean + (model.shift + noise @ model.matrix.T) @ source.root
    return y, jnp.full(len(noise), jnp.trace(model.factor))


@dataclass(frozen=True)
class _ReverseKL:
    """One step down KL(q | ρ) − log ∫ e^{-f}, over fresh draws of the source."""

    settings: DensitySettings
    log_density: LogDensity
    push: Push

    def __call__(self, carry: Carry, source: Source, key: jax.Array) -> tuple[Carry, dict[str, jax.Array]]:
        noise = jax.random.normal(key, (self.settings.batch, len(source.mean)))
        fixed = self.push(carry.network, source, noise)[0]
        value, slope = jax.vmap(jax.value_and_grad(self.log_density))(fixed)
        known = jnp.isfinite(value) & jnp.all(jnp.isfinite(slope), axis=1)
        # Before they are multiplied by anything: 0 times NaN is NaN.
        value, slope = jnp.where(known, value, 0), jnp.where(known[:, None], slope, 0)
        share = known / jnp.maximum(jnp.sum(known), 1)

        def loss(model: Any) -> jax.Array:
            y, rise = self.push(model, source, noise)
            # The value of the density, with the derivative that it has where it was evaluated.
            density = value + jnp.sum(slope * (y - fixed), axis=1)
            return -jnp.sum(share * (density + rise)) - source.entropy

        network, state, found = descend(self.settings, carry, loss)
        return Carry(network, state, None, None), {"loss": found, "left_out": 1 - jnp.mean(known)}


@dataclass(frozen=True, eq=False)
class ReverseKLFit(ForwardFit):
    """ρ ≈ ∇φ♯N(mean, cov) for a law known by its unnormalised density, φ an input convex network.

    `mean`, `cov` and `anchors` are those of the exploration. `trace["loss"]` is KL(q | ρ) − log ∫ e^{-f}, in nats and
    up to the noise of a batch.

    Args:
      status: how well the density is known.
    """

    method = "reverse_kl"
    settings_type = DensitySettings

    status: DensityStatus

    @cached_property
    def _anchors(self) -> jax.Array:
        # Of the source, and the same for every fit: what the exploration saw lies on the other side.
        return jnp.asarray(self.draw(ANCHORS, key=_random.key_for(0, "anchors"))[0])

    def _more_arrays(self) -> dict[str, NDArray]:
        return {"status": self.status.to_array()}

    @staticmethod
    def _more_fields(arrays: Mapping[str, NDArray]) -> dict[str, Any]:
        return {"status": DensityStatus.from_array(arrays["status"])}


@dataclass(frozen=True, eq=False)
class AffineKLFit(ReverseKLFit):
    """ρ ≈ a Gaussian, as the image of N(mean, cov) under the Monge map, which is affine: φ is quadratic."""

    method = "affine_kl"

    @staticmethod
    def blank(settings: Any, arrays: Mapping[str, NDArray]) -> Potential:
        """A quadratic in the dimension of the saved arrays."""
        dim = len(arrays["mean"])
        return Quadratic.from_factor(np.eye(dim), np.zeros(dim))


class _Method(NamedTuple):
    """How a method maps the source, what it starts from, and the potential and the type of its fit."""

    push: Push
    start: Callable[[Exploration, DensitySettings, jax.Array], Any]
    potential: Callable[[Any, Exploration], Potential]
    kind: type[ReverseKLFit]


def _near_identity(seen: Exploration, settings: DensitySettings, key: jax.Array) -> InputConvexNetwork:
    return InputConvexNetwork.near(
        seen.mean,
        seen.cov,
        curvature=np.eye(len(seen.mean)),
        slope_mean=seen.mean,
        widths=settings.widths,
        pieces=settings.pieces,
        smoothing=settings.smoothing,
        quadratic=settings.quadratic,
        slope=settings.slope,
        key=key,
    )


def _identity(seen: Exploration, settings: DensitySettings, key: jax.Array) -> Affine:
    dim = len(seen.mean)
    return Affine(jnp.zeros(dim), jnp.zeros((dim, dim)))


def _monge(model: Affine, seen: Exploration) -> Quadratic:
    """The potential of the Monge map from the source to its image under `model`."""
    root, shift, L = symmetric_power(seen.cov, 1 / 2), np.float64(model.shift), np.float64(model.matrix)
    matrix = gaussian_map(seen.cov, root @ L @ L.T @ root)
    return Quadratic.from_matrix(matrix, seen.mean - np.linalg.solve(matrix, seen.mean + root @ shift))


METHODS = {
    "reverse_kl": _Method(_push_convex, _near_identity, lambda network, _: network, ReverseKLFit),
    "affine_kl": _Method(_push_affine, _identity, _monge, AffineKLFit),
}


def fit_variational(
    log_density: LogDensity,
    dim: int,
    *,
    key: jax.Array,
    settings: DensitySettings | None = None,
    method: str = "reverse_kl",
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> ReverseKLFit:
    """Fit a map from a Gaussian to a law that is known by its density up to a constant factor, by reverse KL.

    The Gaussian is that of the same exploration as in `fit_density` with the same key; network, optimiser, batch and
    steps are the same too. Every step evaluates the density once, with its gradient, at each point of its batch.

    Args:
      log_density: −f, log ρ up to a constant, of one point `[dim]`: a pure function that JAX can trace and
        differentiate. Points where it or its gradient is not finite are left out, their share being the scalar
        "left_out" of the trace; so an edge of the support is not seen, and mass may be sent beyond it.
      dim: d.
      key: of the whole fit.
      settings: of exploration and training, where `share`, `moves` and, in training, the conjugate have no part; None
        for the defaults.
      method: "reverse_kl" (the gradient of an input convex network) or "affine_kl" (an affine map).
      progress: whether to show a progress bar.
      checkpoint: file that a training which was interrupted is resumed from, bit for bit; None for none.

    Raises:
      ValueError: if `log_density` is no log-density of a law, or its mass was not found; see `explore`. For an unknown
        method, or a dim that is none.
      DivergedError: if the training went astray, or left more than `MOST_LEFT_OUT` of its points out in the end.
    """
    if method not in METHODS:
        raise ValueError(f"method: found {method!r}, allowed: {', '.join(map(repr, METHODS))}")
    if not (isinstance(dim, int) and dim >= 1):
        raise ValueError(f"dim: found {dim!r}, allowed: an integer >= 1")
    settings = DensitySettings() if settings is None else settings
    push, start, potential, kind = METHODS[method]
    keys = [jax.random.fold_in(key, i) for i in range(4)]
    seen = explore(log_density, dim, key=keys[0], scale=settings.scale, budget=settings.explorations)
    model = start(seen, settings, keys[1])
    carry, trace = train(
        _ReverseKL(settings, log_density, push),
        Carry(model, optimiser(settings).init(model), None, None),
        _source(seen),
        settings.steps,
        key=keys[2],
        name=method,
        progress=progress,
        checkpoint=checkpoint,
        fingerprint=f"{method} {training_fingerprint(seen.points, settings, key)}",
    )
    _check_defined(method, trace)
    network, evaluations = potential(carry.network, seen), seen.evaluations + settings.steps * settings.batch
    known = network, settings, seen.mean, seen.cov, seen.points[:ANCHORS].astype(np.float32), trace
    return kind(*known, _status(ForwardFit(*known), log_density, evaluations, key=keys[3]))


def _source(seen: Exploration) -> Source:
    entropy = (len(seen.mean) * np.log(2 * np.pi * np.e) + np.linalg.slogdet(seen.cov)[1]) / 2
    return Source(single(seen.mean), single(symmetric_power(seen.cov, 1 / 2)), single(entropy))


def _check_defined(method: str, trace: Mapping[str, np.ndarray]) -> None:
    last = trace["left_out"][-max(1, len(trace["left_out"]) // 10) :]
    if np.mean(last) > MOST_LEFT_OUT:
        raise DivergedError(
            f"{method}: found no finite log-density or gradient at {np.mean(last):.2g} of the points of the last "
            f"{len(last)} steps, allowed: at most {MOST_LEFT_OUT:g} (give a density that is positive and smooth)",
            trace,
        )


def _status(fit: ForwardFit, log_density: LogDensity, evaluations: int, *, key: jax.Array) -> DensityStatus:
    """Weights of fresh draws of the fit, whose density is known from those of the source: no conjugate is solved."""
    x, _ = fit.draw(SCORED, key=key)
    model = -fit._source_energy(x) - fit.log_normaliser.value - fit._log_det(x).value
    target = np.asarray(jax.vmap(log_density)(jnp.asarray(fit.transport(x))), dtype=np.float64)
    return DensityStatus.of_weights(target - model, error=0.0, evaluations=evaluations + SCORED, sound=True)

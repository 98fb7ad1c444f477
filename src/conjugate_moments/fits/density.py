"""CMFMA: the potential of a law that is known by its unnormalised density, by the Monge–Ampère equation.

ρ ∝ e^{-f} is ∇w*♯P_w where f(y) − w(∇w(y)) + log det ∇²w(y) is the same number at every y. The fit descends the
variance of that number over points y, which are held fixed: draws ∇w*(x), x ~ P_w, of the model as it is, and a share
of points that explore (Vesseron, Béthune & Cuturi 2025, v2; the variance of log-weights as a loss: Richter et al.
2020). At the solution every term of the gradient is 0, and so is its noise. Only the exploration before the training
differentiates the log-density.

Half of the points that explore are from a pool of about ρ, at first that of a tempered exploration, so that modes are
found. What that missed, as it does the neck of a funnel, the model finds in time: the other half are images of draws
that were moved outwards, and each is offered to a row of the pool by the rule of Metropolis & Hastings, of which ρ is
the stationary law (Gabrié, Rotskoff & Vanden-Eijnden 2022, who move their chains by a flow; a pool that is trained on
again: Midgley et al. 2023). The densities of all these points are there for the loss, and cost no evaluation more.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from conjugate_moments._matrices import symmetric_power
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.fits._check import check_reach
from conjugate_moments.fits._explore import LogDensity, explore
from conjugate_moments.fits._status import SCORED, DensityStatus
from conjugate_moments.fits._steps import Carry, ClosedForm, descend, follow, images_at, solver_for, started, traced
from conjugate_moments.fits._training import train
from conjugate_moments.fits.kinds import ConjugateFit
from conjugate_moments.fits.result import ANCHORS
from conjugate_moments.fits.samples import single
from conjugate_moments.potentials.base import Potential, gradients, hessians, values
from conjugate_moments.potentials.icnn import InputConvexNetwork
from conjugate_moments.samplers.mala import MalaState
from conjugate_moments.settings import DensitySettings

Array = NDArray[np.floating]

CLIP = 3.0  # nats from the common value beyond which a residual counts no more
CENTRINGS = 20  # steps of the fixed point for that value


class Chains(NamedTuple):
    """What moves from step to step: chains on P_w, and a pool of points of about ρ, `[n, d]`."""

    source: MalaState
    pool: jax.Array


class _Given(NamedTuple):
    """What every step is given: the factorisation of the explored Gaussian, and the solver of the conjugate."""

    gaussian: ClosedForm
    solver: RelativeConjugate


@dataclass(frozen=True)
class _Cmfma:
    """One step: move the chains on the present P_w, map them, and even out the residuals of the equation."""

    settings: DensitySettings
    log_density: LogDensity

    def __call__(self, carry: Carry, given: _Given, key: jax.Array) -> tuple[Carry, dict[str, jax.Array]]:
        """The next carry, and scalars for the trace."""
        key_moves, key_rows, key_pool = jax.random.split(key, 3)
        chains, pool, gaussian = *carry.chains, given.gaussian
        chains = follow(carry.network, chains, self.settings.moves, key=key_moves, root=gaussian.root)
        own, outer = len(chains.position), _outer(self.settings)
        mean = jnp.mean(chains.position, axis=0)
        x = jnp.concatenate([chains.position, _outwards(chains.position[:outer], mean)])
        found, images = images_at(carry, x, given.solver, gaussian)
        rows = jax.random.randint(key_rows, (self.settings.batch - len(x),), 0, len(pool))
        y = jnp.concatenate([images, pool[rows]])
        used = jnp.concatenate([found.converged, jnp.ones(len(rows), bool)])
        energy = -jax.vmap(self.log_density)(y)
        renewed = _renewed(carry.network, y[own:], jnp.where(used, energy, jnp.nan)[own:], mean, outer, key=key_pool)
        undefined = jnp.isnan(energy)
        # Outside its support the density is as small as the model cares to see.
        energy = jnp.where(jnp.isfinite(energy), energy, jnp.inf)
        share = (used & ~undefined) / jnp.maximum(jnp.sum(used & ~undefined), 1)

        def loss(network: InputConvexNetwork) -> jax.Array:
            model = model_log_density(network, y)
            pull = jax.lax.stop_gradient(_pulls(energy + model, share))
            finite = jnp.where(jnp.isfinite(energy), energy, 0)
            return jnp.sum(share * pull * (finite + model)) - jnp.sum(share * pull**2) / 2

        network, state, value = descend(self.settings, carry, loss)
        scalars = traced(value, found, chains) | {"undefined": jnp.mean(undefined)}
        return Carry(network, state, Chains(chains, pool.at[rows].set(renewed)), images), scalars


def _outer(settings: DensitySettings) -> int:
    """Points of a batch that are images of draws moved outwards."""
    return min(settings.explored // 2, settings.batch - settings.explored)


def _outwards(x: jax.Array, mean: jax.Array) -> jax.Array:
    """Points `[n, d]` moved away from their mean, those of a Gaussian by one standard deviation of their distance."""
    return mean + _stretch(len(mean)) * (x - mean)


def _stretch(dim: int) -> float:
    # Of N(0, I) the distance is √d ± 1/√2. A ratio that does not fall with d leaves no draw where there is mass.
    return 1 + 1 / math.sqrt(2 * dim)


def outer_log_density(network: Potential, y: jax.Array, mean: jax.Array) -> jax.Array:
    """Log-density at y `[n, d]`, up to a constant, of images of draws that were moved away from `mean` `[d]`; `[n]`."""
    x = gradients(network, y)
    return log_det(hessians(network, y)) - values(network, mean + (x - mean) / _stretch(len(mean)))


def _renewed(
    network: Potential, y: jax.Array, energy: jax.Array, mean: jax.Array, outer: int, *, key: jax.Array
) -> jax.Array:
    """Rows of the pool after a move by Metropolis & Hastings, in which each of the first has a point offered.

    The proposals do not depend on the row, and have heavier tails than the model: where the weights ρ/q of the model's
    own draws have no bound, chains that propose these get stuck (Mengersen & Tweedie 1996).

    Args:
      network: the present one.
      y: `outer` points that are offered, and the rows of the pool, `[outer + n, d]`.
      energy: there, NaN where a point is not to be taken.
      mean: that draws were moved away from, `[d]`.
      outer: how many are offered, at most n.
      key: of the move.
    """
    log_weight = -energy - outer_log_density(network, y, mean)
    log_level = jnp.log(jax.random.uniform(key, (outer,)))
    taken = log_level < log_weight[:outer] - log_weight[outer : 2 * outer]
    return y[outer:].at[:outer].set(jnp.where(taken[:, None], y[:outer], y[outer : 2 * outer]))


def model_log_density(network: InputConvexNetwork, y: jax.Array) -> jax.Array:
    """−w(∇w(y)) + log det ∇²w(y) at points `[n, d]`, `[n]`: the log-density of the model up to a constant."""
    return log_det(hessians(network, y)) - values(network, gradients(network, y))


def log_det(matrices: jax.Array) -> jax.Array:
    """Of positive definite matrices `[n, d, d]`; of two dimensions in closed form, which is many times faster."""
    if matrices.shape[-1] == 2:
        return jnp.log(matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] ** 2)
    return 2 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(matrices), axis1=-2, axis2=-1)), axis=-1)


def _pulls(residuals: jax.Array, share: jax.Array) -> jax.Array:
    """Residuals less their robust mean (Huber 1964), clipped to `CLIP`: their sum over shares is 0."""
    known = jnp.where(jnp.isfinite(residuals) & (share > 0), residuals, jnp.nan)
    centre = jnp.nanmedian(known)

    def closer(_: int, centre: jax.Array) -> jax.Array:
        return centre + jnp.sum(share * jnp.clip(residuals - centre, -CLIP, CLIP))

    residuals = jnp.where(share > 0, residuals, centre)
    return jnp.clip(residuals - jax.lax.fori_loop(0, CENTRINGS, closer, centre), -CLIP, CLIP)


@dataclass(frozen=True, eq=False)
class DensityFit(ConjugateFit):
    """ρ = ∇w*♯P_w for a law known by its unnormalised density.

    `mean`, `cov` and `anchors` are those of the exploration, about right and no more.

    Args:
      status: how well the density is known.
    """

    method = "cmfma"
    settings_type = DensitySettings

    status: DensityStatus

    def _more_arrays(self) -> dict[str, NDArray]:
        return {"status": self.status.to_array()}

    @staticmethod
    def _more_fields(arrays: Mapping[str, NDArray]) -> dict[str, Any]:
        return {"status": DensityStatus.from_array(arrays["status"])}


def fit_density(
    log_density: LogDensity,
    dim: int,
    *,
    key: jax.Array,
    settings: DensitySettings | None = None,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> DensityFit:
    """Fit a convex potential to a law that is known by its density up to a constant factor.

    The result samples the law (`sample`), has its normalised density (`log_prob`), and `status` says how far both are
    to be trusted: the effective sample size of importance weights against `log_density`, the estimate of log ∫ e^{-f}
    with its standard error, and how often `log_density` was evaluated.

    Args:
      log_density: −f, log ρ up to a constant, of one point `[dim]`: a pure function that JAX can trace. −inf where the
        density is 0. It need not be differentiable: where it is not, only the exploration is slower.
      dim: d.
      key: of the whole fit.
      settings: of exploration and training; None for the defaults.
      progress: whether to show a progress bar.
      checkpoint: file that a training which was interrupted is resumed from, bit for bit; None for none.

    Raises:
      ValueError: if `log_density` is no log-density of a law, or its mass was not found or lies far from 0; see
        `explore`.
      DivergedError: if the training went astray, or met a point where `log_density` is NaN.
    """
    settings = DensitySettings() if settings is None else settings
    if not (isinstance(dim, int) and dim >= 1):
        raise ValueError(f"dim: found {dim!r}, allowed: an integer >= 1")
    keys = [jax.random.fold_in(key, i) for i in range(4)]
    seen = explore(log_density, dim, key=keys[0], scale=settings.scale, budget=settings.explorations)
    source_cov = symmetric_power(seen.cov, 1 / 3)
    source_mean = np.linalg.solve(np.eye(dim) + source_cov, seen.mean)
    check_reach("log_density", seen.mean, source_mean, seen.cov, source_cov)
    network = InputConvexNetwork.initial(
        seen.mean,
        seen.cov,
        widths=settings.widths,
        pieces=settings.pieces,
        smoothing=settings.smoothing,
        quadratic=settings.quadratic,
        slope=settings.slope,
        key=keys[1],
    )
    pool = single(seen.points)
    own = pool[np.arange(settings.batch - settings.explored) % len(pool)]
    start = started(network, settings, own)
    parts = seen.mean, source_mean, symmetric_power(source_cov, 1 / 2), symmetric_power(seen.cov, 1 / 3)
    carry, trace = train(
        _Cmfma(settings, log_density),
        start._replace(chains=Chains(start.chains, pool), images=jnp.concatenate([own, own[: _outer(settings)]])),
        _Given(ClosedForm(*(single(part) for part in parts)), solver_for(network, settings)),
        settings.steps,
        key=keys[2],
        name="cmfma",
        progress=progress,
        checkpoint=checkpoint,
        fingerprint=training_fingerprint(seen.points, settings, key),
    )
    known = carry.network, settings, seen.mean, seen.cov, seen.points[:ANCHORS].astype(np.float32), trace
    evaluations = seen.evaluations + settings.steps * settings.batch
    return DensityFit(*known, _status(ConjugateFit(*known), log_density, evaluations, key=keys[3]))


def _status(fit: ConjugateFit, log_density: LogDensity, evaluations: int, *, key: jax.Array) -> DensityStatus:
    """By the weights of fresh draws of the fit."""
    x, drawn = fit.draw(SCORED, key=key)
    y = fit.transport(x)
    solved = ~np.isnan(y).any(axis=1)
    weights, normaliser = np.full(SCORED, np.nan), fit.log_normaliser
    target = np.asarray(jax.vmap(log_density)(jnp.asarray(y[solved])), dtype=np.float64)
    weights[solved] = target - fit.log_density(y[solved]).value
    return DensityStatus.of_weights(
        weights,
        error=normaliser.standard_error,
        evaluations=evaluations + SCORED,
        sound=drawn.converged and normaliser.converged,
    )


def training_fingerprint(points: Array, settings: DensitySettings, key: jax.Array) -> str:
    """Of everything that determines the training: of the density, what its exploration saw."""
    digest = hashlib.sha256(json.dumps(settings.to_dict(), sort_keys=True).encode())
    for array in (points, np.asarray(jax.random.key_data(key))):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

"""Fits of a convex potential to samples of a law: CMFGen and the estimators it is compared with.

All descend θ ↦ mean_{y~ρ} w_θ(y) − mean_x w_θ(ŷ(x)), ŷ(x) = ∇w_θ*(x), with x and ŷ held fixed (Danskin's theorem). For
"cmfgen" x ~ P_w follows the potential: the update is a fixed-point iteration, not the gradient of a functional. For
"monge" x is Gaussian and the loss is the dual of optimal transport (Makkuva et al. 2020). For "moment" the roles are
reversed: x ~ P_u stands for the first mean and ∇u* of the data for the second (Santambrogio 2016).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from conjugate_moments._matrices import gaussian_map, symmetric_power, times
from conjugate_moments.conjugates.base import discrete_start
from conjugate_moments.fits._check import check_reach, check_samples, mean_and_cov
from conjugate_moments.fits._devices import on_one_device, over_devices
from conjugate_moments.fits._rows import draw_rows, step_keys
from conjugate_moments.fits._steps import (
    CANDIDATES,
    Carry,
    ClosedForm,
    danskin,
    descend,
    follow,
    images_at,
    optimiser,
    solver_for,
    started,
    traced,
)
from conjugate_moments.fits._subspaces import independent_subspaces
from conjugate_moments.fits._training import DivergedError, train
from conjugate_moments.fits.kinds import ConjugateFit, MomentFit, MongeFit
from conjugate_moments.fits.result import ANCHORS, FitResult
from conjugate_moments.potentials.base import gradients
from conjugate_moments.potentials.icnn import InputConvexNetwork
from conjugate_moments.samplers.mala import initial_state
from conjugate_moments.settings import METHODS, PeerSettings, TrainingSettings

LARGEST_MISMATCH = 100.0  # of variances that are to be equal: 0.5 to 1.7 in six short fits, 3,000 in one that was lost


class Given(NamedTuple):
    """What every step of a fit is given, as arrays.

    Args:
      data: `[n, d]`, or `Rows` that are computed when they are drawn.
      gaussian: the factorisation of the data's Gaussian.
      solver: of the conjugate.
      source: draws of the source measure, `[m, d]`, where one is given.
    """

    data: Any
    gaussian: ClosedForm
    solver: Any
    source: jax.Array | None = None


@dataclass(frozen=True)
class CmfgenStep:
    """One step of CMFGen: move the chains on the present P_w, map them, and compare with data."""

    settings: TrainingSettings

    def __call__(self, carry: Carry, given: Given, key: jax.Array) -> tuple[Carry, dict[str, jax.Array]]:
        """The next carry, and scalars for the trace."""
        key_data, key_moves = step_keys(key)
        y = draw_rows(given.data, self.settings.batch, key_data)
        gaussian = given.gaussian
        chains = follow(carry.network, carry.chains, self.settings.moves, key=key_moves, root=gaussian.root)
        found, images = images_at(carry, chains.position, given.solver, gaussian)
        network, state, loss = descend(self.settings, carry, danskin(y, found.point, found.converged))
        return Carry(network, state, chains, images), traced(loss, found, chains)


@dataclass(frozen=True)
class MongeStep:
    """One step of the Monge map: the same with a source measure that stays as it is."""

    settings: TrainingSettings

    def __call__(self, carry: Carry, given: Given, key: jax.Array) -> tuple[Carry, dict[str, jax.Array]]:
        """The next carry, and scalars for the trace."""
        key_data, key_source = step_keys(key)
        y, gaussian = draw_rows(given.data, self.settings.batch, key_data), given.gaussian
        if given.source is None:
            x = gaussian.source_mean + times(jax.random.normal(key_source, y.shape), gaussian.root)
        else:
            x = draw_rows(given.source, self.settings.batch, key_source)
        start = discrete_start(carry.network, x, y[:CANDIDATES], gaussian.image(x))
        found = given.solver.solve(carry.network, x, start)
        network, state, loss = descend(self.settings, carry, danskin(y, found.point, found.converged))
        return Carry(network, state, None, None), traced(loss, found)


@dataclass(frozen=True)
class _Moment:
    """One step of the moment measure: chains on P_u against ∇u* of centred data."""

    settings: TrainingSettings

    def __call__(self, carry: Carry, given: Given, key: jax.Array) -> tuple[Carry, dict[str, jax.Array]]:
        key_data, key_moves = jax.random.split(key)
        gaussian = given.gaussian
        rows = jax.random.randint(key_data, (self.settings.batch,), 0, len(given.data))
        chains = follow(carry.network, carry.chains, self.settings.moves, key=key_moves, root=gaussian.root)
        y = given.data[rows] - gaussian.mean
        start = discrete_start(carry.network, y, chains.position[:CANDIDATES], carry.images[rows])
        found = given.solver.solve(carry.network, y, start)
        network, state, loss = descend(self.settings, carry, danskin(chains.position, found.point, found.converged))
        known = jnp.where(jnp.isfinite(found.residual)[:, None], found.point, carry.images[rows])
        return Carry(network, state, chains, carry.images.at[rows].set(known)), traced(loss, found, chains)


def fit_samples(
    data: ArrayLike,
    *,
    key: jax.Array,
    settings: TrainingSettings | None = None,
    method: str = "cmfgen",
    source: ArrayLike | None = None,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> FitResult:
    """Fit a convex potential to samples of a law.

    Every row counts: each step draws its batch from all of them, with replacement, and moments are of all. Beside the
    data in float64 memory holds one float32 copy, and one image of each row for "moment": 4 bytes a number each. But
    for "moment", batches are shared out among all devices that JAX sees, or as many as divide them equally. From three
    dimensions on the network starts with units within the independent subspaces of the data.

    Args:
      data: independent draws of ρ, `[n, d]`, n at least ten times d: any real numbers, see `check_samples`. Columns may
        differ in scale by any factor.
      key: of the whole fit.
      settings: of the training; None for the defaults.
      method: "cmfgen" (ρ = ∇w*♯P_w), "monge" (the Monge map from N(mean, cov) to ρ, the "generative ICNN") or
        "moment" (ρ = ∇u♯P_u, the data centred).
      source: for "monge" only: draws of another source measure than the data's Gaussian, `[m, d]`.
      progress: whether to show a progress bar.
      checkpoint: file that a fit which was interrupted is resumed from, bit for bit; None for none.

    Raises:
      ValueError: for data that `check_samples` refuses or, for "cmfgen", that lie far from 0; an unknown method; a
        source that it refuses, of another dimension, or not for "monge".
      DivergedError: if the training went astray; it holds the trace so far.
    """
    if method not in METHODS:
        raise ValueError(f"method: found {method!r}, allowed: {', '.join(map(repr, METHODS))}")
    settings = TrainingSettings() if settings is None else settings
    array = check_samples("data", data)
    given_source = None if source is None else check_samples("source", source)
    if given_source is not None and (method != "monge" or given_source.shape[1] != array.shape[1]):
        raise ValueError(
            f"source: found shape {list(given_source.shape)} for method {method!r}, allowed: [m, {array.shape[1]}] for "
            "'monge', None for the others"
        )
    start = _start(method, array, given_source, settings, jax.random.fold_in(key, 0))
    # Images of a moment measure are those of data, not of rows of a batch.
    training = start if method == "moment" else over_devices(*start, settings.batch)
    carry, trace = train(
        *training,
        settings.steps,
        key=jax.random.fold_in(key, 1),
        name=method,
        progress=progress,
        checkpoint=checkpoint,
        fingerprint=fingerprint(array, given_source, settings, method, key),
    )
    carry = on_one_device(carry)
    if method == "cmfgen":
        check_source(carry, start.given.data[: 4 * settings.batch], trace)
    common = carry.network, settings, *mean_and_cov(array), array[:ANCHORS].astype(np.float32), trace
    if method == "monge":
        return MongeFit(*common, None if given_source is None else given_source.astype(np.float32))
    return (ConjugateFit if method == "cmfgen" else MomentFit)(*common)


def check_source(carry: Carry, data: jax.Array, trace: Mapping[str, np.ndarray]) -> None:
    """Raise if P_w is nowhere near ∇w♯ρ, which it is equal to at a solution: a fit that ran away and looks sound.

    Args:
      carry: at the end of a fit.
      data: some draws of ρ, `[m, d]`.
      trace: of the fit, for the error.

    Raises:
      DivergedError: if the variances differ by more than `LARGEST_MISMATCH`.
    """
    spread = carry.network.frame.spread
    drawn, sent = carry.chains.position / spread, gradients(carry.network, data) / spread
    ratio = float(jnp.sum(jnp.var(sent, axis=0)) / jnp.sum(jnp.var(drawn, axis=0)))
    if not 1 / LARGEST_MISMATCH < ratio < LARGEST_MISMATCH:
        raise DivergedError(
            f"cmfgen: found ∇w of the data with {ratio:.2g} times the variance of the Gibbs measure by step "
            f"{len(trace['loss'])}, allowed: about as much (widen the layers, raise smoothing)",
            trace,
        )


class _Start(NamedTuple):
    """The step of a method, its first carry, and what it is given."""

    step: Any
    carry: Carry
    given: Given


def _start(
    method: str, data: np.ndarray, source: np.ndarray | None, settings: TrainingSettings, key: jax.Array
) -> _Start:
    (mean, cov), dim = mean_and_cov(data), data.shape[1]
    # The law of the network's arguments, and mean and derivative of its gradient, for the data's Gaussian.
    arguments = mean, cov
    if method == "cmfgen":
        source_cov = symmetric_power(cov, 1 / 3)
        source_mean, curvature = np.linalg.solve(np.eye(dim) + source_cov, mean), symmetric_power(cov, -1 / 3)
        check_reach("data", mean, source_mean, cov, source_cov)
    elif method == "monge":
        source_mean, source_cov = (mean, cov) if source is None else mean_and_cov(source)
        curvature = np.eye(dim) if source is None else gaussian_map(cov, source_cov)
    else:
        source_mean, source_cov, curvature = np.zeros(dim), symmetric_power(cov, -1), cov
        arguments = source_mean, source_cov
    subspaces = independent_subspaces(data, key=jax.random.fold_in(key, 2))
    if subspaces is not None and method == "moment":
        subspaces = [basis @ curvature for basis in subspaces]  # the matrix sends the network's arguments to data
    root, matrix = symmetric_power(source_cov, 1 / 2), np.linalg.inv(curvature)
    gaussian = ClosedForm(*(single(part) for part in (mean, source_mean, root, matrix)))
    network = InputConvexNetwork.near(
        *arguments,
        curvature=curvature,
        slope_mean=np.zeros(dim) if method == "moment" else source_mean,
        widths=settings.widths,
        pieces=settings.pieces,
        smoothing=settings.smoothing,
        quadratic=settings.quadratic,
        slope=settings.slope,
        subspaces=subspaces,
        key=jax.random.fold_in(key, 0),
    )
    drawn = None if source is None else single(source)
    given = Given(single(data), gaussian, solver_for(network, settings), drawn)
    batch = given.data[jax.random.choice(jax.random.fold_in(key, 1), len(data), (settings.batch,))]
    if method == "cmfgen":
        return _Start(CmfgenStep(settings), started(network, settings, batch), given)
    state = optimiser(settings).init(network)  # pyright: ignore[reportArgumentType]
    if method == "monge":
        return _Start(MongeStep(settings), Carry(network, state, None, None), given)
    images = (given.data - gaussian.mean) @ gaussian.map
    chains = initial_state(network, (batch - gaussian.mean) @ gaussian.map, step=0.5)
    return _Start(_Moment(settings), Carry(network, state, chains, images), given)


def single(array: np.ndarray) -> jax.Array:
    """The array in float32, on the device."""
    return jnp.asarray(array, jnp.float32)


def fingerprint(
    data: np.ndarray, source: np.ndarray | None, settings: TrainingSettings | PeerSettings, method: str, key: jax.Array
) -> str:
    """Of everything that determines a fit."""
    parts: Mapping[str, Any] = {"settings": settings.to_dict(), "method": method}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for array in (data, source):
        digest.update(b"" if array is None else np.ascontiguousarray(array).data)
    digest.update(np.asarray(jax.random.key_data(key)).tobytes())
    return digest.hexdigest()

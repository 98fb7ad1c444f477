"""Fits of images by the conjugate: φ = w* is a smooth maximum of quadratics, and w, its conjugate, is solved for.

The same factorisation ρ = ∇w*♯e^{-w} as in `images`, with the other potential of the two written down: ∇w* = ∇φ is then
explicit, while chains on e^{-w} and the inverse map solve ∇φ(x) = y. The loss is that of Danskin's theorem again:
θ ↦ mean_{x~P_w} φ_θ(x) − mean_{y~ρ} φ_θ(x̂(y)), x̂(y) = ∇φ*(y), both held fixed. A law in many parts wants a φ with as
many affine pieces, but a w with one for each way between two parts: hence the choice. Points are pixels, not cosine
coefficients: what is constant within a part of the law is so in single pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from conjugate_moments import _random
from conjugate_moments.conjugates.continuation import Continuation
from conjugate_moments.conjugates.low_rank import LowRankNewton
from conjugate_moments.conjugates.potential import ConjugateTarget
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.fits._steps import Carry, danskin, descend, follow, optimiser, traced
from conjugate_moments.fits._training import train
from conjugate_moments.fits.images import METHODS, OfImages, check_images, fingerprint
from conjugate_moments.fits.result import ANCHORS, FitResult, ForwardFit, GibbsStatus
from conjugate_moments.fits.samples import single
from conjugate_moments.inference.density import LogDet, LogNormaliser
from conjugate_moments.measures.images import Pixels
from conjugate_moments.potentials.base import Potential, gradients
from conjugate_moments.potentials.quadratic_maxima import QuadraticFrame, QuadraticMaxima
from conjugate_moments.samplers.mala import DRAWS_PER_CHAIN, initial_state, run, warm_up
from conjugate_moments.settings import QuadraticsSettings

Array = NDArray[np.floating]

SHARPENED = 0.7  # share of the steps over which the smoothing falls, by `SHARPER`
SHARPER = 5.0
UNKNOWN = "log_prob: found a potential known by its conjugate only, allowed: fits of the potential itself"
CHAINS, WARMUP = 64, 40  # of draws of P_w, in units of `thin`: fewer than elsewhere, as each move solves a conjugate
FIRST_STEP = 0.1  # of the chains, in d = 64
PRIOR = 1.0  # images: weight of the common curvature of all parts against that of a part's own images
NARROW = 0.5  # of that common variance: most parts are narrower than their mean


DENSE = 64  # dimension up to which chains are given a full root
BALANCING, BALANCES = 2048, 200  # draws, and iterations, that set the first shares of the parts
STARTED = 8192  # images whose clusters start a fit, at most; several copies of them are held at once
RIDGE = 1e-4  # added to that covariance, relative to its mean eigenvalue
ENOUGH = 4  # points a dimension, that a full root is made of


class Given(NamedTuple):
    """What every step is given.

    Args:
      images: uint8 `[n, h, w, c]`.
      mean: of the source of the closed form, `[d]`.
      deviation: its standard deviations, `[d]`.
      root: of its covariance, `[d, d]` or `[d]`, for the chains.
    """

    images: jax.Array
    mean: jax.Array
    deviation: jax.Array
    root: jax.Array


@dataclass(frozen=True)
class _Step:
    """One step: move the source, pull a batch of images back, compare; `gibbs` says whether the source is P_w."""

    settings: QuadraticsSettings
    pixels: Pixels
    solver: Continuation
    chains_solver: Continuation
    gibbs: bool

    def __call__(self, carry: Carry, given: Given, key: jax.Array) -> tuple[Carry, dict[str, jax.Array]]:
        key_rows, key_noise, key_source = jax.random.split(key, 3)
        network, chains = _sharpened(cast("QuadraticMaxima", carry.network), self.settings), carry.chains
        rows = jax.random.randint(key_rows, (self.settings.batch,), 0, len(given.images))
        y = self.pixels.points(given.images[rows], key=key_noise)
        found = self.solver.solve(network, y, network.frame.pulled_back(y))
        if self.gibbs:
            target = ConjugateTarget(network, self.chains_solver)
            chains = follow(target, chains, self.settings.moves, key=key_source, root=given.root)
            x = chains.position
        else:
            x = given.mean + given.deviation * jax.random.normal(key_source, y.shape)
        loss = danskin(x, found.point, found.converged)
        network, state, value = descend(self.settings, carry._replace(network=network), loss)
        return Carry(network, state, chains, None), traced(value, found, chains)


def _sharpened(network: QuadraticMaxima, settings: QuadraticsSettings) -> QuadraticMaxima:
    """The maximum with a smoothing that is one step further on its way to the last."""
    rate = SHARPER ** (-1 / max(1.0, SHARPENED * settings.steps))
    smoothing = jnp.maximum(network.frame.smoothing * rate, settings.smoothing)
    return replace(network, frame=replace(network.frame, smoothing=smoothing))


class _OfPixels(OfImages):
    """What both fits share: φ and its solver; points are pixels."""

    settings_type = QuadraticsSettings

    @staticmethod
    def blank(settings: Any, arrays: Mapping[str, NDArray]) -> Potential:
        """A maximum with the structure, but not the numbers, of the one of which these are the saved arrays."""
        dim, components = len(arrays["mean"]), settings.components
        one = jnp.ones(())
        frame = QuadraticFrame(*(jnp.ones(dim) for _ in range(4)), distance=one, smoothing=one)
        slopes, shapes = jnp.zeros((components, dim)), jnp.zeros((components, settings.rank, dim))
        return QuadraticMaxima(frame, slopes, jnp.zeros(components), shapes, log_curvature=slopes)

    @cached_property
    def solver(self) -> Continuation:
        """Of ∇φ(x) = y, with the tolerance of the training."""
        assert isinstance(self.network, QuadraticMaxima)
        assert isinstance(self.settings, QuadraticsSettings)
        return _solver(self.settings, self.network.frame.spread)

    def points(self, images: ArrayLike, *, key: jax.Array) -> jax.Array:
        """Points `[n, d]` of images, dequantised."""
        return self.pixels.points(images, key=key)

    def to_pixels(self, points: ArrayLike) -> jax.Array:
        """Points are pixels."""
        return jnp.asarray(points)


@dataclass(frozen=True, eq=False)
class QuadraticsFit(_OfPixels, FitResult):
    """ρ = ∇w*♯P_w for images, where w is the conjugate of `network`; its log-density is not computed.

    Args:
      pixels: how images become points.
      chains: where the chains on P_w were when the training ended, `[batch, d]`: where draws start from.
    """

    method = "images_quadratics_cmfgen"

    pixels: Pixels = field(kw_only=True)
    chains: Array = field(kw_only=True)

    def potential(self, y: ArrayLike) -> Array:
        """w at points `[n, d]`, up to a constant: `[n]`; NaN where its conjugate was not solved."""
        found = self.solve(y)
        return np.where(np.asarray(found.converged), np.asarray(found.value), np.nan)

    def draw(self, n: int, *, key: jax.Array) -> tuple[Array, GibbsStatus]:
        """`n` draws of P_w, `[n, d]`, with their status."""
        network, settings = self.network, self.settings
        assert isinstance(network, QuadraticMaxima)
        assert isinstance(settings, QuadraticsSettings)
        target = ConjugateTarget(network, _solver(settings, network.frame.scale))
        root = _root(np.asarray(self._anchors), network.frame.scale)
        # Without a guess the conjugate may not be solved where a chain starts; its first solved proposal is then taken.
        state = initial_state(target, self.chains[:CHAINS], step=FIRST_STEP)
        key_warmup, key_run = jax.random.split(key)
        state = warm_up(target, state, WARMUP * settings.thin, key=key_warmup, root=root)
        moves = settings.thin * max(-(-n // len(state.position)), DRAWS_PER_CHAIN)
        drawn = run(target, state, moves, key=key_run, thin=settings.thin, root=root)
        found = drawn.diagnostics
        numbers = float(found.acceptance), float(jnp.max(found.r_hat)), float(jnp.min(found.ess)), int(found.draws)
        points = np.asarray(drawn.draws).reshape(-1, self.dim)[-n:]
        # A chain that was never solved anywhere has not left its start.
        solved = bool(jnp.all(jnp.isfinite(drawn.state.value)))
        return points, GibbsStatus("mala", bool(found.converged) and solved, *numbers)

    def transport(self, x: ArrayLike) -> Array:
        """∇w* = ∇φ at points `[n, d]`."""
        return np.asarray(gradients(self.network, jnp.asarray(x, jnp.float32)))

    def inverse_transport(self, y: ArrayLike) -> Array:
        """∇w at points `[n, d]`; NaN in rows whose conjugate did not converge."""
        return self._conjugate(y)

    def _more_arrays(self) -> dict[str, Array]:
        return {**super()._more_arrays(), "chains": self.chains}

    @staticmethod
    def _more_fields(arrays: Mapping[str, NDArray]) -> dict[str, Any]:
        return {**OfImages._more_fields(arrays), "chains": arrays["chains"]}

    def _normaliser(self) -> LogNormaliser:
        raise NotImplementedError(UNKNOWN)

    def _pull_back(self, y: Array) -> tuple[Array, LogDet]:
        raise NotImplementedError(UNKNOWN)

    def _grid_centre(self) -> Array:
        return np.asarray(cast("QuadraticMaxima", self.network).frame.centre, np.float64)


@dataclass(frozen=True, eq=False)
class QuadraticsMongeFit(_OfPixels, ForwardFit):
    """Images as the image of a Gaussian under the Monge map ∇φ: that of P_w in the closed form of uncorrelated pixels.

    `mean` and `cov` are those of the source.

    Args:
      pixels: how images become points.
    """

    method = "images_quadratics_monge"

    pixels: Pixels = field(kw_only=True)


def fit_quadratics(
    images: ArrayLike,
    pixels: Pixels,
    *,
    key: jax.Array,
    settings: QuadraticsSettings | None = None,
    method: str = "cmfgen",
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> QuadraticsFit | QuadraticsMongeFit:
    """Fit the conjugate of a convex potential to images, as a smooth maximum of quadratics.

    It starts from as many clusters of the images (k-means), each seen as a Gaussian.

    Args:
      images: integers `[n, h, w, c]`, from 0 to the levels of `pixels`, more than there are components.
      pixels: how they become points.
      key: of the whole fit.
      settings: of the training; None for the defaults.
      method: "cmfgen", or "monge" from the Gaussian that P_w is in the closed form of uncorrelated pixels.
      progress: whether to show a progress bar.
      checkpoint: file that a fit which was interrupted is resumed from, bit for bit; None for none.

    Raises:
      ValueError: for an unknown method, or images that `fit_images` refuses, or fewer of them than components.
      DivergedError: if the training went astray; it holds the trace so far.
    """
    if method not in METHODS:
        raise ValueError(f"method: found {method!r}, allowed: {', '.join(map(repr, METHODS))}")
    settings = QuadraticsSettings() if settings is None else settings
    stored = check_images(images, pixels)
    if len(stored) <= settings.components:
        raise ValueError(f"images: found {len(stored)}, allowed: more than components, {settings.components}")
    points = np.asarray(pixels.points(stored[:STARTED], key=jax.random.fold_in(key, 2)), np.float64)
    mean, variance = points.mean(axis=0), points.var(axis=0)
    gibbs = method == "cmfgen"
    root = variance ** (1 / 6)
    centre = mean / (1 + root**2)
    network, starts = _initial(points, mean, variance, centre, root, settings, seed=_seed(key))
    frame = network.frame
    solver, chains_solver = (_solver(settings, spread) for spread in (frame.spread, frame.scale))
    step = _Step(settings, pixels, solver, chains_solver, gibbs)
    state = optimiser(settings).init(network)  # pyright: ignore[reportArgumentType]
    chains = None
    if gibbs:
        first = centre + root * _random.normal(jax.random.fold_in(key, 3), (settings.batch, len(mean)))
        target = ConjugateTarget(network, chains_solver)
        chains = initial_state(target, single(first), step=FIRST_STEP * (DENSE / len(mean)) ** (1 / 3))
    carry, trace = train(
        step,
        Carry(network, state, chains, None),
        Given(jnp.asarray(stored), single(centre), single(root), _root(starts, root)),
        settings.steps,
        key=jax.random.fold_in(key, 1),
        name=f"{method} of images by the conjugate",
        progress=progress,
        checkpoint=checkpoint,
        fingerprint=fingerprint(stored, pixels, settings, method, key),
    )
    learned = cast("QuadraticMaxima", carry.network)
    y = single(points[:ANCHORS])
    found = solver.solve(learned, y, learned.frame.pulled_back(y))
    common = learned, settings
    anchors = np.asarray(found.point)[np.asarray(found.converged)]
    if gibbs:
        ends = np.asarray(carry.chains.position)
        return QuadraticsFit(*common, mean, variance, anchors, trace, pixels=pixels, chains=ends)
    return QuadraticsMongeFit(*common, centre, root**2, anchors, trace, pixels=pixels)


def _solver(settings: QuadraticsSettings, spread: ArrayLike) -> Continuation:
    """Of ∇φ(x) = y, for y that spread by so much: those of the law, or of P_w, which fills its gaps."""
    solver = LowRankNewton(tolerance=settings.tolerance, max_steps=settings.conjugate_steps)
    return Continuation(RelativeConjugate.of_spread(solver, spread))


def _balanced(
    slopes: Array, shapes: Array, curvature: Array, shares: Array, distance: float, smoothing: float, *, seed: int
) -> Array:
    """Offsets `[K]` for which parts have these shares of N(0, I): in high dimension wide ones would have all of it.

    By Sinkhorn's iteration on draws, with a regularisation that falls to the smoothing that a fit starts from.
    """
    from scipy.special import log_softmax, logsumexp

    t = np.random.default_rng(seed).standard_normal((BALANCING, slopes.shape[1]))
    values = t @ slopes.T + t**2 @ curvature.T / 2
    values += np.sum((t @ shapes.reshape(-1, t.shape[1]).T).reshape(len(t), *shapes.shape[:2]) ** 2, axis=2) / 2
    offsets = -values.mean(axis=0)
    log_shares = np.log(np.maximum(shares, 1 / (2 * BALANCING)))
    for epsilon in distance * np.geomspace(1, SHARPER * smoothing, BALANCES):
        found = logsumexp(log_softmax((values + offsets) / epsilon, axis=1), axis=0) - np.log(len(t))
        offsets += epsilon * (log_shares - found)
    return offsets - offsets.mean()


def _root(points: Array, deviation: Any) -> jax.Array:
    """A root of the covariance of points `[n, d]` where they are many for a small d, else the deviation `[d]`."""
    n, dim = points.shape
    if dim > DENSE or n < ENOUGH * dim:
        return single(deviation)
    # Coordinates may be constant.
    cov = np.cov(points, rowvar=False, dtype=np.float64)
    return single(np.linalg.cholesky(cov + RIDGE * np.trace(cov) / dim * np.eye(dim)))


def _seed(key: jax.Array) -> int:
    return int(jax.random.randint(jax.random.fold_in(key, 4), (), 0, 2**31 - 1))


def _initial(
    points: Array,
    mean: Array,
    variance: Array,
    centre: Array,
    root: Array,
    settings: QuadraticsSettings,
    *,
    seed: int,
) -> tuple[QuadraticMaxima, Array]:
    """A maximum whose parts are clusters of the points `[n, d]`, and where the points come from, roughly, `[n, d]`.

    In the coordinates t, in which the source is about N(0, I), part k is sent by t ↦ a_k + S_k t to a Gaussian of
    covariance S_k²: S_k has the roots of the standard deviations of the cluster, in its `rank` principal directions
    together and in single coordinates for the rest.
    """
    from sklearn.cluster import KMeans

    scaled = root * (points - mean)
    options: Any = {"n_init": 1, "random_state": seed}
    labels = np.asarray(KMeans(settings.components, **options).fit_predict(points))
    slopes = np.zeros((settings.components, points.shape[1]))
    shapes = np.zeros((settings.components, settings.rank, points.shape[1]))
    curvature, starts = np.zeros_like(slopes), np.zeros_like(points)
    apart = np.concatenate([scaled[labels == k] - scaled[labels == k].mean(axis=0) for k in set(labels)])
    common, least = NARROW * apart.var(axis=0), (1e-2 * root) ** 2 * variance
    for k in range(settings.components):
        rows = np.flatnonzero(labels == k)
        slopes[k] = scaled[rows].mean(axis=0)
        spread = scaled[rows] - slopes[k]
        _, values, directions = np.linalg.svd(spread, full_matrices=False)
        kept = min(settings.rank, len(rows) - 1)
        deviations = values[:kept] / np.sqrt(max(1, len(rows) - 1))
        shapes[k, :kept] = np.sqrt(deviations)[:, None] * directions[:kept]
        rest = spread - (spread @ directions[:kept].T) @ directions[:kept]
        weight = len(rows) / (len(rows) + PRIOR)
        own = np.sum(rest**2, axis=0) / max(1, len(rows) - 1)
        curvature[k] = np.sqrt(weight * own + (1 - weight) * common + least)
        starts[rows] = spread / (curvature[k] + np.sum(shapes[k] ** 2, axis=0))
    between = slopes[:, None] - slopes[None]
    distance = float(np.median(np.linalg.norm(between, axis=-1)[np.triu_indices(len(slopes), 1)]))
    shares = np.bincount(labels, minlength=settings.components) / len(points)
    offsets = _balanced(slopes, shapes, curvature, shares, distance, settings.smoothing, seed=seed)
    numbers = centre, root, mean, np.sqrt(variance), distance, SHARPER * settings.smoothing
    frame = QuadraticFrame(*(jnp.asarray(number, jnp.float32) for number in numbers))
    network = QuadraticMaxima(
        frame,
        single(slopes) / frame.slope,
        single(offsets) / frame.offset,
        single(shapes) / frame.shape,
        single(np.log(curvature)) / frame.curvature,
    )
    return network, centre + root * starts

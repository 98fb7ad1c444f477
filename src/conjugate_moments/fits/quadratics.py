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
from conjugate_moments._matrices import shrunk_root
from conjugate_moments.conjugates.continuation import Continuation
from conjugate_moments.conjugates.low_rank import LowRankNewton
from conjugate_moments.conjugates.potential import ConjugateTarget
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.fits._clusters import SHARPER, initial
from conjugate_moments.fits._devices import on_one_device, over_devices
from conjugate_moments.fits._image_rows import check_images, fingerprint, image_rows, pixel_points
from conjugate_moments.fits._rows import draw_rows, step_keys
from conjugate_moments.fits._steps import Carry, danskin, descend, follow, optimiser, traced
from conjugate_moments.fits._training import train
from conjugate_moments.fits.images import METHODS, OfImages
from conjugate_moments.fits.kinds import ForwardFit
from conjugate_moments.fits.result import ANCHORS, FitResult, GibbsStatus, pieces
from conjugate_moments.fits.samples import single
from conjugate_moments.inference.density import LogDet, LogNormaliser
from conjugate_moments.inference.particles import Gaussian
from conjugate_moments.measures.images import Pixels
from conjugate_moments.potentials.base import Potential, gradients
from conjugate_moments.potentials.quadratic_maxima import TUNED, QuadraticFrame, QuadraticMaxima
from conjugate_moments.samplers.chains import Schedule, run_schedule
from conjugate_moments.samplers.mala import initial_state, run, warm_up
from conjugate_moments.settings import QuadraticsSettings

Array = NDArray[np.floating]

SHARPENED = 0.7  # share of the steps over which the smoothing falls, by `SHARPER`
UNKNOWN = "log_prob: found a potential known by its conjugate only, allowed: fits of the potential itself"
CHAINS, WARMUP = 64, 20  # of draws of P_w, and moves before the first: fewer than elsewhere, as each is dear
ACCEPTANCE = 0.7  # of moves of several leaps
FIRST_STEP = 0.1  # of the chains, in the dimension `TUNED`
# Leaps of the chains before the training: P_w of the first maximum is not the Gaussian that they start from, and what
# they have not reached misleads the first steps.
SETTLING = 60
SHORT, THIN = 8, 8  # draws of each chain, and moves between them, for the moments of P_w
DENSE = 64  # dimension up to which chains are given a full root
ENOUGH = 4  # points a dimension, that a full root is made of
RIDGE = 1e-4  # added to their covariance, relative to its mean eigenvalue
FEW = 64  # data points kept beyond that dimension, where their conjugates are dear
STARTED = 8192  # images whose clusters start a fit, at most; several copies of them are held at once


class Given(NamedTuple):
    """What every step is given.

    Args:
      data: images as points, on the device or on disk.
      mean: of the source of the closed form, `[d]`.
      deviation: its standard deviations, `[d]`.
      root: of its covariance, `[d, d]` or `[d]`, for the chains.
      solver: of ∇φ(x) = y for images y.
      chains_solver: for chains on P_w.
    """

    data: Any
    mean: jax.Array
    deviation: jax.Array
    root: jax.Array
    solver: Any
    chains_solver: Any


@dataclass(frozen=True)
class _Step:
    """One step: move the source, pull a batch of images back, compare; `gibbs` says whether the source is P_w."""

    settings: QuadraticsSettings
    gibbs: bool

    def __call__(self, carry: Carry, given: Given, key: jax.Array) -> tuple[Carry, dict[str, jax.Array]]:
        key_data, key_source = step_keys(key)
        network, chains = _sharpened(cast("QuadraticMaxima", carry.network), self.settings), carry.chains
        y = draw_rows(given.data, self.settings.batch, key_data)
        found = given.solver.solve(network, y, network.frame.pulled_back(y))
        if self.gibbs:
            target = ConjugateTarget(network, given.chains_solver)
            moves, leaps = self.settings.moves, self.settings.leaps
            chains = follow(target, chains, moves, key=key_source, root=given.root, target=ACCEPTANCE, leaps=leaps)
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
        x = jnp.asarray(y, jnp.float32)
        # As chains do: P_w fills the gaps of the law, where the solver of the inverse map is not at home.
        found = [np.asarray(self._target.from_guess(piece, piece)[0]) for piece in pieces(x)]
        value = np.concatenate(found)[: len(x)]
        return np.where(np.isfinite(value), value, np.nan)

    def draw(self, n: int, *, key: jax.Array) -> tuple[Array, GibbsStatus]:
        """`n` draws of P_w, `[n, d]`, with their status."""
        settings, target = cast("QuadraticsSettings", self.settings), self._target
        # Without a guess the conjugate may not be solved where a chain starts; its first solved proposal is then taken.
        state = initial_state(target, self.chains[:CHAINS], step=FIRST_STEP)
        schedule = Schedule(settings.leaps, ACCEPTANCE, WARMUP, settings.thin)
        drawn = run_schedule(target, state, schedule, -(-n // len(state.position)), key=key, root=self._root)
        found = drawn.diagnostics
        numbers = float(found.acceptance), float(jnp.max(found.r_hat)), float(jnp.min(found.ess)), int(found.draws)
        # Of few chains successive draws are much alike: those kept, the last among them, are far apart.
        kept = np.rint(np.linspace(len(drawn.draws) - 1, 0, -(-n // len(state.position)))).astype(int)[::-1]
        points = np.asarray(drawn.draws[kept]).reshape(-1, self.dim)[-n:]
        # A chain that was never solved anywhere has not left its start.
        solved = bool(jnp.all(jnp.isfinite(drawn.state.value)))
        return points, GibbsStatus("mala", bool(found.converged) and solved, *numbers)

    def transport(self, x: ArrayLike) -> Array:
        """∇w* = ∇φ at points `[n, d]`."""
        return np.asarray(gradients(self.network, jnp.asarray(x, jnp.float32)))

    def inverse_transport(self, y: ArrayLike) -> Array:
        """∇w at points `[n, d]`; NaN in rows whose conjugate did not converge."""
        return self._conjugate(y)

    @cached_property
    def source(self) -> tuple[Gaussian, ConjugateTarget]:
        """A Gaussian that is close to P_w, and the energy w of P_w itself.

        Its moments are those of a short run of the chains from where the training left them, the covariance shrunk
        towards that of the closed form (Ledoit & Wolf 2004). Its key is the same for every fit.
        """
        target = self._target
        scale = np.asarray(target.potential.frame.scale, np.float64)
        state = initial_state(target, self.chains, step=FIRST_STEP)
        found = run(target, state, SHORT * THIN, key=_random.key_for(0, "source"), thin=THIN, root=self._root)
        points = np.concatenate([self.chains, np.asarray(found.draws, np.float64).reshape(-1, self.dim)])
        return Gaussian(points.mean(axis=0), shrunk_root(points, scale)), target

    @cached_property
    def _root(self) -> jax.Array:
        return _root(np.asarray(self._anchors), self._target.potential.frame.scale)

    @cached_property
    def _target(self) -> ConjugateTarget:
        network, settings = self.network, self.settings
        assert isinstance(network, QuadraticMaxima)
        assert isinstance(settings, QuadraticsSettings)
        return ConjugateTarget(network, _solver(settings, network.frame.scale))

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

    @cached_property
    def source(self) -> tuple[Gaussian, None]:
        """The Gaussian that the map is from, which needs no further energy."""
        return Gaussian(self.mean, self.cov**0.5), None


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

    It starts from as many clusters of the images (k-means), each seen as a Gaussian, and from chains that have settled
    on the Gibbs measure of these. Images that are mapped from a file stay there, and batches are shared out among
    devices, as by `fit_images`.

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
    network, starts = initial(points, mean, variance, centre, root, settings, seed=_seed(key))
    frame = network.frame
    solver, chains_solver = (_solver(settings, spread) for spread in (frame.spread, frame.scale))
    step = _Step(settings, gibbs)
    state = optimiser(settings).init(network)  # pyright: ignore[reportArgumentType]
    chains, chains_root = None, _root(starts, root)
    if gibbs:
        first = centre + root * _random.normal(jax.random.fold_in(key, 3), (settings.batch, len(mean)))
        target = ConjugateTarget(network, chains_solver)
        chains = initial_state(target, single(first), step=FIRST_STEP * (TUNED / len(mean)) ** (1 / 3))
        moves, leaps, now = -(-SETTLING // settings.leaps), settings.leaps, jax.random.fold_in(key, 5)
        chains = warm_up(target, chains, moves, key=now, target=ACCEPTANCE, root=chains_root, leaps=leaps)
    rows = image_rows(stored, pixels, pixel_points, settings.batch)
    given = Given(rows, single(centre), single(root), chains_root, solver, chains_solver)
    carry, trace = train(
        *over_devices(step, Carry(network, state, chains, None), given, settings.batch),
        settings.steps,
        key=jax.random.fold_in(key, 1),
        name=f"{method} of images by the conjugate",
        progress=progress,
        checkpoint=checkpoint,
        fingerprint=fingerprint(stored, pixels, settings, method, key),
    )
    carry = on_one_device(carry)
    learned = cast("QuadraticMaxima", carry.network)
    y = single(points[: ANCHORS if len(mean) <= DENSE else FEW])
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

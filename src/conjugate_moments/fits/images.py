"""Fits of a convex potential to images: CMFGen and the Monge map, in cosine coordinates, without matrices `[d, d]`.

The conjugate factorisation commutes with rotations: that of an image's cosine coefficients is that of its pixels. They
are nearly uncorrelated, so that diagonals stand for the covariances of `fit_samples`: of the closed form that a fit
starts from, of the chains' proposals, and of the conjugate solver's model. Nothing that is exact depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from conjugate_moments import _cosine, _random
from conjugate_moments.conjugates.continuation import Continuation
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.conjugates.selection import conjugate_solver
from conjugate_moments.fits._devices import on_one_device, over_devices
from conjugate_moments.fits._image_rows import (
    ImageRows,
    ImageStream,
    check_images,
    cosine_points,
    fingerprint,
    image_rows,
)
from conjugate_moments.fits._steps import Carry, ClosedForm, optimiser, started
from conjugate_moments.fits._training import train
from conjugate_moments.fits.kinds import ConjugateFit, MongeFit
from conjugate_moments.fits.result import ANCHORS, FitResult, GibbsStatus
from conjugate_moments.fits.samples import CmfgenStep, Given, MongeStep, check_source, single
from conjugate_moments.inference.density import LogNormaliser
from conjugate_moments.measures.images import Pixels
from conjugate_moments.potentials.base import Potential
from conjugate_moments.potentials.image_network import ImageNetwork
from conjugate_moments.settings import ImageSettings

METHODS = ("cmfgen", "monge")
CHAINS = 32  # of draws of P_w
MOMENTS = 4096  # images whose moments start a fit, at most; their coefficients are held at once

Array = NDArray[np.floating]


class OfImages(FitResult):
    """What fits of images share: points are cosine coefficients, and become images again."""

    settings_type = ImageSettings

    pixels: Pixels

    @staticmethod
    def blank(settings: Any, arrays: Mapping[str, NDArray]) -> Potential:
        """A network with the structure, but not the numbers, of the one of which these are the saved arrays."""
        shape = _pixels(arrays).shape
        ones = np.ones(np.prod(shape))
        return _network(settings, shape, 0 * ones, ones, curvature=ones, slope_mean=ones, key=jax.random.key(0))

    @cached_property
    def solver(self) -> RelativeConjugate | Continuation:
        """Of the conjugate, with the tolerance of the training."""
        assert isinstance(self.network, ImageNetwork)
        assert isinstance(self.settings, ImageSettings)
        return _solver(self.network, self.settings)

    def images(self, points: ArrayLike) -> NDArray[np.uint8]:
        """The images uint8 `[n, h, w, c]` of points `[n, d]`.

        Raises:
          ValueError: if a point is not finite.
        """
        return self.pixels.images(self.to_pixels(points))

    def points(self, images: ArrayLike, *, key: jax.Array) -> jax.Array:
        """Points `[n, d]` of images uint8 `[n, h, w, c]`, dequantised."""
        return cosine_points(images, self.pixels, key=key)

    def to_pixels(self, points: ArrayLike) -> jax.Array:
        """Points `[n, d]` as pixels, in the unit of `Pixels.points`, `[n, d]`."""
        return _cosine.pixels(jnp.asarray(points), self.pixels.shape)

    def _more_arrays(self) -> dict[str, Array]:
        found = self.pixels
        return {"shape": np.asarray(found.shape), "levels": np.asarray(found.levels), "noise": np.asarray(found.noise)}

    @staticmethod
    def _more_fields(arrays: Mapping[str, NDArray]) -> dict[str, Any]:
        return {"pixels": _pixels(arrays)}


def _pixels(arrays: Mapping[str, NDArray]) -> Pixels:
    h, w, c = (int(side) for side in arrays["shape"])
    return Pixels((h, w, c), int(arrays["levels"]), float(arrays["noise"]))


@dataclass(frozen=True, eq=False)
class ImageFit(OfImages, ConjugateFit):
    """ρ = ∇w*♯P_w, ρ a law of images.

    Args:
      pixels: how images become points.
    """

    method = "images_cmfgen"

    pixels: Pixels = field(kw_only=True)

    def draw(self, n: int, *, key: jax.Array) -> tuple[Array, GibbsStatus]:
        """`n` draws of P_w, `[n, d]`, with their status, by few chains: a gradient is dear, and they mix well."""
        return self._draw_gibbs(np.asarray(self._images[:CHAINS]), self.cov ** (1 / 6), n, key=key)

    def _normaliser(self) -> LogNormaliser:
        # Images may be fewer than its chains need to start from: the closed form's source is about as good.
        missing = max(0, 2 * self.dim - len(self.anchors))
        noise = _random.normal(_random.key_for(0, "starts"), (missing, self.dim))
        more = self.mean / (1 + self.cov ** (1 / 3)) + self.cov ** (1 / 6) * noise
        return self._log_integral(np.concatenate([np.asarray(self._images), more.astype(np.float32)]))


@dataclass(frozen=True, eq=False)
class ImageMongeFit(OfImages, MongeFit):
    """A law of images as the image of the Gaussian of uncorrelated cosine coefficients under the Monge map.

    Args:
      pixels: how images become points.
    """

    method = "images_monge"

    pixels: Pixels = field(kw_only=True)


def fit_images(
    images: ArrayLike,
    pixels: Pixels,
    *,
    key: jax.Array,
    settings: ImageSettings | None = None,
    method: str = "cmfgen",
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> ImageFit | ImageMongeFit:
    """Fit a convex potential to images.

    Batches are shared out among all devices that JAX sees, or as many as divide them equally. The fit is that of one
    device but for rounding; a checkpoint may be resumed on another number of them.

    Args:
      images: integers `[n, h, w, c]`, from 0 to the levels of `pixels`. A `numpy.memmap`, as `np.load(path,
        mmap_mode="r")` gives it, stays on disk and is read a block of steps at a time; the fit is the same, bit for
        bit.
      pixels: how they become points.
      key: of the whole fit.
      settings: of the training; None for the defaults.
      method: "cmfgen", or "monge" from the Gaussian of the same moments.
      progress: whether to show a progress bar.
      checkpoint: file that a fit which was interrupted is resumed from, bit for bit; None for none.

    Raises:
      ValueError: for an unknown method, images of another shape, too few, or beyond the levels, pixels without noise,
        and settings that do not fit them.
      DivergedError: if the training went astray; it holds the trace so far.
    """
    if method not in METHODS:
        raise ValueError(f"method: found {method!r}, allowed: {', '.join(map(repr, METHODS))}")
    settings = ImageSettings() if settings is None else settings
    stored = check_images(images, pixels)
    rows = image_rows(stored, pixels, cosine_points, settings.batch)
    moments = np.asarray(cosine_points(stored[:MOMENTS], pixels, key=jax.random.fold_in(key, 2)))
    mean, variance = (np.asarray(moment(moments, axis=0, dtype=np.float64)) for moment in (np.mean, np.var))
    start = _start(method, rows, mean, variance, settings, key)
    carry, trace = train(
        *over_devices(*start, settings.batch),
        settings.steps,
        key=jax.random.fold_in(key, 1),
        name=f"{method} of images",
        progress=progress,
        checkpoint=checkpoint,
        fingerprint=fingerprint(stored, pixels, settings, method, key),
    )
    carry = on_one_device(carry)
    if method == "cmfgen":
        check_source(carry, jnp.asarray(moments[: 4 * settings.batch]), trace)
    kind = ImageFit if method == "cmfgen" else ImageMongeFit
    return kind(carry.network, settings, mean, variance, moments[:ANCHORS], trace, pixels=pixels)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class GaussianEnergy:
    """½ Σ (x − mean)²/variance: the energy of a source of independent normal coordinates.

    Args:
      mean: `[d]`.
      variance: `[d]`.
    """

    mean: jax.Array
    variance: jax.Array

    def value(self, x: jax.Array) -> jax.Array:
        """At one point `[d]`, a scalar."""
        return jnp.sum((x - self.mean) ** 2 / self.variance) / 2


class Source(NamedTuple):
    """The source of a fit: its energy, and in the Gaussian closed form the diagonals of a root and of the map."""

    prior: Any
    root: Array
    map: Array


def source_of(fit: ImageFit | ImageMongeFit) -> Source:
    """The source measure of a fit."""
    if isinstance(fit, ImageFit):
        return Source(fit.network, fit.cov ** (1 / 6), fit.cov ** (1 / 3))
    return Source(GaussianEnergy(single(fit.mean), single(fit.cov)), fit.cov ** (1 / 2), np.ones_like(fit.cov))


def _network(
    settings: ImageSettings, shape: _cosine.Shape, mean: Array, variance: Array, *, key: jax.Array, **given: Array
) -> ImageNetwork:
    names = ("widths", "pieces", "patch", "stride", "smoothing", "quadratic", "slope")
    chosen = {name: getattr(settings, name) for name in names}
    return ImageNetwork.near(mean, variance, shape=shape, key=key, **given, **chosen)


def _start(
    method: str, rows: ImageRows | ImageStream, mean: Array, variance: Array, settings: ImageSettings, key: jax.Array
) -> tuple[Any, Carry, Given]:
    if method == "cmfgen":
        source_variance, curvature = variance ** (1 / 3), variance ** (-1 / 3)
        source_mean = mean / (1 + source_variance)
    else:
        source_variance, curvature, source_mean = variance, np.ones_like(variance), mean
    numbers = mean, source_mean, np.sqrt(source_variance), 1 / curvature
    start = jax.random.fold_in(key, 0)
    shape = rows.pixels.shape
    network = _network(settings, shape, mean, variance, curvature=curvature, slope_mean=source_mean, key=start)
    given = Given(rows, ClosedForm(*(single(number) for number in numbers)), _solver(network, settings))
    if method == "cmfgen":
        batch = rows.draw(settings.batch, jax.random.fold_in(start, 3))
        return CmfgenStep(settings), started(network, settings, batch), given
    state = optimiser(settings).init(network)  # pyright: ignore[reportArgumentType]
    return MongeStep(settings), Carry(network, state, None, None), given


def _solver(network: ImageNetwork, settings: ImageSettings) -> RelativeConjugate:
    """Of the conjugate, with the diagonal that the closed form of either method has for (∇²w)⁻¹."""
    solver = conjugate_solver(network.dim, tolerance=settings.tolerance, max_steps=settings.conjugate_steps)
    frame = network.frame
    return RelativeConjugate.of_spread(solver, frame.spread, inverse=frame.scale / frame.spread)

"""Strongly convex networks of images: a diagonal quadratic of their cosine coefficients, and smooth maxima."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from conjugate_moments._cosine import Shape, pixels
from conjugate_moments.potentials._start import check_settings, mirrored
from conjugate_moments.potentials.base import Potential, gradients

FLOOR = 1e-2  # of the Gaussian closed form's curvature: bounds the slope of ∇w*
INITIAL_POINTS = 256  # Gaussian points over which the initial curvature is balanced, which needs no accuracy


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ImageFrame:
    """The part of a network that is not trained. No gradient reaches it.

    Args:
      centre: mean of the data's cosine coefficients, `[d]`.
      scale: their standard deviations, `[d]`.
      spread: standard deviations of ∇w over the data, `[d]`.
      gain: factor of the units' part, positive scalar.
    """

    centre: Array
    scale: Array
    spread: Array
    gain: Array

    @property
    def stiffness(self) -> Array:
        """Curvature of the closed form with respect to t, `[d]`: also the unit of a slope along t."""
        return self.spread * self.scale


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ImageNetwork(Potential):
    """w(z) = ½ Σ stiffness (FLOOR + softplus(curvature)) t² + ⟨linear, t⟩ + gain · u(t), t = (z − centre)/scale.

    z are the cosine coefficients of an image (`_cosine`), of which the quadratic part is diagonal. u is a mean of
    squareplus units over the rest of the network with positive weights, or of its maxima where there are no such units:

    - whole: smooth maxima of `pieces` affine functions of all of t;
    - patches: smooth maxima of `pieces` affine functions of every patch of the image, the same at every place but for
      their offsets: a convolution, as weights are shared. Above them stand units that see every maximum through
      positive weights and all of t through any.

    So w is strongly convex and smooth for every value of the leaves, and memory grows with d, not d². Convolutional
    input convex networks are those of Amos, Xu & Kolter 2017, section 3; maxima as in `InputConvexNetwork`.

    Build it with `near`. The trained leaves are all but those of `frame`.

    Args:
      frame: the fixed part.
      curvature: raw, `[d]`.
      linear: in units of `stiffness`, `[d]`.
      maxima: affine functions `[h, pieces, d]` in units of `stiffness`, or filters `[groups, pieces, side, side, c]`.
      offsets: `[h, pieces]`, or `[places, groups, pieces]`.
      mixing: raw positive weights `[units, maxima]` of the units above, None without.
      skip: affine functions of these units in units of `stiffness`, `[units, d]`; None without.
      biases: of these units, `[units]`; None without.
      output: raw positive weights of the last layer.
      shape: height, width and channels; static.
      stride: pixels between patches; 0 for maxima of the whole image; static.
      smoothing: of the maxima and units, no unit; static.
    """

    frame: ImageFrame
    curvature: Array
    linear: Array
    maxima: Array
    offsets: Array
    mixing: Array | None
    skip: Array | None
    biases: Array | None
    output: Array
    shape: Shape = field(metadata={"static": True})
    stride: int = field(metadata={"static": True})
    smoothing: float = field(metadata={"static": True})

    @classmethod
    def near(
        cls,
        mean: ArrayLike,
        variance: ArrayLike,
        *,
        curvature: ArrayLike,
        slope_mean: ArrayLike,
        shape: Shape,
        widths: Sequence[int],
        pieces: int,
        patch: int | None,
        stride: int,
        smoothing: float,
        quadratic: float,
        slope: float,
        key: Array,
    ) -> ImageNetwork:
        """A network near a diagonal quadratic over the Gaussian N(mean, diag(variance)) of its arguments.

        Units at random give on average over that Gaussian up to 1 − quadratic² of the curvature, and the quadratic part
        the rest.

        Args:
          mean: of the cosine coefficients, `[d]`.
          variance: of each, positive, `[d]`.
          curvature: of the quadratic, positive, `[d]`.
          slope_mean: mean of ∇w, `[d]`.
          shape: height, width and channels, of product d.
          widths: maxima of the whole image; or groups of filters, and units above their maxima.
          pieces: affine functions in a maximum.
          patch: side of the patches in pixels; None for maxima of the whole image.
          stride: pixels between patches.
          smoothing: of the maxima and units.
          quadratic: root of the least share of the quadratic part.
          slope: standard deviation of the arguments of the maxima, and of their offsets.
          key: of the random units.

        Raises:
          ValueError: for settings out of range, widths that do not fit, or patches that do not cover the image.
        """
        check_settings(widths, pieces, smoothing, quadratic, slope)
        mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
        curvature, slope_mean = np.asarray(curvature, np.float64), np.asarray(slope_mean, np.float64)
        scale, dim = np.sqrt(variance), math.prod(shape)
        if mean.shape != (dim,):
            raise ValueError(
                f"shape: found {list(shape)} for {mean.size} coefficients, allowed: factors of their number"
            )
        leaves = (mean, scale, curvature * scale, 1.0)
        frame = ImageFrame(*(jnp.asarray(leaf, jnp.float32) for leaf in leaves))
        parts = (
            partial(_whole, widths, pieces, slope)
            if patch is None
            else partial(_patches, widths, pieces, patch, stride, slope)
        )
        network = cls(
            frame,
            curvature=jnp.zeros(dim, jnp.float32),
            linear=jnp.zeros(dim, jnp.float32),
            shape=shape,
            stride=0 if patch is None else stride,
            smoothing=float(smoothing),
            **parts(shape, curvature * variance, jax.random.fold_in(key, 0)),
        )
        noise = jax.random.normal(jax.random.fold_in(key, 1), (INITIAL_POINTS // 2, dim))
        return _balanced(network, noise, slope_mean, quadratic**2)

    @property
    def dim(self) -> int:
        """d."""
        return self.linear.shape[-1]

    def value(self, x: Array) -> Array:
        """w at the coefficients of one image `[d]`."""
        frame: ImageFrame = jax.tree.map(jax.lax.stop_gradient, self.frame)
        t = (x - frame.centre) / frame.scale
        stiff = frame.stiffness
        quadratic = jnp.sum(stiff * (FLOOR + jax.nn.softplus(self.curvature)) * t * t) / 2
        return quadratic + jnp.sum(stiff * self.linear * t) + frame.gain * self._units(stiff, frame.scale, t)

    def _units(self, stiff: Array, scale: Array, t: Array) -> Array:
        if not self.stride:
            arguments = jnp.einsum("hpd,d->hp", self.maxima, stiff * t) + self.offsets
        else:
            # The filters see the image of slopes of the closed form: large where the image is, whatever the noise.
            arguments = self._filtered(pixels(stiff * t, self.shape)) + self.offsets
        z = self.smoothing * jax.nn.logsumexp(arguments / self.smoothing, axis=-1).reshape(-1)
        if self.mixing is not None and self.skip is not None and self.biases is not None:
            s = jax.nn.softplus(self.mixing) @ z / len(z) + self.skip @ (stiff * t) + self.biases
            z = (s + jnp.sqrt(s**2 + 4 * self.smoothing**2)) / 2
        return jax.nn.softplus(self.output) @ z / len(z)

    def _filtered(self, image: Array) -> Array:
        """Every filter at every place, `[places, groups, pieces]`."""
        groups, pieces, side, _, channels = self.maxima.shape
        rows = _patch_rows(image.reshape(self.shape), side, self.stride)
        return jnp.einsum("na,gpa->ngp", rows, self.maxima.reshape(groups, pieces, side * side * channels))


def _patch_rows(image: Array, side: int, stride: int) -> Array:
    """The patches of an image `[h, w, c]`, a row each, `[places, side·side·c]`."""
    h, w, c = image.shape
    down, across = (stride * np.arange((length - side) // stride + 1)[:, None] + np.arange(side) for length in (h, w))
    patches = image[down[:, None, :, None], across[None, :, None, :]]
    return patches.reshape(len(down) * len(across), side * side * c)


def _whole(
    widths: Sequence[int], pieces: int, slope: float, shape: Shape, stiffness: np.ndarray, key: Array
) -> dict[str, Any]:
    if len(widths) != 1:
        raise ValueError(f"widths: found {list(widths)}, allowed: one number, of maxima of the whole image")
    dim, keys = math.prod(shape), jax.random.split(key, 3)
    # Arguments have standard deviation `slope` over the data.
    unit = slope / float(np.linalg.norm(stiffness))
    return {
        "maxima": mirrored(unit * jax.random.normal(keys[0], (widths[0], pieces, dim)), -1),
        "offsets": mirrored(slope * jax.random.normal(keys[1], (widths[0], pieces))),
        "mixing": None,
        "skip": None,
        "biases": None,
        "output": mirrored(jax.random.normal(keys[2], (widths[0],))),
    }


def _patches(
    widths: Sequence[int],
    pieces: int,
    patch: int,
    stride: int,
    slope: float,
    shape: Shape,
    stiffness: np.ndarray,
    key: Array,
) -> dict[str, Any]:
    if len(widths) != 2:
        raise ValueError(f"widths: found {list(widths)}, allowed: two numbers, of groups of filters and of units above")
    h, w, c = shape
    fits = all(length >= patch and (length - patch) % stride == 0 for length in (h, w)) and stride <= patch
    if not fits:
        raise ValueError(
            f"patch, stride: found {patch}, {stride} for {h} x {w} pixels, allowed: patches that cover the image"
        )
    groups, units = widths
    places = ((h - patch) // stride + 1) * ((w - patch) // stride + 1)
    dim, keys = h * w * c, jax.random.split(key, 6)
    total = float(np.linalg.norm(stiffness))
    share = total * math.sqrt(patch * patch * c / dim)  # norm of a patch, on average over places
    filters = jax.random.normal(keys[0], (groups, pieces, patch, patch, c))
    return {
        "maxima": slope / share * mirrored(filters, -1),
        "offsets": slope * mirrored(jax.random.normal(keys[1], (places, groups, pieces)).swapaxes(0, 1)).swapaxes(0, 1),
        "mixing": mirrored(mirrored(jax.random.normal(keys[2], (groups, units, places))).swapaxes(0, 1))
        .transpose(0, 2, 1)
        .reshape(units, places * groups),
        "skip": mirrored(slope / total * jax.random.normal(keys[3], (units, dim)), -1),
        "biases": slope * mirrored(jax.random.normal(keys[4], (units,))) - slope,
        "output": mirrored(jax.random.normal(keys[5], (units,))),
    }


def _balanced(network: ImageNetwork, noise: Array, slope_mean: np.ndarray, least: float) -> ImageNetwork:
    """The network with the gain, quadratic and linear part that `near` promises, measured at t = ±`noise` `[n, d]`.

    Few units cannot be as curved as the closed form in hundreds of directions. They are given the share 1 − least of it
    where it is stiff, and the quadratic what they leave, coordinate by coordinate: the mean of ∂²u/∂t² is that of
    t ∂u/∂t over a Gaussian (Stein).
    """
    frame, noise = network.frame, jnp.concatenate([noise, -noise])
    points, stiff = frame.centre + frame.scale * noise, frame.stiffness
    quadratic = stiff * (FLOOR + jax.nn.softplus(network.curvature)) * noise
    curved = jnp.maximum(jnp.mean(noise * (gradients(network, points) * frame.scale - quadratic), axis=0), 0)
    gain = (1 - least) * jnp.sum(stiff**2) / jnp.sum(stiff * curved)
    rest = jnp.clip(1 - gain * curved / stiff, least, 1)
    network = replace(network, frame=replace(frame, gain=gain), curvature=jnp.log(jnp.expm1(rest)))
    missing = jnp.asarray(slope_mean, points.dtype) - gradients(network, points).mean(axis=0)
    return replace(network, linear=missing * frame.scale / stiff)

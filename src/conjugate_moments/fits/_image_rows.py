"""Images as data of a fit, in memory or on disk: levels are stored, and become points whenever they are drawn."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from conjugate_moments import _cosine
from conjugate_moments.fits._rows import Stream
from conjugate_moments.measures.images import Pixels
from conjugate_moments.settings import ImageSettings, QuadraticsSettings

PART = 2**24  # bytes of images on disk that are looked at together

Images = NDArray[np.integer]


def cosine_points(images: ArrayLike, pixels: Pixels, *, key: jax.Array) -> jax.Array:
    """Cosine coefficients of dequantised images uint8 `[n, h, w, c]`, `[n, d]`."""
    return _cosine.coefficients(pixels.points(images, key=key), pixels.shape)


def pixel_points(images: ArrayLike, pixels: Pixels, *, key: jax.Array) -> jax.Array:
    """Dequantised images uint8 `[n, h, w, c]` as they are, `[n, d]`."""
    return pixels.points(images, key=key)


Points = Callable[..., jax.Array]  # one of these two: what the points of R^d are that a fit sees


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ImageRows:
    """Images on the device.

    Args:
      images: uint8 `[n, h, w, c]`.
      pixels: how they become numbers; static.
      points: what is made of those; static.
    """

    images: jax.Array
    pixels: Pixels = field(metadata={"static": True})
    points: Points = field(metadata={"static": True})

    def draw(self, size: int, key: jax.Array) -> jax.Array:
        """The points of `size` images, with replacement and fresh noise, `[size, d]`."""
        drawn = self.images[_places(key, size, len(self.images))]
        return DrawnImages(drawn, self.pixels, self.points).draw(size, key)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class DrawnImages:
    """The images of a batch.

    Args:
      images: uint8 `[batch, h, w, c]`.
      pixels: how they become numbers; static.
      points: what is made of those; static.
    """

    images: jax.Array
    pixels: Pixels = field(metadata={"static": True})
    points: Points = field(metadata={"static": True})

    def draw(self, size: int, key: jax.Array) -> jax.Array:
        """Their points, with the noise of this key, `[size, d]`."""
        assert len(self.images) == size
        return self.points(self.images, self.pixels, key=jax.random.split(key)[1])


@dataclass(frozen=True, eq=False)
class ImageStream(Stream):
    """Images on disk: every step is given those that it would have drawn from `ImageRows` of them all.

    Args:
      images: integers `[n, h, w, c]`, mapped from a file.
      pixels: how they become numbers.
      points: what is made of those.
      batch: images of a step.
    """

    images: np.memmap
    pixels: Pixels
    points: Points
    batch: int

    @property
    def step_bytes(self) -> int:
        """Read for one step."""
        return self.batch * math.prod(self.pixels.shape)

    def places(self, key: jax.Array) -> jax.Array:
        """The images that `draw` takes with this key, `[batch]`."""
        return _places(key, self.batch, len(self.images))

    def read(self, places: np.ndarray, steps: int) -> DrawnImages:
        """The images at `places` `[at most steps, batch]`, as `[steps, batch, h, w, c]`."""
        found = np.zeros((steps, self.batch, *self.pixels.shape), np.uint8)
        flat, order = found.reshape(-1, *self.pixels.shape), np.argsort(places, axis=None, kind="stable")
        # In the order of the file, which disks are made for.
        for some in _parts(order, math.prod(self.pixels.shape)):
            flat[some] = self.images[places.ravel()[some]]
        return DrawnImages(jnp.asarray(found), self.pixels, self.points)

    def draw(self, size: int, key: jax.Array) -> jax.Array:
        """The points of `size` images, as `ImageRows` has them, `[size, d]`."""
        places = np.asarray(_places(key, size, len(self.images)))
        drawn = replace(self, batch=size).read(places[None], 1)
        return DrawnImages(drawn.images[0], self.pixels, self.points).draw(size, key)


def image_rows(images: Images, pixels: Pixels, points: Points, batch: int) -> ImageRows | ImageStream:
    """Images that `check_images` accepted as data of a fit with such batches: on the device, unless on disk."""
    if isinstance(images, np.memmap):
        return ImageStream(images, pixels, points, batch)
    return ImageRows(jnp.asarray(images), pixels, points)


def check_images(images: ArrayLike, pixels: Pixels) -> Images:
    """The images as uint8 `[n, h, w, c]`, or as they are if they are on disk.

    Raises:
      ValueError: naming what is wrong with them.
    """
    array = images if isinstance(images, np.memmap) else np.asarray(images)
    if array.ndim != 4 or array.shape[1:] != pixels.shape or len(array) < 2:
        raise ValueError(f"images: found shape {list(array.shape)}, allowed: [n, {str(pixels.shape)[1:-1]}], n > 1")
    if array.dtype.kind not in "iu":
        raise ValueError(f"images: found {array.dtype}, allowed: integers")
    ends = [(part.min(), part.max()) for part in _parts(array, array[0].nbytes)]
    lowest, highest = min(low for low, _ in ends), max(high for _, high in ends)
    if lowest < 0 or highest > pixels.levels:
        raise ValueError(f"images: found levels {lowest} to {highest}, allowed: 0 to {pixels.levels}")
    if not pixels.noise:
        raise ValueError("pixels: found noise 0, allowed: above 0, as a law on whole levels has no density")
    if lowest == highest:
        raise ValueError(f"images: found the level {lowest} in every pixel, allowed: images that differ")
    return array if isinstance(array, np.memmap) else array.astype(np.uint8)


def fingerprint(
    images: Images, pixels: Pixels, settings: ImageSettings | QuadraticsSettings, method: str, key: jax.Array
) -> str:
    """Of everything that determines a fit, wherever the images are."""
    parts = {"settings": settings.to_dict(), "method": method, "levels": pixels.levels, "noise": pixels.noise}
    digest = hashlib.sha256(json.dumps({**parts, "shape": images.shape}, sort_keys=True).encode())
    for part in _parts(images, images[0].nbytes):
        digest.update(np.ascontiguousarray(part, np.uint8).data)
    digest.update(np.asarray(jax.random.key_data(key)).tobytes())
    return digest.hexdigest()


def _places(key: jax.Array, size: int, n: int) -> jax.Array:
    """Which of n images are drawn with the key of a batch, `[size]`."""
    return jax.random.randint(jax.random.split(key)[0], (size,), 0, n)


def _parts(rows: np.ndarray, row_bytes: int) -> Iterator[np.ndarray]:
    """The rows, so many at a time that what they stand for takes `PART` bytes or less."""
    size = max(1, PART // row_bytes)
    return (rows[first : first + size] for first in range(0, len(rows), size))

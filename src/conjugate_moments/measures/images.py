"""Sets of images, and how pixels become points of R^d.

Three sets need no network: `digits`, real scans of 8×8 pixels that come with scikit-learn, and two **stand-ins of our
own**, `glyphs` for MNIST and `avatars` for Google's Cartoon Set, of which they are neither parts nor copies. `mnist`
and `cartoon` are those sets themselves, fetched when they are asked for.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import jax

Images = NDArray[np.uint8]

CARTOON_SIDE = 32  # pixels, of 500: as for the avatars


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images to fit and images held out, of one shape.

    Args:
      train: pixels, uint8 `[n, h, w, c]`.
      test: pixels, uint8 `[m, h, w, c]`.
      levels: the largest value that a pixel can have; the least is 0.
      name: as given to `image_set`.

    Raises:
      ValueError: if the arrays are no images of one shape, or exceed `levels`.
    """

    train: Images
    test: Images
    levels: int
    name: str

    def __post_init__(self) -> None:
        for field, images in (("train", self.train), ("test", self.test)):
            if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
                raise ValueError(f"{field}: found {images.dtype} {images.shape}, allowed: uint8 [n, h, w, c], none 0")
            if images.max() > self.levels:
                raise ValueError(f"{field}: found pixels up to {images.max()}, allowed: 0 to {self.levels}")
        if self.train.shape[1:] != self.test.shape[1:]:
            raise ValueError(f"test: found images of {self.test.shape[1:]}, allowed: {self.shape}, as in train")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: height, width, channels."""
        height, width, channels = self.train.shape[1:]
        return height, width, channels

    @property
    def dim(self) -> int:
        """Numbers in one image."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class _Request:
    name: str
    samples: int
    held_out: int
    seed: int
    cache: Path | None


def image_set(name: str, *, samples: int, held_out: int, seed: int, cache: Path | None = None) -> ImageSet:
    """Images of that name.

    `digits`: scikit-learn's 1,797 scans (8×8×1, levels 0 to 16), split at random. `glyphs` (28×28×1) and `avatars`
    (32×32×3): drawn by procedures of ours as stand-ins for MNIST and for Google's Cartoon Set, which they are not;
    the i-th image depends on the seed and i only, and the test images are further independent draws. `mnist`
    (28×28×1): random parts of its training set and of its test set. `cartoon` (the 10k set, averaged down to
    32×32×3): split at random.

    Args:
      name: a key of `IMAGES`.
      samples: images to fit.
      held_out: images to test with.
      seed: decides draws and splits.
      cache: folder of the downloads, see `_fetch.cache_folder`.

    Raises:
      ValueError: if there is no such set, a number is not positive or larger than what exists, or a file is not what
        it should be.
      ConnectionError: if a file can neither be found nor fetched.
    """
    if name not in IMAGES:
        raise ValueError(f"name: found {name!r}, allowed: {', '.join(map(repr, IMAGES))}")
    for field, number, least in (("samples", samples, 1), ("held_out", held_out, 1), ("seed", seed, 0)):
        if not (isinstance(number, int) and number >= least):
            raise ValueError(f"{field}: found {number}, allowed: integers from {least}")
    return IMAGES[name](_Request(name, samples, held_out, seed, cache))


def _uniforms(request: _Request, part: str, shape: tuple[int, int]) -> NDArray[np.float64]:
    """In [0, 1), float64 `shape`: a row depends on the request's seed and its own index only."""
    seeds = np.random.SeedSequence([request.seed, zlib.crc32(request.name.encode()), zlib.crc32(part.encode())])
    # Raw words, since numpy promises to keep them, but not its distributions, from version to version.
    words = np.random.PCG64(seeds).random_raw(math.prod(shape))
    return ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def _chosen(request: _Request, part: str, total: int, count: int) -> NDArray[np.intp]:
    """`count` different indices below `total`, at random."""
    return np.argsort(_uniforms(request, part, (1, total))[0], kind="stable")[:count]


def _split(request: _Request, images: Images, levels: int) -> ImageSet:
    """Disjoint random parts: fewer held-out images are the first of more, whatever `samples`, and the reverse."""
    total = request.samples + request.held_out
    if total > len(images):
        raise ValueError(
            f"samples + held_out: found {request.samples} + {request.held_out}, allowed: at most {len(images)}, "
            f"all there are of {request.name}"
        )
    order = _chosen(request, "split", len(images), len(images))
    return ImageSet(images[order[: request.samples]], images[order[::-1][: request.held_out]], levels, request.name)


def _digits(request: _Request) -> ImageSet:
    from sklearn.datasets import load_digits

    scans = cast("Any", load_digits()).images
    return _split(request, scans.astype(np.uint8)[..., None], 16)


def _drawn(request: _Request, draw: Callable[[NDArray[np.float64]], Images], traits: int) -> ImageSet:
    train, test = (
        draw(_uniforms(request, part, (count, traits)))
        for part, count in (("train", request.samples), ("test", request.held_out))
    )
    return ImageSet(train, test, 255, request.name)


def _glyphs(request: _Request) -> ImageSet:
    from conjugate_moments.measures import _glyphs as glyphs

    return _drawn(request, glyphs.draw, glyphs.TRAITS)


def _avatars(request: _Request) -> ImageSet:
    from conjugate_moments.measures import _avatars as avatars

    return _drawn(request, avatars.draw, avatars.TRAITS)


def _mnist(request: _Request) -> ImageSet:
    from conjugate_moments.measures import _archive, _fetch

    parts: list[Images] = []
    for field, path in zip(("samples", "held_out"), _fetch.mnist_files(request.cache), strict=True):
        images, count = _archive.read_idx(path), getattr(request, field)
        if images.ndim != 3:
            raise ValueError(f"{path}: found shape {images.shape}, allowed: images [n, h, w]")
        if count > len(images):
            raise ValueError(f"{field}: found {count}, allowed: at most {len(images)}, all there are in {path.name}")
        parts.append(images[_chosen(request, field, len(images), count), ..., None])
    train, test = parts
    return ImageSet(train, test, 255, request.name)


def _cartoon(request: _Request) -> ImageSet:
    from conjugate_moments.measures import _archive, _fetch

    archive = _fetch.cartoon_file(request.cache)
    return _split(request, _archive.read_pngs(archive, size=CARTOON_SIDE, channels=3), 255)


IMAGES: dict[str, Callable[[_Request], ImageSet]] = {
    "digits": _digits,
    "glyphs": _glyphs,
    "avatars": _avatars,
    "mnist": _mnist,
    "cartoon": _cartoon,
}


@dataclass(frozen=True)
class Pixels:
    """How the pixels of an image become a point of R^d, and back.

    A pixel v becomes 2 (v + noise · ξ) / levels − 1, ξ standard normal: dequantised, since a law on a lattice has no
    density. Without noise the values lie in [-1, 1].

    Args:
      shape: of an image: height, width, channels; d is their product.
      levels: the largest value of a pixel.
      noise: standard deviation of the dequantisation, in levels.

    Raises:
      ValueError: if a number is not positive; `noise` may be 0.
    """

    shape: tuple[int, int, int]
    levels: int
    noise: float

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape: found {self.shape}, allowed: three positive integers")
        if not 1 <= self.levels <= 255:
            raise ValueError(f"levels: found {self.levels}, allowed: 1 to 255")
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise ValueError(f"noise: found {self.noise}, allowed: finite numbers from 0")

    @property
    def log_unit(self) -> float:
        """log |dy/dv| of one pixel, in nats: log p(v) = log p(y) + d · `log_unit`, densities per pixel level."""
        return math.log(2 / self.levels)

    def points(self, images: ArrayLike, *, key: jax.Array) -> jax.Array:
        """Points, float32 `[n, d]`, in the row-major order of (h, w, c); may be compiled.

        Args:
          images: pixels, integers `[n, h, w, c]`.
          key: of the noise.

        Raises:
          ValueError: if the images have another shape, there are none, or they are no integers.
        """
        import jax
        import jax.numpy as jnp

        pixels = jnp.asarray(images)
        if pixels.ndim != 4 or pixels.shape[1:] != self.shape or len(pixels) == 0:
            raise ValueError(
                f"images: found shape {pixels.shape}, allowed: [n, {', '.join(map(str, self.shape))}], n > 0"
            )
        if not jnp.issubdtype(pixels.dtype, jnp.integer):
            raise ValueError(f"images: found {pixels.dtype}, allowed: integers")
        levels = pixels.reshape(len(pixels), -1).astype(jnp.float32)
        noise = jax.random.normal(key, levels.shape, dtype=jnp.float32)
        return 2 * (levels + self.noise * noise) / self.levels - 1

    def images(self, points: ArrayLike) -> Images:
        """Pixels, uint8 `[n, h, w, c]`: the nearest level to each of the numbers in `points` `[n, d]`.

        Raises:
          ValueError: if the points have another shape, there are none, or some are NaN or infinite.
        """
        array = np.asarray(points, dtype=np.float64)
        dim = math.prod(self.shape)
        if array.ndim != 2 or array.shape[1] != dim or len(array) == 0:
            raise ValueError(f"points: found shape {array.shape}, allowed: [n, {dim}], n > 0")
        if bad := np.sum(~np.isfinite(array).all(axis=1)):
            raise ValueError(f"points: found NaN or infinity in {bad} of {len(array)}, allowed: finite numbers")
        levels = np.clip(np.rint((array + 1) * self.levels / 2), 0, self.levels)
        return levels.astype(np.uint8).reshape(-1, *self.shape)

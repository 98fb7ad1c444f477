"""Which pixels of an image are observed, for inpainting: four masks that are the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments import _random

Mask = NDArray[np.bool_]

SEED = 0  # of the random masks: one of each kind for a shape
SMALLEST_SIDE = 4  # pixels: with fewer, the centre square is a single pixel
STROKES = 64  # candidates; the first few are drawn
STROKE_RADIUS = 0.09  # half the width of a stroke, in sides of the image
STROKE_SHARE = 1 / 3  # of the pixels, at least, that strokes hide


def masks(shape: Sequence[int]) -> dict[str, Mask]:
    """The masks by name, `[d]` each, flattened in the order of the axes of `shape`; True where a pixel is observed.

    "half" hides the lower half, "centre" a centred square of half the side, "random" half of the pixels, drawn once,
    "strokes" thick line segments that cover a third or somewhat more. The channels of a pixel are hidden together.

    Args:
      shape: (height, width) or (height, width, channels), sides of at least `SMALLEST_SIDE` pixels.

    Raises:
      ValueError: for another shape.
    """
    height, width, channels = _check_shape(shape)
    planes = {
        "half": _half(height, width),
        "centre": _centre(height, width),
        "random": _random_half(height, width),
        "strokes": _strokes(height, width),
    }
    return {name: np.repeat(plane.ravel(), channels) for name, plane in planes.items()}


def check_mask(mask: ArrayLike, dim: int) -> Mask:
    """The mask of images of `dim` numbers, `[dim]`.

    Raises:
      ValueError: if it is not of truth values, is of another shape, or leaves no pixel observed or none missing.
    """
    array = np.asarray(mask)
    if array.dtype != np.bool_:
        raise ValueError(f"mask: found an array of {array.dtype}, allowed: truth values, True where observed")
    if array.shape != (dim,):
        raise ValueError(f"mask: found shape {list(array.shape)}, allowed: [{dim}], one for each number of an image")
    if array.all() or not array.any():
        found = "no missing pixel" if array.all() else "no observed pixel"
        raise ValueError(f"mask: found {found}, allowed: some of both")
    return array


def _check_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    sides, channels = tuple(shape[:2]), tuple(shape[2:]) or (1,)
    if len(sides) != 2 or len(channels) != 1 or min(sides) < SMALLEST_SIDE or channels[0] < 1:
        allowed = f"(height, width) or (height, width, channels), sides of at least {SMALLEST_SIDE}"
        raise ValueError(f"shape: found {tuple(shape)}, allowed: {allowed}")
    return sides[0], sides[1], channels[0]


def _half(height: int, width: int) -> Mask:
    return np.repeat(np.arange(height) < height // 2, width).reshape(height, width)


def _centre(height: int, width: int) -> Mask:
    observed = np.ones((height, width), dtype=bool)
    top, left = (height - height // 2) // 2, (width - width // 2) // 2
    observed[top : top + height // 2, left : left + width // 2] = False
    return observed


def _random_half(height: int, width: int) -> Mask:
    levels = _random.uniform(_random.key_for(SEED, "masks", "random"), (height * width,))
    return (levels.argsort().argsort() < height * width // 2).reshape(height, width)


def _strokes(height: int, width: int) -> Mask:
    """All but the pixels whose centre lies on one of the first few strokes, as many as it takes to hide the share."""
    ends = _random.uniform(_random.key_for(SEED, "masks", "strokes"), (STROKES, 2, 1, 2))
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    centres = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    along = ends[:, 1] - ends[:, 0]
    offsets = centres - ends[:, 0]
    place = np.clip(np.sum(offsets * along, axis=-1) / np.sum(along**2, axis=-1), 0, 1)
    distances = np.linalg.norm(offsets - place[..., None] * along, axis=-1)
    hidden = np.logical_or.accumulate(distances <= STROKE_RADIUS, axis=0)
    enough = np.argmax(hidden.mean(axis=1) >= STROKE_SHARE)
    return ~hidden[enough].reshape(height, width)

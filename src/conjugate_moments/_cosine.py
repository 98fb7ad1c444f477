"""The orthonormal cosine transform of images: a rotation of R^d in which their coordinates are nearly uncorrelated."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]  # height, width, channels


def coefficients(pixels: jax.Array, shape: Shape) -> jax.Array:
    """Coefficients `[..., d]` of images `[..., d]`, both flattened in the order of `shape`; isometric.

    The transform is separable, along height, width and channels: nothing of the size of d² is formed.
    """
    return _transform(pixels, shape, [_matrix(side) for side in shape])


def pixels(coefficients: jax.Array, shape: Shape) -> jax.Array:
    """Images `[..., d]` of coefficients `[..., d]`: the inverse of `coefficients`."""
    return _transform(coefficients, shape, [_matrix(side).T for side in shape])


def _transform(vectors: jax.Array, shape: Shape, matrices: list[NDArray[np.float64]]) -> jax.Array:
    array = vectors.reshape(*vectors.shape[:-1], *shape)
    h, w, c = (jnp.asarray(matrix, array.dtype) for matrix in matrices)
    array = jnp.einsum("ih,jw,kc,...hwc->...ijk", h, w, c, array, optimize="optimal")
    return array.reshape(vectors.shape)


@cache
def _matrix(side: int) -> NDArray[np.float64]:
    """The orthonormal DCT-II of vectors of `side` numbers, `[side, side]`."""
    places = np.arange(side)
    matrix = np.sqrt(2 / side) * np.cos(np.pi * places[:, None] * (2 * places + 1) / (2 * side))
    matrix[0] /= np.sqrt(2)
    return matrix

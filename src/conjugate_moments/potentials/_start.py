"""How input-convex networks start: random units, each with its mirror image, and the settings that are refused."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


def check_settings(widths: Sequence[int], pieces: int, smoothing: float, quadratic: float, slope: float) -> None:
    """Refuse what no network can be built with."""
    if not len(widths) or not all(isinstance(h, int) and h > 0 for h in widths):
        raise ValueError(f"widths: expected one or more positive integers, found {list(widths)}")
    if not (isinstance(pieces, int) and pieces > 1):
        raise ValueError(f"pieces: expected an integer >= 2, found {pieces}")
    if not 0 < smoothing < math.inf:
        raise ValueError(f"smoothing: expected a finite number > 0, found {smoothing}")
    if not 0.1 <= quadratic < 1:
        raise ValueError(f"quadratic: expected a number in [0.1, 1), found {quadratic}")
    if not 0 < slope < math.inf:
        raise ValueError(f"slope: expected a finite number > 0, found {slope}")


def normals(shapes: Sequence[tuple[int, ...]], dtype: jnp.dtype, key: Array) -> list[Array]:
    """Independent standard normals of the given shapes, from one draw: each shape drawn would be compiled alone."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = jnp.split(jax.random.normal(key, (int(ends[-1]),), dtype), ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def mirrored(leaf: Array, sign: int = 1) -> Array:
    """The first half of the rows in the place of the second too, times the sign.

    So every unit starts with its mirror image: u is even about the mean of the data, with slope 0 there and on average
    over a Gaussian. Where P_w is much narrower than ρ it lies at the one, and is to lie at the other: units at random
    would send it off at once, and the fit after it.
    """
    half = leaf[: -(-len(leaf) // 2)]
    return jnp.concatenate([half, sign * half])[: len(leaf)]


def within(subspaces: Sequence[ArrayLike], width: int, dim: int) -> np.ndarray:
    """A basis for each unit, the same for its mirror image, with rows of zeros up to the size of the largest.

    Normal coefficients give combinations ⟨a, y⟩ of variance 1: `[width, k, d]`.
    """
    bases = [np.asarray(basis, np.float64) for basis in subspaces]
    for i, basis in enumerate(bases):
        if basis.ndim != 2 or basis.shape[1] != dim or not 0 < len(basis) <= dim or not np.all(np.isfinite(basis)):
            shape = f"shape [k, {dim}] with k from 1 to {dim}"
            raise ValueError(f"subspaces[{i}]: expected finite numbers of {shape}, found shape {list(basis.shape)}")
    if not bases:
        raise ValueError("subspaces: expected one or more, found none")
    most = max(map(len, bases))
    padded = [np.pad(basis / math.sqrt(len(basis)), ((0, most - len(basis)), (0, 0))) for basis in bases]
    return np.stack(padded)[np.arange(width) % -(-width // 2) % len(padded)]

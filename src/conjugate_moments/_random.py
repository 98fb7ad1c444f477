"""Float64 draws from JAX keys, whatever JAX's own precision is set to."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

if TYPE_CHECKING:
    import jax


def key_for(seed: int, *names: str) -> jax.Array:
    """A key of its own for every seed and sequence of names, the same on every machine."""
    import jax

    key = jax.random.key(seed)
    for name in names:
        key = jax.random.fold_in(key, zlib.crc32(name.encode()))  # hash() would change from process to process
    return key


def uniform(key: jax.Array, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Independent uniforms in the open interval (0, 1) with 52 random bits each, float64 `shape`."""
    import jax

    words = np.asarray(jax.random.bits(key, (math.prod(shape), 2), dtype="uint32"), dtype=np.uint64)
    mantissa = (words[:, 0] >> np.uint64(6)) << np.uint64(26) | words[:, 1] >> np.uint64(6)
    return ((mantissa.astype(np.float64) + 0.5) / 2.0**52).reshape(shape)


def normal(key: jax.Array, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Independent standard normals, float64 `shape`."""
    return special.ndtri(uniform(key, shape))

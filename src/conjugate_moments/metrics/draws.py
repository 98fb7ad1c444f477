"""Independent draws of the true laws, from a seed and names that say what they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments import _random

if TYPE_CHECKING:
    import jax

    from conjugate_moments.measures.univariate import UnivariateLaw

Array = NDArray[np.floating]  # float64 throughout


def draw_univariate(law: UnivariateLaw | Array, n: int, *, key: jax.Array) -> Array:
    """`n` independent draws of a law on the line by inversion, `[n]`; of an array, draws with replacement."""
    levels = _random.uniform(key, (n,))
    if isinstance(law, np.ndarray):
        return law[(levels * len(law)).astype(np.intp)]
    return np.asarray(law.ppf(levels), dtype=np.float64)


def draw_gaussian(mean: ArrayLike, cov: ArrayLike, n: int, *, key: jax.Array) -> Array:
    """`n` independent draws of N(mean, cov), `[n, d]`, through the Cholesky factor: not the root that the fits use."""
    mean, cov = np.asarray(mean, dtype=np.float64), np.asarray(cov, dtype=np.float64)
    return mean + _random.normal(key, (n, len(mean))) @ np.linalg.cholesky(cov).T

"""Independent components of data: the directions in which the units of a network start, in high dimensions."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout

# Dimension up to which units start in random directions, some of which lie near any other. Beyond, most lie across all
# that is not Gaussian in the data, and the optimiser is long in turning them. Tried with and without on seed 0 of the
# truth study: components had the smaller L²-UVP in d = 8, random directions in the plane; nothing between was tried.
RANDOM = 4
ROWS = 50_000  # data points looked at, at most
ITERATIONS, TOLERANCE = 200, 1e-3  # any frame is a start: none has to be exact


def components(data: Array, *, key: jax.Array) -> Array | None:
    """Directions v `[d, d]` in which data `[n, d]` are least Gaussian, as FastICA finds them (Hyvärinen & Oja 2000).

    The ⟨v, y⟩ are of variance 1 and uncorrelated over the data; those of the largest excess kurtosis come first. None
    up to dimension `RANDOM`.
    """
    import jax
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    if data.shape[1] <= RANDOM:
        return None
    # Rows may be in any order.
    rows = data if len(data) <= ROWS else data[np.asarray(jax.random.permutation(key, len(data))[:ROWS])]
    scale = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0)) / scale
    options: Any = {"max_iter": ITERATIONS, "tol": TOLERANCE, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = FastICA(whiten="unit-variance", whiten_solver="eigh", **options).fit(rows)
    kurtosis = np.mean((rows @ found.components_.T) ** 4, axis=0) - 3
    return (found.components_ / scale)[np.argsort(-np.abs(kurtosis), kind="stable")]

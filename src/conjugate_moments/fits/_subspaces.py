"""Independent subspaces of data: where the units of a network start, in more dimensions than two."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout

# Dimension up to which units start in random directions, some of which lie near any other: tried on a product of two
# laws, they were the better start. Beyond, most lie across all that is not Gaussian in the data, and the optimiser is
# long in turning them.
RANDOM = 2
LARGEST = 4  # dimensions of a subspace: beyond, maxima of few pieces fill none
ROWS = 50_000  # data points looked at, at most
ITERATIONS, TOLERANCE = 200, 1e-3  # any frame is a start: none has to be exact
FREQUENCIES = (1.0, 2.0)  # of the waves by whose correlations dependence is seen, for a variance of 1
# Standard errors of such a correlation, from which it is not chance: the largest of all those between 128 independent
# components was below 4.
CHANCE = 8.0


def independent_subspaces(data: Array, *, key: jax.Array) -> list[Array] | None:
    """Bases v `[k, d]` of subspaces whose coordinates ⟨v, y⟩ depend on each other, and little on those of the others.

    Components that FastICA finds (Hyvärinen & Oja 2000) are grouped by what is left of dependence between them: of data
    that mix independent vectors, components come in the subspaces of those (Cardoso 1998). The ⟨v, y⟩ are of variance
    1 and uncorrelated over the data `[n, d]`. There is one entry for each component, the least Gaussian first: a
    subspace of k dimensions comes k times. None up to dimension `RANDOM`.
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
    coordinates = rows @ found.components_.T
    groups = grouped(dependence(coordinates), CHANCE / np.sqrt(len(rows)))
    order = np.argsort(-np.abs(np.mean(coordinates**4, axis=0) - 3), kind="stable")
    return [(found.components_ / scale)[groups == groups[i]] for i in order]


def dependence(coordinates: Array) -> Array:
    """The largest correlations of waves exp(i a c) of coordinates c, of variance 1, `[n, d]`; `[d, d]`, 0 to 1.

    All of them are 0, up to chance, between independent coordinates: joint characteristic functions then are products.
    """
    waves = [np.exp(1j * a * coordinates) for a in FREQUENCIES]
    waves = [wave - wave.mean(axis=0) for wave in waves]
    waves = [wave / np.sqrt(np.mean(np.abs(wave) ** 2, axis=0)) for wave in waves]
    # The two signs of one frequency against the other.
    pairs = [np.abs(left.T @ right) for one in waves for left in (one, one.conj()) for right in waves]
    largest = np.max(pairs, axis=0) / len(coordinates)
    return np.maximum(largest, largest.T)


def grouped(strengths: Array, least: float) -> NDArray[np.int_]:
    """A label for each of d coordinates, of groups of at most `LARGEST`, merged from the strongest dependence down.

    Args:
      strengths: of dependence, symmetric, `[d, d]`; the diagonal is not looked at.
      least: that counts.
    """
    labels = np.arange(len(strengths))
    first, second = np.triu_indices(len(strengths), 1)
    order = np.argsort(-strengths[first, second], kind="stable")
    for i, j in zip(first[order], second[order], strict=True):
        if strengths[i, j] < least:
            break
        together = (labels == labels[i]) | (labels == labels[j])
        if together.sum() <= LARGEST:
            labels[together] = labels[i]
    return labels

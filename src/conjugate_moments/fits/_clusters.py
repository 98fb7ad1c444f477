"""Where fits by maxima of quadratics start: clusters of the data, each seen as a Gaussian."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from conjugate_moments.fits.samples import single
from conjugate_moments.potentials.quadratic_maxima import QuadraticFrame, QuadraticMaxima
from conjugate_moments.settings import QuadraticsSettings

Array = NDArray[np.floating]

SHARPER = 5.0  # times the smoothing at the end: that of the start
PRIOR = 1.0  # images: weight of the common curvature of all parts against that of a part's own images
NARROW = 0.5  # of that common variance: most parts are narrower than their mean
BALANCING, BALANCES = 2048, 200  # draws, and iterations, that set the first shares of the parts


def initial(
    points: Array,
    mean: Array,
    variance: Array,
    centre: Array,
    root: Array,
    settings: QuadraticsSettings,
    *,
    seed: int,
) -> tuple[QuadraticMaxima, Array]:
    """A maximum whose parts are clusters of the points `[n, d]`, and where the points come from, roughly, `[n, d]`.

    In the coordinates t, in which the source is about N(0, I), part k is sent by t ↦ a_k + S_k t to a Gaussian of
    covariance S_k²: S_k has the roots of the standard deviations of the cluster, in its `rank` principal directions
    together and in single coordinates for the rest.
    """
    from sklearn.cluster import KMeans

    scaled = root * (points - mean)
    options: Any = {"n_init": 1, "random_state": seed}
    labels = np.asarray(KMeans(settings.components, **options).fit_predict(points))
    slopes = np.zeros((settings.components, points.shape[1]))
    shapes = np.zeros((settings.components, settings.rank, points.shape[1]))
    curvature, starts = np.zeros_like(slopes), np.zeros_like(points)
    apart = np.concatenate([scaled[labels == k] - scaled[labels == k].mean(axis=0) for k in set(labels)])
    common, least = NARROW * apart.var(axis=0), (1e-2 * root) ** 2 * variance
    for k in range(settings.components):
        rows = np.flatnonzero(labels == k)
        slopes[k] = scaled[rows].mean(axis=0)
        spread = scaled[rows] - slopes[k]
        _, values, directions = np.linalg.svd(spread, full_matrices=False)
        kept = min(settings.rank, len(rows) - 1)
        deviations = values[:kept] / np.sqrt(max(1, len(rows) - 1))
        shapes[k, :kept] = np.sqrt(deviations)[:, None] * directions[:kept]
        rest = spread - (spread @ directions[:kept].T) @ directions[:kept]
        weight = len(rows) / (len(rows) + PRIOR)
        own = np.sum(rest**2, axis=0) / max(1, len(rows) - 1)
        curvature[k] = np.sqrt(weight * own + (1 - weight) * common + least)
        starts[rows] = spread / (curvature[k] + np.sum(shapes[k] ** 2, axis=0))
    between = slopes[:, None] - slopes[None]
    distance = float(np.median(np.linalg.norm(between, axis=-1)[np.triu_indices(len(slopes), 1)]))
    shares = np.bincount(labels, minlength=settings.components) / len(points)
    offsets = balanced(slopes, shapes, curvature, shares, distance, settings.smoothing, seed=seed)
    numbers = centre, root, mean, np.sqrt(variance), distance, SHARPER * settings.smoothing
    frame = QuadraticFrame(*(jnp.asarray(number, jnp.float32) for number in numbers))
    network = QuadraticMaxima(
        frame,
        single(slopes) / frame.slope,
        single(offsets) / frame.offset,
        single(shapes) / frame.shape,
        single(np.log(curvature)) / frame.curvature,
    )
    return network, centre + root * starts


def balanced(
    slopes: Array, shapes: Array, curvature: Array, shares: Array, distance: float, smoothing: float, *, seed: int
) -> Array:
    """Offsets `[K]` for which parts have these shares of N(0, I): without, wide ones take those of others.

    By Sinkhorn's iteration on draws, with a regularisation that falls to the smoothing that a fit starts from.
    """
    from scipy.special import log_softmax, logsumexp

    t = np.random.default_rng(seed).standard_normal((BALANCING, slopes.shape[1]))
    values = t @ slopes.T + t**2 @ curvature.T / 2
    values += np.sum((t @ shapes.reshape(-1, t.shape[1]).T).reshape(len(t), *shapes.shape[:2]) ** 2, axis=2) / 2
    offsets = -values.mean(axis=0)
    log_shares = np.log(np.maximum(shares, 1 / (2 * BALANCING)))
    for epsilon in distance * np.geomspace(1, SHARPER * smoothing, BALANCES):
        found = logsumexp(log_softmax((values + offsets) / epsilon, axis=1), axis=0) - np.log(len(t))
        offsets += epsilon * (log_shares - found)
    return offsets - offsets.mean()

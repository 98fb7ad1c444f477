"""How well missing pixels are restored, whether the spread of posterior draws is honest, and what must be beaten.

Images are rows `[n, d]`, flattened, in pixel levels. One mask `[d]`, True where a pixel is observed, holds for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments import _random
from conjugate_moments.measures.masks import Mask, check_mask
from conjugate_moments.metrics.images import check_images, check_levels

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout

WINDOW = 7  # pixels, the side of SSIM's: odd, and the largest that fits an image of 8 x 8
JITTER = 1e-8  # added to the variance of each pixel, in mean variances: pixels may be constant, or depend on others


def psnr(found: ArrayLike, truth: ArrayLike, mask: ArrayLike, levels: float) -> Array:
    """Peak signal-to-noise ratio over the missing pixels of each image, in dB, `[n]`; infinite where there is no error.

    10 log₁₀(levels² / mean squared error).

    Args:
      found: `[n, d]`.
      truth: `[n, d]`.
      mask: True where observed, `[d]`.
      levels: the largest level, such as 255.

    Raises:
      ValueError: for images of different shapes or that are not finite, a bad mask, or `levels` that is not positive.
    """
    found, truth = _check_pair(found, truth)
    missing = ~check_mask(mask, truth.shape[1])
    check_levels(levels)
    error = np.mean((found - truth)[:, missing] ** 2, axis=1)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(levels**2 / error)


def ssim(found: ArrayLike, truth: ArrayLike, shape: Sequence[int], levels: float) -> Array:
    """Structural similarity of whole images (Wang et al. 2004), by scikit-image, `[n]`; 1 where they are equal.

    Means are taken over square windows of side `WINDOW` that lie within the image, four of them at 8 x 8, and over
    channels. Observed pixels count, so that values under different masks do not compare.

    Args:
      found: `[n, d]`.
      truth: `[n, d]`.
      shape: (height, width) or (height, width, channels), sides of at least `WINDOW`.
      levels: the largest level, such as 255; the smallest is 0.

    Raises:
      ValueError: for images of different shapes, not of this shape or that are not finite, or `levels` that is not
        positive.
    """
    found, truth = _check_pair(found, truth)
    check_levels(levels)
    shape = tuple(shape)
    if len(shape) not in (2, 3) or np.prod(shape) != truth.shape[1] or min(shape[:2]) < WINDOW:
        allowed = f"(height, width) or (height, width, channels) of {truth.shape[1]} numbers, sides >= {WINDOW}"
        raise ValueError(f"shape: found {shape}, allowed: {allowed}")
    from skimage.metrics import structural_similarity

    settings = {"win_size": WINDOW, "data_range": levels, "channel_axis": -1 if len(shape) == 3 else None}
    pairs = zip(found.reshape(-1, *shape), truth.reshape(-1, *shape), strict=True)
    return np.array([structural_similarity(*pair, **settings) for pair in pairs])


def coverage(samples: ArrayLike, truth: ArrayLike, mask: ArrayLike, level: float = 0.9) -> float:
    """Share of the missing pixels whose true value lies in the central interval of the posterior draws.

    By ranks: a truth that is exchangeable with the s draws has each of s + 1 ranks among them alike. The innermost
    ranks count, and the two next to them with the weight that makes the expectation `level` exactly, for every s. Of
    values that are equal to the truth, as where pixels are clipped, each order is as likely: their mean is taken.

    Args:
      samples: draws for each image, `[s, n, d]`.
      truth: `[n, d]`.
      mask: True where observed, `[d]`.
      level: of the interval, in (0, 1).

    Raises:
      ValueError: for shapes that do not match, entries that are not finite, a bad mask, or a level out of range.
    """
    samples, truth = _check_draws(samples, truth, fewest=1)
    if not 0 < level < 1:
        raise ValueError(f"level: found {level}, allowed: between 0 and 1")
    missing = ~check_mask(mask, truth.shape[1])
    samples, truth = samples[:, :, missing], truth[:, missing]
    below, equal = np.sum(samples < truth, axis=0), np.sum(samples == truth, axis=0)
    total = np.concatenate([[0.0], np.cumsum(_rank_weights(len(samples), level))])
    return float(np.mean((total[below + equal + 1] - total[below]) / (equal + 1)))


def _rank_weights(s: int, level: float) -> Array:
    """What each rank from 0 to s counts, `[s + 1]`: 1 inside, 0 outside, of mean `level`."""
    depth = np.minimum(np.arange(s + 1), np.arange(s + 1)[::-1])
    order = np.argsort(-depth, kind="stable")
    weights = np.zeros(s + 1)
    weights[order] = np.clip(level * (s + 1) - np.arange(s + 1), 0, 1)
    # Both sides alike: the interval is central.
    return (weights + weights[::-1]) / 2


def spread_error_ratio(samples: ArrayLike, truth: ArrayLike, mask: ArrayLike) -> float:
    """Root mean variance of the posterior draws, over the root mean square error of their mean, at missing pixels.

    1 if the truth is as one more draw, below if the draws are too sure: the squared error of the mean of s draws is
    1 + 1/s variances then, and the ratio is corrected for it (Fortin et al. 2014). Infinite for a mean without error.

    Args:
      samples: draws for each image, at least two, `[s, n, d]`.
      truth: `[n, d]`.
      mask: True where observed, `[d]`.

    Raises:
      ValueError: for shapes that do not match, entries that are not finite, or a bad mask.
    """
    samples, truth = _check_draws(samples, truth, fewest=2)
    missing = ~check_mask(mask, truth.shape[1])
    samples, truth = samples[:, :, missing], truth[:, missing]
    variance, error = samples.var(axis=0, ddof=1).mean(), np.mean((samples.mean(axis=0) - truth) ** 2)
    with np.errstate(divide="ignore"):
        return float(np.sqrt((1 + 1 / len(samples)) * variance / error))


def mean_fill(observed: ArrayLike, mask: ArrayLike, mean: ArrayLike) -> Array:
    """Images `[n, d]` with the mean image `[d]` where a pixel is missing; what `observed` holds there is not read.

    Raises:
      ValueError: for a bad mask, shapes that do not match, or observed pixels that are not finite.
    """
    observed, mask = _check_observed(observed, mask)
    return np.where(mask, observed, _check_mean(mean, len(mask)))


def nearest_fill(observed: ArrayLike, mask: ArrayLike, train: ArrayLike) -> Array:
    """Images `[n, d]` with the missing pixels of the training image `[m, d]` that is nearest in the observed ones.

    Raises:
      ValueError: for a bad mask, shapes that do not match, or pixels that are not finite.
    """
    observed, mask = _check_observed(observed, mask)
    train = check_images("train", train, len(mask))
    from sklearn.metrics import pairwise_distances_argmin

    return np.where(mask, observed, train[pairwise_distances_argmin(observed[:, mask], train[:, mask])])


def conditional_gaussian(
    observed: ArrayLike, mask: ArrayLike, mean: ArrayLike, cov: ArrayLike, *, n_samples: int, key: jax.Array
) -> Array:
    """Independent draws of N(mean, cov) given the observed pixels, `[n_samples, n, d]`, exact but for `JITTER`.

    Args:
      observed: `[n, d]`; what it holds at missing pixels is not read, the rest is given back as it is.
      mask: True where observed, `[d]`.
      mean: `[d]`.
      cov: symmetric positive semi-definite, `[d, d]`; `JITTER` times its mean variance is added to its diagonal.
      n_samples: for each image.
      key: of the draws.

    Raises:
      ValueError: for a bad mask, shapes that do not match, entries that are not finite, a covariance that is not
        symmetric positive semi-definite, or fewer than one sample.
    """
    if n_samples < 1:
        raise ValueError(f"n_samples: found {n_samples}, allowed: at least 1")
    observed, mask = _check_observed(observed, mask)
    centre, root = _condition(observed, mask, mean, cov)
    draws = np.repeat(observed[None], n_samples, axis=0)
    draws[:, :, ~mask] = centre + _random.normal(key, (n_samples, *centre.shape)) @ root.T
    return draws


def conditional_mean(observed: ArrayLike, mask: ArrayLike, mean: ArrayLike, cov: ArrayLike) -> Array:
    """Mean of N(mean, cov) given the observed pixels, `[n, d]`: of what `conditional_gaussian` draws from.

    Raises:
      ValueError: as `conditional_gaussian`.
    """
    observed, mask = _check_observed(observed, mask)
    filled = observed.copy()
    filled[:, ~mask], _ = _condition(observed, mask, mean, cov)
    return filled


def _condition(observed: Array, mask: Mask, mean: ArrayLike, cov: ArrayLike) -> tuple[Array, Array]:
    """Conditional means of the missing pixels, `[n, m]`, and a root L of their covariance L Lᵀ, `[m, m]`.

    One Cholesky factor, observed pixels first: its lower right block is that of the Schur complement, which is never
    formed by a subtraction.
    """
    from scipy.linalg import solve_triangular

    mean, cov = _check_mean(mean, len(mask)), _check_cov(cov, len(mask))
    order = np.argsort(~mask, kind="stable")
    count = int(mask.sum())
    jittered = cov + JITTER * np.trace(cov) / len(cov) * np.eye(len(cov))
    try:
        factor = np.linalg.cholesky(jittered[np.ix_(order, order)])
    except np.linalg.LinAlgError:
        raise ValueError(
            f"cov: found a matrix that is not positive definite with {JITTER:g} of its mean variance added to its "
            "diagonal, allowed: positive semi-definite"
        ) from None
    whitened = solve_triangular(factor[:count, :count], (observed - mean)[:, mask].T, lower=True)
    return mean[~mask] + (factor[count:, :count] @ whitened).T, factor[count:, count:]


def _check_observed(observed: ArrayLike, mask: ArrayLike) -> tuple[Array, Mask]:
    """Observed images with 0 at missing pixels, and their mask."""
    array = np.asarray(observed, dtype=np.float64)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"observed: found shape {list(array.shape)}, allowed: non-empty [n, d]")
    mask = check_mask(mask, array.shape[1])
    return check_images("observed", np.where(mask, array, 0.0), len(mask)), mask


def _check_mean(mean: ArrayLike, dim: int) -> Array:
    array = np.asarray(mean, dtype=np.float64)
    if array.shape != (dim,):
        raise ValueError(f"mean: found shape {list(array.shape)}, allowed: [{dim}]")
    return check_images("mean", array[None])[0]


def _check_cov(cov: ArrayLike, dim: int) -> Array:
    cov = check_images("cov", cov, dim)
    if len(cov) != dim or not np.allclose(cov, cov.T, rtol=0, atol=1e-10 * np.abs(cov).max()):
        raise ValueError(f"cov: found shape {list(cov.shape)}, allowed: a symmetric [{dim}, {dim}]")
    return cov


def _check_pair(found: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    found, truth = check_images("found", found), check_images("truth", truth)
    if found.shape != truth.shape:
        raise ValueError(f"found: found shape {list(found.shape)}, allowed: {list(truth.shape)}, that of truth")
    return found, truth


def _check_draws(samples: ArrayLike, truth: ArrayLike, *, fewest: int) -> tuple[Array, Array]:
    truth = check_images("truth", truth)
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 3 or samples.shape[1:] != truth.shape or len(samples) < fewest:
        allowed = f"[s, {truth.shape[0]}, {truth.shape[1]}], s >= {fewest}"
        raise ValueError(f"samples: found shape {list(samples.shape)}, allowed: {allowed}")
    check_images("samples", samples.reshape(-1, samples.shape[2]), samples.shape[2])
    return samples, truth

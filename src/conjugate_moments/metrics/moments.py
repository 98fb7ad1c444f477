"""First two moments, of samples and of Gibbs measures, and their errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Moments(NamedTuple):
    """Mean `[d]` and covariance `[d, d]` of a law."""

    mean: Array
    cov: Array


def sample_moments(sample: ArrayLike) -> Moments:
    """Those of a sample `[n, d]`, n >= 2.

    Raises:
      ValueError: if the shape is another.
    """
    sample = _check_sample("sample", sample)
    return Moments(sample.mean(axis=0), np.cov(sample, rowvar=False).reshape(sample.shape[1], sample.shape[1]))


def gibbs_moments(points: ArrayLike, slopes: ArrayLike) -> Moments:
    """Those of P_w ∝ e^{-w}, from draws of it and ∇w at them.

    As E ∇w = 0 and E (x − mean) ∇wᵀ = I, both may be subtracted from the sample's moments, with the matrix of the
    linear regression of x on ∇w as coefficient. Where w is quadratic nothing random is left: the moments are exact,
    however few the draws (zero-variance control variates; Assaraf & Caffarel 1999, Mira, Solgi & Imparato 2013).

    Args:
      points: x, `[n, d]`, n > d + 1.
      slopes: ∇w(x), `[n, d]`.

    Raises:
      ValueError: if the shapes are others.
    """
    x, s = _check_sample("points", points), _check_sample("slopes", slopes)
    if s.shape != x.shape or len(x) <= x.shape[1] + 1:
        raise ValueError(f"points, slopes: expected [n, d] each, n > d + 1, found {x.shape} and {s.shape}")
    offsets = x - x.mean(axis=0)
    inverse = np.linalg.lstsq(s - s.mean(axis=0), offsets)[0]  # of the matrix of w
    mean = x.mean(axis=0) - s.mean(axis=0) @ inverse
    offsets = x - mean
    excess = (offsets.T @ s / len(x) - np.eye(x.shape[1])) @ inverse
    return Moments(mean, offsets.T @ offsets / len(x) - (excess + excess.T) / 2)


def mean_error(found: Moments, mean: ArrayLike, cov: ArrayLike) -> float:
    """|found mean - mean| over the root of the trace of `cov`; no unit.

    Raises:
      ValueError: if the shapes do not match.
    """
    mean, cov = _check_moments(found, mean, cov)
    return float(np.linalg.norm(found.mean - mean) / np.sqrt(np.trace(cov)))


def cov_error(found: Moments, mean: ArrayLike, cov: ArrayLike) -> float:
    """|found covariance - cov| over |cov|, Frobenius norms; no unit. `mean` is for its shape alone.

    Raises:
      ValueError: if the shapes do not match.
    """
    _, cov = _check_moments(found, mean, cov)
    return float(np.linalg.norm(found.cov - cov) / np.linalg.norm(cov))


def rms_std(cov: ArrayLike) -> float:
    """Root of the mean variance over the coordinates, for a covariance `[d, d]`."""
    cov = np.asarray(cov, dtype=np.float64)
    return float(np.sqrt(np.trace(cov) / len(cov)))


def _check_sample(name: str, sample: ArrayLike) -> Array:
    array = np.asarray(sample, dtype=np.float64)
    if array.ndim != 2 or len(array) < 2:
        raise ValueError(f"{name}: expected shape [n, d], n >= 2, found {list(array.shape)}")
    return array


def _check_moments(found: Moments, mean: ArrayLike, cov: ArrayLike) -> Moments:
    mean, cov = np.asarray(mean, dtype=np.float64), np.asarray(cov, dtype=np.float64)
    if found.mean.shape != mean.shape or found.cov.shape != cov.shape or cov.shape != mean.shape * 2:
        raise ValueError(
            f"found, mean, cov: expected shapes [d] and [d, d] twice, found {found.mean.shape}, {found.cov.shape}, "
            f"{mean.shape}, {cov.shape}"
        )
    return Moments(mean, cov)

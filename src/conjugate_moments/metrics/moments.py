"""Errors of a sample's first two moments."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def mean_error(sample: ArrayLike, mean: ArrayLike, cov: ArrayLike) -> float:
    """|sample mean - mean| over the root of the trace of `cov`, for a sample `[n, d]`; no unit.

    Raises:
      ValueError: if the shapes do not match.
    """
    sample, mean, cov = _check(sample, mean, cov)
    return float(np.linalg.norm(sample.mean(axis=0) - mean) / np.sqrt(np.trace(cov)))


def cov_error(sample: ArrayLike, mean: ArrayLike, cov: ArrayLike) -> float:
    """|sample covariance about the sample's mean - cov| over |cov|, Frobenius norms, for a sample `[n, d]`; no unit.

    Raises:
      ValueError: if the shapes do not match.
    """
    sample, mean, cov = _check(sample, mean, cov)
    found = np.cov(sample, rowvar=False).reshape(cov.shape)
    return float(np.linalg.norm(found - cov) / np.linalg.norm(cov))


def rms_std(cov: ArrayLike) -> float:
    """Root of the mean variance over the coordinates, for a covariance `[d, d]`."""
    cov = np.asarray(cov, dtype=np.float64)
    return float(np.sqrt(np.trace(cov) / len(cov)))


def _check(
    sample: ArrayLike, mean: ArrayLike, cov: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    sample, mean, cov = (np.asarray(array, dtype=np.float64) for array in (sample, mean, cov))
    if sample.ndim != 2 or len(sample) < 2 or sample.shape[1:] != mean.shape or cov.shape != mean.shape * 2:
        raise ValueError(
            f"sample, mean, cov: expected [n, d], [d], [d, d], found {sample.shape}, {mean.shape}, {cov.shape}"
        )
    return sample, mean, cov

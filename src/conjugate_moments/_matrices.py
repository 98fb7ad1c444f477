"""Symmetric positive definite matrices, to full accuracy whatever the scales of their coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]  # float64 throughout


def correlations(matrix: Array) -> tuple[Array, Array]:
    """The matrix `[d, d]` with its rows and columns scaled to a unit diagonal, and their scales `[d]`.

    A diagonal that is not positive is left as it is: no positive definite matrix has one.
    """
    diagonal = np.diag(matrix)
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    return matrix / scale[:, None] / scale, scale


def correlation_range(matrix: Array) -> tuple[float, float]:
    """Smallest and largest eigenvalue of the correlations: what decides whether a covariance is definite."""
    eigenvalues = np.linalg.eigvalsh(correlations(matrix)[0])
    return float(eigenvalues[0]), float(eigenvalues[-1])


def times(vectors: Any, matrix: Any) -> Any:
    """Rows of `vectors` `[n, d]` times a matrix `[d, d]` or a diagonal `[d]`; NumPy's arrays or JAX's."""
    return vectors * matrix if matrix.ndim == 1 else vectors @ matrix


def log_det(matrix: Array) -> float:
    """log of the determinant of a positive definite matrix `[d, d]`, or of a diagonal `[d]`."""
    return float(np.sum(np.log(matrix)) if matrix.ndim == 1 else np.linalg.slogdet(matrix)[1])


def symmetric_power(matrix: Array, exponent: float) -> Array:
    """Power of a symmetric positive definite matrix, `[d, d]`.

    From the Jacobi SVD of D K, where the matrix is D K Kᵀ D with K Kᵀ its correlations: eigenvalues as small as
    1e-24 of the largest keep the relative accuracy of the correlations (Drmač & Veselić 2008), which those of `eigh`
    lose at 1e-16.

    A diagonal may be given alone, `[d]`, and so is its power.

    Raises:
      LinAlgError: if the matrix is not positive definite.
    """
    from scipy.linalg import lapack

    if np.ndim(matrix) == 1:
        return np.asarray(matrix, dtype=np.float64) ** exponent

    correlation, scale = correlations(np.asarray(matrix, dtype=np.float64))
    # The third kind of accuracy: of D K for a K of moderate condition number; the right vectors are not asked for.
    factor = scale[:, None] * np.linalg.cholesky(correlation)
    values, vectors, _, work, _, failed = lapack.dgejsv(factor, joba=2, jobv=3)  # pyright: ignore
    if failed:
        raise np.linalg.LinAlgError(f"symmetric_power: the Jacobi SVD failed with info {failed}")
    return (vectors * (values * (work[0] / work[1])) ** (2 * exponent)) @ vectors.T


def shrunk_root(points: Array, scale: Array) -> Array:
    """Cholesky root of the covariance of points `[n, d]`, shrunk towards a multiple of diag(scale²), `[d, d]`.

    For points that are few (Ledoit & Wolf 2004).
    """
    from sklearn.covariance import ledoit_wolf

    return scale[:, None] * np.linalg.cholesky(ledoit_wolf(points / scale)[0])


def gaussian_map(cov: Array, target: Array) -> Array:
    """The symmetric positive A with A cov A = target: the Monge map between centred Gaussians, `[d, d]`."""
    root, inverse = symmetric_power(cov, 1 / 2), symmetric_power(cov, -1 / 2)
    return inverse @ symmetric_power(root @ target @ root, 1 / 2) @ inverse

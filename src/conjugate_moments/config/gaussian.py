"""Experiment 1: Gaussian laws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from conjugate_moments.config._messages import KeyPath, quote, refuse
from conjugate_moments.config.scales import Scales, check_scales


@dataclass(frozen=True)
class GaussianLaw:
    """N(mean, covariance) in dimension `len(mean)`."""

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Gaussian:
    """Experiment 1: Gaussian laws, and the standard deviations swept for the spread panel."""

    laws: Mapping[str, GaussianLaw]
    scales: Scales


def check_gaussian(gaussian: Gaussian) -> None:
    """Refuse covariances that are none, and scales that do not ascend."""
    for name, law in gaussian.laws.items():
        _check_covariance(("gaussian", "laws", name, "covariance"), law)
    check_scales(("gaussian", "scales"), gaussian.scales)


def _check_covariance(path: KeyPath, law: GaussianLaw) -> None:
    d = len(law.mean)
    columns = sorted({len(row) for row in law.covariance})
    if len(law.covariance) != d or columns != [d]:
        shape = f"{len(law.covariance)} rows of {' or '.join(map(str, columns))} numbers"
        refuse(path, shape, f"{d} rows of {d} numbers, as the mean has {d}")
    matrix = np.asarray(law.covariance)
    if np.any(matrix != matrix.T):
        i, j = np.argwhere(matrix != matrix.T)[0]
        refuse((*path, int(i), int(j)), quote(float(matrix[i, j])), f"{matrix[j, i]}, as the matrix is symmetric")
    eigenvalues = np.linalg.eigvalsh(matrix)
    if eigenvalues[0] <= d * np.finfo(np.float64).eps * abs(eigenvalues[-1]):
        refuse(path, f"the eigenvalue {eigenvalues[0]:.3g}", "a positive definite matrix")

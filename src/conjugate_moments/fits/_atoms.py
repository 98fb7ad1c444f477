"""Both factorisations of a finite sample, exactly: w and u are piecewise linear, e^-w and e^-u in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments.fits._fixed_point import FixedPoint, iterate
from conjugate_moments.potentials.piecewise_linear import PiecewiseExponential

Array = NDArray[np.floating]  # float64 throughout


@dataclass(frozen=True, eq=False)
class Atoms:
    """A discrete law: increasing `points` `[k]` with positive `weights` `[k]` that sum to 1."""

    points: Array
    weights: Array

    @classmethod
    def from_samples(cls, samples: ArrayLike) -> Atoms:
        """Atoms of equal weight, ties merged.

        Raises:
          TypeError: if `samples` is not a numeric array of at least single precision.
          ValueError: if it is not one-dimensional, is empty or constant, or holds NaN or infinity.
        """
        array = np.asarray(samples)
        if array.dtype.kind not in "iuf" or array.dtype == np.float16:
            raise TypeError(f"samples: expected integers, float32 or float64, found dtype {array.dtype}")
        if array.ndim != 1:
            raise ValueError(f"samples: expected a 1-D array, found shape {array.shape}")
        if not array.size:
            raise ValueError("samples: expected at least two distinct values, found an empty array")
        array = array.astype(np.float64)
        if not np.all(np.isfinite(array)):
            raise ValueError(f"samples: {np.sum(~np.isfinite(array))} of {array.size} values are NaN or infinite")
        points, counts = np.unique(array, return_counts=True)
        if len(points) < 2:
            raise ValueError(f"samples: expected at least two distinct values, all are {points[0]}")
        return cls(points, counts / array.size)

    @property
    def mean(self) -> float:
        """Mean of the sample."""
        return float(self.weights @ self.points)

    @property
    def std(self) -> float:
        """Standard deviation of the sample (divided by n)."""
        return float(np.sqrt(self.weights @ (self.points - self.mean) ** 2))


@dataclass(frozen=True, eq=False)
class AtomProblem:
    """The conjugate fixed point for atoms: w' is constant between neighbours, and equals G_w⁻¹ of the mass below."""

    atoms: Atoms

    @property
    def support(self) -> tuple[float, float]:
        """Hull of the sample, the domain of w."""
        return float(self.atoms.points[0]), float(self.atoms.points[-1])

    @property
    def levels(self) -> Array:
        """Mass below each gap between atoms, `[k - 1]`."""
        return np.cumsum(self.atoms.weights)[:-1]

    def update(self, slope: Array) -> tuple[Array, PiecewiseExponential]:
        """The Gibbs measure of w, and G_w⁻¹ at the levels."""
        density = PiecewiseExponential(self.atoms.points, slope)
        return density.quantile(self.levels), density

    def expectation(self, values: Array) -> float:
        """Mean of a function of the gaps, each weighted by half of its two atoms."""
        weights = (self.atoms.weights[1:] + self.atoms.weights[:-1]) / 2
        return float(weights @ values / weights.sum())

    def log_density(self, density: PiecewiseExponential, x: float) -> float:
        """Log density of the Gibbs measure at one point."""
        return -float(density.potential(np.asarray(x))) - density.log_normaliser

    def massive(self) -> NDArray[np.bool_]:
        """Every gap."""
        return np.ones(len(self.atoms.points) - 1, dtype=bool)

    def relevant(self, density: PiecewiseExponential) -> NDArray[np.bool_]:
        """Every gap."""
        return self.massive()


def solve_conjugate_atoms(
    atoms: Atoms, *, damping: float | None, memory: int, tolerance: float, max_iterations: int
) -> FixedPoint[PiecewiseExponential]:
    """Solve w' = G_w⁻¹∘F_ρ for a sample."""
    problem = AtomProblem(atoms)
    scale = atoms.std ** (1 / 3)
    middles = (atoms.points[1:] + atoms.points[:-1]) / 2
    centre = np.clip(atoms.mean / (1 + scale**2), *problem.support)
    start = np.clip(centre + (middles - atoms.mean) / scale**2, *problem.support)
    return iterate(problem, start, damping=damping, memory=memory, tolerance=tolerance, max_iterations=max_iterations)


def solve_moment_atoms(atoms: Atoms) -> tuple[Array, Array]:
    """Kinks of u and log density of P_u there, both `[k - 1]`, for the sample about its mean.

    The mass of a piece of slope y is its weight: e^{-u} falls from g to g - weight * y along it.
    """
    y = atoms.points - atoms.mean
    from_left, from_right = -np.cumsum(atoms.weights * y), np.cumsum((atoms.weights * y)[::-1])[::-1]
    density = np.where(y[:-1] < 0, from_left[:-1], from_right[1:])
    inner = slice(1, -1)
    before = density[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        drop = atoms.weights[inner] * y[inner] / before
        lengths = atoms.weights[inner] / before * np.where(np.abs(drop) < 1e-12, 1.0, -np.log1p(-drop) / drop)
    kinks = np.concatenate([[0.0], np.cumsum(lengths)])
    centre = int(np.searchsorted(y, 0.0))
    origin = (kinks[centre - 1] + kinks[centre]) / 2 if y[centre] == 0 else kinks[centre - 1]
    return kinks - origin, np.log(density)

"""Distances between samples in several dimensions; those on the line are in `wasserstein`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments import _random
from conjugate_moments.metrics._entropic import entropic_self_transport, entropic_transport
from conjugate_moments.metrics.uvp import Estimate

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout
Distance = TypeVar("Distance")

THRESHOLD = 1e-4  # largest L¹ error of a marginal that counts as converged
LARGEST_STEPS = 500  # of each transport problem; a dozen are usual
LARGEST_MATCHING = 3_000
DIRECTIONS = 512  # at least as many are projected on
FRAMES = 8  # at least as many independent frames, for the standard error


class Sampler(Protocol):
    """The `sample` method of a law."""

    def __call__(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent draws, `[n, d]`."""
        ...


@dataclass(frozen=True)
class SinkhornDivergence:
    """A converged Sinkhorn divergence.

    Args:
      value: in the square of the points' unit.
      epsilon: regularisation, in the same unit.
      residual: largest L¹ error of a marginal among its three transport problems, at most `THRESHOLD`.
      steps: most that one of them took at this regularisation.
    """

    value: float
    epsilon: float
    residual: float
    steps: int


def sinkhorn_divergence(x: ArrayLike, y: ArrayLike, *, epsilon: float) -> SinkhornDivergence:
    """Sinkhorn divergence of two samples with cost |x - y|² (Feydy et al. 2019), in float64.

    OT_ε(x, y) - (OT_ε(x, x) + OT_ε(y, y)) / 2: W2² as ε falls to 0, and |c|² between a sample and itself moved by c.
    Memory is quadratic: 32 MB for each of some five matrices of 2,000 points.

    Args:
      x: `[n, d]`.
      y: `[m, d]`.
      epsilon: positive, in the square of the points' unit.

    Raises:
      ValueError: if the shapes do not match, an entry is not finite, or epsilon is not positive and finite.
      ArithmeticError: if one of the three problems has not converged after `LARGEST_STEPS` steps.
    """
    from scipy.spatial.distance import cdist

    x, y = _check_samples(x, y)
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon: expected a positive finite number, found {epsilon}")
    limits = {"threshold": THRESHOLD, "most": LARGEST_STEPS}
    between = entropic_transport(cdist(x, y, "sqeuclidean"), epsilon, **limits)
    within = [entropic_self_transport(cdist(z, z, "sqeuclidean"), epsilon, **limits) for z in (x, y)]
    solved = [between, *within]
    value = between.value - (within[0].value + within[1].value) / 2
    residual, steps = max(part.residual for part in solved), max(part.steps for part in solved)
    if not (residual <= THRESHOLD and math.isfinite(value)):
        raise ArithmeticError(
            f"sinkhorn_divergence: not converged at epsilon {epsilon:g}, a marginal is off by {residual:.3g} after "
            f"{steps} steps; raise epsilon"
        )
    return SinkhornDivergence(value, epsilon, residual, steps)


def matched_w2(x: ArrayLike, y: ArrayLike) -> float:
    """W2 between the empirical laws of two samples of equal size, `[n, d]` each: exact, by optimal assignment.

    The cost is cubic in n at worst, hence the limit of `LARGEST_MATCHING` points.

    Raises:
      ValueError: if the shapes differ or are not `[n, d]`, an entry is not finite, or there are too many points.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    x, y = _check_equal(x, y)
    if len(x) > LARGEST_MATCHING:
        raise ValueError(f"x, y: at most {LARGEST_MATCHING} points can be matched, found {len(x)}")
    cost = cdist(x, y, "sqeuclidean")
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


def gibbs_distance(x: ArrayLike, y: ArrayLike, *, key: jax.Array) -> Estimate:
    """√d times the sliced W2 distance between two samples of equal size, `[n, d]` each: for Gibbs measures in high d.

    (d · mean_θ W2²(⟨θ, x⟩, ⟨θ, y⟩))^{1/2} over unit θ: at most W2, and equal to it if y is x moved or enlarged
    isotropically. The θ come in random orthonormal frames, at least `FRAMES` of them and at least `DIRECTIONS`
    directions: no frame's sum exceeds W2², and each finds a translation's length without error. The standard error is
    that of the choice of frames alone; `noise_floor` shows what finite samples add.

    Args:
      x: `[n, d]`.
      y: `[n, d]`.
      key: decides the frames.

    Raises:
      ValueError: if the shapes differ or are not `[n, d]`, or an entry is not finite.
    """
    import jax

    x, y = _check_equal(x, y)
    dim = x.shape[1]
    frames = max(FRAMES, math.ceil(DIRECTIONS / dim))
    squares = np.empty(frames)
    for i in range(frames):
        frame, _ = np.linalg.qr(_random.normal(jax.random.fold_in(key, i), (dim, dim)))
        squares[i] = np.sum(np.mean((np.sort(x @ frame, axis=0) - np.sort(y @ frame, axis=0)) ** 2, axis=0))
    value, error = math.sqrt(squares.mean()), squares.std(ddof=1) / math.sqrt(frames)
    return Estimate(value, float(error / (2 * value)) if value else 0.0)


def noise_floor(distance: Callable[[Array, Array], Distance], sample: Sampler, n: int, *, key: jax.Array) -> Distance:
    """What a distance is between two independent samples of the truth: no fit can be expected to score less.

    Args:
      distance: of two samples, such as `matched_w2`.
      sample: the truth's.
      n: draws in each.
      key: split between the two.
    """
    import jax

    first, second = jax.random.split(key)
    return distance(sample(n, key=first), sample(n, key=second))


def _check_samples(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not (x.size and y.size):
        raise ValueError(f"x, y: expected non-empty samples [n, d] and [m, d], found shapes {x.shape} and {y.shape}")
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
        raise ValueError("x, y: expected finite samples")
    return x, y


def _check_equal(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = _check_samples(x, y)
    if len(x) != len(y):
        raise ValueError(f"x, y: expected two samples of the same size, found {len(x)} and {len(y)} points")
    return x, y

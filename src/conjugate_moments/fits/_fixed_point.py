"""The damped fixed point w ← (1-λ) w + λ ∫ G_w⁻¹∘F_ρ in one dimension, with optional Anderson acceleration.

The unknown is the slope w' at finitely many points. The plain iteration (λ = 1) diverges for std(ρ) > 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]  # float64 throughout
Density = TypeVar("Density")


class Problem(Protocol[Density]):
    """One discretisation of the fixed point."""

    @property
    def support(self) -> tuple[float, float]:
        """Hull of the law's support, the domain of w."""
        ...

    def update(self, slope: Array) -> tuple[Array, Density]:
        """The Gibbs measure of w, and G_w⁻¹∘F_ρ at the points."""
        ...

    def expectation(self, values: Array) -> float:
        """Mean under ρ of a function known at the points."""
        ...

    def log_density(self, density: Density, x: float) -> float:
        """Log density of the Gibbs measure at one point."""
        ...

    def relevant(self, density: Density) -> NDArray[np.bool_]:
        """Points that count: elsewhere neither the law nor its Gibbs measure has mass."""
        ...

    def massive(self) -> NDArray[np.bool_]:
        """Points where a slope out of order is an error rather than rounding."""
        ...


@dataclass(frozen=True, eq=False)
class FixedPoint(Generic[Density]):
    """Where the iteration stopped.

    Args:
      slope: w' at the points: the last image under the undamped update, or its argument where that image was not
        monotone because the points are too coarse.
      density: the Gibbs measure that this image was taken against.
      changes: largest |update - w'| of each iteration where it counts, relative to the slope's distance from its mean
        plus the standard deviation of the Gibbs measure.
      converged: whether the last change met the tolerance.
    """

    slope: Array
    density: Density
    changes: tuple[float, ...]
    converged: bool


def _anderson(points: list[Array], gaps: list[Array], damping: float, scale: Array) -> Array:
    """Damped step from the combination of past iterates whose gaps nearly cancel (type II Anderson mixing)."""
    point, gap = points[-1], gaps[-1]
    if len(points) == 1:
        return point + damping * gap
    moves = np.stack([point - p for p in points[:-1]], axis=1)
    turns = np.stack([gap - g for g in gaps[:-1]], axis=1)
    mixture = np.linalg.lstsq(turns / scale[:, None], gap / scale, rcond=1e-12)[0]
    return point + damping * gap - (moves + damping * turns) @ mixture


def stein_kernel_at_mean(problem: Problem[Density], density: Density, image: Array) -> float:
    """τ(m) = E|x - m| / (2 p(m)) of the Gibbs measure, whose samples are the image of the law.

    A shift of w' by c moves G_w⁻¹ at x by -c τ(x), where (τ p)' = -(x - m) p: the Stein kernel, the constant s for
    N(a, s). Its largest value is the norm of the update's derivative, so λ = 1/(1+τ) damps the fastest mode. For a
    Gaussian law this is 1/(1+σ^{2/3}), and removes the error of the mean in one step.
    """
    mean = problem.expectation(image)
    with np.errstate(over="ignore"):
        return float(problem.expectation(np.abs(image - mean)) * np.exp(-problem.log_density(density, mean)) / 2)


def iterate(
    problem: Problem[Density],
    start: Array,
    *,
    damping: float | None,
    memory: int,
    tolerance: float,
    max_iterations: int,
    patience: int = 60,
) -> FixedPoint[Density]:
    """Run the damped iteration from the slope `start` until its undamped change is at most `tolerance`.

    Args:
      problem: the law and its discretisation.
      start: the first slope, at the problem's points.
      damping: λ in (0, 1]; None takes 1/(1+τ) anew at every step, less where the last step overshot.
      memory: past iterates that Anderson acceleration combines; 0 is the plain damped iteration.
      tolerance: on `changes`.
      max_iterations: evaluations of the update.
      patience: accelerated iterations without progress after which none is expected.
    """
    slope, caution = start, 1.0
    changes: list[float] = []
    points: list[Array] = []
    gaps: list[Array] = []
    # A sample of two values has a single slope, which does not spread.
    width = problem.support[1] - problem.support[0]
    floor = 1e-6 * width if np.isfinite(width) else 0.0
    while True:
        image, density = problem.update(slope)
        rising = np.maximum.accumulate(image)
        mean = problem.expectation(rising)
        spread = np.sqrt(max(problem.expectation((rising - mean) ** 2), 0.0))
        if not np.all((rising - image)[problem.massive()] <= 1e-6 * spread):
            # The image of a law is monotone; where it is not, the points do not resolve the Gibbs measure.
            return FixedPoint(slope, density, tuple(changes), converged=False)
        image = rising
        gap = image - slope
        scale = np.maximum(spread + np.abs(image - mean), floor)
        changes.append(float(np.max(np.abs(gap / scale)[problem.relevant(density)])))
        converged = changes[-1] <= tolerance
        stalled = memory and len(changes) > patience and min(changes[-patience:]) > 0.9 * min(changes[:-patience])
        lost = len(changes) > 20 and changes[-1] > 1e6
        if converged or stalled or lost or len(changes) >= max_iterations or not np.isfinite(changes[-1]):
            return FixedPoint(image, density, tuple(changes), converged)
        if damping is None:
            # A gap that turned round without shrinking was overshot: the map is steeper ahead than it is here.
            if gaps and problem.expectation(gap * (gap + gaps[-1] / 2)) < 0:
                caution, points, gaps = caution / 4, [], []
            else:
                caution = min(1.0, 1.25 * caution)
            step = caution / (1.0 + stein_kernel_at_mean(problem, density, image))
        else:
            step = damping
        if len(changes) > 1 and changes[-1] > 2 * min(changes[-memory - 1 :]):
            points, gaps = [], []
        points = [*points[-memory:], slope] if memory else [slope]
        gaps = [*gaps[-memory:], gap] if memory else [gap]
        mixed = _anderson(points, gaps, step, scale)
        # An extrapolated slope need not be monotone; the damped one always is.
        if memory and np.any(np.diff(mixed) < -1e-12 * spread):
            mixed = slope + step * gap
        slope = np.clip(mixed, *problem.support)

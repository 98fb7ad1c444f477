"""Entropic optimal transport between two samples of equal weights, from the matrix of their costs. Float64.

In one potential f, the other being its soft transform, the dual is smooth and concave, and Newton's method needs
some forty conjugate gradients where Sinkhorn's iterations need thousands: where samples have heavy tails, or touch in
few places, the latter converge at a rate close to 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]  # float64 throughout

COOLING = 4.0  # ratio of successive regularisations, from the mean cost down
WARM = 1e-2  # error of a marginal at which the regularisation is lowered
WARM_STEPS = 20  # at most, at each regularisation above the last
PRODUCTS = 200  # conjugate gradients of a Newton step, at most
DAMPING = 1e-3  # of the first Newton step, relative to the diagonal
LEAST_DAMPING = 1e-8
HALVINGS = 8  # of a Newton step, at most
ASCENT = 1e-4  # share of the expected gain that a step must have (Armijo 1966)


class Entropic(NamedTuple):
    """A solved transport problem.

    Args:
      value: of the dual, min ⟨P, C⟩ + ε KL(P, a ⊗ b) where it is solved; off by the square of the residual.
      residual: L¹ error of the marginal that is not exact.
      steps: at this regularisation.
    """

    value: float
    residual: float
    steps: int


def entropic_transport(cost: Array, epsilon: float, *, threshold: float, most: int) -> Entropic:
    """OT_ε by Newton's method on the semi-dual, from one regularisation to the next smaller (Schmitzer 2019).

    Each step is a sweep of Sinkhorn's, which never lowers the dual, and a truncated Newton step (Dembo & Steihaug
    1983), which is taken where it raises it: so it converges from anywhere, and fast near the solution.

    Args:
      cost: `[n, m]`.
      epsilon: regularisation.
      threshold: largest `residual` to stop at.
      most: steps; a residual above `threshold` says that they were not enough.
    """
    f, level = np.zeros(len(cost)), max(float(cost.mean()), epsilon)
    while level > epsilon:
        f, _ = _ascend(cost, f, level, WARM, WARM_STEPS)
        level /= COOLING
    return _ascend(cost, f, epsilon, threshold, most)[1]


def entropic_self_transport(cost: Array, epsilon: float, *, threshold: float, most: int) -> Entropic:
    """OT_ε of a sample to itself, whose two potentials are one: averaged sweeps (Feydy et al. 2019, eq. 25).

    Near the solution each of them at least halves the error.

    Args:
      cost: `[n, n]`, symmetric.
      epsilon: regularisation.
      threshold: largest `residual` to stop at.
      most: sweeps.
    """
    f, steps = np.zeros(len(cost)), 0
    while True:
        g, _ = _transform(cost, f, epsilon)
        # Of the plan of (f, f), row i has the mass e^{(f_i - g_i)/ε}/n.
        residual = float(np.mean(np.abs(np.expm1((f - g) / epsilon))))
        if residual <= threshold or steps == most:
            return Entropic(float(f.mean() + g.mean()), residual, steps)
        f, steps = (f + g) / 2, steps + 1


def _ascend(cost: Array, f: Array, epsilon: float, threshold: float, most: int) -> tuple[Array, Entropic]:
    """The potential f of a solved problem, from another one."""
    g, _ = _transform(cost, f, epsilon)
    damping, steps = DAMPING, 0
    while True:
        # After a sweep no row of the plan is empty, however far its point.
        f, _ = _transform(cost.T, g, epsilon)
        g, plan = _transform(cost, f, epsilon)
        missing = 1 / len(f) - plan.sum(axis=1)
        residual = float(np.abs(missing).sum())
        if residual <= threshold or steps == most:
            return f, Entropic(float(f.mean() + g.mean()), residual, steps)
        move = _newton_step(plan, missing, epsilon, damping, min(0.1, residual))
        g, length = _raised(cost, f, g, move, float(missing @ move), epsilon)
        damping, steps = max(damping / 4, LEAST_DAMPING) if length == 1 else damping * 4, steps + 1


def _raised(cost: Array, f: Array, g: Array, move: Array, slope: float, epsilon: float) -> tuple[Array, float]:
    """The transform of f + length · move where that raises the dual, g with a length of 0 where none does."""
    value, length = f.mean() + g.mean(), 1.0
    for _ in range(HALVINGS):
        trial = f + length * move
        moved, _ = _transform(cost, trial, epsilon)
        if trial.mean() + moved.mean() >= value + ASCENT * length * slope:
            return moved, length
        length /= 2
    return g, 0.0


def _transform(cost: Array, f: Array, epsilon: float) -> tuple[Array, Array]:
    """g_j = −ε log mean_i e^{(f_i − C_ij)/ε}, `[m]`, and the plan of f and g, of whose columns each sums to 1/m."""
    plan = (f[:, None] - cost) / epsilon
    top = plan.max(axis=0)
    plan -= top
    np.exp(plan, out=plan)
    sums = plan.sum(axis=0)
    plan /= len(sums) * sums
    return -epsilon * (top + np.log(sums / len(f))), plan


def _newton_step(plan: Array, missing: Array, epsilon: float, damping: float, tolerance: float) -> Array:
    """Solve (diag((1 + damping) P1) − m P Pᵀ) z = ε missing by preconditioned conjugate gradients."""
    n, m = plan.shape
    rows = 1 / n - missing
    kept = (1 + damping) * rows
    # Of a plan that is a matching the diagonal is what damping adds, and may round to less.
    diagonal = np.maximum(kept - m * np.einsum("ij,ij->i", plan, plan), damping * rows)
    residual = epsilon * missing
    found, scaled = np.zeros(n), residual / diagonal
    direction, norm = scaled, float(residual @ scaled)
    target = tolerance**2 * norm
    for _ in range(PRODUCTS):
        if norm <= target:
            break
        image = kept * direction - m * (plan @ (direction @ plan))
        length = norm / (direction @ image)
        found, residual = found + length * direction, residual - length * image
        scaled = residual / diagonal
        norm, last = float(residual @ scaled), norm
        direction = scaled + norm / last * direction
    return found

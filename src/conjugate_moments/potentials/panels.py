"""Functions on a line as piecewise Chebyshev interpolants: evaluate, integrate, invert.

An interval is cut into panels. On each, a function is known by its values at `ORDER` Chebyshev-Lobatto points, so
neighbouring panels share their end values. All arrays are float64; panel arrays have shape `[panels, ORDER]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]  # float64 throughout

ORDER = 17
NODES = -np.cos(np.pi * np.arange(ORDER) / (ORDER - 1))
TO_COEFFICIENTS = np.linalg.inv(chebyshev.chebvander(NODES, ORDER - 1))


def _values_of(transform: Callable[[Array], Array]) -> Array:
    """Matrix from values at the nodes to the values there of `transform` of their interpolant."""
    columns = [chebyshev.chebval(NODES, transform(unit)) for unit in np.eye(ORDER)]
    return np.stack(columns, axis=1) @ TO_COEFFICIENTS


INTEGRATE_FROM_LEFT = _values_of(lambda c: chebyshev.chebint(c, lbnd=-1))
INTEGRATE_TO_RIGHT = INTEGRATE_FROM_LEFT[-1] - INTEGRATE_FROM_LEFT
DIFFERENTIATE = _values_of(chebyshev.chebder)
WEIGHTS = INTEGRATE_FROM_LEFT[-1]


def evaluate(coefficients: Array, t: Array) -> Array:
    """Clenshaw's sum of the Chebyshev series `coefficients` `[..., n, ORDER]` at `t` `[n]` in [-1, 1]."""
    twice = 2 * t
    current, upper = coefficients[..., -1], np.zeros(())
    for k in range(ORDER - 2, 0, -1):
        current, upper = twice * current - upper + coefficients[..., k], current
    return t * current - upper + coefficients[..., 0]


@dataclass(frozen=True, eq=False)
class Panels:
    """A partition of `[edges[0], edges[-1]]` into panels with Chebyshev-Lobatto nodes.

    Args:
      edges: strictly increasing panel ends, shape `[panels + 1]`.
    """

    edges: Array

    @cached_property
    def half_widths(self) -> Array:
        """Half the width of each panel, `[panels]`."""
        return np.diff(self.edges) / 2

    @cached_property
    def midpoints(self) -> Array:
        """Midpoint of each panel, `[panels]`."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    @cached_property
    def nodes(self) -> Array:
        """Interpolation points, `[panels, ORDER]`; the first and last of a row are the panel's ends exactly."""
        nodes = self.midpoints[:, None] + self.half_widths[:, None] * NODES
        nodes[:, 0], nodes[:, -1] = self.edges[:-1], self.edges[1:]
        return nodes

    def __len__(self) -> int:
        return len(self.edges) - 1

    def locate(self, x: Array, *, side: Literal["left", "right"] = "right") -> tuple[NDArray[np.intp], Array]:
        """Panel index and reference coordinate in [-1, 1] of each point `x` `[n]`, clipped to the interval.

        A shared end belongs to the panel on its `side`.
        """
        panel = np.clip(np.searchsorted(self.edges, x, side=side) - 1, 0, len(self) - 1)
        return panel, np.clip((x - self.midpoints[panel]) / self.half_widths[panel], -1.0, 1.0)

    def antiderivative(self, values: Array, *, origin: int = 0) -> Array:
        """Integral from the left end of panel `origin` to each node, `[panels, ORDER]`.

        Sums run outwards from the origin, so that huge values far out leave the digits near it alone.
        """
        within = self.half_widths[:, None] * (values @ INTEGRATE_FROM_LEFT.T)
        whole = within[:, -1]
        right = np.cumsum(whole[origin:-1])
        left = -np.cumsum(whole[:origin][::-1])[::-1]
        return within + np.concatenate([left, [0.0], right])[:, None]

    def derivative(self, values: Array) -> Array:
        """Derivative of the interpolant at each node, `[panels, ORDER]`."""
        return (values @ DIFFERENTIATE.T) / self.half_widths[:, None]

    def split(self, which: NDArray[np.bool_]) -> Panels:
        """The same interval with the marked panels halved."""
        return Panels(np.sort(np.concatenate([self.edges, self.midpoints[which]])))


@dataclass(frozen=True, eq=False)
class PiecewiseFunction:
    """The interpolant of `values` `[panels, ORDER]` at the nodes of `panels`."""

    panels: Panels
    values: Array

    @cached_property
    def coefficients(self) -> Array:
        """Chebyshev coefficients, `[panels, ORDER]`."""
        return self.values @ TO_COEFFICIENTS.T

    def __call__(self, x: ArrayLike) -> Array:
        """Values at `x`, any shape; constant beyond the interval."""
        points = np.asarray(x, dtype=np.float64)
        panel, t = self.panels.locate(points.ravel())
        return evaluate(self.coefficients[panel], t).reshape(points.shape)

    def truncation(self) -> Array:
        """Size of the last coefficients of each panel, `[panels]`: an estimate of its interpolation error."""
        return np.abs(self.coefficients[:, -3:]).max(axis=1)

    def inverse(self, targets: ArrayLike) -> Array:
        """Points where this increasing function takes the values `targets`; ends of the interval for those beyond.

        Newton between the two nodes that bracket each target, from their secant, with bisection as its safeguard.
        """
        goals = np.asarray(targets, dtype=np.float64)
        flat = goals.ravel()
        known = np.maximum.accumulate(self.values.ravel())
        at = np.clip(np.searchsorted(known, flat, side="right") - 1, 0, len(known) - 2)
        panel, node = at // ORDER, np.minimum(at % ORDER, ORDER - 2)
        slopes = self.values @ DIFFERENTIATE.T @ TO_COEFFICIENTS.T
        low, high = NODES[node], NODES[node + 1]
        below, above = known[panel * ORDER + node], known[panel * ORDER + node + 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.clip(np.nan_to_num(low + (high - low) * (flat - below) / (above - below)), low, high)
        todo = np.arange(len(flat))
        for step in range(60):
            here, last = panel[todo], t[todo]
            gap = evaluate(self.coefficients[here], last) - flat[todo]
            low[todo], high[todo] = np.where(gap < 0, last, low[todo]), np.where(gap < 0, high[todo], last)
            with np.errstate(divide="ignore", invalid="ignore"):
                newton = last - gap / evaluate(slopes[here], last)
            # Every third step bisects, so that flat stretches cannot stall Newton.
            inside = (newton >= low[todo]) & (newton <= high[todo]) & (step % 3 != 2)
            t[todo] = moved = np.where(inside, newton, (low[todo] + high[todo]) / 2)
            todo = todo[(np.abs(moved - last) > 4e-16) & (high[todo] - low[todo] > 4e-16)]
            if not todo.size:
                break
        t = np.where(flat <= known[0], -1.0, np.where(flat >= known[-1], 1.0, t))
        points = self.panels.midpoints[panel] + self.panels.half_widths[panel] * t
        points = np.where(t == -1.0, self.panels.edges[panel], np.where(t == 1.0, self.panels.edges[panel + 1], points))
        return points.reshape(goals.shape)

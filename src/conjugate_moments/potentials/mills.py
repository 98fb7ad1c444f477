"""The two Mills ratios of a log-concave density e^{-w} on a line, and inversion of its CDF far into both tails.

The right Mills ratio R(x) = e^{w(x)} ∫_x^∞ e^{-w} solves R' = w' R - 1. It stays smooth and moderate where the tail
integral itself underflows, so tails of mass e^{-1000} keep full relative accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from conjugate_moments.potentials.panels import (
    DIFFERENTIATE,
    INTEGRATE_FROM_LEFT,
    INTEGRATE_TO_RIGHT,
    ORDER,
    Array,
    Panels,
    PiecewiseFunction,
    evaluate,
)


def _gaussian_mills(slope: Array | float, curvature: float) -> Array:
    """Mills ratio of a density whose potential continues as a quadratic of this slope and curvature."""
    return np.sqrt(np.pi / (2 * curvature)) * special.erfcx(slope / np.sqrt(2 * curvature))


STIFF = 1e5  # rise of w over half a panel beyond which the ratio is its own asymptotic series


def solve_tail(halves: Array, slopes: Array, integrate: Array, distances: Array) -> tuple[Array, Array]:
    """Collocate R + ∫ w' R = R_end + distance on each panel; the parts that R_end and the distance contribute.

    On panels where w rises by more than `STIFF`, where collocation would lose every digit, R = 1/w' - w''/w'³.
    """
    matrix = np.eye(ORDER) + (halves[:, None, None] * integrate) * slopes[:, None, :]
    stiff = halves * slopes.min(axis=1) > STIFF
    matrix[stiff] = np.eye(ORDER)
    sides = np.stack([np.ones_like(slopes), distances], axis=-1)
    solution = np.linalg.solve(matrix, sides)
    from_end, from_distance = solution[..., 0], solution[..., 1]
    outwards = 1.0 if integrate is INTEGRATE_TO_RIGHT else -1.0
    curvature = outwards * (slopes[stiff] @ DIFFERENTIATE.T) / halves[stiff, None]
    from_end[stiff] = 0.0
    from_distance[stiff] = (1.0 - curvature / slopes[stiff] ** 2) / slopes[stiff]
    return from_end, from_distance


@dataclass(frozen=True, eq=False)
class LogConcaveDensity:
    """The probability density e^{-w}/Z on `support`, with w known on panels and continued as a quadratic beyond them.

    Args:
      panels: resolve w; they end at the support where it is bounded.
      slope: w' at the nodes, non-decreasing, shape `[panels, ORDER]`.
      support: ends of the density's support, infinite where unbounded.
    """

    panels: Panels
    slope: Array
    support: tuple[float, float]
    potential: PiecewiseFunction
    mode: float
    left: PiecewiseFunction
    right: PiecewiseFunction
    left_curvature: float
    right_curvature: float
    log_normaliser: float
    log_cdf_mode: float

    @classmethod
    def from_slope(cls, panels: Panels, slope: Array, support: tuple[float, float]) -> LogConcaveDensity:
        """Integrate w' and both Mills ratios from outside to the mode: the panel end nearest w's minimum, its zero."""
        ends = np.append(slope[:, 0], slope[-1, -1])
        after = min(int(np.searchsorted(np.maximum.accumulate(ends), 0.0)), len(panels))
        split = after if abs(ends[after]) <= abs(ends[max(after - 1, 0)]) else max(after - 1, 0)
        raw = panels.antiderivative(slope, origin=min(split, len(panels) - 1))
        potential = PiecewiseFunction(panels, raw - (raw[split, 0] if split < len(panels) else raw[-1, -1]))
        nodes, edges, halves = panels.nodes, panels.edges, panels.half_widths
        # A secant over the last panel is steadier than a spectral derivative at its very end.
        tiny = 1e-300
        left_curvature = max(float(slope[0, -1] - slope[0, 0]) / (2 * halves[0]), tiny)
        right_curvature = max(float(slope[-1, -1] - slope[-1, 0]) / (2 * halves[-1]), tiny)

        right = np.zeros_like(slope)
        end = 0.0 if np.isfinite(support[1]) else float(_gaussian_mills(slope[-1, -1], right_curvature))
        distances = edges[split + 1 :, None] - nodes[split:]
        from_end, from_distance = solve_tail(halves[split:], slope[split:], INTEGRATE_TO_RIGHT, distances)
        for j in range(len(panels) - 1, split - 1, -1):
            right[j] = from_distance[j - split] + end * from_end[j - split]
            end = right[j, 0]
        mass_right = max(end, 0.0)

        left = np.zeros_like(slope)
        end = 0.0 if np.isfinite(support[0]) else float(_gaussian_mills(-slope[0, 0], left_curvature))
        distances = nodes[:split] - edges[:split, None]
        from_end, from_distance = solve_tail(halves[:split], -slope[:split], INTEGRATE_FROM_LEFT, distances)
        for j in range(split):
            left[j] = from_distance[j] + end * from_end[j]
            end = left[j, -1]
        mass_left = max(end, 0.0)

        mode = float(edges[split])
        with np.errstate(divide="ignore"):
            log_normaliser = float(np.log(mass_left + mass_right))
            log_cdf_mode = float(np.log(mass_left) - log_normaliser)
        return cls(
            panels,
            slope,
            support,
            potential,
            mode,
            PiecewiseFunction(panels, left),
            PiecewiseFunction(panels, right),
            left_curvature,
            right_curvature,
            log_normaliser,
            log_cdf_mode,
        )

    @cached_property
    def _with_left(self) -> Array:
        """Coefficients of the potential and of the left Mills ratio, `[2, panels, ORDER]`: evaluated in one go."""
        return np.stack([self.potential.coefficients, self.left.coefficients])

    @cached_property
    def _with_right(self) -> Array:
        return np.stack([self.potential.coefficients, self.right.coefficients])

    def _beyond(self, x: Array, w: Array, mills: Array | None, *, upper: bool) -> None:
        """Overwrite, in place, the entries of `w` and `mills` that lie beyond the panels with the continuation."""
        sign, edge = (1.0, self.panels.edges[-1]) if upper else (-1.0, self.panels.edges[0])
        outside = sign * (x - edge) > 0
        if not outside.any():
            return
        curvature = self.right_curvature if upper else self.left_curvature
        slope = sign * (self.slope[-1, -1] if upper else self.slope[0, 0])
        distance = sign * (x[outside] - edge)
        end = self.potential.values[-1, -1] if upper else self.potential.values[0, 0]
        w[outside] = end + slope * distance + curvature * distance**2 / 2
        if mills is not None:
            mills[outside] = _gaussian_mills(slope + curvature * distance, curvature)

    def bulk(self, depth: float) -> tuple[float, float]:
        """Ends of the interval where w is less than `depth` above its minimum; the support's, if it ends sooner."""
        nodes, w = self.panels.nodes.ravel(), self.potential.values.ravel()
        inside = np.flatnonzero(w < depth)
        ends = []
        for at, step, end in ((inside[0], -1, self.support[0]), (inside[-1], 1, self.support[1])):
            beyond = at + step
            if 0 <= beyond < len(nodes):
                ends.append(float(nodes[beyond]))
            else:
                ends.append(float(nodes[at] if np.isfinite(end) else 2 * nodes[at] - self.mode))
        return ends[0], ends[1]

    def log_density(self, x: Array) -> Array:
        """log e^{-w(x)}/Z at `x` `[n]`; minus infinity outside the support."""
        panel, t = self.panels.locate(x)
        w = evaluate(self.potential.coefficients[panel], t)
        self._beyond(x, w, None, upper=True)
        self._beyond(x, w, None, upper=False)
        inside = (x >= self.support[0]) & (x <= self.support[1])
        return np.where(inside, -w - self.log_normaliser, -np.inf)

    def log_tail(self, x: Array, *, upper: bool) -> tuple[Array, Array]:
        """Log mass beyond `x` `[n]` on one side of the mode, and the Mills ratio there."""
        panel, t = self.panels.locate(x, side="right" if upper else "left")
        w, mills = evaluate((self._with_right if upper else self._with_left)[:, panel], t)
        end = self.support[1] if upper else self.support[0]
        if np.isfinite(end):
            # Rounding can take the ratio through 0 just before the end, where it equals the distance left.
            mills = np.where(mills > 0, mills, np.abs(end - x))
        else:
            self._beyond(x, w, mills, upper=upper)
        with np.errstate(divide="ignore", invalid="ignore"):
            return -w + np.log(mills) - self.log_normaliser, mills

    def cdf(self, x: Array) -> Array:
        """Mass to the left of `x` `[n]`."""
        x = np.clip(x, *self.support)
        upper = x > self.mode
        result = np.empty_like(x)
        result[~upper] = np.exp(self.log_tail(x[~upper], upper=False)[0])
        result[upper] = -np.expm1(self.log_tail(x[upper], upper=True)[0])
        return np.clip(np.nan_to_num(result, nan=0.0), 0.0, 1.0)

    def quantile(self, log_cdf: Array, log_sf: Array, start: Array) -> Array:
        """Points with the given log tail masses `[n]`, by Newton on the concave log tail from `start` `[n]`.

        Each point is found from the tail on its own side of the mode, so no digits are lost in 1 - F.
        """
        result = start.copy()
        lower = log_cdf <= self.log_cdf_mode
        for upper, chosen, level in ((False, lower, log_cdf), (True, ~lower, log_sf)):
            if chosen.any():
                result[chosen] = self._invert_tail(level[chosen], start[chosen], upper=upper)
        return result

    def _node_tails(self, *, upper: bool) -> tuple[Array, Array]:
        """Nodes on one side of the mode, outwards, and the log tail mass at each, decreasing: `[n]` both."""
        mills = self.right if upper else self.left
        inside = self.panels.edges[:-1] >= self.mode if upper else self.panels.edges[1:] <= self.mode
        with np.errstate(divide="ignore", invalid="ignore"):
            tails = np.log(mills.values[inside]) - self.potential.values[inside] - self.log_normaliser
        nodes, tails = self.panels.nodes[inside].ravel(), np.nan_to_num(tails.ravel(), nan=-np.inf, neginf=-np.inf)
        return (nodes, np.minimum.accumulate(tails)) if upper else (nodes[::-1], np.minimum.accumulate(tails[::-1]))

    def _bracket(self, level: Array, *, upper: bool) -> tuple[Array, Array, Array]:
        """Distances from the mode between which the log tail falls to `level` `[n]`, and a guess between them."""
        nodes, tails = self._node_tails(upper=upper)
        if not len(nodes):  # all mass on the other side
            return np.zeros_like(level), np.full_like(level, np.inf), np.zeros_like(level)
        distances = np.abs(nodes - self.mode)
        after = np.searchsorted(-tails, -level)
        inner, outer = np.clip(after - 1, 0, None), np.clip(after, None, len(nodes) - 1)
        low, high = distances[inner], distances[outer]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.clip(np.nan_to_num((tails[inner] - level) / (tails[inner] - tails[outer]), nan=0.5), 0.0, 1.0)
        guess = low + share * (high - low)
        # Beyond the panels the potential is quadratic.
        out = after == len(nodes)
        slope = abs(self.slope[-1, -1] if upper else self.slope[0, 0])
        curvature = self.right_curvature if upper else self.left_curvature
        drop = tails[-1] - level[out]
        guess[out] = distances[-1] + 2 * drop / (slope + np.sqrt(slope**2 + 2 * curvature * drop))
        high[out] = np.inf
        return low, high, guess

    def _invert_tail(self, level: Array, start: Array, *, upper: bool) -> Array:
        edge = self.support[1] if upper else self.support[0]
        sign = 1.0 if upper else -1.0
        low, high, guess = self._bracket(level, upper=upper)
        high = np.minimum(high, abs(edge - self.mode))
        near = sign * (start - self.mode)
        distance = np.where((near >= low) & (near <= high), near, guess)
        todo = np.flatnonzero(np.isfinite(level))
        x = self.mode + sign * distance
        for _ in range(60):
            here = x[todo]
            log_tail, mills = self.log_tail(here, upper=upper)
            step = mills * (log_tail - level[todo])
            # At a bounded end the tail is 0 and Newton has no slope: step half-way back towards the mode.
            stuck = ~np.isfinite(step)
            step[stuck] = -distance[todo[stuck]] / 2
            distance[todo] = np.clip(distance[todo] + step, low[todo], high[todo])
            x[todo] = moved = self.mode + sign * distance[todo]
            # Rounding of a log tail moves the point by as many Mills ratios.
            rounding = 1e-14 * np.abs(moved) + (1e-14 + 4e-16 * np.abs(level[todo])) * mills
            todo = todo[np.abs(moved - here) > rounding]
            if not todo.size:
                break
        x[np.isneginf(level)] = edge
        return np.clip(x, *self.support)

"""Exact univariate conjugate moment potential: w' = G_w⁻¹∘F_ρ on panels that follow the solution."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy import special

from conjugate_moments.fits._fixed_point import FixedPoint, iterate
from conjugate_moments.fits._levels import (
    Levels,
    bounded_end,
    check_density,
    location_scale,
    log_pdf,
    measure_levels,
    narrowest,
    refine,
    unresolved_panels,
)
from conjugate_moments.measures.univariate import UnivariateLaw
from conjugate_moments.potentials.mills import LogConcaveDensity
from conjugate_moments.potentials.panels import ORDER, TO_COEFFICIENTS, Array, Panels, PiecewiseFunction

BULK = 36.0  # potential, above its minimum, beyond which the Gibbs measure is negligible
IMAGES = 12  # of the bulk under w', at most
SOLUTION_PANELS = 300  # beyond which panels are no longer halved
GUESS_PANELS = 120  # for the guess, which need not be resolved where it is far from the solution
COARSE_TOLERANCE = 1e-6  # of the iteration while panels are still being halved
PATIENCE = 60  # iterations without progress before giving up; sooner where panels may be what is wrong
COARSE_PATIENCE = 40


EXTRA = 24  # panels of continuation on either side
SMOOTH = 8  # Chebyshev coefficients of the last panel that the continuation looks at


def _tail(panels: Panels, slope: Array, *, upper: bool) -> tuple[float, float, float] | None:
    """Slope at one end, outwards, distance r of the end from c, and β: beyond, w' is taken as A|y - c|^β.

    They match the slope and its first two derivatives there: exact for Gaussians and for the power-law family, whose w
    is needed ever further out where w' expands. None where w does not rise outwards.
    """
    k = -1 if upper else 0
    sign = 1.0 if upper else -1.0
    half = panels.half_widths[k]
    # Low orders only: derivatives at the very end of a panel would amplify the rounding of the highest.
    series = (TO_COEFFICIENTS @ slope[k])[:SMOOTH]
    derivatives = (chebyshev.chebval(sign, chebyshev.chebder(series, order)) for order in range(3))
    outer, first, second = (float(sign * d * (sign / half) ** order) for order, d in enumerate(derivatives))
    if not (outer > 0 and first > 0):
        return None
    power = 1.0 / (1.0 - min(outer * second / first**2, 0.95))
    return outer, power * outer / first, power


def _continuation(panels: Panels, slope: Array, depth: float, *, upper: bool) -> tuple[Array, Array]:
    """Edges and slopes of w continued beyond one end, as `_tail` says, until w has risen by `depth`."""
    empty = np.empty(0), np.empty((0, ORDER))
    tail = _tail(panels, slope, upper=upper)
    if tail is None:
        return empty
    outer, distance, power = tail
    # The rise of w is outer * distance / (1 + power) * (r^(1 + power) - 1) at r times the distance from c.
    reach = (depth * (1 + power) / (outer * distance) + 1.0) ** (1.0 / (1.0 + power))
    if not (np.isfinite(reach) and reach > 1 + 1e-6):
        return empty
    k, sign = (-1, 1.0) if upper else (0, -1.0)
    first_step = min(2 * panels.half_widths[k] / distance, (reach - 1.0) / 2)
    outside = Panels(np.concatenate([[1.0], 1.0 + np.geomspace(first_step, reach - 1.0, EXTRA)]))
    edges = panels.edges[k] + sign * distance * (outside.edges[1:] - 1.0)
    slopes = sign * outer * outside.nodes**power
    return (edges, slopes) if upper else (edges[::-1], slopes[::-1, ::-1])


def gibbs_measure(levels: Levels, slope: Array, support: tuple[float, float]) -> LogConcaveDensity:
    """P_w of the slope w' on the levels' panels, continued beyond unbounded ends as far as the levels ask for."""
    panels = levels.panels
    edges, slopes = [panels.edges], [slope]
    for upper, level in ((False, levels.log_cdf[0, 0]), (True, levels.log_sf[-1, -1])):
        if not np.isfinite(support[upper]):
            added, values = _continuation(panels, slope, max(-level, 1.0), upper=upper)
            place = len(edges) if upper else 0
            edges.insert(place, added)
            slopes.insert(place, values)
    return LogConcaveDensity.from_slope(Panels(np.concatenate(edges)), np.concatenate(slopes), support)


@dataclass(frozen=True, eq=False)
class PanelProblem:
    """The fixed point with w' at the nodes of panels, flattened; a `Problem` for `iterate`."""

    levels: Levels
    support: tuple[float, float]

    def update(self, slope: Array) -> tuple[Array, LogConcaveDensity]:
        """The Gibbs measure of w, and G_w⁻¹∘F_ρ at the nodes."""
        density = gibbs_measure(self.levels, slope.reshape(-1, ORDER), self.support)
        return density.quantile(self.levels.log_cdf.ravel(), self.levels.log_sf.ravel(), slope), density

    def expectation(self, values: Array) -> float:
        """Mean under ρ."""
        return self.levels.expectation(values.reshape(-1, ORDER))

    def log_density(self, density: LogConcaveDensity, x: float) -> float:
        """Log density of the Gibbs measure at one point."""
        return float(density.log_density(np.asarray([x]))[0])

    def massive(self) -> NDArray[np.bool_]:
        """Nodes with more than e^-30 of mass on either side."""
        return (np.minimum(self.levels.log_cdf, self.levels.log_sf) > -30.0).ravel()

    def relevant(self, density: LogConcaveDensity) -> NDArray[np.bool_]:
        """Nodes with more than e^-36 of mass on either side, or in the bulk of the Gibbs measure."""
        massive = np.minimum(self.levels.log_cdf, self.levels.log_sf) > -BULK
        low, high = density.bulk(BULK)
        nodes = self.levels.panels.nodes
        return (massive | ((nodes >= low) & (nodes <= high))).ravel()


@dataclass(frozen=True)
class _Start:
    """Gaussian guess N(centre, scale²) of the Gibbs measure, truncated to the law's support."""

    centre: float
    scale: float
    support: tuple[float, float]

    def slope(self, log_cdf: Array, log_sf: Array) -> Array:
        """G⁻¹∘F at the given log tail masses."""
        low, high = ((end - self.centre) / self.scale for end in self.support)
        below, above = special.log_ndtr(low), special.log_ndtr(-high)
        inside = np.log(-np.expm1(np.logaddexp(below, above)))
        lower, upper = np.logaddexp(below, log_cdf + inside), np.logaddexp(above, log_sf + inside)
        with np.errstate(invalid="ignore"):
            z = np.where(lower < upper, special.ndtri_exp(lower), -special.ndtri_exp(upper))
        return np.clip(self.centre + self.scale * z, *self.support)


def _grid(law: UnivariateLaw) -> tuple[Panels, _Start, float]:
    """First panels, a guess of the Gibbs measure, and the rough standard deviation of the law."""
    mean, std = location_scale(law)
    support = (float(law.support()[0]), float(law.support()[1]))
    spread = std ** (1 / 3)
    centre = float(np.clip(mean / (1 + spread**2), *support))
    low, high = (bounded_end(law, mean, std, std, upper=upper) for upper in (False, True))
    marks = [mean + std * k for k in range(-4, 5)] + [centre + spread * k for k in range(-8, 9)]
    quantiles = np.asarray(law.ppf(np.linspace(0.1, 0.9, 9)), dtype=np.float64)
    # Doubling distances, so that algebraic tails start resolved.
    far = std * 2.0 ** np.arange(3, 100)
    edges = np.unique(np.concatenate([marks, mean - far, mean + far, quantiles]))
    edges = edges[(edges > low) & (edges < high)]
    edges = np.concatenate([[low], edges[np.diff(edges, append=high) > 1e-3 * spread], [high]])
    panels = Panels(edges)
    # How far the image of the Gibbs measure's bulk goes is seen from the solution: `_needed`.
    panels = widen(law, panels, centre - 10 * spread, centre + 10 * spread, support)
    return panels, _Start(centre, spread, support), std


def widen(law: UnivariateLaw, panels: Panels, low: float, high: float, support: tuple[float, float]) -> Panels:
    """Add growing panels until the interval reaches `low` and `high`, where the law's log density is finite."""
    edges = panels.edges
    width = edges[-1] - edges[0]
    for upper, goal in ((False, max(low, support[0])), (True, min(high, support[1]))):
        sign, end = (1.0, edges[-1]) if upper else (-1.0, edges[0])
        # Goals move a little from one solution to the next: a shortfall that small is left to the continuation.
        if sign * (goal - end) <= 0.05 * width:
            continue
        distance = sign * (goal - end)
        steps = np.minimum(0.05 * width * (1.5 ** np.arange(1, 200) - 1), distance)
        added = end + sign * np.unique(steps)
        added = added[np.isfinite(log_pdf(law, added))]
        edges = np.sort(np.concatenate([edges, added]))
    return Panels(edges)


def solve_conjugate(
    law: UnivariateLaw, *, damping: float | None, memory: int, tolerance: float, max_iterations: int
) -> tuple[FixedPoint[LogConcaveDensity], Levels]:
    """Solve w' = G_w⁻¹∘F_ρ; the slope of the result has the shape of its levels' nodes.

    Raises:
      ValueError: if the law's density decays too slowly or disagrees with its CDF.
    """
    panels, start, std = _grid(law)

    def unresolved(candidate: Panels) -> NDArray[np.bool_]:
        levels = measure_levels(law, candidate)
        guess = PiecewiseFunction(candidate, start.slope(levels.log_cdf, levels.log_sf))
        gibbs = np.exp(-(((candidate.nodes - start.centre) / start.scale) ** 2) / 2).max(axis=1)
        return unresolved_panels(guess, start.scale, np.maximum(levels.importance, gibbs))

    smallest = 1e-10 * std
    panels = refine(panels, unresolved, smallest=smallest, max_panels=GUESS_PANELS)
    levels = measure_levels(law, panels)
    check_density(law, levels)
    # Moments from the panels replace the rough ones: a tilt over a wide gap between modes is costly to undo.
    centre = float(np.clip(levels.mean / (1 + levels.std ** (2 / 3)), *start.support))
    start = replace(start, centre=centre, scale=levels.std ** (1 / 3))
    settings = {"damping": damping, "memory": memory, "tolerance": tolerance, "max_iterations": max_iterations}
    slope = start.slope(levels.log_cdf, levels.log_sf)
    first = _follow(law, slope, levels, start, smallest, **settings)
    if first[0].converged or damping is not None:
        return first
    # Far-apart modes: nearly flat potentials need, and themselves cause, far smaller steps.
    second = _follow(law, slope / (1 + levels.std**2), levels, start, smallest, **settings)
    return second if second[0].converged else first


def _follow(
    law: UnivariateLaw,
    slope: Array,
    levels: Levels,
    start: _Start,
    smallest: float,
    *,
    tolerance: float,
    max_iterations: int,
    damping: float | None,
    memory: int,
) -> tuple[FixedPoint[LogConcaveDensity], Levels]:
    """Iterate loosely and halve unresolved panels in turn; then iterate to the tolerance."""
    panels = levels.panels
    changes: tuple[float, ...] = ()
    aim = max(tolerance, COARSE_TOLERANCE)
    solved: tuple[FixedPoint[LogConcaveDensity], Levels] | None = None
    while True:
        result = iterate(
            PanelProblem(levels, start.support),
            slope.ravel(),
            damping=damping,
            memory=memory,
            tolerance=aim,
            max_iterations=max_iterations - len(changes),
            patience=PATIENCE if aim == tolerance else COARSE_PATIENCE,
        )
        changes += result.changes
        final = aim == tolerance
        found = result.slope.reshape(-1, ORDER)
        result = replace(result, slope=found, changes=changes, converged=result.converged and final)
        if len(changes) >= max_iterations or (final and solved and not result.converged):
            # Where the law's far tail cannot be followed numerically, the solution short of it stands.
            return solved or (result, levels)
        if final:
            # Without convergence too: what is missing may be the images of the bulk, which lie further out.
            solved = (result, levels) if result.converged else None
            wider = widen(law, panels, *_needed(result, panels), start.support)
            if len(wider) == len(panels):
                return result, levels
            slope = np.clip(_continued(panels, found, wider.nodes), *start.support)
            panels, levels, aim = wider, measure_levels(law, wider), max(tolerance, COARSE_TOLERANCE)
            continue
        bad = _unresolved(result, levels, start.scale) & (panels.half_widths > narrowest(panels, smallest))
        if bad.any() and len(panels) < SOLUTION_PANELS:
            finer = panels.split(bad)
            slope = np.clip(PiecewiseFunction(panels, found)(finer.nodes), *start.support)
            panels, levels = finer, measure_levels(law, finer)
        else:
            slope, aim = found, tolerance


def _needed(result: FixedPoint[LogConcaveDensity], panels: Panels) -> tuple[float, float]:
    """Interval that must be resolved: the bulk of the Gibbs measure, and the image of that bulk under w'.

    Where w' contracts, the images of images are taken in too: their union is bounded, and w on all of it matters.
    """
    ends = []
    for end, sign in zip(result.density.bulk(BULK), (-1.0, 1.0), strict=True):
        previous = np.inf
        for _ in range(IMAGES):
            step = sign * (float(_continued(panels, result.slope, np.asarray([end]))[0]) - end)
            if step <= 0 or step > previous:
                break
            end, previous = end + sign * step, step
        ends.append(end)
    return ends[0], ends[1]


def _continued(panels: Panels, slope: Array, y: Array) -> Array:
    """The slope at `y`, continued beyond the panels as `_tail` says, or constant."""
    result = PiecewiseFunction(panels, slope)(y)
    for upper, beyond in ((False, panels.edges[0] - y), (True, y - panels.edges[-1])):
        outside = beyond > 0
        tail = _tail(panels, slope, upper=upper)
        if outside.any() and tail is not None:
            outer, distance, power = tail
            result[outside] = (1.0 if upper else -1.0) * outer * (1.0 + beyond[outside] / distance) ** power
    return result


def _weight(panels: Panels, levels: Levels, potential: Array, mode: float, support: tuple[float, float]) -> Array:
    """What an error of w on each panel counts for, `[panels]`.

    Towards a bounded end, as much as there is mass of either measure: nothing maps beyond. Towards an unbounded one w
    is needed to relative accuracy however small e^{-w}, because it sets w' nearer the centre.
    """
    towards = np.where(panels.midpoints < mode, support[0], support[1])
    bounded = np.maximum(levels.importance, np.exp(-potential).max(axis=1))
    return np.where(np.isfinite(towards), bounded, 1.0 / (1.0 + np.abs(potential).max(axis=1)))


def _unresolved(result: FixedPoint[LogConcaveDensity], levels: Levels, scale: float) -> NDArray[np.bool_]:
    """Panels where the slope, or a Mills ratio of the Gibbs measure that is put to use, is not resolved."""
    density, panels = result.density, levels.panels
    inside = np.searchsorted(density.panels.edges, panels.edges[0]) + np.arange(len(panels))
    weight = _weight(panels, levels, density.potential.values[inside], density.mode, density.support)
    # Far outside both measures w' enters only through the logarithm of a tail, damped from image to image.
    low, high = density.bulk(BULK)
    near = (levels.importance > np.exp(-BULK)) | ((panels.edges[1:] > low) & (panels.edges[:-1] < high))
    tolerance = np.where(near, 1e-12, 1e-9)
    bad = unresolved_panels(PiecewiseFunction(panels, result.slope), scale, weight, tolerance)
    edges = panels.edges
    used = (edges[1:] > result.slope[0, 0]) & (edges[:-1] < result.slope[-1, -1])
    for mills, side in ((density.left, edges[1:] <= density.mode), (density.right, edges[:-1] >= density.mode)):
        with np.errstate(invalid="ignore"):
            size = np.abs(mills.values[inside]).max(axis=1)
            bad |= used & side & ~(mills.truncation()[inside] <= np.maximum(1e-11 * size, 1e-14 * scale))
    return bad

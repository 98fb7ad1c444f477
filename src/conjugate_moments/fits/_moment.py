"""Exact univariate moment potential: x'(y) = ρ(y)/g(y) with g(y) = ∫_y^∞ t dρ(t), for a centred law.

Only the CDF enters, by parts, so the density may be infinite or vanish.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conjugate_moments.fits._levels import (
    Levels,
    bounded_end,
    check_density,
    location_scale,
    measure_levels,
    refine,
)
from conjugate_moments.measures.univariate import UnivariateLaw
from conjugate_moments.potentials.mills import solve_tail
from conjugate_moments.potentials.panels import (
    INTEGRATE_FROM_LEFT,
    INTEGRATE_TO_RIGHT,
    Array,
    Panels,
    PiecewiseFunction,
)

TAIL = 1e-3  # tail mass beyond which integrals of the tail go through their smooth ratio to it


@dataclass(frozen=True, eq=False)
class MomentMap:
    """The inverse moment map x(y) = (∇u)⁻¹(y) and the density of P_u there, at the nodes of `levels.panels`.

    Args:
      x: the inverse map, 0 at the law's mean, `[panels, ORDER]`.
      log_density: log g, the log density of P_u at x, `[panels, ORDER]`.
    """

    levels: Levels
    x: Array
    log_density: Array


def _mean_excess(panels: Panels, log_tail: Array, *, upper: bool, bounded: bool) -> Array:
    """∫ of the tail mass from each node outwards, over the tail mass there, `[panels, ORDER]`."""
    integrate = INTEGRATE_TO_RIGHT if upper else INTEGRATE_FROM_LEFT
    inner = 0 if upper else -1
    mass = np.exp(log_tail)
    result = np.empty_like(mass)
    # Outwards-in, in the direction in which the tail grows.
    order = np.arange(len(panels))[::-1] if upper else np.arange(len(panels))
    far = 0 if bounded else int(np.sum(mass[:, inner] <= TAIL))
    integral = 0.0
    if far:
        chosen = np.sort(order[:far])
        steepness = panels.derivative(log_tail)[chosen] * (-1.0 if upper else 1.0)
        nodes, edges = panels.nodes[chosen], panels.edges
        distances = edges[chosen + 1][:, None] - nodes if upper else nodes - edges[chosen][:, None]
        from_end, from_distance = solve_tail(panels.half_widths[chosen], steepness, integrate, distances)
        last = steepness[-1, -1] if upper else steepness[0, 0]
        end = 1.0 / last if last > 0 else 0.0
        for k in order[:far]:
            at = k - chosen[0]
            result[k] = from_distance[at] + end * from_end[at]
            end = result[k, inner]
        integral = float(mass[order[far - 1], inner] * end)
    within = panels.half_widths[:, None] * (mass @ integrate.T)
    for k in order[far:]:
        result[k] = (within[k] + integral) / mass[k]
        integral += within[k, inner]
    return result


def _increments(levels: Levels, centre: float, scale: float, support: tuple[float, float]) -> tuple[Array, Array]:
    """x(y) minus its value at the left end of each panel, and log g, both `[panels, ORDER]`."""
    panels = levels.panels
    y = panels.nodes - centre
    bounded = [bool(np.isfinite(end)) for end in support]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        above = _mean_excess(panels, levels.log_sf, upper=True, bounded=bounded[1])
        below = _mean_excess(panels, levels.log_cdf, upper=False, bounded=bounded[0])
        # Each side from its own tail, where g is the tail mass times a sum of positive terms.
        log_g = np.where(y >= 0, levels.log_sf + np.log(y + above), levels.log_cdf + np.log(below - y))
        middle = np.abs(y).min(axis=1) < scale / 2
        # Near the mean: ∫ dF/g by parts. Away from it: -∫ d(log g)/y by parts, smooth in every tail.
        inverse = np.exp(-log_g)
        mass = levels.increments
        half = panels.half_widths[:, None]
        near = inverse * mass - half * ((panels.derivative(inverse) * mass) @ INTEGRATE_FROM_LEFT.T)
        ratio = log_g / y
        away = -(ratio - ratio[:, :1]) - half * ((ratio / y) @ INTEGRATE_FROM_LEFT.T)
    return np.where(middle[:, None], near, away), log_g


def _assemble(levels: Levels, centre: float, scale: float, support: tuple[float, float]) -> MomentMap:
    """Chain the increments outwards from the mean, which must be a panel end."""
    steps, log_g = _increments(levels, centre, scale, support)
    origin = int(np.searchsorted(levels.panels.edges, centre))
    whole = steps[:, -1]
    offsets = np.concatenate([-np.cumsum(whole[:origin][::-1])[::-1], [0.0], np.cumsum(whole[origin:])])
    return MomentMap(levels, steps + offsets[:-1, None], log_g)


def _inner_end(law: UnivariateLaw, end: float, *, upper: bool) -> float:
    """Just inside a bounded end, where x(y) is infinite: about 1e-15 of the mass is left outside."""
    quantile = float(np.asarray(law.ppf(1 - 1e-15 if upper else 1e-15)))
    step = 4 * float(np.spacing(abs(end)))
    return min(quantile, end - step) if upper else max(quantile, end + step)


def solve_moment(law: UnivariateLaw) -> MomentMap:
    """The moment map of the law about its own mean.

    Raises:
      ValueError: if the law's density decays too slowly or disagrees with its CDF.
    """
    rough_mean, std = location_scale(law)
    support = (float(law.support()[0]), float(law.support()[1]))
    ends = []
    for upper in (False, True):
        end = bounded_end(law, rough_mean, std, 8 * std, upper=upper)
        inner = _inner_end(law, end, upper=upper) if np.isfinite(support[upper]) else end
        ends.append(inner)
    low, high = ends
    far = std * 2.0 ** np.arange(-1, 100)
    edges = np.unique(np.concatenate([[rough_mean], rough_mean - far, rough_mean + far, [low, high]]))
    panels = Panels(edges[(edges >= low) & (edges <= high)])

    def unresolved_mass(candidate: Panels) -> NDArray[np.bool_]:
        levels = measure_levels(law, candidate)
        error = PiecewiseFunction(candidate, np.exp(levels.log_cdf)).truncation()
        return ~(error <= 1e-12) & (candidate.half_widths > 1e-10 * std)

    panels = refine(panels, unresolved_mass, smallest=0.0)
    # The mean must be a panel end: x(y) is anchored there, and the two forms of its increments meet around it.
    mean = measure_levels(law, panels).mean
    panels = Panels(np.unique(np.append(panels.edges, mean)))
    scale = 1.0 / std

    def unresolved(candidate: Panels) -> NDArray[np.bool_]:
        levels = measure_levels(law, candidate)
        steps, log_g = _increments(levels, mean, std, support)
        error = PiecewiseFunction(candidate, steps).truncation()
        density = PiecewiseFunction(candidate, np.exp(log_g)).truncation()
        with np.errstate(invalid="ignore"):
            # In mass (of P_u) and in W2 (of the law, within one panel at worst), where it is not in size.
            misplaced = np.minimum(error / scale, candidate.half_widths / std) * np.sqrt(levels.importance)
            small = (error * levels.importance <= 1e-13 * scale) & (misplaced <= 1e-10)
            known = small | (error <= 1e-12 * (scale + np.abs(steps[:, -1])))
            # Towards an unbounded end the density is needed to relative accuracy: it is integrated from there.
            unbounded = ~np.isfinite(np.where(candidate.midpoints < mean, *support))
            relative = PiecewiseFunction(candidate, log_g).truncation() / (1.0 + np.abs(log_g).max(axis=1))
            known &= ~unbounded | (relative <= 1e-11)
            return ~(known & (density <= 1e-12 * std))

    panels = refine(panels, unresolved, smallest=0.0)
    levels = measure_levels(law, panels)
    check_density(law, levels)
    return _assemble(levels, mean, std, support)

"""Resolve a univariate law on panels: where its mass is, and the log mass of both tails at every node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from conjugate_moments.measures.univariate import UnivariateLaw
from conjugate_moments.potentials.mills import solve_tail
from conjugate_moments.potentials.panels import (
    INTEGRATE_FROM_LEFT,
    INTEGRATE_TO_RIGHT,
    Array,
    Panels,
    PiecewiseFunction,
)

MAX_PANELS = 1500
SMALLEST = 1e-290  # densities below are, or come from, numbers that are stored with fewer digits
# Tail mass below which levels come from the integrated density rather than the CDF, which may be 1 - F in disguise.
TAIL = 1e-3


@dataclass(frozen=True, eq=False)
class Levels:
    """Log tail masses of a law at the nodes of `panels`: arrays `[panels, ORDER]`."""

    panels: Panels
    log_cdf: Array
    log_sf: Array

    @cached_property
    def increments(self) -> Array:
        """Mass between the left end of a panel and each of its nodes, from whichever tail is smaller there."""
        cdf, sf = np.exp(self.log_cdf), np.exp(self.log_sf)
        lower = self.log_cdf[:, :1] < self.log_sf[:, :1]
        return np.where(lower, cdf - cdf[:, :1], sf[:, :1] - sf)

    def expectation(self, values: Array) -> float:
        """∫ φ dρ of the interpolant of `values`, by parts, so that the density may be infinite or vanish."""
        slope = self.panels.derivative(values)
        inner = (slope * self.increments) @ INTEGRATE_FROM_LEFT[-1]
        return float(np.sum(values[:, -1] * self.increments[:, -1] - self.panels.half_widths * inner))

    @cached_property
    def importance(self) -> Array:
        """Largest two-sided tail mass on each panel, `[panels]`."""
        return np.exp(np.minimum(self.log_cdf, self.log_sf)).max(axis=1)

    @cached_property
    def mean(self) -> float:
        """Mean of the law."""
        return self.expectation(self.panels.nodes)

    @cached_property
    def std(self) -> float:
        """Standard deviation of the law."""
        return float(np.sqrt(self.expectation((self.panels.nodes - self.mean) ** 2)))


def log_pdf(law: UnivariateLaw, y: Array) -> Array:
    """Log density, by the law's own `logpdf` where it has one; minus infinity where the density has lost digits."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        if callable(own := getattr(law, "logpdf", None)):
            return np.asarray(own(y), dtype=np.float64)
        density = np.asarray(law.pdf(y), dtype=np.float64)
        return np.log(np.where(density < SMALLEST, 0.0, density))


def _integrated_tail(panels: Panels, log_density: Array, *, upper: bool) -> Array:
    """Log of ∫ pdf from each node to the far end, given log pdf `[k, ORDER]` on the panels of one tail.

    The inverse hazard ∫ pdf / pdf is a Mills ratio: smooth, and free of underflow.
    """
    steepness = panels.derivative(log_density) * (-1.0 if upper else 1.0)
    nodes, edges = panels.nodes, panels.edges
    integrate = INTEGRATE_TO_RIGHT if upper else INTEGRATE_FROM_LEFT
    distances = edges[1:, None] - nodes if upper else nodes - edges[:-1, None]
    from_end, from_distance = solve_tail(panels.half_widths, steepness, integrate, distances)
    # Beyond the last node the density continues as its hazard there says.
    last = steepness[-1, -1] if upper else steepness[0, 0]
    end = 1.0 / last if last > 0 else 0.0
    mills = np.empty_like(log_density)
    order = range(len(panels) - 1, -1, -1) if upper else range(len(panels))
    for k in order:
        mills[k] = from_distance[k] + end * from_end[k]
        end = mills[k, 0 if upper else -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return log_density + np.log(mills)


def _beyond(law: UnivariateLaw, panels: Panels, *, upper: bool) -> Panels:
    """The same panels and a few beyond the end, over which the tail loses e^-40 of its mass."""
    sign, end = (1.0, panels.edges[-1]) if upper else (-1.0, panels.edges[0])
    last = panels.half_widths[-1 if upper else 0]
    inner, outer = log_pdf(law, np.asarray([end - sign * 1e-3 * last, end]))
    hazard = float(inner - outer) / (1e-3 * last)
    if not (np.isfinite(hazard) and hazard > 0):
        return panels
    extra = end + sign * 40.0 / hazard * np.asarray([0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0])
    extra = extra[np.isfinite(log_pdf(law, extra))]
    return Panels(np.unique(np.concatenate([panels.edges, extra])))


def measure_levels(law: UnivariateLaw, panels: Panels) -> Levels:
    """Log tail masses of `law` at the nodes: from its CDF in the bulk, from its integrated density far out."""
    y = panels.nodes
    low, high = law.support()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        cdf = np.clip(np.asarray(law.cdf(y), dtype=np.float64), 0.0, 1.0)
        survival = getattr(law, "sf", None)
        sf = np.clip(np.asarray(survival(y) if callable(survival) else 1.0 - cdf, dtype=np.float64), 0.0, 1.0)
        log_cdf, log_sf = np.log(cdf), np.log(sf)
        if not np.isfinite(high):
            far = np.searchsorted(-sf[:, 0], -TAIL)
            if far < len(panels):
                tail_panels = _beyond(law, Panels(panels.edges[far:]), upper=True)
                tail = _integrated_tail(tail_panels, log_pdf(law, tail_panels.nodes), upper=True)[: len(panels) - far]
                log_sf[far:], log_cdf[far:] = tail, np.log1p(-np.exp(tail))
        if not np.isfinite(low):
            far = np.searchsorted(cdf[:, -1], TAIL)
            if far > 0:
                tail_panels = _beyond(law, Panels(panels.edges[: far + 1]), upper=False)
                tail = _integrated_tail(tail_panels, log_pdf(law, tail_panels.nodes), upper=False)[-far:]
                log_cdf[:far], log_sf[:far] = tail, np.log1p(-np.exp(tail))
    return Levels(panels, log_cdf, log_sf)


def narrowest(panels: Panels, smallest: float) -> Array:
    """Half-width below which no panel is halved: `smallest`, or what rounding of its position allows."""
    return np.maximum(smallest, 1e-12 * np.abs(panels.midpoints))


def refine(
    panels: Panels,
    unresolved: Callable[[Panels], NDArray[np.bool_]],
    *,
    smallest: float,
    max_panels: int = MAX_PANELS,
) -> Panels:
    """Halve panels until none is unresolved, or narrower than `smallest` or than rounding allows."""
    while len(panels) < max_panels:
        bad = unresolved(panels) & (panels.half_widths > narrowest(panels, smallest))
        if not bad.any():
            break
        panels = panels.split(bad)
    return panels


def location_scale(law: UnivariateLaw) -> tuple[float, float]:
    """Rough mean and standard deviation from quantiles at logistic levels; exact enough to start from."""
    z, dz = np.linspace(-30.0, 30.0, 241, retstep=True)
    weights = special.expit(z) * special.expit(-z) * dz
    quantiles = np.asarray(law.ppf(special.expit(z)), dtype=np.float64)
    finite = np.isfinite(quantiles)
    weights, quantiles = weights[finite] / weights[finite].sum(), quantiles[finite]
    mean = float(weights @ quantiles)
    return mean, float(np.sqrt(weights @ (quantiles - mean) ** 2))


def bounded_end(law: UnivariateLaw, centre: float, scale: float, reach: float, *, upper: bool) -> float:
    """Finite point that leaves out a negligible second moment and lies at least `reach` from the centre.

    Raises:
      ValueError: if the density decays too slowly for a second moment.
    """
    end = float(law.support()[1 if upper else 0])
    if np.isfinite(end):
        return end
    sign = 1.0 if upper else -1.0

    def log_moment(distance: float) -> float:
        value = float(log_pdf(law, np.asarray([centre + sign * distance]))[0])
        return value + 3 * np.log(distance / scale) + np.log(scale)

    # Past every mode first: in a gap the density says nothing of what lies behind it.
    quantile = float(np.asarray(law.ppf(1 - 1e-12 if upper else 1e-12)))
    distance = max(scale, sign * (quantile - centre)) if np.isfinite(quantile) else scale
    while (moment := log_moment(distance)) > -46.0 and distance < 1e25 * scale:
        distance *= 2.0
    if moment > -3.0 or np.isnan(moment):
        raise ValueError(
            "law: its density decays too slowly for a finite variance (the moment maps and the residual are "
            f"measured in standard deviations); |y|^3 pdf(y) is still e^{moment:.1f} at {distance / scale:.0e} scales"
        )
    distance = max(distance, reach)
    # Where even the log density underflows nothing is known: stay inside.
    if not np.isfinite(log_moment(distance)):
        inner, outer = scale, distance
        for _ in range(60):
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if np.isfinite(log_moment(middle)) else (inner, middle)
        distance = inner
    return centre + sign * distance


def _masses(law: UnivariateLaw, panels: Panels, order: int) -> Array:
    """Mass of each panel by Gauss-Legendre on the density, `[panels]`."""
    points, weights = np.polynomial.legendre.leggauss(order)
    density = np.asarray(law.pdf(panels.midpoints[:, None] + panels.half_widths[:, None] * points), dtype=np.float64)
    if np.any(np.isnan(density)) or np.any(density < 0):
        raise ValueError("law: pdf must be non-negative and not NaN on the support")
    return panels.half_widths * (density @ weights)


def check_density(law: UnivariateLaw, levels: Levels) -> None:
    """Hold the density against the CDF on every panel that it can be integrated over.

    Raises:
      ValueError: if the density is NaN or negative, does not integrate to 1, or is not the CDF's derivative.
    """
    masses, rougher = (_masses(law, levels.panels, order) for order in (24, 16))
    # Where the two rules differ the density is too steep to be integrated from its values, and nothing can be said.
    told = ~(np.abs(masses - rougher) > 1e-3 * np.abs(masses) + 1e-9)
    error = float(np.abs(masses - levels.increments[:, -1])[told].sum())
    if np.isnan(error):
        raise ValueError("law: its tails fall too fast for double precision within the bulk of its Gibbs measure")
    if error > 1e-4:
        raise ValueError(
            f"law: pdf does not integrate to 1 as its cdf does (integral {masses.sum():.6g}, "
            f"total difference from the cdf {error:.2g}, allowed 1e-4)"
        )


def unresolved_panels(
    function: PiecewiseFunction, scale: float, weight: Array, tolerance: float | Array = 1e-12
) -> NDArray[np.bool_]:
    """Panels where a map is not known to `tolerance` of its size or of `scale`, nor its weighted integral to rounding.

    Args:
      function: the map.
      scale: of its values.
      weight: of an error of the integral over each panel, `[panels]`.
      tolerance: relative, one for all or `[panels]`.
    """
    error = function.truncation()
    size = scale + np.abs(function.values).max(axis=1)
    with np.errstate(invalid="ignore"):
        return ~(error <= tolerance * size) & ~(error * function.panels.half_widths * weight <= 1e-14)

"""Exact draws and the normaliser of log-concave measures on the line and in the plane.

The potential and its gradient are tabulated at the centres of a grid of cells. By convexity the tangents lie below w:
the piecewise exponential e^{-tangent} is an envelope that is drawn from by inversion and thinned by rejection to P_w
itself (Gilks & Wild 1992, in cells). The draws have no discretisation error; only the tail mass is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from conjugate_moments import _random
from conjugate_moments.samplers._box import (
    BATCH,
    Array,
    Box,
    evaluate,
    evaluate_with_gradients,
    find_box,
    outside_bounds,
)
from conjugate_moments.samplers._target import Target

if TYPE_CHECKING:
    import jax

CELLS = {1: 4096, 2: 512}  # along each axis: a few thousandths of a standard deviation, and a few hundredths
FEWEST_ACCEPTED = 0.1  # share of the envelope's draws below which the grid does not resolve the potential
REACH = 2.0  # cells beyond the domain that may still hold part of it


@dataclass(frozen=True, eq=False)
class GridDistribution:
    """P_w tabulated on a grid; d is 1 or 2. Float64, to the accuracy that w is computed with.

    Args:
      potential: w.
      box: of the grid.
      floor: tangent of w at the centre of each cell, +inf in cells outside the domain, `[cells, …]`.
      slope: its gradient, `[cells, …, d]`.
      log_normaliser: log ∫ e^{-w}.
      normaliser_error: estimate of its error: the difference to half the cells, half the mass of cells that the
        edge of the domain may cut, the tail bound and rounding.
      tail_bound: bound on the share of P_w outside the box.
      mean: of P_w, `[d]`.
      cov: of P_w, `[d, d]`.
      acceptance: expected share of the envelope's draws that are kept.
      steps: rounds of the search for the box.
      converged: whether `normaliser_error` is at most the tolerance asked for.
    """

    potential: Target
    box: Box
    floor: Array
    slope: Array
    log_normaliser: float
    normaliser_error: float
    tail_bound: float
    mean: Array
    cov: Array
    acceptance: float
    steps: int
    converged: bool

    def sample(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent draws of P_w restricted to the box, `[n, d]`.

        Raises:
          ValueError: if `n` is not positive, or w is found below one of its tangents, hence not convex.
        """
        import jax

        if n < 1:
            raise ValueError(f"n: expected an integer >= 1, found {n}")
        weights = _envelope(self.floor, self.slope, self.box)
        cumulative = np.cumsum(weights.ravel())
        # A few standard errors more than needed on average, so that one batch suffices, in few different shapes.
        batch = BATCH * int(np.ceil((n + 4 * np.sqrt(n)) / self.acceptance / BATCH))
        kept: list[Array] = []
        while sum(map(len, kept)) < n:
            kept.append(self._accepted(batch, cumulative, key=jax.random.fold_in(key, len(kept))))
        return np.concatenate(kept)[:n]

    def _accepted(self, n: int, cumulative: Array, *, key: jax.Array) -> Array:
        """Those of `n` draws of the envelope that rejection keeps."""
        dim, cells = self.mean.size, len(self.floor)
        uniforms = _random.uniform(key, (n, dim + 2))
        cell = np.searchsorted(cumulative, uniforms[:, 0] * cumulative[-1], side="right")
        widths = self.box.widths(cells)
        slope = self.slope.reshape(-1, dim)[cell]
        offset = (_truncated_exponential(slope * widths, uniforms[:, 1:-1]) - 0.5) * widths
        index = np.stack(np.unravel_index(cell, self.floor.shape), axis=1)
        points = self.box.low + (index + 0.5) * widths + offset
        gap = evaluate(self.potential, points) - (self.floor.ravel()[cell] + np.sum(slope * offset, axis=1))
        _check_convex(gap, self.floor.ravel()[cell], _precision(self.potential))
        return points[uniforms[:, -1] < np.exp(-gap)]


def _precision(potential: Target) -> float:
    """Rounding unit of the values of w."""
    import jax
    import jax.numpy as jnp

    dtypes = [jnp.zeros(()).dtype, *(jnp.asarray(leaf).dtype for leaf in jax.tree.leaves(potential))]
    return max(float(jnp.finfo(dtype).eps) for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating))


def _check_convex(gap: Array, values: Array, precision: float) -> None:
    """Refuse gaps between w and its tangents, taken where w is `values`, that are negative beyond rounding."""
    if np.any(gap < -np.sqrt(precision) * (1 + np.abs(values))):
        raise ValueError(f"potential: expected a convex function, found one {-gap.min():.3g} below its tangent")


def _truncated_exponential(rate: Array, uniform: Array) -> Array:
    """Quantiles on [0, 1] of the density ∝ e^{-rate t}, for any sign of the rate; same shape."""
    size = np.maximum(np.abs(rate), 1e-12)  # at this rate the law is uniform to working precision
    rising = np.minimum(-np.log1p(uniform * np.expm1(-size)) / size, 1.0)
    return np.where(rate < 0, 1 - rising, rising)


def _envelope(floor: Array, slope: Array, box: Box) -> Array:
    """Mass of e^{lowest - tangent} in each cell, in units of the cell, `[cells, …]`."""
    half = np.abs(slope) * box.widths(len(floor)) / 2
    # log(sinh(a)/a), which overflows later than sinh and keeps its accuracy at 0.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        stretch = np.where(half > 1e-4, half + np.log(-np.expm1(-2 * half) / (2 * half)), half**2 / 6)
        return np.exp(floor.min() - floor + stretch.sum(axis=-1))


def _extended(values: Array, gradients: Array, widths: Array) -> tuple[Array, Array]:
    """Tangents for the cells whose centre is just outside the domain: those of the nearest centre inside."""
    inside = np.isfinite(values)
    if np.all(inside):
        return values, gradients
    found: Any = ndimage.distance_transform_edt(~inside, return_indices=True)
    distance, nearest = found
    source = tuple(nearest)
    offset = np.moveaxis(np.indices(values.shape) - nearest, 0, -1) * widths
    floor = values[source] + np.sum(gradients[source] * offset, axis=-1)
    return np.where(distance <= REACH, floor, np.inf), gradients[source]


def _log_integral(values: Array, widths: Array) -> float:
    lowest = values.min()
    return float(np.log(np.exp(lowest - values).sum() * np.prod(widths)) - lowest)


def _moments(values: Array, points: Array) -> tuple[Array, Array]:
    """Mean and covariance by the midpoint rule."""
    density = np.exp(values.min() - values).ravel()
    flat = points.reshape(density.size, -1)
    mean = np.average(flat, axis=0, weights=density)
    return mean, ((flat - mean).T * density) @ (flat - mean) / density.sum()


def _cut_share(values: Array) -> float:
    """Share of the mass in cells of the domain that touch a cell outside it."""
    inside, density = np.isfinite(values), np.exp(values.min() - values)
    whole = ndimage.binary_erosion(inside, np.ones((3,) * values.ndim), border_value=1)
    return float(np.where(whole, 0, density).sum() / density.sum())


def _check_tangents(values: Array, gradients: Array, steps: Array, precision: float) -> None:
    """Refuse w if a tangent passes above its lowest value, at `steps` from the tangent's cell."""
    inside = np.isfinite(values)
    tangents = (values + np.sum(gradients * steps, axis=-1))[inside]
    _check_convex(values.min() - tangents, values[inside], precision)


def _check_arguments(centre: Array, scale: float, tail_mass: float, tolerance: float, cells: int) -> None:
    if centre.shape not in ((1,), (2,)) or not np.all(np.isfinite(centre)):
        raise ValueError(f"centre: expected 1 or 2 finite coordinates, found {centre.tolist()}")
    for name, number in (("scale", scale), ("tolerance", tolerance)):
        if not 0 < number < np.inf:
            raise ValueError(f"{name}: expected a finite number > 0, found {number}")
    if not 0 < tail_mass <= 0.01:
        raise ValueError(f"tail_mass: expected a number in (0, 0.01], found {tail_mass}")
    if cells < 16 or cells % 2:
        raise ValueError(f"cells: expected an even number >= 16, found {cells}")


def grid_distribution(
    potential: Target,
    *,
    centre: ArrayLike,
    scale: float = 1.0,
    tail_mass: float = 1e-10,
    tolerance: float = 1e-3,
    cells: int | None = None,
) -> GridDistribution:
    """Tabulate P_w ∝ e^{-w} on a box that is found to hold all but `tail_mass` of it.

    log Z, mean and covariance by the midpoint rule: geometric convergence for smooth w on the whole space, second order
    where the domain is a box, first order where its edge cuts cells.

    Args:
      potential: convex w on R or R², registered as a jax pytree; +inf outside its domain.
      centre: a point in the interior of the domain, `[d]`, d = 1 or 2.
      scale: rough size of P_w in the units of x; the search corrects it by any factor.
      tail_mass: largest share of P_w that may be missing.
      tolerance: largest `normaliser_error` that counts as converged.
      cells: along each axis, even; None for 4096 on the line and 512 in the plane.

    Raises:
      ValueError: for arguments out of range, w that is NaN or -inf somewhere, infinite at `centre` or not convex,
        e^{-w} that is not integrable, or a grid that does not resolve w.
    """
    centre = np.asarray(centre, dtype=np.float64)
    count = CELLS.get(centre.size, 16) if cells is None else cells
    _check_arguments(centre, scale, tail_mass, tolerance, count)
    box, steps = find_box(potential, centre, scale=scale, tail_mass=tail_mass)
    points, widths = box.centres(count), box.widths(count)
    values, gradients = evaluate_with_gradients(potential, points)
    lowest, inner = float(values.min()), points.reshape(-1, centre.size)[np.argmin(values)]
    _check_tangents(values, gradients, inner - points, _precision(potential))

    log_normaliser = _log_integral(values, widths)
    coarse = _log_integral(evaluate(potential, box.centres(count // 2)), 2 * widths)
    tail = float(outside_bounds(potential, box, inner, lowest).sum() * np.exp(-lowest - log_normaliser))
    rounding = _precision(potential) * (10 + abs(lowest) + abs(log_normaliser))
    error = abs(log_normaliser - coarse) + _cut_share(values) / 2 + tail + rounding

    floor, slope = _extended(values, gradients, widths)
    with np.errstate(over="ignore"):
        kept = np.exp(lowest - values).sum() / (_envelope(floor, slope, box).sum() * np.exp(lowest - floor.min()))
    if not kept >= FEWEST_ACCEPTED:
        raise ValueError(
            f"cells: {count} do not resolve the potential, {kept:.2g} of the envelope is kept and "
            f"{FEWEST_ACCEPTED} needed; raise cells or rotate the coordinates to its axes"
        )
    mean, cov = _moments(values, points)
    return GridDistribution(
        potential=potential,
        box=box,
        floor=floor,
        slope=slope,
        log_normaliser=log_normaliser,
        normaliser_error=error,
        tail_bound=tail,
        mean=mean,
        cov=cov,
        acceptance=float(kept),
        steps=steps,
        converged=error <= tolerance,
    )

"""Boxes that hold all but a stated share of a log-concave measure on the line or in the plane."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import NDArray

from conjugate_moments.samplers._target import Target, values_and_gradients

Array = NDArray[np.floating]  # float64 throughout
COARSE_CELLS = 64  # of each axis while searching
FACE_POINTS = 1024  # of the midpoint rule on each face in the plane; many to a coarse cell, to see a domain poke out
ROUNDS = 60  # a box that doubles so often has left every scale a potential may have
HALVINGS = 50  # of a cell, to find the edge of a domain to working precision
BATCH = 4096  # points evaluated at once, to bound the memory a network needs


@dataclass(frozen=True, eq=False)
class Box:
    """A product of intervals.

    Args:
      low: lower ends, `[d]`.
      high: upper ends, `[d]`.
    """

    low: Array
    high: Array

    def centres(self, cells: int) -> Array:
        """Centres of `cells` equal cells along each axis, `[cells, …, cells, d]`."""
        steps = (np.arange(cells) + 0.5) / cells
        axes = np.meshgrid(*(lo + steps * (hi - lo) for lo, hi in zip(self.low, self.high, strict=True)), indexing="ij")
        return np.stack(axes, axis=-1)

    def widths(self, cells: int) -> Array:
        """Edges of these cells, `[d]`."""
        return (self.high - self.low) / cells

    def faces(self) -> Array:
        """Ends as `[2, d]`, lower first."""
        return np.stack([self.low, self.high])


@jax.jit
def _values(target: Target, points: jax.Array) -> jax.Array:
    return jax.vmap(target.value)(points)


_values_and_gradients = jax.jit(values_and_gradients)


def _batches(points: Array) -> Array:
    """Points as `[batches, BATCH, d]`, the last one repeated: w compiles once, whatever the number of points."""
    padded = np.pad(points, ((0, -len(points) % BATCH), (0, 0)), mode="edge")
    return padded.reshape(-1, BATCH, points.shape[-1])


def _checked(name: str, numbers: Array) -> Array:
    bad = np.isnan(numbers) | (numbers == -np.inf)
    if np.any(bad):
        raise ValueError(f"potential: {name} is NaN or -inf at {np.sum(bad)} of {bad.size} entries, allowed is +inf")
    return numbers


def evaluate(target: Target, points: Array) -> Array:
    """w at points `[..., d]`, `[...]`.

    Raises:
      ValueError: if it is NaN or -inf somewhere.
    """
    flat = points.reshape(-1, points.shape[-1])
    values = np.concatenate([np.asarray(_values(target, batch)) for batch in _batches(flat)])[: len(flat)]
    return _checked("its value", values.astype(np.float64)).reshape(points.shape[:-1])


def evaluate_with_gradients(target: Target, points: Array) -> tuple[Array, Array]:
    """w and ∇w at points `[..., d]`; ∇w is set to 0 where w is infinite.

    Raises:
      ValueError: as `evaluate`, or if ∇w is NaN or -inf where w is finite.
    """
    flat = points.reshape(-1, points.shape[-1])
    pairs = [_values_and_gradients(target, batch) for batch in _batches(flat)]
    values = np.concatenate([np.asarray(value) for value, _ in pairs])[: len(flat)]
    gradients = np.concatenate([np.asarray(gradient) for _, gradient in pairs])[: len(flat)]
    values = _checked("its value", values.astype(np.float64)).reshape(points.shape[:-1])
    gradients = np.where(np.isfinite(values)[..., None], gradients.reshape(points.shape), 0.0)
    return values, _checked("its gradient", gradients)


def outside_bounds(target: Target, box: Box, inner: Array, lowest: float) -> Array:
    """Bounds on the integral of e^{lowest - w} beyond each face, seen from a point inside the box; `[2, d]`.

    Convexity along the ray from the point c through b on the boundary: w(c + t(b - c)) >= w(c) + t δ with
    δ = w(b) - w(c), for t >= 1. So the mass beyond a face F at distance r is at most
    r ∫_F ∫_1^∞ t^{d-1} e^{-tδ(b)} dt db, infinite unless δ > 0 all over F. The integral over F is by the midpoint rule.

    Args:
      target: w.
      box: the box.
      inner: c, `[d]`, in the interior.
      lowest: w(c), finite.
    """
    dim = inner.size
    face = box.centres(FACE_POINTS) if dim == 2 else box.centres(1)
    bounds = np.zeros((2, dim))
    for axis in range(dim):
        points = np.stack([np.take(face, 0, axis=axis)] * 2)
        points[..., axis] = box.faces()[:, axis].reshape(2, *[1] * (dim - 1))
        rise = evaluate(target, points) - lowest
        area = np.prod(np.delete(box.widths(FACE_POINTS), axis))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            radial = np.exp(-rise) / rise * (1 + (dim - 1) / rise)
        radial = np.where(rise > 0, np.where(np.isposinf(rise), 0.0, radial), np.inf)
        distance = np.abs(box.faces()[:, axis] - inner[axis])
        bounds[:, axis] = distance * area * radial.reshape(2, -1).sum(axis=1)
    return bounds


def _cropped(box: Box, centres: Array, values: Array, inner: Array, limit: float) -> Box:
    """The box of the cells whose value is at most `limit`, one cell wider."""
    points = np.concatenate([centres[values <= limit], inner[None]])
    pad = 1.5 * box.widths(COARSE_CELLS)
    return Box(np.maximum(box.low, points.min(axis=0) - pad), np.minimum(box.high, points.max(axis=0) + pad))


def _snapped(target: Target, box: Box) -> Box:
    """The box moved to where the domain of w ends, on the far side, for faces that lie beyond it."""
    centres = box.centres(COARSE_CELLS)
    inside = np.isfinite(evaluate(target, centres))
    ends = box.faces().copy()
    for axis in range(box.low.size):
        points, finite = np.moveaxis(centres, axis, 0), np.moveaxis(inside, axis, 0)
        lines = finite.any(axis=0)
        for side, take in ((0, np.argmax(finite, axis=0)), (1, COARSE_CELLS - 1 - np.argmax(finite[::-1], axis=0))):
            near = np.take_along_axis(points, take[None, ..., None], axis=0)[0].reshape(-1, box.low.size)
            far = near.copy()
            far[:, axis] = ends[side, axis]
            if not np.any(lines) or np.any(np.isfinite(evaluate(target, far))[lines.ravel()]):
                continue
            edges = _bisect(target, near, far)[lines.ravel(), axis]
            ends[side, axis] = edges.max() if side else edges.min()
    return Box(ends[0], ends[1])


def _bisect(target: Target, near: Array, far: Array) -> Array:
    """Points just outside the domain on the segments from `near` inside it to `far` outside, `[n, d]` each."""
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        finite = np.isfinite(evaluate(target, middle))[:, None]
        near, far = np.where(finite, middle, near), np.where(finite, far, middle)
    return far


def find_box(target: Target, centre: Array, *, scale: float, tail_mass: float) -> tuple[Box, int]:
    """A box outside which P_w has at most `tail_mass`, and the number of rounds it took.

    Faces whose bound fails move outwards by the width of the box; then the box shrinks to the set where
    w is within log(1/tail_mass) of its minimum and to the edges of the domain, as far as the bounds hold.

    Raises:
      ValueError: if w is not finite at `centre`, NaN or -inf anywhere, or no box is found.
    """
    box, inner = Box(centre - scale, centre + scale), centre
    lowest = float(evaluate(target, inner[None])[0])
    if not np.isfinite(lowest):
        raise ValueError(f"centre: w is not finite at {centre.tolist()}, allowed are points of its domain")
    depth = np.log(1 / tail_mass) + 2 * centre.size
    for rounds in range(1, ROUNDS + 1):
        centres = box.centres(COARSE_CELLS)
        values = evaluate(target, centres)
        if values.min() < lowest:
            lowest, inner = float(values.min()), centres.reshape(-1, centre.size)[np.argmin(values)]
        mass = np.exp(lowest - values).sum() * np.prod(box.widths(COARSE_CELLS))
        allowed = tail_mass * mass / (2 * centre.size)
        holds = outside_bounds(target, box, inner, lowest) <= allowed
        if not np.all(holds):
            width = box.high - box.low
            box = Box(*np.where(holds, box.faces(), box.faces() + np.stack([-width, width])))
            continue
        smaller = _tightened(target, box, _cropped(box, centres, values, inner, lowest + depth), inner, lowest, allowed)
        shrunk = np.prod(smaller.high - smaller.low) / np.prod(box.high - box.low)
        box = smaller
        if shrunk > 0.8:
            return _tightened(target, box, _snapped(target, box), inner, lowest, allowed), rounds
    raise ValueError(f"potential: no box within {ROUNDS} rounds holds the mass of e^{{-w}}; is it integrable?")


def _tightened(target: Target, box: Box, smaller: Box, inner: Array, lowest: float, allowed: float) -> Box:
    """`box` with those faces of `smaller` whose bound holds."""
    holds = outside_bounds(target, smaller, inner, lowest) <= allowed
    inward = (smaller.low < inner) & (inner < smaller.high)
    return Box(*np.where(holds & inward, smaller.faces(), box.faces()))

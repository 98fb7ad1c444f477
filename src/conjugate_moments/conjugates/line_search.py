"""A line search for convex functions, for every row of a batch at once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from conjugate_moments.conjugates.base import Rows, on_active, select
from conjugate_moments.potentials.base import Potential, values_and_gradients

TRIALS = 8
FLAT = 0.5  # the slope along the move that is flat enough, relative to the first
SUFFICIENT = 1e-4  # share of the promised decrease of the objective (Armijo)


class _Search(NamedTuple):
    """Bracket of the zero of φ′, φ the objective along the move, and the best row found; `[n]` each.

    `last_before` tells whether the last trial was before the zero.
    """

    trial: Array
    best: Rows
    best_length: Array
    low: Array
    low_slope: Array
    high: Array
    high_slope: Array
    length: Array
    last_before: Array
    done: Array


def line_search(potential: Potential, rows: Rows, move: Array, active: Array) -> tuple[Rows, Array]:
    """Rows moved by length · `move` `[n, d]`, and the lengths in [0, 1], `[n]`; 0 where no trial helped.

    φ′ increases along the line, so a trial where φ′ ≤ 0 has lowered the objective, whatever its rounding; one beyond
    the minimum is kept if φ′ is small there and the objective, or by half the norm of the slope, fell. Refused
    lengths are replaced by a secant of φ′, kept inside its bracket. Rows that are not `active` are not searched.
    """
    # The search carries its best row through every trial, and has no use for a memory that may be large.
    memory, rows = rows.memory, replace(rows, memory=None)
    first = jnp.sum(rows.slope * move, axis=1)
    zero, one = jnp.zeros_like(first), jnp.ones_like(first)
    infinite = jnp.full_like(first, jnp.inf)
    idle = ~(active & (first < 0))
    start = _Search(jnp.asarray(0), rows, zero, zero, first, one, infinite, one, first < 0, idle)

    def more(search: _Search) -> Array:
        return (search.trial < TRIALS) & ~jnp.all(search.done)

    end = jax.lax.while_loop(more, lambda search: _try(potential, rows, move, first, search), start)
    return replace(end.best, memory=memory), end.best_length


def _try(potential: Potential, rows: Rows, move: Array, first: Array, search: _Search) -> _Search:
    point = rows.point + search.length[:, None] * move
    value, gradient = on_active(partial(values_and_gradients, potential), ~search.done, point)
    objective, slope = value - jnp.sum(rows.target * point, axis=1), gradient - rows.target
    along = jnp.sum(slope * move, axis=1)
    before = (along <= 0) & jnp.isfinite(along)
    lower = objective < rows.objective + SUFFICIENT * search.length * first
    flatter = jnp.sum(slope**2, axis=1) < jnp.sum(rows.slope**2, axis=1) / 4
    flat = jnp.abs(along) <= -FLAT * first
    good = flat & (before | lower | flatter) | before & (search.length == 1)
    # Comparisons with NaN fail: a trial beyond the finite range is refused, and bounds the bracket from above.
    keep = ~search.done & (good | before)
    tried = replace(rows, point=point, objective=objective, slope=slope)
    best = jax.tree.map(lambda new, old: select(keep, new, old), tried, search.best)
    low, low_slope = jnp.where(before, search.length, search.low), jnp.where(before, along, search.low_slope)
    high = jnp.where(before, search.high, search.length)
    high_slope = jnp.where(before, search.high_slope, jnp.where(jnp.isfinite(along), along, jnp.inf))
    # An end that stays twice makes the secant crawl; halving its slope is the Illinois rule. The first trial is no
    # second time for the low end, as it has no predecessor.
    again = (before == search.last_before) & (search.trial > 0)
    low_slope = jnp.where(again & ~before, low_slope / 2, low_slope)
    high_slope = jnp.where(again & before, high_slope / 2, high_slope)
    secant = jnp.clip(low_slope / (low_slope - high_slope), 0.05, 0.9)
    return _Search(
        search.trial + 1,
        best,
        jnp.where(keep, search.length, search.best_length),
        low,
        low_slope,
        high,
        high_slope,
        low + (high - low) * secant,
        before,
        search.done | good,
    )

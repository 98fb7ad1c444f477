"""Smooth maxima of affine functions, and smooth units: slopes, curvatures, and differences that do not cancel."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

FEW = 8  # pieces up to which a Hessian takes them in pairs; with 64 the compiler ran out of memory


def covariance(weights: Array, s: Array, pieces: Array, smoothing: float) -> Array:
    """Σ_j weights_j Cov(pieces_j), `[d, d]`, each piece with its share of the maximum of s_j.

    Of few pieces, a covariance is the sum of π_p π_q (a_p − a_q)(a_p − a_q)ᵀ over pairs with shares π: the matrices are
    the same at every point. Of many, it is that of deviations from their mean. In neither does anything cancel.
    """
    shares = _shares(s, smoothing)
    if len(pieces) > FEW:
        gaps = (pieces - jnp.einsum("ph,phd->hd", shares, pieces)).reshape(-1, pieces.shape[-1])
        return jnp.einsum("i,id,ie->de", (weights * shares).reshape(-1), gaps, gaps)
    pairs = list(itertools.combinations(range(len(pieces)), 2))
    weights = jnp.stack([weights * shares[p] * shares[q] for p, q in pairs])
    gaps = jnp.stack([pieces[p] - pieces[q] for p, q in pairs])
    return shared_gram(weights.reshape(-1), gaps.reshape(-1, pieces.shape[-1]))


def shared_gram(weights: Array, J: Array) -> Array:
    """Jᵀ diag(weights) J for a J `[h, d]` that all points share: over a batch one matrix product, half by symmetry."""
    rows, columns = np.triu_indices(J.shape[1])
    place = np.zeros((J.shape[1], J.shape[1]), dtype=int)
    place[rows, columns] = place[columns, rows] = np.arange(rows.size)
    return (weights @ (J[:, rows] * J[:, columns]))[place]


def pieces_first(A: Array) -> Array:
    """Affine functions `[h, pieces, d]` as `[pieces, h, d]`.

    XLA on the CPU sums an axis of a few entries many times slower than it adds as many arrays, `_over_pieces`. With the
    pieces last, and gradients by reverse differentiation, a value with its gradient took 1.8 times as long in d = 2 (64
    units) and 3.1 times in d = 8 (128).
    """
    return jnp.moveaxis(A, 1, 0)


def times(pieces: Array, t: Array) -> Array:
    """The product of `[pieces, h, d]` and `[d]`: one matrix product."""
    return (pieces.reshape(-1, pieces.shape[-1]) @ t).reshape(pieces.shape[:-1])


def _over_pieces(combine: Callable[[Array, Array], Array], s: Array) -> Array:
    """All pieces of `[pieces, h]` combined, many in halves: `[h]`."""
    while len(s) > 4:
        half = len(s) // 2
        s = jnp.concatenate([combine(s[:half], s[half : 2 * half]), s[2 * half :]])
    return reduce(combine, list(s))


def _exponentials(s: Array) -> tuple[Array, Array, Array]:
    """exp(s − m) of `[pieces, h]`, their sum over the pieces `[h]`, and m, the maximum over them `[h]`."""
    top = jax.lax.stop_gradient(_over_pieces(jnp.maximum, s))
    found = jnp.exp(s - top)
    return found, _over_pieces(jnp.add, found), top


def maximum(s: Array, smoothing: float) -> Array:
    """Smooth maximum over the pieces of `[pieces, h]`, `[h]`."""
    _, total, top = _exponentials(s / smoothing)
    return smoothing * (top + jnp.log(total))


def _shares(s: Array, smoothing: float) -> Array:
    """Of the pieces in the smooth maxima of s `[pieces, h]`."""
    found, total, _ = _exponentials(s / smoothing)
    return found / total


def mean_piece(s: Array, pieces: Array, smoothing: float) -> Array:
    """Slopes of the smooth maxima of s `[pieces, h]`: means of `pieces` `[pieces, h, d]`, `[h, d]`."""
    return jnp.einsum("ph,phd->hd", _shares(s, smoothing), pieces)


def rise_and_shares(s: Array, step: Array, smoothing: float) -> tuple[Array, Array]:
    """max_β(s + step) − max_β(s), to the relative accuracy of the step, and the shares in max_β(s + step)."""
    step = step / smoothing
    before = jax.nn.log_softmax(s / smoothing, axis=0)
    found, total, top = _exponentials(before + step)
    far = top + jnp.log(total)
    near = jnp.log1p(_over_pieces(jnp.add, jnp.exp(before) * jnp.expm1(jnp.clip(step, -1, 1))))
    is_near = _over_pieces(jnp.maximum, jnp.abs(step)) <= 1
    return smoothing * jnp.where(is_near, near, far), found / total


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def maximum_rise(s: Array, step: Array, smoothing: float) -> Array:
    """The first of `rise_and_shares`, with a derivative of the same accuracy."""
    return rise_and_shares(s, step, smoothing)[0]


@maximum_rise.defjvp
def _maximum_rise_derivative(smoothing: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (s, step), (ds, dstep) = primals, tangents
    rise, shares = rise_and_shares(s, step, smoothing)
    slope = _over_pieces(jnp.add, shares * dstep + (shares - _shares(s, smoothing)) * ds)
    return rise, slope


def unit(s: Array, smoothing: float) -> Array:
    """σ(s) = (s + √(s² + 4β²))/2: convex, increasing, and s or 0 far from 0."""
    return (s + jnp.sqrt(s**2 + 4 * smoothing**2)) / 2


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def unit_rise(s: Array, step: Array, smoothing: float) -> Array:
    """σ(s + step) − σ(s), to the relative accuracy of the step."""
    roots = jnp.sqrt((s + step) ** 2 + 4 * smoothing**2) + jnp.sqrt(s**2 + 4 * smoothing**2)
    return step * (1 + (2 * s + step) / roots) / 2


@unit_rise.defjvp
def _unit_rise_derivative(smoothing: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (s, step), (ds, dstep) = primals, tangents
    slope = unit_slope(s + step, smoothing)
    return unit_rise(s, step, smoothing), slope * dstep + (slope - unit_slope(s, smoothing)) * ds


def unit_slope(s: Array, smoothing: float) -> Array:
    """σ'(s)."""
    return (1 + s / jnp.sqrt(s**2 + 4 * smoothing**2)) / 2


def unit_curvature(s: Array, smoothing: float) -> Array:
    """σ''(s)."""
    root = jnp.sqrt(s**2 + 4 * smoothing**2)
    return 2 * smoothing**2 / root**3


def mean_weights(raw: Array) -> Array:
    """Positive weights that average over the units of the layer below."""
    return jax.nn.softplus(raw) / raw.shape[-1]

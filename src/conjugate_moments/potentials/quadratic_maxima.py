"""Smooth maxima of quadratics: potentials of maps from a source in one piece to a law in many."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from conjugate_moments.potentials.base import LowRankPotential

# Parts that count in a step of Newton's method. On digits chains on P_w had 12 with 99 % of the share, and 20 at most;
# data had 3. From moves of chains on glyphs (d = 784) slopes of 20 parts left rows unsolved after 100 steps, of 24 they
# took 64 at most, of 32 only 22; shapes of 8 took as many steps as of 32.
LEADING, SHAPED = 32, 8
BLOCK = 256  # terms of a sum that are rounded one after another
TUNED = 64  # dimension of digits, in which the units were chosen


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class QuadraticFrame:
    """The part of a maximum that is not trained. No gradient reaches it.

    Args:
      centre: mean of the source, `[d]`.
      scale: standard deviations of the source, `[d]`.
      image: mean of the law, `[d]`.
      spread: standard deviations of the law, `[d]`: of ∇φ over the source.
      distance: typical distance between two slopes a_k, positive scalar; slopes, offsets and shapes are in its units.
      smoothing: β, in units of the distance, positive scalar.
    """

    centre: Array
    scale: Array
    image: Array
    spread: Array
    distance: Array
    smoothing: Array

    # With these units one learning rate suits all leaves. Chosen on digits, where the distance was 14 in the unit of t:
    # steps of a slope, an offset and a shape in the ratio 1 to 5 to 1/4, of which no other was tried. Those of vectors
    # shrink with the root of d: what a step of the optimiser, equal in each coordinate, does to a part does not grow.
    # That of the offsets grows with it: on glyphs (d = 784) as many steps came closer.
    @property
    def slope(self) -> Array:
        """Unit of the slopes."""
        return 0.07 * self.distance * self.curvature

    @property
    def offset(self) -> Array:
        """Unit of the offsets: they are what sets the mass of each part, and have far to go."""
        return 0.35 * self.distance / self.curvature

    @property
    def shape(self) -> Array:
        """Unit of the roots of curvature, which are to change slowly."""
        return 0.07 * jnp.sqrt(self.distance) * self.curvature

    @property
    def curvature(self) -> float:
        """Unit of the logarithms of curvatures."""
        return (TUNED / len(self.centre)) ** 0.5

    def pulled_back(self, y: Array) -> Array:
        """Points `[n, d]` of the law under the map that forgets correlations, backwards: `[n, d]`."""
        return self.centre + (y - self.image) * self.scale / self.spread


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class QuadraticMaxima(LowRankPotential):
    """φ(x) = ⟨image, x − centre⟩ + β log Σ_k exp(s_k/β), s_k = ½⟨q_k, t²⟩ + ½‖L_k t‖² + ⟨a_k, t⟩ + b_k.

    t = (x − centre)/scale, β = smoothing · distance, and a, b, L and log q in the units of the frame. Strongly convex
    for every value of the leaves. Where one s_k is much larger than the others, ∇φ is affine: it sends that part of the
    source to the k-th part of the law, and what lies between two parts to the gap between them, which is narrow for
    small β.

    A maximum of affine functions of this kind is what the potential of a law of K atoms is; quadratics give each atom
    an extent (compare mixtures of factor analysers: Ghahramani & Hinton 1996).

    Args:
      frame: the fixed part.
      slopes: a, `[K, d]`.
      offsets: b, `[K]`.
      shapes: L, `[K, rank, d]`.
      log_curvature: log q, `[K, d]`.
    """

    frame: QuadraticFrame
    slopes: Array
    offsets: Array
    shapes: Array
    log_curvature: Array

    @property
    def dim(self) -> int:
        """d."""
        return self.slopes.shape[-1]

    def value(self, x: Array) -> Array:
        """φ at one point `[d]`."""
        frame = _fixed(self.frame)
        t = (x - frame.centre) / frame.scale
        return self._above(frame, x, t, self._arguments(frame, t)[0])

    def gradient(self, x: Array) -> Array:
        """∇φ at one point `[d]`."""
        return self.value_and_gradient(x)[1]

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """φ and ∇φ at one point `[d]`."""
        frame = _fixed(self.frame)
        t, beta = (x - frame.centre) / frame.scale, frame.smoothing * frame.distance
        arguments, along = self._arguments(frame, t)
        return self._above(frame, x, t, arguments), self._slope(frame, t, jax.nn.softmax(arguments / beta), along)

    def gradient_and_log_shares(self, x: Array) -> tuple[Array, Array]:
        """∇φ at one point `[d]`, the mean of the parts' maps, and the logarithms of their shares in it, `[K]`."""
        frame = _fixed(self.frame)
        t, beta = (x - frame.centre) / frame.scale, frame.smoothing * frame.distance
        arguments, along = self._arguments(frame, t)
        log_shares = jax.nn.log_softmax(arguments / beta)
        return self._slope(frame, t, jnp.exp(log_shares), along), log_shares

    def affine_maps(self) -> tuple[Array, Array]:
        """A `[K, d, d]`, symmetric, and c `[K, d]`: what ∇φ is, A_k x + c_k, where the k-th share is 1."""
        frame = _fixed(self.frame)
        shapes, curvature = frame.shape * self.shapes, jnp.exp(frame.curvature * self.log_curvature)
        matrices = jnp.einsum("krd,kre->kde", shapes, shapes) + jax.vmap(jnp.diag)(curvature)
        matrices = matrices / frame.scale[:, None] / frame.scale
        return matrices, frame.image + frame.slope * self.slopes / frame.scale - matrices @ frame.centre

    def hessian(self, x: Array) -> Array:
        """∇²φ at one point `[d]`: mean curvature of the quadratics, and covariance of their slopes over β."""
        diagonal, rows = self._curvature(x, parts=len(self.offsets), shaped=len(self.offsets))
        return jnp.diag(diagonal) + rows.T @ rows

    def smoother(self, factor: ArrayLike) -> QuadraticMaxima:
        """The same with `factor` times the smoothing."""
        return replace(self, frame=replace(self.frame, smoothing=factor * self.frame.smoothing))

    def low_rank_hessian(self, x: Array) -> tuple[Array, Array]:
        """∇²φ at one point `[d]` as a diagonal `[d]` and rows: slopes of `LEADING` parts, shapes of `SHAPED`."""
        return self._curvature(x, parts=min(LEADING, len(self.offsets)), shaped=SHAPED)

    def _curvature(self, x: Array, *, parts: int, shaped: int) -> tuple[Array, Array]:
        """Diagonal `[d]` and rows `[parts + shaped · rank, d]` of ∇²φ, from the parts with the largest shares."""
        frame = _fixed(self.frame)
        t, beta = (x - frame.centre) / frame.scale, frame.smoothing * frame.distance
        arguments, along = self._arguments(frame, t)
        shares, curvature = jax.nn.softmax(arguments / beta), jnp.exp(frame.curvature * self.log_curvature)
        share, kept = jax.lax.top_k(shares, parts)
        shapes = frame.shape * self.shapes[kept]
        slopes = frame.slope * self.slopes[kept] + curvature[kept] * t + jnp.einsum("kr,krd->kd", along[kept], shapes)
        apart = jnp.sqrt(share / beta)[:, None] * (slopes - share @ slopes / jnp.sum(share))
        rows = (jnp.sqrt(share[:shaped])[:, None, None] * shapes[:shaped]).reshape(-1, self.dim)
        return (shares @ curvature) / frame.scale**2, jnp.concatenate([apart, rows]) / frame.scale

    def _slope(self, frame: QuadraticFrame, t: Array, shares: Array, along: Array) -> Array:
        slope = shares @ (frame.slope * self.slopes) + (shares @ jnp.exp(frame.curvature * self.log_curvature)) * t
        slope += jnp.einsum("k,kr,krd->d", shares, along, frame.shape * self.shapes)
        return frame.image + slope / frame.scale

    def _above(self, frame: QuadraticFrame, x: Array, t: Array, arguments: Array) -> Array:
        """φ from what `_arguments` gives."""
        beta = frame.smoothing * frame.distance
        common = jnp.mean(jnp.exp(frame.curvature * self.log_curvature), axis=0) @ t**2 / 2
        return jnp.sum(frame.image * (x - frame.centre)) + common + beta * jax.nn.logsumexp(arguments / beta)

    def _arguments(self, frame: QuadraticFrame, t: Array) -> tuple[Array, Array]:
        """s `[K]` but for half the mean of the ⟨q_k, t²⟩, which no share depends on, and L_k t, `[K, rank]`.

        The rounding of s, over β, is the noise of ∇φ. With that mean, which is most of s, and sums in one go, it was
        3e-3 of a pixel's standard deviation on glyphs (d = 784): more than the tolerance of the conjugate.
        """
        along = frame.shape * _dot(self.shapes, t)
        curvature = jnp.exp(frame.curvature * self.log_curvature)
        quadratic = (_dot(curvature - jnp.mean(curvature, axis=0), t**2) + jnp.sum(along**2, axis=1)) / 2
        return quadratic + frame.slope * _dot(self.slopes, t) + frame.offset * self.offsets, along


def _dot(rows: Array, vector: Array) -> Array:
    """Products `[…]` of rows `[…, d]` with a vector `[d]`, by sums over blocks, whose rounding is smaller."""
    blocks, none = range(0, len(vector), BLOCK), jnp.zeros(rows.shape[:-1], rows.dtype)
    return sum((rows[..., i : i + BLOCK] @ vector[i : i + BLOCK] for i in blocks), none)


def _fixed(frame: QuadraticFrame) -> QuadraticFrame:
    return jax.tree.map(jax.lax.stop_gradient, frame)

"""log det ∇²w over batches of points: exact by Cholesky, stochastic by Lanczos quadrature where d is large."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from conjugate_moments.potentials.base import Potential, hessian_products, hessians

Array = NDArray[np.floating]  # float64 throughout

PROBES = 16  # random vectors for each point
ORDER = (
    32  # Lanczos steps for each of them; measured beside a preconditioner, the truncation is then far below the noise
)
ENTRIES = 2**21  # numbers held at once: of Hessians, or of Krylov bases


@dataclass(frozen=True, eq=False)
class LogDet:
    """log det ∇²w at points, with what is not known of it.

    Args:
      value: `[n]`, float64; NaN where the Hessian is not finite and positive definite to working precision.
      standard_error: `[n]`, independent from point to point; 0 where exact.
    """

    value: Array
    standard_error: Array


def exact_log_det(potential: Potential, points: jax.Array) -> LogDet:
    """By the Cholesky factor of every Hessian in float64, at `points` `[n, d]`: d³/3 operations and d² numbers each."""
    size = max(1, ENTRIES // (potential.dim**2 * 4))
    value = _in_pieces(lambda piece: _of_matrices(np.asarray(hessians(potential, piece), np.float64)), points, size)
    return LogDet(value, np.zeros_like(value))


def _of_matrices(matrices: Array) -> Array:
    """log det of symmetric matrices `[n, d, d]`, `[n]`; NaN where one is not finite and positive definite."""
    diagonal = np.diagonal(matrices, axis1=1, axis2=2)
    usable = np.all(np.isfinite(matrices), axis=(1, 2)) & np.all(diagonal > 0, axis=1)
    # Of the correlations: coordinates may differ in scale by any factor.
    scale = np.sqrt(np.where(usable[:, None], diagonal, 1.0))
    correlation = np.where(usable[:, None, None], matrices, np.eye(matrices.shape[1])) / scale[:, :, None]
    correlation = correlation / scale[:, None, :]
    try:
        roots = np.diagonal(np.linalg.cholesky(correlation), axis1=1, axis2=2) ** 2
    except np.linalg.LinAlgError:  # one of them all is not definite: the eigenvalues say which
        roots = np.linalg.eigvalsh(correlation)
        usable = usable & np.all(roots > 0, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.log(roots).sum(axis=1) + 2 * np.log(scale).sum(axis=1)
    return np.where(usable, value, np.nan)


def lanczos_log_det(
    potential: Potential,
    points: jax.Array,
    *,
    key: jax.Array,
    root: Array | None = None,
    probes: int = PROBES,
    order: int = ORDER,
) -> LogDet:
    """By stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017), from Hessian products alone.

    For probes v with entries ±1, vᵀ log(RᵀHR) v has the mean log det(RᵀHR), and Gauss quadrature on the Krylov space
    of v gives each of them. Probes belong to the point, not to its place in the batch: equal points have equal values,
    different ones independent errors. The standard error is that over probes, and in quadrature the change over the
    last quarter of the Lanczos steps.

    Args:
      potential: w.
      points: `[n, d]`.
      key: of the probes.
      root: R, `[d, d]`, such that RᵀHR is near the identity for typical H: it takes most of the variance, and of the
        steps needed, away. None for the identity.
      probes: for each point, at least 2.
      order: Lanczos steps for each probe, at least 4; no more than d are made.

    Raises:
      ValueError: if `probes` or `order` is too small.
    """
    for name, count, least in (("probes", probes, 2), ("order", order, 4)):
        if count < least:
            raise ValueError(f"{name}: found {count}, allowed: an integer >= {least}")
    dim = potential.dim
    matrix = np.eye(dim) if root is None else np.asarray(root, np.float64)
    steps = min(order, dim)

    def estimate(piece: jax.Array) -> Array:
        keys = _keys(piece, key)
        quadratures = [
            _quadratures(*_tridiagonal(potential, piece, _probe(keys, probe), jnp.asarray(matrix, piece.dtype), steps))
            for probe in range(probes)
        ]
        return dim * np.stack(quadratures, axis=1)

    both = _in_pieces(estimate, points, max(1, ENTRIES // (dim * steps)))
    full, change = both[..., 0], (both[..., 0] - both[..., 1]).mean(axis=1)
    error = np.sqrt(full.var(axis=1, ddof=1) / probes + change**2)
    return LogDet(full.mean(axis=1) - 2 * np.linalg.slogdet(matrix)[1], error)


def _keys(points: jax.Array, key: jax.Array) -> jax.Array:
    """A key for every point, `[n]`, from the bits of its coordinates."""
    bits = jax.lax.bitcast_convert_type(points.astype(jnp.float32), jnp.uint32)
    hashed = jnp.sum(bits * (jax.random.bits(key, (points.shape[1],)) | 1), axis=1, dtype=jnp.uint32)
    return jax.vmap(partial(jax.random.fold_in, key))(hashed)


def _probe(keys: jax.Array, probe: int) -> jax.Array:
    """The keys `[n]` of one probe."""
    return jax.vmap(lambda key: jax.random.fold_in(key, probe))(keys)


@partial(jax.jit, static_argnames="order")
def _tridiagonal(
    potential: Potential, points: jax.Array, keys: jax.Array, root: jax.Array, order: int
) -> tuple[jax.Array, jax.Array]:
    """Diagonals `[n, order]` and off-diagonals `[n, order]` of Lanczos's matrices for random signs."""
    n, dim = points.shape
    signs = jax.vmap(lambda key: jax.random.rademacher(key, (dim,), points.dtype))(keys)

    def step(carry: tuple[jax.Array, jax.Array], k: jax.Array) -> tuple[tuple, tuple]:
        basis, q = carry
        basis = basis.at[:, k].set(q)
        image = hessian_products(potential, points, q @ root.T) @ root
        diagonal = jnp.sum(image * q, axis=1)
        rest = image
        for _ in range(2):  # twice is enough (Giraud, Langou & Rozložník 2005)
            rest = rest - jnp.einsum("nkd,nk->nd", basis, jnp.einsum("nkd,nd->nk", basis, rest))
        size = jnp.linalg.norm(rest, axis=1)
        # Where the Krylov space is exhausted the rest is rounding: the matrix ends there, its tail decoupled.
        more = size > 10 * jnp.finfo(points.dtype).eps * jnp.linalg.norm(image, axis=1)
        size = jnp.where(more, size, 0.0)
        alive = jnp.any(q != 0, axis=1)
        q = jnp.where(more[:, None], rest / jnp.where(more, size, 1.0)[:, None], 0.0)
        return (basis, q), (jnp.where(alive, diagonal, 1.0), size)

    start = jnp.zeros((n, order, dim), points.dtype), signs / math.sqrt(dim)
    _, (diagonal, off) = jax.lax.scan(step, start, jnp.arange(order))
    return diagonal.T, off.T


def _quadratures(diagonals: jax.Array, offs: jax.Array) -> Array:
    """Gauss quadratures of log by all Lanczos steps and by three quarters of them, `[n, 2]`."""
    diagonal, off = np.asarray(diagonals, np.float64), np.asarray(offs, np.float64)
    order = diagonal.shape[1]
    return np.stack([_quadrature(diagonal[:, :m], off[:, : m - 1]) for m in (order, order - order // 4)], axis=1)


def _quadrature(diagonal: Array, off: Array) -> Array:
    rows = np.arange(diagonal.shape[1])
    matrices = np.zeros((*diagonal.shape, rows.size))
    matrices[:, rows, rows] = diagonal
    matrices[:, rows[1:], rows[:-1]] = off  # eigh reads the lower half
    usable = np.all(np.isfinite(matrices), axis=(1, 2))
    nodes, vectors = np.linalg.eigh(np.where(usable[:, None, None], matrices, 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.sum(vectors[:, 0] ** 2 * np.log(np.where(nodes > 0, nodes, np.nan)), axis=1)
    return np.where(usable, value, np.nan)


def _in_pieces(function: Callable[[jax.Array], Array], points: jax.Array, size: int) -> Array:
    """`function` over rows `[n, d]`, so many at a time, the last piece filled up: one compilation, bounded memory."""
    size = min(size, len(points))
    padded = jnp.concatenate([points, jnp.repeat(points[:1], -len(points) % size, axis=0)])
    return np.concatenate([function(padded[i : i + size]) for i in range(0, len(points), size)])[: len(points)]

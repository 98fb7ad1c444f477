"""Laws whose conjugate potential is known by construction, in any even dimension: exact truths for the study over d.

Choose w first; then ρ is the law of ∇w*(x), x ~ P_w ∝ e^{-w}. Here w is a sum of functions of two coordinates each in a
random orthonormal frame. So P_w and ∇w* fall apart into planar problems that are solved to rounding in any dimension,
while w is no sum of univariate terms in any orthonormal frame: unlike a product, it couples coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments import _random

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout
Family = Literal["log_sum_exp", "curved", "multimodal"]

EPS = float(np.finfo(np.float64).eps)
TOLERANCE = 1e-12  # of |∇w(y) - x|_∞ in units of 1 + |x|_∞
LARGEST_STEPS = 200
TAIL = 25.0  # quadrature reaches to where the Gibbs density has fallen by e^{-25} = 1e-11
MASS_POINTS = 513  # a side of the quadrature grid
MOMENT_POINTS = 129
RESIDUAL = 1e-2  # largest relative change on doubling the step that counts as converged; the errors are far smaller
DISTINCT = 8  # blocks beyond these repeat them, each in a plane of its own


@dataclass(frozen=True, eq=False)
class Block:
    """The planar convex function v(z) = curvature |z|²/2 + temperature · log Σₖ exp((⟨aₖ, z⟩ + cₖ) / temperature).

    With three or more slopes aₖ in general position its Hessians do not commute, so v is no sum of univariate terms in
    any orthonormal frame. As temperature and curvature fall, v tends to a maximum of affine functions, and ∇v* to a
    step map that jumps across the cells where one of them is the largest. Float64; points have shape `[..., 2]`.

    Args:
      curvature: positive.
      slopes: a, `[m, 2]`.
      offsets: c, `[m]`.
      temperature: positive.
    """

    curvature: float
    slopes: Array
    offsets: Array
    temperature: float

    def value(self, z: Array) -> Array:
        """v; result `[...]`."""
        return self.curvature * np.sum(z**2, axis=-1) / 2 + self._soft_maximum(z)

    def inverse_transport(self, z: Array) -> Array:
        """∇v."""
        return self.curvature * z + self._weights(z) @ self.slopes

    def hessian(self, z: Array) -> Array:
        """∇²v, `[..., 2, 2]`: positive definite, at least `curvature`."""
        weights = self._weights(z)
        mean = weights @ self.slopes
        outer = (self.slopes[:, :, None] * self.slopes[:, None, :]).reshape(-1, 4)
        second = (weights @ outer).reshape(*z.shape, 2)
        return self.curvature * np.eye(2) + (second - mean[..., :, None] * mean[..., None, :]) / self.temperature

    def transport(self, x: Array) -> Array:
        """∇v*, by damped Newton steps on v(z) - ⟨x, z⟩ to |∇v(z) - x|_∞ ≤ `TOLERANCE` (1 + |x|_∞) at every point.

        Raises:
          ArithmeticError: if a point misses the tolerance, or is not finite.
        """
        points = x.reshape(-1, 2)
        z = points / (self.curvature + np.sum(self.slopes**2, axis=-1).max() / self.temperature)
        active = np.arange(len(points))
        for _ in range(LARGEST_STEPS):
            gap = self.inverse_transport(z[active]) - points[active]
            left = ~(np.abs(gap).max(axis=-1) <= TOLERANCE * (1 + np.abs(points[active]).max(axis=-1)))
            active, gap = active[left], gap[left]
            if not active.size:
                return z.reshape(x.shape)
            z[active] = self._descend(z[active], points[active], gap)
        raise ArithmeticError(
            f"transport: {active.size} of {len(points)} points miss the tolerance after {LARGEST_STEPS} steps"
        )

    def _descend(self, z: Array, goal: Array, gap: Array) -> Array:
        """One Newton step, halved point by point until the objective falls by Armijo's rule."""
        step = -_solve(self.hessian(z), gap)
        slope = np.sum(step * gap, axis=-1)
        value, product = self.value(z), np.sum(z * goal, axis=-1)
        # Close to the solution rounding hides the descent. To accept a fall of the gradient instead would be wrong:
        # across a sharp kink it lets Newton's method cycle for ever.
        allowed = value - product + 4 * EPS * (1 + np.abs(value) + np.abs(product))
        high = np.arange(len(z))
        for _ in range(60):
            moved = z[high] + step[high]
            objective = self.value(moved) - np.sum(moved * goal[high], axis=-1)
            high = high[objective > (allowed + 1e-4 * slope)[high]]
            if not high.size:
                break
            step[high] /= 2
            slope[high] /= 2
        return z + step

    def sample_gibbs(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent exact draws of P_v ∝ e^{-v}, `[n, 2]`.

        v - curvature |z|²/2 is convex, so it lies above its tangent at the minimiser of v: the Gaussian with precision
        `curvature` there is an envelope for rejection. Of the families' proposals 12 to 54 % are accepted.
        """
        import jax

        draws, filled, rounds = np.empty((n, 2)), 0, 0
        while filled < n:
            proposals, levels = jax.random.split(jax.random.fold_in(key, rounds))
            shift = _random.normal(proposals, (2 * n, 2)) / math.sqrt(self.curvature)
            accepted = shift[np.log(_random.uniform(levels, (2 * n,))) < -self._excess(shift)][: n - filled]
            draws[filled : filled + len(accepted)] = self.mode + accepted
            filled, rounds = filled + len(accepted), rounds + 1
        return draws

    def _excess(self, shift: Array) -> Array:
        """How far v rises over v(mode) + curvature |shift|²/2, never negative but for rounding."""
        # At the mode the soft maximum has gradient -curvature · mode, since ∇v vanishes.
        tangent = self._soft_maximum(self.mode) - self.curvature * shift @ self.mode
        return self._soft_maximum(self.mode + shift) - tangent

    @cached_property
    def mode(self) -> Array:
        """The minimiser of v, `[2]`: ∇v*(0)."""
        return self.transport(np.zeros(2))

    @cached_property
    def moments(self) -> Moments:
        """Mass of e^{-v}, mean and covariance of ∇v*♯P_v, by sums over grids."""
        # The mass takes a finer grid, since it needs no transport.
        _, density, cell = self._grid(MASS_POINTS)
        log_mass = math.log(density.sum() * cell) - float(self.value(self.mode))
        fine, coarse = density.sum(), 4 * density[::2, ::2].sum()
        z, density, _ = self._grid(MOMENT_POINTS)
        mapped = self.transport(z)
        mean, cov = _mean_and_cov(mapped, density)
        _, coarse_cov = _mean_and_cov(mapped[::2, ::2], density[::2, ::2])
        residual = max(abs(coarse / fine - 1), abs(np.trace(coarse_cov) / np.trace(cov) - 1))
        return Moments(log_mass, mean, cov, float(residual))

    def _grid(self, points: int) -> tuple[Array, Array, float]:
        """Points `[points, points, 2]` around all that matters, e^{v(mode) - v} there, and the area of a cell."""
        angles = np.linspace(0, 2 * np.pi, 256, endpoint=False)
        rays = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        # v rises at least as fast as curvature r²/2 from its mode, which brackets the contour for bisection.
        low, high = np.zeros(len(rays)), np.full(len(rays), math.sqrt(2 * TAIL / self.curvature))
        lowest = self.value(self.mode)
        for _ in range(50):
            middle = (low + high) / 2
            inside = self.value(self.mode + middle[:, None] * rays) < lowest + TAIL
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        contour = self.mode + high[:, None] * rays
        axes = np.linspace(contour.min(axis=0), contour.max(axis=0), points)
        z = np.stack(np.meshgrid(axes[:, 0], axes[:, 1], indexing="ij"), axis=-1)
        return z, np.exp(lowest - self.value(z)), float(np.prod(axes[1] - axes[0]))

    def _soft_maximum(self, z: Array) -> Array:
        logits = self._logits(z)
        top = logits.max(axis=-1)
        return self.temperature * (top + np.log(np.sum(np.exp(logits - top[..., None]), axis=-1)))

    def _weights(self, z: Array) -> Array:
        logits = self._logits(z)
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True)

    def _logits(self, z: Array) -> Array:
        return (z @ self.slopes.T + self.offsets) / self.temperature


@dataclass(frozen=True, eq=False)
class Moments:
    """Integrals of one block.

    Args:
      log_mass: log ∫ e^{-v}.
      mean: of the push-forward ∇v*♯P_v, `[2]`.
      cov: its covariance, `[2, 2]`.
      residual: largest relative change of the mass and of the trace of `cov` when the step of their grid is doubled: a
        bound on their errors, which fall at least with the square of the step.
    """

    log_mass: float
    mean: Array
    cov: Array
    residual: float


@dataclass(frozen=True, eq=False)
class PlantedLaw:
    """ρ = ∇w*♯P_w for w(y) = Σ_b v_b((Rᵀy)_{2b}, (Rᵀy)_{2b+1}). Float64; points have shape `[..., d]`.

    Draws of P_w are exact, ∇w* is inverted to `TOLERANCE`, masses and moments come from planar quadrature.

    Args:
      rotation: orthogonal R, `[d, d]`.
      blocks: v₁, …, v_{d/2}; equal objects share their work.
    """

    rotation: Array
    blocks: tuple[Block, ...]

    @property
    def dim(self) -> int:
        """Dimension d."""
        return len(self.rotation)

    @property
    def parameters(self) -> dict[str, Array]:
        """Arguments of `conjugate_moments.potentials.planted.PlantedPotential`, which is w up to a constant."""
        names = ("curvature", "slopes", "offsets", "temperature")
        stacked = {name: np.stack([np.asarray(getattr(block, name)) for block in self.blocks]) for name in names}
        curvatures, temperatures = stacked.pop("curvature"), stacked.pop("temperature")
        return {"rotation": self.rotation, "curvatures": curvatures, "temperatures": temperatures, **stacked}

    def _split(self, points: ArrayLike) -> Array:
        """Coordinates in the blocks' frame, `[..., d/2, 2]`."""
        points = np.asarray(points, dtype=np.float64)
        if points.shape[-1:] != (self.dim,):
            raise ValueError(f"points: expected shape [..., {self.dim}], found {points.shape}")
        return (points @ self.rotation).reshape(*points.shape[:-1], -1, 2)

    def _join(self, coordinates: Array) -> Array:
        return coordinates.reshape(*coordinates.shape[:-2], self.dim) @ self.rotation.T

    def _map(self, method: str, points: ArrayLike) -> Array:
        coordinates = self._split(points)
        result = np.empty_like(coordinates)
        for block in dict.fromkeys(self.blocks):
            mine = [i for i, other in enumerate(self.blocks) if other is block]
            result[..., mine, :] = getattr(block, method)(coordinates[..., mine, :])
        return self._join(result)

    def potential(self, y: ArrayLike) -> Array:
        """w, normalised so that e^{-w} integrates to 1; result `[...]`."""
        coordinates = self._split(y)
        parts = [block.value(coordinates[..., i, :]) + block.moments.log_mass for i, block in enumerate(self.blocks)]
        return np.sum(parts, axis=0)

    def gibbs_pdf(self, x: ArrayLike) -> Array:
        """Gibbs density; result `[...]`."""
        return np.exp(-self.potential(x))

    def log_density(self, y: ArrayLike) -> Array:
        """Log-density of ρ, −w(∇w(y)) + log det ∇²w(y); result `[...]`."""
        coordinates = self._split(y)
        parts = [np.linalg.slogdet(block.hessian(coordinates[..., i, :]))[1] for i, block in enumerate(self.blocks)]
        return np.sum(parts, axis=0) - self.potential(self.inverse_transport(y))

    def transport(self, x: ArrayLike) -> Array:
        """∇w*, from the Gibbs measure to ρ.

        Raises:
          ArithmeticError: if a point misses the tolerance, or is not finite.
        """
        return self._map("transport", x)

    def inverse_transport(self, y: ArrayLike) -> Array:
        """∇w, from ρ to the Gibbs measure."""
        return self._map("inverse_transport", y)

    def sample_gibbs(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent exact draws of the Gibbs measure, `[n, d]`."""
        import jax

        pairs = [block.sample_gibbs(n, key=jax.random.fold_in(key, i)) for i, block in enumerate(self.blocks)]
        return self._join(np.stack(pairs, axis=1))

    def sample(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent draws of ρ as images of Gibbs draws, `[n, d]`."""
        return self.transport(self.sample_gibbs(n, key=key))

    @cached_property
    def mean(self) -> Array:
        """Mean of ρ, `[d]`, by quadrature."""
        return self._join(np.stack([block.moments.mean for block in self.blocks]))

    @cached_property
    def cov(self) -> Array:
        """Covariance of ρ, `[d, d]`, by quadrature."""
        result = np.zeros((self.dim, self.dim))
        for i, block in enumerate(self.blocks):
            result[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block.moments.cov
        return self.rotation @ result @ self.rotation.T

    @property
    def variance(self) -> float:
        """Trace of the covariance of ρ, as L²-UVP takes it."""
        return float(sum(np.trace(block.moments.cov) for block in self.blocks))

    @property
    def residual(self) -> float:
        """Largest of the blocks' quadrature residuals; see `Moments`."""
        return max(block.moments.residual for block in self.blocks)

    @property
    def converged(self) -> bool:
        """Whether the quadrature behind normalisation, mean and covariance resolved every block."""
        return self.residual <= RESIDUAL


def planted(family: Family, dim: int, *, key: jax.Array) -> PlantedLaw:
    """A law of the family in a random frame, with at most `DISTINCT` different random blocks.

    - "log_sum_exp": curvature 0.4 to 0.8, six slopes of length 0.5 to 2, temperature 0.5: moderately non-Gaussian.
    - "curved": four short slopes inside five long ones, temperature 0.04: over P_w the eigenvalues of ∇²w range over a
      factor above 100 between their 1 % and 99 % quantiles (117 to 135 measured for five keys); ρ has sharp ridges.
    - "multimodal": the slope zero inside five of length 4. ρ has density e^{-w(∇w(y))} det ∇²w(y), large where the
      affine functions meet: ∇w* sends a triangle of neighbouring slopes to the point where the three are equal. So
      every block has five modes on a ring; the density falls to 1 % of the peaks between them, and at the centre.

    Every block of ρ has a standard deviation of about 1 per coordinate.

    Args:
      family: one of the three.
      dim: even and positive.
      key: decides frame and blocks.

    Raises:
      ValueError: if the family does not exist or the dimension is not an even positive number.
    """
    import jax

    if family not in _RECIPES:
        raise ValueError(f"family: found {family!r}, allowed: {', '.join(map(repr, _RECIPES))}")
    if dim < 2 or dim % 2:
        raise ValueError(f"dim: expected an even number >= 2, found {dim}")
    frame, blocks = jax.random.split(key)
    distinct = [_RECIPES[family](jax.random.fold_in(blocks, i)) for i in range(min(dim // 2, DISTINCT))]
    return PlantedLaw(orthogonal(frame, dim), tuple(distinct[i % DISTINCT] for i in range(dim // 2)))


def _log_sum_exp(key: jax.Array) -> Block:
    u = _random.uniform(key, (4, 6))
    slopes = _star(u[0, 0], u[1], 0.5 + 1.5 * u[2], spread=1.0)
    return Block(0.4 + 0.4 * u[0, 1], slopes, 2.0 * u[3] - 1.0, 0.5)


def _curved(key: jax.Array) -> Block:
    u = _random.uniform(key, (5, 5))
    short = _star(u[0, 0], u[1, :4], 0.9 + 0.2 * u[2, :4], spread=0.3)
    long = _star(u[0, 1], u[3], 2.8 + 0.4 * u[4], spread=0.3)
    return Block(0.2, np.concatenate([short, long]), np.repeat([0.0, -3.0], [4, 5]), 0.04)


def _multimodal(key: jax.Array) -> Block:
    u = _random.uniform(key, (3, 5))
    slopes = _star(u[0, 0], u[1], 3.9 + 0.2 * u[2], spread=0.2)
    return Block(0.12, np.concatenate([np.zeros((1, 2)), slopes]), np.repeat([0.0, -6.0], [1, 5]), 0.3)


_RECIPES: dict[str, Callable[[jax.Array], Block]] = {
    "log_sum_exp": _log_sum_exp,
    "curved": _curved,
    "multimodal": _multimodal,
}


def _star(phase: float, levels: Array, lengths: Array, *, spread: float) -> Array:
    """Vectors `[m, 2]` in sectors of equal angle, turned by `phase` sectors and jittered by `spread` of one."""
    count = len(levels)
    angles = 2 * np.pi * (np.arange(count) + phase + spread * (levels - 0.5)) / count
    return lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def orthogonal(key: jax.Array, dim: int) -> Array:
    """A Haar random orthogonal matrix, `[dim, dim]`."""
    matrix, triangle = np.linalg.qr(_random.normal(key, (dim, dim)))
    return matrix * np.sign(np.diag(triangle))


def _solve(matrices: Array, vectors: Array) -> Array:
    """Solutions of symmetric 2x2 systems by Cramer's rule: `[n, 2, 2]`, `[n, 2]`."""
    a, b, c = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 1]
    u, v = vectors[:, 0], vectors[:, 1]
    return np.stack([c * u - b * v, a * v - b * u], axis=-1) / (a * c - b**2)[:, None]


def _mean_and_cov(points: Array, weights: Array) -> tuple[Array, Array]:
    points, weights = points.reshape(-1, 2), weights.ravel() / weights.sum()
    mean = weights @ points
    return mean, (points - mean).T @ ((points - mean) * weights[:, None])

"""A strongly convex network: a learned quadratic plus layers of smooth convex units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from conjugate_moments.potentials.base import (
    Potential,
    check_gaussian,
    common_dtype,
    gradients,
    hessians,
    symmetric_power,
)

FLOOR = 1e-3  # of the Gaussian closed form's least curvature: bounds the slope of ∇w* without binding a fit
INITIAL_POINTS = 256  # Gaussian points over which the initial curvature is balanced, which needs no accuracy


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Frame:
    """The part of a network that is not trained: the affine frame of the data and two constants.

    The network sees t = (y − centre)/scale. No gradient reaches these leaves; a rule that moves leaves without a
    gradient, such as weight decay, must leave `network.frame` out.

    Args:
      centre: mean of the data, `[d]`, in data units.
      scale: standard deviations of the data, `[d]`, in data units.
      floor: least curvature of w with respect to t, positive scalar.
      gain: factor of the units' part, positive scalar.
    """

    centre: Array
    scale: Array
    floor: Array
    gain: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class InputConvexNetwork(Potential):
    """w(y) = ½‖F t‖² + ½ floor ‖t‖² + ⟨linear, t⟩ + gain · mean_j softplus(output)_j z_j, with t = (y − centre)/scale.

    z is the last of the layers z_1 = σ(A_1 t + b_1), z_{k+1} = σ(W_k z_k + A_{k+1} t + b_{k+1}), with
    W_k = softplus(mixing_k)/width and σ(s) = (s + √(s² + 4β²))/2, β the smoothing: smooth, convex and increasing. So w
    is strongly convex and smooth for every value of the leaves, and a function of y in data units; the frame is part
    of the model, not a change of the data. Input convex layers of Amos, Xu & Kolter 2017, with a quadratic part as in
    Vesseron & Cuturi 2024.

    Build it with `initial`. The trained leaves are all but those of `frame`.

    Args:
      frame: the fixed part.
      factor: F, `[d, d]`.
      linear: `[d]`.
      inputs: A_k, `[h_k, d]` each.
      biases: b_k, `[h_k]` each.
      mixing: raw W_k, `[h_{k+1}, h_k]` each; one fewer than `inputs`.
      output: raw weights of the last layer, `[h_K]`.
      smoothing: β > 0, no unit; static.
    """

    frame: Frame
    factor: Array
    linear: Array
    inputs: tuple[Array, ...]
    biases: tuple[Array, ...]
    mixing: tuple[Array, ...]
    output: Array
    smoothing: float = field(metadata={"static": True})

    @classmethod
    def initial(
        cls,
        mean: ArrayLike,
        cov: ArrayLike,
        *,
        widths: Sequence[int] = (64, 64),
        smoothing: float = 0.1,
        quadratic: float = 0.7,
        slope: float = 1.5,
        key: Array,
    ) -> InputConvexNetwork:
        """A network near the conjugate closed form of N(mean, cov), S = cov^{1/3}.

        The quadratic part has the matrix quadratic² S⁻¹, and the units, random, give on average over N(mean, cov) the
        rest of its curvature: the mean of tr(S ∇²w) is d. The mean of ∇w is (I + S)⁻¹ mean, the mean of P_w.

        Args:
          mean: of the data, `[d]`.
          cov: of the data, symmetric positive definite, `[d, d]`.
          widths: h_1, …, h_K.
          smoothing: β of the units; small values allow steep maps.
          quadratic: share of the closed form's factor S^{-1/2} kept in F, from 0.1 to below 1.
          slope: standard deviation of A_1 t and of b_1 over the data.
          key: of the random units.

        Raises:
          ValueError: naming the argument that is out of range or of the wrong shape.
        """
        centre, matrix = check_gaussian(mean, cov)
        root = symmetric_power(matrix, 1 / 3)
        return cls.near(
            mean,
            cov,
            curvature=symmetric_power(matrix, -1 / 3),
            slope_mean=np.linalg.solve(np.eye(centre.size) + root, centre),
            widths=widths,
            smoothing=smoothing,
            quadratic=quadratic,
            slope=slope,
            key=key,
        )

    @classmethod
    def near(
        cls,
        mean: ArrayLike,
        cov: ArrayLike,
        *,
        curvature: ArrayLike,
        slope_mean: ArrayLike,
        widths: Sequence[int] = (64, 64),
        smoothing: float = 0.1,
        quadratic: float = 0.7,
        slope: float = 1.5,
        key: Array,
    ) -> InputConvexNetwork:
        """A network near a quadratic of the given matrix, over the Gaussian N(mean, cov) of its arguments.

        Args:
          mean: `[d]`.
          cov: symmetric positive definite, `[d, d]`.
          curvature: of the quadratic, symmetric positive definite, `[d, d]`.
          slope_mean: mean of ∇w, `[d]`.
          widths: as for `initial`, and so for the rest.
          smoothing: β of the units.
          quadratic: share of the root of `curvature` kept in F.
          slope: standard deviation of A_1 t and of b_1.
          key: of the random units.

        Raises:
          ValueError: naming the argument that is out of range or of the wrong shape.
        """
        _check_settings(widths, smoothing, quadratic, slope)
        dtype = common_dtype(mean, cov)
        mean, cov = check_gaussian(mean, cov)
        slope_mean, curvature = check_gaussian(slope_mean, curvature)
        scale = np.sqrt(np.diag(cov))
        matrix = curvature * np.outer(scale, scale)
        floor = FLOOR * float(np.linalg.eigvalsh(matrix)[0])
        factor = symmetric_power(quadratic**2 * matrix - floor * np.eye(mean.size), 1 / 2)
        frame = Frame(*(jnp.asarray(leaf, dtype) for leaf in (mean, scale, floor, 1.0)))
        dim, layers = mean.size, len(widths)
        above = zip(widths[1:], widths[:-1], strict=True)
        shapes = (
            [(h, dim) for h in widths] + [(h,) for h in widths] + [*above, (widths[-1],), (INITIAL_POINTS // 2, dim)]
        )
        normals = _normals(shapes, dtype, key)
        network = cls(
            frame,
            factor=jnp.asarray(factor, dtype),
            linear=jnp.zeros(dim, dtype),
            inputs=tuple(slope / math.sqrt(dim) * A for A in normals[:layers]),
            biases=tuple(slope * b for b in normals[layers : 2 * layers]),
            mixing=tuple(normals[2 * layers : -2]),
            output=normals[-2],
            smoothing=float(smoothing),
        )
        # Antithetic, so that the quadratic part meets the mean exactly.
        noise = jnp.concatenate([normals[-1], -normals[-1]])
        offsets = noise @ jnp.asarray(symmetric_power(cov, 1 / 2), dtype)
        return _balanced(network, frame.centre + offsets, np.linalg.inv(curvature), slope_mean, 1 - quadratic**2)

    @property
    def dim(self) -> int:
        """d."""
        return self.linear.shape[-1]

    def _fixed(self) -> Frame:
        return jax.tree.map(jax.lax.stop_gradient, self.frame)

    def value(self, x: Array) -> Array:
        """w at one point `[d]`."""
        frame = self._fixed()
        t = (x - frame.centre) / frame.scale
        z = _unit(self.inputs[0] @ t + self.biases[0], self.smoothing)
        for raw, A, b in zip(self.mixing, self.inputs[1:], self.biases[1:], strict=True):
            z = _unit(_mean_weights(raw) @ z + A @ t + b, self.smoothing)
        quadratic = jnp.sum((self.factor @ t) ** 2) / 2 + frame.floor * jnp.sum(t**2) / 2
        return quadratic + self.linear @ t + frame.gain * (_mean_weights(self.output) @ z)

    def hessian(self, x: Array) -> Array:
        """∇²w at one point `[d]`, as a sum of JᵀCJ with C ≥ 0 diagonal: positive semi-definite after rounding too.

        J_k is the derivative of the k-th layer's argument s_k by t, and C_k the derivative of w by z_k times σ''(s_k).
        """
        frame = self._fixed()
        t = (x - frame.centre) / frame.scale
        s = self.inputs[0] @ t + self.biases[0]
        arguments, jacobians = [s], [self.inputs[0]]
        for raw, A, b in zip(self.mixing, self.inputs[1:], self.biases[1:], strict=True):
            weights = _mean_weights(raw)
            jacobians.append(weights @ (_unit_slope(s, self.smoothing)[:, None] * jacobians[-1]) + A)
            s = weights @ _unit(s, self.smoothing) + A @ t + b
            arguments.append(s)
        total = self.factor.T @ self.factor + frame.floor * jnp.eye(self.dim, dtype=t.dtype)
        weight = frame.gain * _mean_weights(self.output)
        for k in reversed(range(1, len(arguments))):
            s, J = arguments[k], jacobians[k]
            total += J.T @ ((weight * _unit_curvature(s, self.smoothing))[:, None] * J)
            weight = (weight * _unit_slope(s, self.smoothing)) @ _mean_weights(self.mixing[k - 1])
        total += _shared_gram(weight * _unit_curvature(arguments[0], self.smoothing), self.inputs[0])
        return total / frame.scale[:, None] / frame.scale


def _shared_gram(weights: Array, J: Array) -> Array:
    """Jᵀ diag(weights) J for a J `[h, d]` that all points share: over a batch one matrix product, half by symmetry."""
    rows, columns = np.triu_indices(J.shape[1])
    place = np.zeros((J.shape[1], J.shape[1]), dtype=int)
    place[rows, columns] = place[columns, rows] = np.arange(rows.size)
    return (weights @ (J[:, rows] * J[:, columns]))[place]


def _unit(s: Array, smoothing: float) -> Array:
    return (s + jnp.sqrt(s**2 + 4 * smoothing**2)) / 2


def _unit_slope(s: Array, smoothing: float) -> Array:
    return (1 + s / jnp.sqrt(s**2 + 4 * smoothing**2)) / 2


def _unit_curvature(s: Array, smoothing: float) -> Array:
    root = jnp.sqrt(s**2 + 4 * smoothing**2)
    return 2 * smoothing**2 / root**3


def _mean_weights(raw: Array) -> Array:
    """Positive weights that average over the units of the layer below."""
    return jax.nn.softplus(raw) / raw.shape[-1]


def _normals(shapes: Sequence[tuple[int, ...]], dtype: jnp.dtype, key: Array) -> list[Array]:
    """Independent standard normals of the given shapes, from one draw: each shape drawn would be compiled alone."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = jnp.split(jax.random.normal(key, (int(ends[-1]),), dtype), ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _balanced(
    network: InputConvexNetwork, points: Array, inverse: np.ndarray, slope_mean: np.ndarray, share: float
) -> InputConvexNetwork:
    """The network with the gain and linear part that `near` promises, measured at `points` `[n, d]`."""
    matrices = hessians(network, points).mean(axis=0)
    scale = network.frame.scale
    t_quadratic = network.factor.T @ network.factor + network.frame.floor * jnp.eye(network.dim, dtype=points.dtype)
    units = matrices - t_quadratic / scale[:, None] / scale
    gain = share * network.dim / jnp.sum(jnp.asarray(inverse, points.dtype) * units)
    network = replace(network, frame=replace(network.frame, gain=gain.astype(points.dtype)))
    missing = jnp.asarray(slope_mean, points.dtype) - gradients(network, points).mean(axis=0)
    return replace(network, linear=missing * scale)


def _check_settings(widths: Sequence[int], smoothing: float, quadratic: float, slope: float) -> None:
    if not len(widths) or not all(isinstance(h, int) and h > 0 for h in widths):
        raise ValueError(f"widths: expected one or more positive integers, found {list(widths)}")
    if not 0 < smoothing < math.inf:
        raise ValueError(f"smoothing: expected a finite number > 0, found {smoothing}")
    if not 0.1 <= quadratic < 1:
        raise ValueError(f"quadratic: expected a number in [0.1, 1), found {quadratic}")
    if not 0 < slope < math.inf:
        raise ValueError(f"slope: expected a finite number > 0, found {slope}")

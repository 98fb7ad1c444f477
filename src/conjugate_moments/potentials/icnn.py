"""A strongly convex network: a learned quadratic plus smooth maxima of affine functions, and layers above them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from conjugate_moments._matrices import symmetric_power
from conjugate_moments.potentials._maxima import (
    covariance,
    maximum,
    maximum_rise,
    mean_piece,
    mean_weights,
    pieces_first,
    rise_and_shares,
    times,
    unit,
    unit_curvature,
    unit_rise,
    unit_slope,
)
from conjugate_moments.potentials._start import check_settings, mirrored, normals, within
from conjugate_moments.potentials.base import Potential, check_gaussian, common_dtype, gradients, hessians

FLOOR = 1e-3  # of the Gaussian closed form's curvature: bounds the slope of ∇w* without binding a fit
INITIAL_POINTS = 256  # Gaussian points over which the initial curvature is balanced, which needs no accuracy


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Frame:
    """The part of a network that is not trained: the affine frame of the data, and the units of the trained leaves.

    The network sees t = (y − centre)/scale. Scaling does not commute with the conjugate factorisation: where w is
    |y|^p/p, the law c times as large has the potential c^{−p(p−1)/(p+1)} |y|^p/p, another power of c for every p. So no
    rule scales the potential of standardised data back, and data are taken as they are. The leaves are standardised,
    each by what the closed form of a Gaussian wants of it: at standard deviation σ, ∇w is of the order of σ^{1/3} and w
    of σ^{4/3}. One learning rate then suits data of every scale.

    No gradient reaches these leaves; a rule that moves leaves without a gradient, such as weight decay, must leave
    `network.frame` out.

    Args:
      centre: mean of the data, `[d]`, in data units.
      scale: standard deviations of the data, `[d]`, in data units.
      origin: where w is 0, about which P_w lies, `[d]`: values there are small differences of large ones.
      spread: standard deviations of ∇w over the data, s, `[d]`.
      damping: min(1, 1/s), `[d]`: an error of ∇w moves P_w, whose covariance is about s², by s² as much, so that what
        moves the slope at the origin has to go slowly where s > 1.
      factor: units of the entries of F, `[d, d]`.
      linear: units of the linear part, `[d]`.
      floor: least curvature of w with respect to each t_i, positive, `[d]`.
      gain: factor of the units' part, positive scalar.
    """

    centre: Array
    scale: Array
    origin: Array
    spread: Array
    damping: Array
    factor: Array
    linear: Array
    floor: Array
    gain: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class InputConvexNetwork(Potential):
    """w(y) = ½‖F(t − c)‖² + ½ Σ floor (t − c)² + ⟨linear, t⟩ + gain · u(t) up to a constant, t = (y − centre)/scale.

    F and linear are in the units of the frame, w is 0 at its origin o, and c = (1 − damping²) o. u is
    mean_j softplus(output)_j z_j less its tangent at the origin, so that units do not move P_w. z is the last
    of the layers z_1 = max_β(A_1 t + b_1), z_{k+1} = σ(W_k z_k + A_{k+1} t + b_{k+1}), W_k = softplus(mixing_k)/width.
    max_β(s)_j = β log Σ_p exp(s_jp/β) over the pieces of a unit and σ(s) = (s + √(s² + 4β²))/2, β the smoothing, are
    smooth, convex and increasing. So w is strongly convex and smooth for every value of the leaves, and a function of y
    in data units; the frame is part of the model, not a change of the data. Input convex layers of Amos, Xu & Kolter
    2017, with a quadratic part as in Vesseron & Cuturi 2024, and smooth maxima of affine functions as in Calafiore,
    Gaubert & Possieri 2020.

    Maxima are there because sums of convex functions of one projection each, a layer of plain units, are not dense in
    the convex functions of two or more variables: max(x, y, 0) is none (its slopes fill a triangle, which is no limit
    of sums of segments). Maxima of enough pieces are.

    Build it with `initial`. The trained leaves are all but those of `frame`.

    Args:
      frame: the fixed part.
      factor: F in units of `frame.factor`, `[d, d]`.
      linear: in units of `frame.linear`, `[d]`.
      inputs: A_1, `[h_1, pieces, d]`, and A_k, `[h_k, d]` each.
      biases: b_1, `[h_1, pieces]`, and b_k, `[h_k]` each.
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
        widths: Sequence[int] = (64,),
        pieces: int = 4,
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
          pieces: affine functions in the maximum of each unit of the first layer.
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
            pieces=pieces,
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
        widths: Sequence[int] = (64,),
        pieces: int = 4,
        smoothing: float = 0.1,
        quadratic: float = 0.7,
        slope: float = 1.5,
        subspaces: Sequence[ArrayLike] | None = None,
        key: Array,
    ) -> InputConvexNetwork:
        """A network near a quadratic of the given matrix, over the Gaussian N(mean, cov) of its arguments.

        Args:
          mean: `[d]`.
          cov: symmetric positive definite, `[d, d]`.
          curvature: of the quadratic, symmetric positive definite, `[d, d]`.
          slope_mean: mean of ∇w, `[d]`.
          widths: as for `initial`, and so for the rest.
          pieces: as for `initial`.
          smoothing: β of the units.
          quadratic: share of the root of `curvature` kept in F.
          slope: standard deviation of A_1 t and of b_1.
          subspaces: bases v, `[k, d]` each, with ⟨v, y⟩ of variance 1 and uncorrelated: each unit of the first layer
            starts with pieces that vary within one of them, the first ones first; None for all dimensions.
          key: of the random units.

        Raises:
          ValueError: naming the argument that is out of range or of the wrong shape.
        """
        check_settings(widths, pieces, smoothing, quadratic, slope)
        dtype = common_dtype(mean, cov)
        mean, cov = check_gaussian(mean, cov)
        slope_mean, curvature = check_gaussian(slope_mean, curvature)
        scale, spread = np.sqrt(np.diag(cov)), np.sqrt(np.diag(curvature @ cov @ curvature))
        damping = np.minimum(1, 1 / spread)
        matrix = curvature * np.outer(scale, scale)
        root = np.sqrt(np.diag(matrix))
        # An entry of FᵀF that mixes a stiff coordinate with a soft one must be small against the soft one.
        units = np.minimum(root[:, None], root**2 / root[:, None])
        matrix = matrix / root[:, None] / root
        floor = FLOOR * float(np.linalg.eigvalsh(matrix)[0])
        factor = symmetric_power(quadratic**2 * matrix - floor * np.eye(mean.size), 1 / 2) * root / units
        fixed = mean, scale, slope_mean, spread, damping, units, spread * scale * damping, floor * root**2, 1.0
        frame = Frame(*(jnp.asarray(leaf, dtype) for leaf in fixed))
        dim, layers = mean.size, len(widths)
        above = zip(widths[1:], widths[:-1], strict=True)
        rows = [(widths[0], pieces), *((h,) for h in widths[1:])]
        shapes = [(*row, dim) for row in rows] + rows + [*above, (widths[-1],), (INITIAL_POINTS // 2, dim)]
        drawn = normals(shapes, dtype, key)
        inputs = [slope / math.sqrt(dim) * mirrored(A, -1) for A in drawn[:layers]]
        if subspaces is not None:
            bases = jnp.asarray(within(subspaces, widths[0], dim) * scale, dtype)
            inputs[0] = slope * mirrored(drawn[0][..., : bases.shape[1]] @ bases, -1)
        network = cls(
            frame,
            factor=jnp.asarray(factor, dtype),
            linear=jnp.zeros(dim, dtype),
            inputs=tuple(inputs),
            biases=tuple(slope * mirrored(b) for b in drawn[layers : 2 * layers]),
            mixing=tuple(mirrored(mirrored(raw).T).T for raw in drawn[2 * layers : -2]),
            output=mirrored(drawn[-2]),
            smoothing=float(smoothing),
        )
        # Antithetic, so that the quadratic part meets the mean exactly.
        noise = jnp.concatenate([drawn[-1], -drawn[-1]])
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
        step = (x - frame.origin) / frame.scale
        arguments, slope = self._at_origin(frame)
        # Differences to the origin all along: on P_w, w itself may be a million times smaller than its parts.
        rise = maximum_rise(arguments[0], times(pieces_first(self.inputs[0]), step), self.smoothing)
        for raw, A, s in zip(self.mixing, self.inputs[1:], arguments[1:], strict=True):
            rise = unit_rise(s, mean_weights(raw) @ rise + A @ step, self.smoothing)
        units = mean_weights(self.output) @ rise - slope @ step
        return self._rest(frame, step)[0] + frame.gain * units

    def gradient(self, x: Array) -> Array:
        """∇w at one point `[d]`."""
        return self.value_and_gradient(x)[1]

    def value_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """w and ∇w at one point `[d]`, which share the exponentials of all pieces: those are what they cost."""
        frame = self._fixed()
        step = (x - frame.origin) / frame.scale
        arguments, slope = self._at_origin(frame)
        pieces = pieces_first(self.inputs[0])
        rise, shares = rise_and_shares(arguments[0], times(pieces, step), self.smoothing)
        slopes = []
        for raw, A, s in zip(self.mixing, self.inputs[1:], arguments[1:], strict=True):
            more = mean_weights(raw) @ rise + A @ step
            rise = unit_rise(s, more, self.smoothing)
            slopes.append(unit_slope(s + more, self.smoothing))
        weights, gradient = mean_weights(self.output), -slope
        units = weights @ rise - slope @ step
        for raw, A, factor in zip(self.mixing[::-1], self.inputs[:0:-1], slopes[::-1], strict=True):
            weights = weights * factor
            gradient += weights @ A
            weights = weights @ mean_weights(raw)
        gradient += (weights * shares).reshape(-1) @ pieces.reshape(-1, self.dim)
        value, rest = self._rest(frame, step)
        return value + frame.gain * units, (rest + frame.gain * gradient) / frame.scale

    def _rest(self, frame: Frame, step: Array) -> tuple[Array, Array]:
        """The quadratic and linear parts, and their derivative by t, `[d]`."""
        F, linear = frame.factor * self.factor, frame.linear * self.linear
        start = frame.damping**2 * (frame.origin - frame.centre) / frame.scale
        middle, end = start + step / 2, start + step
        value = jnp.sum((F @ step) * (F @ middle)) + jnp.sum(frame.floor * step * middle) + linear @ step
        return value, (F @ end) @ F + frame.floor * end + linear

    def _at_origin(self, frame: Frame) -> tuple[list[Array], Array]:
        """Arguments of every layer at the origin, and the slope of u there before its tangent is taken off, `[d]`."""
        arguments, jacobians = self._layers((frame.origin - frame.centre) / frame.scale)
        slope = (
            jacobians[-1] if len(arguments) == 1 else unit_slope(arguments[-1], self.smoothing)[:, None] * jacobians[-1]
        )
        return arguments, mean_weights(self.output) @ slope

    def _layers(self, t: Array) -> tuple[list[Array], list[Array]]:
        """Arguments of every layer; Jacobians of the first layer's units and of the arguments above, `[h_k, d]`.

        Arguments of the first layer are those of all pieces, `[pieces, h_1]`.
        """
        pieces = pieces_first(self.inputs[0])
        s = times(pieces, t) + self.biases[0].T
        z, J = maximum(s, self.smoothing), mean_piece(s, pieces, self.smoothing)
        arguments, jacobians = [s], [J]
        for raw, A, b in zip(self.mixing, self.inputs[1:], self.biases[1:], strict=True):
            weights = mean_weights(raw)
            s = weights @ z + A @ t + b
            arguments.append(s)
            jacobians.append(weights @ J + A)
            z, J = unit(s, self.smoothing), unit_slope(s, self.smoothing)[:, None] * jacobians[-1]
        return arguments, jacobians

    def _quadratic(self, frame: Frame) -> Array:
        """Matrix of the quadratic part with respect to t, `[d, d]`."""
        F = frame.factor * self.factor
        return F.T @ F + jnp.diag(frame.floor)

    def hessian(self, x: Array) -> Array:
        """∇²w at one point `[d]`, as a sum of terms that are each positive semi-definite to rounding.

        Units above the first layer give JᵀCJ with J the derivative of their arguments s_k by t, and C that of w by z_k
        times σ''(s_k); maxima the covariances of their pieces under the shares of each in the maximum.
        """
        frame = self._fixed()
        t = (x - frame.origin) / frame.scale + (frame.origin - frame.centre) / frame.scale
        arguments, jacobians = self._layers(t)
        total = self._quadratic(frame)
        weight = frame.gain * mean_weights(self.output)
        for k in reversed(range(1, len(arguments))):
            s, J = arguments[k], jacobians[k]
            total += J.T @ ((weight * unit_curvature(s, self.smoothing))[:, None] * J)
            weight = (weight * unit_slope(s, self.smoothing)) @ mean_weights(self.mixing[k - 1])
        pieces = pieces_first(self.inputs[0])
        total += covariance(weight / self.smoothing, arguments[0], pieces, self.smoothing)
        return total / frame.scale[:, None] / frame.scale


def _balanced(
    network: InputConvexNetwork, points: Array, inverse: np.ndarray, slope_mean: np.ndarray, share: float
) -> InputConvexNetwork:
    """The network with the gain and linear part that `near` promises, measured at `points` `[n, d]`."""
    # In pieces: all at once they would be 256 dense matrices.
    pieces = points.reshape(-1, 8, network.dim)
    matrices = jax.lax.map(lambda piece: hessians(network, piece).mean(axis=0), pieces).mean(axis=0)
    frame = network.frame
    units = matrices - network._quadratic(frame) / frame.scale[:, None] / frame.scale
    gain = share * network.dim / jnp.sum(jnp.asarray(inverse, points.dtype) * units)
    network = replace(network, frame=replace(frame, gain=gain.astype(points.dtype)))
    missing = jnp.asarray(slope_mean, points.dtype) - gradients(network, points).mean(axis=0)
    return replace(network, linear=missing * frame.scale / frame.linear)

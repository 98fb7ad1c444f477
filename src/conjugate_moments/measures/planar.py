"""Nine planar laws with exact independent draws and a known region without mass.

The constructions are scikit-learn's where it has them (circles, moons, S curve and Swiss roll, the latter two in
their plane), written out here so that a JAX key decides every draw. Each law is centred and scaled by one factor so
that its mean is 0 and its mean variance over both coordinates is 1; no sample is standardised by its own moments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.spatial import KDTree

from conjugate_moments import _random

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout

GAP = 4.0  # standard deviations of the noise beyond which a point counts as off the support
GRID = 100_000  # points of the noise-free set, for its moments and for distances to it


@dataclass(frozen=True, eq=False)
class PlanarLaw(ABC):
    """A law on the plane with mean 0 and covariance of trace 2.

    Args:
      name: its key in `PLANAR`.
    """

    name: str

    @property
    @abstractmethod
    def noise(self) -> float:
        """Standard deviation of the isotropic Gaussian noise per coordinate, in the points' unit; 0 without noise."""

    @property
    @abstractmethod
    def off_support_bound(self) -> float:
        """What `off_support` is at most, in expectation, for draws of the law itself."""

    @abstractmethod
    def _draw(self, n: int, key: jax.Array) -> Array: ...

    @abstractmethod
    def _is_off(self, points: Array) -> NDArray[np.bool_]: ...

    def sample(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent draws, `[n, 2]` float64."""
        return self._draw(n, key)

    def gap(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Whether each point `[n, 2]` lies where the law has almost no mass; result `[n]`.

        Raises:
          ValueError: if the points are not `[n, 2]`, or not finite.
        """
        array = np.asarray(points, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != 2:
            raise ValueError(f"points: expected shape [n, 2], found {array.shape}")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"points: {np.sum(~np.isfinite(array))} of {array.size} entries are NaN or infinite")
        return self._is_off(array)

    def off_support(self, points: ArrayLike) -> float:
        """Share of the points `[n, 2]` in the gap; compare with `off_support_bound`.

        Raises:
          ValueError: if there is no point, or as `gap`.
        """
        off = self.gap(points)
        if not off.size:
            raise ValueError("points: expected at least one point")
        return float(off.mean())


@dataclass(frozen=True, eq=False)
class NoisyCurve(PlanarLaw):
    """scale · (curve(T) - mean + raw_noise · N), with T uniform on (0, 1) and N standard normal on the plane.

    A point is off the support if it is farther than `GAP` noise deviations from the curve. A draw is at most |N| of
    them away, so a share of at most P(|N| > GAP) = e^{-GAP²/2} = 3.4e-4 of the law is.

    Args:
      name: its key in `PLANAR`.
      curve: noise-free points `[n, 2]` for levels `[n]` in (0, 1).
      raw_noise: standard deviation of the noise in the curve's own unit.
    """

    curve: Callable[[Array], Array]
    raw_noise: float

    @cached_property
    def _raw(self) -> Array:
        # Midpoints: the rule is exact to 1e-8 for the smooth curves, and exact for the eight centres.
        return self.curve((np.arange(GRID) + 0.5) / GRID)

    @cached_property
    def scale(self) -> float:
        """Factor from the curve's own unit to that of the points."""
        return float(1 / np.sqrt(self._raw.var(axis=0).mean() + self.raw_noise**2))

    @property
    def noise(self) -> float:
        """Standard deviation of the noise per coordinate."""
        return self.scale * self.raw_noise

    @property
    def off_support_bound(self) -> float:
        """P(|N| > GAP)."""
        return float(np.exp(-(GAP**2) / 2))

    def clean(self, levels: Array) -> Array:
        """Noise-free points `[n, 2]` at levels `[n]` in (0, 1), centred and scaled."""
        return self.scale * (self.curve(levels) - self._raw.mean(axis=0))

    def _draw(self, n: int, key: jax.Array) -> Array:
        import jax

        place, noise = jax.random.split(key)
        return self.clean(_random.uniform(place, (n,))) + self.noise * _random.normal(noise, (n, 2))

    @cached_property
    def _tree(self) -> KDTree:
        # A tree of many equal points, here of centres, is slow.
        return KDTree(np.unique(self.scale * (self._raw - self._raw.mean(axis=0)), axis=0))

    def _is_off(self, points: Array) -> NDArray[np.bool_]:
        distance, _ = self._tree.query(points, distance_upper_bound=GAP * self.noise)
        return ~np.isfinite(distance)  # infinite where nothing lies within the bound


@dataclass(frozen=True, eq=False)
class Checkerboard(PlanarLaw):
    """Uniform on the eight dark cells of a 4 x 4 board of side √12, turned by an angle.

    Both coordinates of the straight board are uniform with variance 1; their correlation is 3/16. Every light cell is
    off the support, and so is all outside the board.

    Args:
      name: its key in `PLANAR`.
      angle: of the turn, in radians.
    """

    angle: float

    @property
    def noise(self) -> float:
        """No noise."""
        return 0.0

    @property
    def off_support_bound(self) -> float:
        """The law has no mass off its cells."""
        return 0.0

    @property
    def _turn(self) -> Array:
        return np.array([[np.cos(self.angle), np.sin(self.angle)], [-np.sin(self.angle), np.cos(self.angle)]])

    def _draw(self, n: int, key: jax.Array) -> Array:
        u = _random.uniform(key, (n, 2))
        # In units of a cell: the row picks which two of the four cells of the line are dark.
        y = 4 * u[:, 0]
        x = 4 * u[:, 1]
        cell = np.floor(x / 2) * 2 + np.floor(y) % 2
        return CELL * (np.stack([cell + x / 2 % 1, y], axis=-1) - 2) @ self._turn

    def _is_off(self, points: Array) -> NDArray[np.bool_]:
        # Points turned forth and back may leave their cell by rounding.
        place = points @ self._turn.T / CELL + 2
        cell = np.floor(place)
        inside = np.all((place >= -ROUNDING) & (place <= 4 + ROUNDING), axis=-1)
        border = np.any(np.abs(place - np.round(place)) <= ROUNDING, axis=-1)
        return ~(inside & (border | (cell.sum(axis=-1) % 2 == 0)))


CELL = float(np.sqrt(12)) / 4
ROUNDING = 1e-12


def _cases(levels: Array, count: int) -> tuple[Array, Array]:
    """A uniform number of 0, …, count - 1 and an independent level, both from one uniform level."""
    scaled = count * levels
    return np.floor(scaled), scaled % 1


def _polar(radius: Array, angle: Array) -> Array:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _circles(levels: Array) -> Array:
    """Radii 1 and 1/2, equally likely."""
    ring, level = _cases(levels, 2)
    return _polar(1 - ring / 2, 2 * np.pi * level)


def _moons(levels: Array) -> Array:
    """Two half circles of radius 1, the second upside down and shifted by (1, 1/2)."""
    moon, level = _cases(levels, 2)
    arc = _polar(np.ones_like(level), np.pi * level)
    return np.where(moon[:, None] == 0, arc, [1.0, 0.5] - arc)


def _s_curve(levels: Array) -> Array:
    """Two three-quarter circles of radius 1 that touch."""
    t = 3 * np.pi * (levels - 0.5)
    return np.stack([np.sin(t), np.sign(t) * (np.cos(t) - 1)], axis=-1)


def _swiss_roll(levels: Array) -> Array:
    """An Archimedean spiral over one and a half turns, uniform in the angle."""
    t = 1.5 * np.pi * (1 + 2 * levels)
    return _polar(t, t)


def _two_spirals(levels: Array) -> Array:
    """Two opposite Archimedean spirals over one and a half turns, uniform in the square of the angle."""
    arm, level = _cases(levels, 2)
    angle = 3 * np.pi * np.sqrt(level)
    return _polar(angle, angle + np.pi * arm)


def _eight_gaussians(levels: Array) -> Array:
    """The corners of a regular octagon of radius 1."""
    corner, _ = _cases(levels, 8)
    return _polar(np.ones_like(corner), np.pi / 4 * corner)


def _pinwheel(levels: Array) -> Array:
    """Five arms with radius N(1, 0.3²) cut at ±2.5 deviations, sheared by the angle e^{radius - 1} / 4."""
    arm, level = _cases(levels, 5)
    low, high = special.ndtr(-2.5), special.ndtr(2.5)
    offset = 0.3 * special.ndtri(low + (high - low) * level)
    return _polar(1 + offset, 2 * np.pi / 5 * arm + np.exp(offset) / 4)


PLANAR: dict[str, PlanarLaw] = {
    law.name: law
    for law in (
        NoisyCurve("circles", _circles, 0.03),
        NoisyCurve("moons", _moons, 0.05),
        NoisyCurve("s_curve", _s_curve, 0.07),
        NoisyCurve("swiss_roll", _swiss_roll, 0.4),
        Checkerboard("checkerboard", 0.0),
        Checkerboard("diagonal_checkerboard", np.pi / 4),
        NoisyCurve("eight_gaussians", _eight_gaussians, 0.06),
        NoisyCurve("pinwheel", _pinwheel, 0.04),
        NoisyCurve("two_spirals", _two_spirals, 0.25),
    )
}

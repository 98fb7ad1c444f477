"""Univariate laws: the protocol the solvers need, its validation, and two families that scipy lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.floating]  # float64 throughout


@runtime_checkable
class UnivariateLaw(Protocol):
    """A continuous law on the line: what a frozen `scipy.stats` distribution offers, or any object like it.

    `logpdf(y)` and `sf(y)`, where present, give the solvers more accurate tails.
    """

    def pdf(self, y: Any, /) -> Any:
        """Density at `y`, any shape."""
        ...

    def cdf(self, y: Any, /) -> Any:
        """P(Y <= y), any shape."""
        ...

    def ppf(self, t: Any, /) -> Any:
        """Quantile at level `t` in (0, 1), any shape."""
        ...

    def support(self) -> tuple[float, float]:
        """Ends of the support, infinite where unbounded."""
        ...


@dataclass(frozen=True)
class Mixture:
    """Finite mixture of frozen continuous laws, with tails as accurate as those of its components.

    Args:
      weights: positive, summing to 1 within 1e-12.
      components: frozen `scipy.stats` distributions, one per weight.

    Raises:
      ValueError: if the weights are not positive, do not sum to 1, or do not match the components.
    """

    weights: tuple[float, ...]
    components: tuple[Any, ...]

    def __post_init__(self) -> None:
        """Validate the weights."""
        weights = np.asarray(self.weights, dtype=np.float64)
        if len(weights) != len(self.components) or not len(weights):
            raise ValueError(f"weights: {len(weights)} given for {len(self.components)} components")
        if not (np.all(weights > 0) and abs(weights.sum() - 1) <= 1e-12):
            raise ValueError(f"weights: expected positive numbers that sum to 1, found {list(self.weights)}")

    def _mix(self, name: str, y: ArrayLike) -> Array:
        parts = [w * getattr(c, name)(y) for w, c in zip(self.weights, self.components, strict=True)]
        return np.sum(parts, axis=0)

    def pdf(self, y: ArrayLike) -> Array:
        """Density."""
        return self._mix("pdf", y)

    def logpdf(self, y: ArrayLike) -> Array:
        """Log density, finite far beyond where the density underflows."""
        parts = [np.log(w) + c.logpdf(y) for w, c in zip(self.weights, self.components, strict=True)]
        return np.asarray(special.logsumexp(np.stack(parts), axis=0))

    def cdf(self, y: ArrayLike) -> Array:
        """Distribution function."""
        return self._mix("cdf", y)

    def sf(self, y: ArrayLike) -> Array:
        """Survival function."""
        return self._mix("sf", y)

    def ppf(self, t: ArrayLike) -> Array:
        """Quantile."""
        t = np.asarray(t, dtype=np.float64)
        return self._from_smaller_tail(t, 1 - t)  # 1 - t is exact where it counts, above 1/2

    def isf(self, s: ArrayLike) -> Array:
        """Point with mass `s` above it."""
        s = np.asarray(s, dtype=np.float64)
        return self._from_smaller_tail(1 - s, s)

    def _from_smaller_tail(self, below: Array, above: Array) -> Array:
        result = np.empty_like(below)
        lower = below < above
        result[lower] = self._invert(below[lower], upper=False)
        result[~lower] = self._invert(above[~lower], upper=True)
        return result

    def _invert(self, mass: Array, *, upper: bool) -> Array:
        """Points with this tail mass `[n]`: Newton between the extreme quantiles of the components, or bisection."""
        extremes = np.stack([(c.isf if upper else c.ppf)(mass) for c in self.components])
        low, high = extremes.min(axis=0), extremes.max(axis=0)
        x = (low + high) / 2
        todo = np.flatnonzero(low < high)
        for step in range(200):
            here = x[todo]
            excess = mass[todo] - self.sf(here) if upper else self.cdf(here) - mass[todo]
            low[todo], high[todo] = np.where(excess < 0, here, low[todo]), np.where(excess < 0, high[todo], here)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                newton = here - excess / self.pdf(here)
            # Every third step bisects: across a gap the density says nothing of how far to go.
            inside = (newton >= low[todo]) & (newton <= high[todo]) & (step % 3 != 2)
            x[todo] = moved = np.where(inside, newton, (low[todo] + high[todo]) / 2)
            todo = todo[(np.abs(moved - here) > 4e-16 * np.abs(here)) & (low[todo] < high[todo])]
            if not todo.size:
                break
        return x

    def support(self) -> tuple[float, float]:
        """Hull of the components' supports."""
        ends = np.asarray([c.support() for c in self.components], dtype=np.float64)
        return float(ends[:, 0].min()), float(ends[:, 1].max())


@dataclass(frozen=True)
class PowerLaw:
    """The law ρ of sign(x)|x|^{q-1}, x ~ e^{-|x|^p/p}, with 1/p + 1/q = 1: its conjugate potential is |y|^p/p exactly.

    It has two modes and an empty centre for p > 2, is the standard normal at p = 2, and has an infinite density at 0
    for p < 2.

    Args:
      exponent: p, greater than 1.

    Raises:
      ValueError: if `exponent` is not a finite number greater than 1.
    """

    exponent: float

    def __post_init__(self) -> None:
        """Validate the exponent."""
        if not (np.isfinite(self.exponent) and self.exponent > 1):
            raise ValueError(f"exponent: expected a finite number > 1, found {self.exponent}")

    def _source(self, y: ArrayLike) -> Array:
        return np.sign(y) * np.abs(y) ** (self.exponent - 1)

    def _level(self, y: ArrayLike) -> Array:
        """|x|^p/p at the source x of y: gamma distributed with shape 1/p under the Gibbs measure."""
        return np.abs(self._source(y)) ** self.exponent / self.exponent

    def pdf(self, y: ArrayLike) -> Array:
        """Density e^{-w(w'(y))} w''(y) / Z."""
        return np.exp(self.logpdf(y))

    def logpdf(self, y: ArrayLike) -> Array:
        """Log density; infinite at 0 for p < 2, minus infinity there for p > 2."""
        p = self.exponent
        with np.errstate(divide="ignore"):
            stretch = np.log(p - 1) + special.xlogy(p - 2, np.abs(np.asarray(y, dtype=np.float64)))
        # ∫ e^{-|x|^p/p} dx = 2 p^{1/p} Γ(1 + 1/p)
        return stretch - self._level(y) - np.log(2.0) - np.log(p) / p - special.gammaln(1 + 1 / p)

    def cdf(self, y: ArrayLike) -> Array:
        """Distribution function."""
        return self.sf(-np.asarray(y, dtype=np.float64))

    def sf(self, y: ArrayLike) -> Array:
        """Survival function."""
        tail = special.gammaincc(1 / self.exponent, self._level(y)) / 2
        return np.where(np.asarray(y) < 0, 1 - tail, tail)

    def ppf(self, t: ArrayLike) -> Array:
        """Quantile."""
        t = np.asarray(t, dtype=np.float64)
        return np.where(t < 0.5, -self._upper(np.minimum(t, 0.5)), self._upper(np.minimum(1 - t, 0.5)))

    def isf(self, s: ArrayLike) -> Array:
        """Point with mass `s` above it."""
        return -self.ppf(s)

    def _upper(self, mass: Array) -> Array:
        """The non-negative point with this mass, at most 1/2, above it."""
        p = self.exponent
        return (p * special.gammainccinv(1 / p, 2 * mass)) ** (1 / (p * (p - 1)))

    def support(self) -> tuple[float, float]:
        """The whole line."""
        return -np.inf, np.inf


@dataclass(frozen=True)
class Affine:
    """The law of shift + scale · Y, with tails as accurate as those of the law of Y.

    Args:
      law: the law of Y.
      shift: finite, in the unit of Y.
      scale: finite and positive, no unit.

    Raises:
      ValueError: if `shift` is not finite, or `scale` not finite and positive.
    """

    law: UnivariateLaw
    shift: float
    scale: float

    def __post_init__(self) -> None:
        """Validate both numbers."""
        if not np.isfinite(self.shift):
            raise ValueError(f"shift: expected a finite number, found {self.shift}")
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale: expected a finite number > 0, found {self.scale}")

    def _inverse(self, y: ArrayLike) -> Array:
        return (np.asarray(y, dtype=np.float64) - self.shift) / self.scale

    def pdf(self, y: ArrayLike) -> Array:
        """Density."""
        return self.law.pdf(self._inverse(y)) / self.scale

    def logpdf(self, y: ArrayLike) -> Array:
        """Log density, by the law's own where it has one."""
        z = self._inverse(y)
        own = getattr(self.law, "logpdf", None)
        if own is not None:
            return own(z) - np.log(self.scale)
        with np.errstate(divide="ignore"):
            return np.log(self.law.pdf(z)) - np.log(self.scale)

    def cdf(self, y: ArrayLike) -> Array:
        """Distribution function."""
        return self.law.cdf(self._inverse(y))

    def sf(self, y: ArrayLike) -> Array:
        """Survival function, by the law's own where it has one."""
        z = self._inverse(y)
        own = getattr(self.law, "sf", None)
        return 1 - self.law.cdf(z) if own is None else own(z)

    def ppf(self, t: ArrayLike) -> Array:
        """Quantile."""
        return self.shift + self.scale * np.asarray(self.law.ppf(t), dtype=np.float64)

    def isf(self, s: ArrayLike) -> Array:
        """Point with mass `s` above it, by the law's own where it has one."""
        own = getattr(self.law, "isf", None)
        quantile = self.law.ppf(1 - np.asarray(s, dtype=np.float64)) if own is None else own(s)
        return self.shift + self.scale * np.asarray(quantile, dtype=np.float64)

    def support(self) -> tuple[float, float]:
        """Image of the law's support."""
        low, high = self.law.support()
        return self.shift + self.scale * float(low), self.shift + self.scale * float(high)


def check_law(law: object) -> UnivariateLaw:
    """The law itself, if it behaves like one at a handful of points.

    Raises:
      TypeError: if `law` lacks `pdf`, `cdf`, `ppf` or `support`.
      ValueError: if its support is empty, or its quantiles, CDF or density are not finite, ordered and non-negative.
    """
    missing = [name for name in ("pdf", "cdf", "ppf", "support") if not callable(getattr(law, name, None))]
    if missing:
        raise TypeError(
            f"law: {type(law).__name__} has no {', '.join(missing)}; expected a frozen continuous scipy.stats "
            "distribution, an object with pdf, cdf, ppf and support, or a 1-D array of samples"
        )
    assert isinstance(law, UnivariateLaw)
    low, high = (float(end) for end in law.support())
    if not low < high:
        raise ValueError(f"law: support() must be an interval, found ({low}, {high})")
    levels = np.linspace(0.05, 0.95, 19)
    quantiles = np.asarray(law.ppf(levels), dtype=np.float64)
    if quantiles.shape != levels.shape or not np.all(np.isfinite(quantiles)):
        raise ValueError("law: ppf must return finite quantiles, one for each level in (0, 1)")
    if np.any(np.diff(quantiles) < 0) or quantiles[0] < low or quantiles[-1] > high:
        raise ValueError("law: ppf must be non-decreasing and stay inside support()")
    if quantiles[0] == quantiles[-1]:
        raise ValueError(f"law: ppf is constant at {quantiles[0]}; a law with a density is needed")
    reached = np.asarray(law.cdf(quantiles), dtype=np.float64)
    if not np.allclose(reached, levels, atol=1e-6):
        worst = int(np.argmax(np.abs(reached - levels)))
        raise ValueError(
            f"law: cdf and ppf disagree, cdf(ppf({levels[worst]:.2f})) = {reached[worst]:.6g}; is the law continuous?"
        )
    density = np.asarray(law.pdf(quantiles), dtype=np.float64)
    if np.any(np.isnan(density)) or np.any(density < 0):
        raise ValueError("law: pdf must be non-negative and not NaN on the support")
    return law

"""Exact factorisations of laws on the line, from a law or from a sample. Float64 throughout."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments import _random
from conjugate_moments._files import write_arrays
from conjugate_moments.fits import _quadrature
from conjugate_moments.fits._atoms import Atoms, solve_conjugate_atoms, solve_moment_atoms
from conjugate_moments.fits._conjugate import gibbs_measure, solve_conjugate
from conjugate_moments.fits._levels import Levels
from conjugate_moments.fits._moment import solve_moment
from conjugate_moments.fits.gaussian import Factorization, check_centred, check_factorization
from conjugate_moments.measures.univariate import UnivariateLaw, check_law
from conjugate_moments.potentials.mills import LogConcaveDensity
from conjugate_moments.potentials.panels import Panels, PiecewiseFunction
from conjugate_moments.potentials.piecewise_linear import PiecewiseExponential

if TYPE_CHECKING:
    import jax

Array = NDArray[np.floating]  # float64 throughout


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """How well a factorisation was solved.

    Args:
      residual: W2 distance between the push-forward of the Gibbs measure and the law, by quadrature on points of its
        own, in the law's units.
      iterations: of the fixed point; 0 for a closed form.
      converged: whether the iteration met its tolerance (a closed form has none) and the residual is below
        `LARGEST_RESIDUAL` standard deviations.
      changes: largest change of w' in each iteration, relative to its distance from the Gibbs measure's mean plus one
        standard deviation.
      mean: of the law.
      std: of the law.
    """

    residual: float
    iterations: int
    converged: bool
    changes: tuple[float, ...]
    mean: float
    std: float


@dataclass(frozen=True, eq=False)
class UnivariateFactorization(ABC):
    """ρ as the image of a log-concave Gibbs measure under the gradient of a convex potential, on the line.

    Conjugate: `potential` is w, the Gibbs measure e^{-w}, `transport` (w*)' and `inverse_transport` w'. Moment: they
    are u, e^{-u}, u' and (u*)'. Potentials are normalised, so that e^{-potential} integrates to 1. Methods take and
    return float64 arrays of any shape.

    Args:
      factorization: "conjugate" or "moment".
      diagnostics: residual, iterations and status.
      shift: what was subtracted from the law to centre it (0 for the conjugate factorisation); `transport` adds it
        back.
    """

    factorization: Factorization
    diagnostics: Diagnostics
    shift: float

    @property
    def residual(self) -> float:
        """W2 distance between the push-forward and the law, in the law's units."""
        return self.diagnostics.residual

    @property
    def iterations(self) -> int:
        """Fixed-point iterations; 0 for a closed form."""
        return self.diagnostics.iterations

    @property
    def converged(self) -> bool:
        """Whether the iteration met its tolerance."""
        return self.diagnostics.converged

    @abstractmethod
    def potential(self, y: ArrayLike) -> Array:
        """The convex potential, normalised; infinite outside its domain."""

    @abstractmethod
    def gibbs_cdf(self, x: ArrayLike) -> Array:
        """Distribution function of the Gibbs measure."""

    @abstractmethod
    def gibbs_ppf(self, t: ArrayLike) -> Array:
        """Quantile of the Gibbs measure at levels in (0, 1)."""

    @abstractmethod
    def transport(self, x: ArrayLike) -> Array:
        """Monotone map from the Gibbs measure to the law."""

    @abstractmethod
    def inverse_transport(self, y: ArrayLike) -> Array:
        """Monotone map from the law to the Gibbs measure."""

    @abstractmethod
    def gibbs_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of the Gibbs measure."""

    @abstractmethod
    def _arrays(self) -> dict[str, Array]:
        """What `load` needs to restore the factorisation."""

    def gibbs_pdf(self, x: ArrayLike) -> Array:
        """Density of the Gibbs measure."""
        return np.exp(-self.potential(x))

    def sample_gibbs(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent draws of the Gibbs measure, by inversion, `[n]`."""
        return self.gibbs_ppf(_random.uniform(key, (n,)))

    def sample(self, n: int, *, key: jax.Array) -> Array:
        """`n` independent draws of the law, as images of Gibbs draws, `[n]`."""
        return self.transport(self.sample_gibbs(n, key=key))

    def save(self, path: str | Path, *, provenance: Mapping[str, str] | None = None) -> None:
        """Write everything `load` needs to one .npz file, whole or not at all."""
        d = self.diagnostics
        write_arrays(
            path,
            {
                **self._arrays(),
                "kind": np.asarray(type(self).__name__),
                "shift": np.asarray(self.shift),
                "residual": np.asarray(d.residual),
                "iterations": np.asarray(d.iterations),
                "converged": np.asarray(d.converged),
                "changes": np.asarray(d.changes, dtype=np.float64),
                "mean": np.asarray(d.mean),
                "std": np.asarray(d.std),
                "provenance": np.asarray(json.dumps(dict(provenance or {}))),
            },
        )


@dataclass(frozen=True, eq=False)
class ConjugateUnivariate(UnivariateFactorization):
    """Conjugate factorisation of a law with a density.

    w is resolved on `domain`; beyond, w' is continued linearly up to the ends of `support`, the domain of w.
    """

    levels: Levels
    slope: Array
    support: tuple[float, float]

    @cached_property
    def density(self) -> LogConcaveDensity:
        """The Gibbs measure P_w."""
        return gibbs_measure(self.levels, self.slope, self.support)

    @cached_property
    def _slope(self) -> PiecewiseFunction:
        return PiecewiseFunction(self.levels.panels, self.slope)

    @property
    def domain(self) -> tuple[float, float]:
        """Ends of the interval on which w is resolved."""
        return float(self.levels.panels.edges[0]), float(self.levels.panels.edges[-1])

    def _outside(self, points: Array) -> Array:
        low, high = self.domain
        return np.where(points < low, points - low, np.where(points > high, points - high, 0.0))

    def potential(self, y: ArrayLike) -> Array:
        """Potential w, normalised; infinite outside the hull of the law's support."""
        points = np.asarray(y, dtype=np.float64)
        return -self.density.log_density(points.ravel()).reshape(points.shape)

    def gibbs_cdf(self, x: ArrayLike) -> Array:
        """Distribution function of P_w."""
        points = np.asarray(x, dtype=np.float64)
        return self.density.cdf(points.ravel()).reshape(points.shape)

    def gibbs_ppf(self, t: ArrayLike) -> Array:
        """Quantile of P_w."""
        t = np.asarray(t, dtype=np.float64)
        levels = t.ravel()
        cdf, x = np.exp(self.levels.log_cdf).ravel(), self.slope.ravel()
        start = np.interp(levels, cdf, x)
        with np.errstate(divide="ignore"):
            return self.density.quantile(np.log(levels), np.log1p(-levels), start).reshape(t.shape)

    def transport(self, x: ArrayLike) -> Array:
        """(w*)', from P_w to the law."""
        points = np.asarray(x, dtype=np.float64)
        low, high = float(self.slope[0, 0]), float(self.slope[-1, -1])
        below, above = np.minimum(points - low, 0.0), np.maximum(points - high, 0.0)
        curvature = self.density.left_curvature, self.density.right_curvature
        inner = self._slope.inverse(points)
        return np.clip(inner + below / curvature[0] + above / curvature[1], *self.support)

    def inverse_transport(self, y: ArrayLike) -> Array:
        """w', from the law to P_w."""
        points = np.asarray(y, dtype=np.float64)
        outside = self._outside(points)
        curvature = np.where(outside < 0, self.density.left_curvature, self.density.right_curvature)
        return np.clip(self._slope(points) + curvature * outside, *self.support)

    def gibbs_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of P_w, the image of the law under w'."""
        mean = self.levels.expectation(self.slope)
        return mean, float(np.sqrt(self.levels.expectation((self.slope - mean) ** 2)))

    def _arrays(self) -> dict[str, Array]:
        levels = self.levels
        return {
            "edges": levels.panels.edges,
            "log_cdf": levels.log_cdf,
            "log_sf": levels.log_sf,
            "slope": self.slope,
            "support": np.asarray(self.support),
        }


@dataclass(frozen=True, eq=False)
class MomentUnivariate(UnivariateFactorization):
    """Moment factorisation of a law with a density, with u' = 0 at 0.

    Beyond the resolved interval, where less than 1e-14 of the mass lies, u is continued linearly.
    """

    levels: Levels
    x: Array
    log_density: Array

    @cached_property
    def _x(self) -> PiecewiseFunction:
        return PiecewiseFunction(self.levels.panels, np.maximum.accumulate(self.x.ravel()).reshape(self.x.shape))

    def transport(self, x: ArrayLike) -> Array:
        """u' + shift, from P_u to the law."""
        return self._x.inverse(x)

    def inverse_transport(self, y: ArrayLike) -> Array:
        """(u*)' at y - shift, from the law to P_u."""
        return self._x(y)

    def potential(self, y: ArrayLike) -> Array:
        """Potential u, normalised."""
        points = np.asarray(y, dtype=np.float64)
        at = self.transport(points)
        with np.errstate(divide="ignore"):
            inner = -np.log(np.maximum(self._density(at), 0.0))
        # Relative accuracy in the tails, where the density falls by orders of magnitude on a panel.
        panel, _ = self._log_density.panels.locate(at.ravel())
        smooth = self._smooth[panel].reshape(points.shape)
        inner = np.where(smooth, -self._log_density(at), inner)
        low, high = self._x.values[0, 0], self._x.values[-1, -1]
        outside = np.where(points < low, points - low, np.where(points > high, points - high, 0.0))
        return inner + (at - self.shift) * outside

    @cached_property
    def _log_density(self) -> PiecewiseFunction:
        return PiecewiseFunction(self.levels.panels, self.log_density)

    @cached_property
    def _smooth(self) -> NDArray[np.bool_]:
        """Panels on which the log density is resolved; at a bounded end of the law it is not."""
        return self._log_density.truncation() < 1e-10

    @cached_property
    def _density(self) -> PiecewiseFunction:
        return PiecewiseFunction(self.levels.panels, np.exp(self.log_density))

    @cached_property
    def _cdf(self) -> PiecewiseFunction:
        return PiecewiseFunction(self.levels.panels, np.exp(self.levels.log_cdf))

    def gibbs_cdf(self, x: ArrayLike) -> Array:
        """Distribution function of P_u: that of the law at the image."""
        return np.clip(self._cdf(self.transport(x)), 0.0, 1.0)

    def gibbs_ppf(self, t: ArrayLike) -> Array:
        """Quantile of P_u: the inverse map of the law's."""
        return self._x(self._cdf.inverse(t))

    def gibbs_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of P_u, the image of the law under the inverse map."""
        mean = self.levels.expectation(self.x)
        return mean, float(np.sqrt(self.levels.expectation((self.x - mean) ** 2)))

    def _arrays(self) -> dict[str, Array]:
        levels = self.levels
        return {
            "edges": levels.panels.edges,
            "log_cdf": levels.log_cdf,
            "log_sf": levels.log_sf,
            "x": self.x,
            "log_density": self.log_density,
        }


@dataclass(frozen=True, eq=False)
class ConjugateAtoms(UnivariateFactorization):
    """Conjugate factorisation of a sample: w is linear between neighbours, (w*)' takes each value on one interval."""

    atoms: Atoms
    slopes: Array

    @cached_property
    def density(self) -> PiecewiseExponential:
        """The Gibbs measure P_w."""
        return PiecewiseExponential(self.atoms.points, self.slopes)

    def potential(self, y: ArrayLike) -> Array:
        """Potential w, normalised; infinite outside the sample's range."""
        return self.density.potential(np.asarray(y, dtype=np.float64)) + self.density.log_normaliser

    def gibbs_cdf(self, x: ArrayLike) -> Array:
        """Distribution function of P_w."""
        return self.density.cdf(np.asarray(x, dtype=np.float64))

    def gibbs_ppf(self, t: ArrayLike) -> Array:
        """Quantile of P_w."""
        return self.density.quantile(np.asarray(t, dtype=np.float64))

    def transport(self, x: ArrayLike) -> Array:
        """(w*)': a value of the sample."""
        return self.atoms.points[np.searchsorted(self.slopes, np.asarray(x, dtype=np.float64))]

    def inverse_transport(self, y: ArrayLike) -> Array:
        """w' between values of the sample; at one of them the middle of the interval that is sent to it."""
        y = np.asarray(y, dtype=np.float64)
        ends = np.concatenate([self.atoms.points[:1], self.slopes, self.atoms.points[-1:]])
        left, right = (np.searchsorted(self.atoms.points, y, side=side) for side in ("left", "right"))
        return (ends[left] + ends[right]) / 2

    def gibbs_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of P_w, by Gauss-Legendre between knots."""
        return _quadrature.moments(self.gibbs_pdf, self.atoms.points)

    def _arrays(self) -> dict[str, Array]:
        return {"points": self.atoms.points, "weights": self.atoms.weights, "slopes": self.slopes}


@dataclass(frozen=True, eq=False)
class MomentAtoms(UnivariateFactorization):
    """Moment factorisation of a sample: u is the upper envelope of lines whose slopes are the sample."""

    atoms: Atoms
    kinks: Array
    log_density: Array

    def _piece(self, x: Array) -> NDArray[np.intp]:
        return np.searchsorted(self.kinks, x)

    def potential(self, y: ArrayLike) -> Array:
        """Potential u, normalised, finite everywhere."""
        x = np.asarray(y, dtype=np.float64)
        piece = self._piece(x)
        knot = np.clip(piece - 1, 0, len(self.kinks) - 1)
        return (self.atoms.points[piece] - self.shift) * (x - self.kinks[knot]) - self.log_density[knot]

    def gibbs_cdf(self, x: ArrayLike) -> Array:
        """Distribution function of P_u."""
        x = np.asarray(x, dtype=np.float64)
        piece = self._piece(x)
        cumulative = np.concatenate([[0.0], np.cumsum(self.atoms.weights)])
        slope = self.atoms.points[piece] - self.shift
        left, right = np.maximum(piece - 1, 0), np.minimum(piece, len(self.kinks) - 1)
        anchor = np.where(piece == 0, right, left)
        z = slope * (x - self.kinks[anchor])
        with np.errstate(divide="ignore", invalid="ignore"):
            mass = np.exp(self.log_density[anchor]) * np.where(
                np.abs(z) < 1e-8, x - self.kinks[anchor], -np.expm1(-z) / slope
            )
        base = np.where(piece == 0, cumulative[1], cumulative[piece])
        return np.clip(base + mass, 0.0, 1.0)

    def gibbs_ppf(self, t: ArrayLike) -> Array:
        """Quantile of P_u."""
        t = np.asarray(t, dtype=np.float64)
        cumulative = np.cumsum(self.atoms.weights)
        last = len(self.kinks)
        piece = np.minimum(np.searchsorted(cumulative[:-1], t), last)
        slope = self.atoms.points[piece] - self.shift
        anchor = np.maximum(piece - 1, 0)
        scaled = (t - cumulative[anchor]) * np.exp(-self.log_density[anchor])
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(np.abs(slope * scaled) < 1e-12, scaled, -np.log1p(-slope * scaled) / slope)
            # The outer pieces are exponential tails, of the mass of their atom.
            step = np.where(piece == 0, -np.log(t / self.atoms.weights[0]) / slope, step)
            step = np.where(piece == last, -np.log((1 - t) / self.atoms.weights[-1]) / slope, step)
        return self.kinks[anchor] + step

    def transport(self, x: ArrayLike) -> Array:
        """u' + shift: a value of the sample."""
        return self.atoms.points[self._piece(np.asarray(x, dtype=np.float64))]

    def inverse_transport(self, y: ArrayLike) -> Array:
        """Kink of u between values of the sample; at one of them the middle of its piece (the kink, at the ends)."""
        y = np.asarray(y, dtype=np.float64)
        left, right = (np.searchsorted(self.atoms.points, y, side=side) for side in ("left", "right"))
        last = len(self.kinks) - 1
        return (self.kinks[np.clip(left - 1, 0, last)] + self.kinks[np.clip(right - 1, 0, last)]) / 2

    def gibbs_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of P_u, by Gauss-Legendre between kinks."""
        tails = self.gibbs_ppf(np.asarray([1e-16, 1e-12, 1e-8, 1e-4]))
        upper = self.gibbs_ppf(1 - np.asarray([1e-4, 1e-8, 1e-12, 1e-15]))
        return _quadrature.moments(self.gibbs_pdf, np.unique(np.concatenate([tails, self.kinks, upper])))

    def _arrays(self) -> dict[str, Array]:
        return {
            "points": self.atoms.points,
            "weights": self.atoms.weights,
            "kinks": self.kinks,
            "log_density": self.log_density,
        }


LARGEST_RESIDUAL = 1e-3  # standard deviations: with more, double precision cannot hold the law or its Gibbs measure
_PENDING = Diagnostics(np.nan, 0, converged=False, changes=(), mean=np.nan, std=np.nan)


def fit_univariate(
    law: UnivariateLaw | ArrayLike,
    factorization: Factorization = "conjugate",
    *,
    center: bool = False,
    tolerance: float = 1e-10,
    max_iterations: int = 2000,
    damping: float | None = None,
    memory: int = 8,
) -> UnivariateFactorization:
    """Factorise a law on the line, to rounding.

    Conjugate: the fixed point w' = G_w⁻¹∘F_ρ, G_w the distribution function of e^{-w}/Z. Moment: the closed form
    x'(y) = ρ(y)/g(y), g(y) = ∫_y^∞ t dρ(t). A sample is factorised as the discrete law it is, exactly.

    Args:
      law: a frozen continuous `scipy.stats` distribution, any object with `pdf`, `cdf`, `ppf` and `support`, or a
        1-D array of samples.
      factorization: "conjugate" or "moment".
      center: for "moment" only: subtract the mean first and record it as `shift`.
      tolerance: on the largest change of w' in one undamped iteration, relative to its distance from the Gibbs
        measure's mean plus one standard deviation.
      max_iterations: of the fixed point; a result that needed more says `converged=False`.
      damping: λ in (0, 1]; None adapts it (1 diverges for a standard deviation above 1).
      memory: past iterates used by Anderson acceleration; 0 for the plain damped iteration.

    Raises:
      TypeError: if `law` is neither a law nor a numeric array.
      ValueError: for a sample that is empty, constant, not one-dimensional or not finite; a law whose density is NaN,
        does not integrate to 1, or decays too slowly for a variance; a moment factorisation of an uncentred law; or
        settings out of range.
    """
    check_factorization(factorization)
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance: expected a number in (0, 1), found {tolerance}")
    if max_iterations < 1 or memory < 0:
        raise ValueError(f"max_iterations, memory: expected >= 1 and >= 0, found {max_iterations} and {memory}")
    if damping is not None and not 0 < damping <= 1:
        raise ValueError(f"damping: expected None or a number in (0, 1], found {damping}")
    settings: dict[str, Any] = {
        "damping": damping,
        "memory": memory,
        "tolerance": tolerance,
        "max_iterations": max_iterations,
    }
    if callable(getattr(law, "pdf", None)) or not isinstance(law, (np.ndarray, list, tuple)):
        return _fit_law(check_law(law), factorization, center, settings)
    return _fit_atoms(Atoms.from_samples(law), factorization, center, settings)


def _fit_law(
    law: UnivariateLaw, factorization: Factorization, center: bool, settings: dict[str, Any]
) -> UnivariateFactorization:
    # Densities are infinite at some ends and underflow in every tail; what is not finite is tested for, not warned of.
    with np.errstate(all="ignore"):
        return _solve_law(law, factorization, center, settings)


def _solve_law(
    law: UnivariateLaw, factorization: Factorization, center: bool, settings: dict[str, Any]
) -> UnivariateFactorization:
    if factorization == "moment":
        found = solve_moment(law)
        mean, std = found.levels.mean, found.levels.std
        check_centred(mean, std, center=center)
        fit = MomentUnivariate("moment", _PENDING, mean, found.levels, found.x, found.log_density)
        changes, converged = (), True
    else:
        result, levels = solve_conjugate(law, **settings)
        mean, std = levels.mean, levels.std
        support = (float(law.support()[0]), float(law.support()[1]))
        fit = ConjugateUnivariate("conjugate", _PENDING, 0.0, levels, result.slope, support)
        changes, converged = result.changes, result.converged
    residual = _quadrature.transport_residual(fit, law)
    converged = converged and residual <= LARGEST_RESIDUAL * std
    return _with(fit, Diagnostics(residual, len(changes), converged, changes, mean, std))


def _fit_atoms(
    atoms: Atoms, factorization: Factorization, center: bool, settings: dict[str, Any]
) -> UnivariateFactorization:
    if factorization == "moment":
        check_centred(atoms.mean, atoms.std, center=center)
        kinks, log_density = solve_moment_atoms(atoms)
        fit = MomentAtoms("moment", _PENDING, atoms.mean, atoms, kinks, log_density)
        breaks, changes, converged = kinks, (), True
    else:
        # W2 between discrete laws grows with the root of the misplaced mass: iterate further.
        result = solve_conjugate_atoms(atoms, **{**settings, "tolerance": 1e-3 * settings["tolerance"]})
        fit = ConjugateAtoms("conjugate", _PENDING, 0.0, atoms, result.slope)
        breaks, changes, converged = result.slope, result.changes, result.converged
    residual = _quadrature.atoms_residual(fit.gibbs_cdf(breaks), atoms.points, atoms.weights)
    return _with(fit, Diagnostics(residual, len(changes), converged, changes, atoms.mean, atoms.std))


def _with(fit: UnivariateFactorization, diagnostics: Diagnostics) -> UnivariateFactorization:
    return replace(fit, diagnostics=diagnostics)


def load_univariate(path: str | Path) -> tuple[UnivariateFactorization, dict[str, str]]:
    """Read what `UnivariateFactorization.save` wrote: the factorisation and its provenance.

    Raises:
      ValueError: if the file does not hold a univariate factorisation.
    """
    with np.load(path, allow_pickle=False) as stored:
        a = dict(stored)
    kind = str(a.get("kind", "nothing"))
    if kind not in {c.__name__ for c in (ConjugateUnivariate, MomentUnivariate, ConjugateAtoms, MomentAtoms)}:
        raise ValueError(f"path: {path} holds {kind}, not a univariate factorisation")
    diagnostics = Diagnostics(
        float(a["residual"]),
        int(a["iterations"]),
        bool(a["converged"]),
        tuple(a["changes"].tolist()),
        float(a["mean"]),
        float(a["std"]),
    )
    shift = float(a["shift"])
    provenance: dict[str, str] = json.loads(str(a["provenance"]))
    if "edges" in a:
        levels = Levels(Panels(a["edges"]), a["log_cdf"], a["log_sf"])
        if kind == ConjugateUnivariate.__name__:
            support = (float(a["support"][0]), float(a["support"][1]))
            fit = ConjugateUnivariate("conjugate", diagnostics, shift, levels, a["slope"], support)
        else:
            fit = MomentUnivariate("moment", diagnostics, shift, levels, a["x"], a["log_density"])
    else:
        atoms = Atoms(a["points"], a["weights"])
        if kind == ConjugateAtoms.__name__:
            fit = ConjugateAtoms("conjugate", diagnostics, shift, atoms, a["slopes"])
        else:
            fit = MomentAtoms("moment", diagnostics, shift, atoms, a["kinks"], a["log_density"])
    return fit, provenance

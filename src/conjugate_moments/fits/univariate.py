"""Exact factorisations of laws on the line, from a law or from a sample. Float64 throughout."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conjugate_moments.fits import _quadrature
from conjugate_moments.fits._atoms import Atoms, solve_conjugate_atoms, solve_moment_atoms
from conjugate_moments.fits._conjugate import solve_conjugate
from conjugate_moments.fits._continuous import ConjugateUnivariate, MomentUnivariate
from conjugate_moments.fits._discrete import ConjugateAtoms, MomentAtoms
from conjugate_moments.fits._levels import Levels
from conjugate_moments.fits._moment import solve_moment
from conjugate_moments.fits.factorization import Diagnostics, UnivariateFactorization
from conjugate_moments.fits.gaussian import Factorization, check_centred, check_factorization
from conjugate_moments.measures.univariate import UnivariateLaw, check_law
from conjugate_moments.potentials.panels import Panels

Array = NDArray[np.floating]  # float64 throughout

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

"""How the spread of a Gibbs measure follows that of the law: sweeps over the law's scale, and their summary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from conjugate_moments.fits.factorization import UnivariateFactorization
from conjugate_moments.metrics.records import (
    CONVERGED,
    UNCONVERGED,
    Score,
    exact,
    number,
    read_rows,
    refuse,
    write_rows,
)
from conjugate_moments.metrics.wasserstein import w2_displacement

SUMMARY = ("ratio_smallest", "ratio_middle", "ratio_largest", "w2_smallest", "w2_middle", "w2_largest", "slope")


@dataclass(frozen=True)
class Spread:
    """Both measures of one factorisation of a law stretched by `scale`; NaN where the fit did not converge.

    Args:
      scale: the factor, no unit.
      status: of the fit.
      law_std: standard deviation of ρ.
      gibbs_std: standard deviation of the Gibbs measure.
      w2_over_std: W2 between the two, in standard deviations of ρ.
      residual_over_std: of the fit, in standard deviations of ρ.
    """

    scale: float
    status: str
    law_std: float
    gibbs_std: float
    w2_over_std: float
    residual_over_std: float


def measure_spread(scale: float, fit: UnivariateFactorization) -> Spread:
    """One point of a sweep."""
    if not fit.converged:
        return Spread(scale, UNCONVERGED, *[math.nan] * 4)
    std = fit.diagnostics.std
    return Spread(scale, CONVERGED, std, fit.gibbs_moments()[1], w2_displacement(fit) / std, fit.residual / std)


def summarise(dataset: str, method: str, sweep: Sequence[Spread]) -> list[Score]:
    """Ratio of standard deviations and relative W2 at the first, middle and last scale, and the mean log-log slope.

    A sweep with a fit that did not converge is refused as a whole.
    """
    if any(point.status == UNCONVERGED for point in sweep):
        return refuse(dataset, method, SUMMARY)
    marked = [sweep[0], sweep[len(sweep) // 2], sweep[-1]]
    ratios = [point.gibbs_std / point.law_std for point in marked]
    slope = float(np.log(sweep[-1].gibbs_std / sweep[0].gibbs_std) / np.log(sweep[-1].law_std / sweep[0].law_std))
    numbers = [*ratios, *(point.w2_over_std for point in marked), slope]
    return exact(dataset, method, dict(zip(SUMMARY, numbers, strict=True)))


def write_sweep(path: str | Path, sweep: Sequence[Spread], *, comment: str) -> None:
    """Write a sweep as CSV."""
    write_rows(path, [field.name for field in fields(Spread)], [astuple(point) for point in sweep], comment=comment)


def read_sweep(path: str | Path) -> list[Spread]:
    """Read what `write_sweep` wrote."""
    names = ("law_std", "gibbs_std", "w2_over_std", "residual_over_std")
    return [
        Spread(number(row["scale"]), row["status"], *(number(row[name]) for name in names)) for row in read_rows(path)
    ]

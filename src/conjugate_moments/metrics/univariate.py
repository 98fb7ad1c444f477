"""Scores of the factorisations of laws on the line."""

from __future__ import annotations

from collections.abc import Mapping

from numpy.typing import NDArray

from conjugate_moments._random import key_for
from conjugate_moments.fits.factorization import UnivariateFactorization
from conjugate_moments.metrics.records import Score, exact, over_seeds, refuse
from conjugate_moments.metrics.wasserstein import w2_samples

EXACT_METRICS = ("law_mean", "law_std", "gibbs_mean", "gibbs_std", "residual_over_std", "iterations")


def score_univariate(
    dataset: str, fit: UnivariateFactorization, draws: Mapping[int, tuple[NDArray, NDArray]]
) -> list[Score]:
    """Moments of both measures, residual, iterations, and W2 from generated to true draws.

    Args:
      dataset: name of the law.
      fit: its factorisation; if it did not converge every score is refused.
      draws: for each seed two independent samples of the law, `[n]` each. The first is what the generated draws are
        compared with; W2 between the two is the noise floor.
    """
    method, solved = fit.factorization, fit.diagnostics
    if not fit.converged:
        return refuse(dataset, method, [*EXACT_METRICS, "w2_over_std"])
    mean, std = fit.gibbs_moments()
    numbers = (solved.mean, solved.std, mean, std, fit.residual / solved.std, float(fit.iterations))
    found, floors = [], []
    for seed, (first, second) in draws.items():
        generated = fit.sample(len(first), key=key_for(seed, "generated", "univariate", dataset, method))
        found.append(w2_samples(generated, first) / solved.std)
        floors.append(w2_samples(second, first) / solved.std)
    return [
        *exact(dataset, method, dict(zip(EXACT_METRICS, numbers, strict=True))),
        *over_seeds(dataset, method, "w2_over_std", list(draws), found, floors),
    ]

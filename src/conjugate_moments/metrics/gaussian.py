"""Scores of the Gaussian factorisations."""

from __future__ import annotations

from collections.abc import Mapping

from numpy.typing import NDArray

from conjugate_moments._random import key_for
from conjugate_moments.fits.gaussian import GaussianFactorization
from conjugate_moments.metrics.moments import cov_error, mean_error, rms_std, sample_moments
from conjugate_moments.metrics.records import Score, exact, over_seeds

ERRORS = {"mean_error": mean_error, "cov_error": cov_error}


def score_gaussian(dataset: str, fit: GaussianFactorization, draws: Mapping[int, NDArray]) -> list[Score]:
    """Spread of both measures, residual, and moments of generated draws; the noise floor is that of true draws.

    Args:
      dataset: name of the law.
      fit: its factorisation.
      draws: true draws for each seed, `[n, d]`; as many are generated.
    """
    values = {
        "dimension": float(len(fit.mean)),
        "law_std": rms_std(fit.cov),
        "gibbs_std": rms_std(fit.gibbs_cov),
        "residual": fit.residual,
    }
    generated = {
        seed: fit.sample(len(true), key=key_for(seed, "generated", "gaussian", dataset, fit.factorization))
        for seed, true in draws.items()
    }
    scores = exact(dataset, fit.factorization, values)
    for metric, error in ERRORS.items():
        found = [error(sample_moments(sample), fit.mean, fit.cov) for sample in generated.values()]
        floors = [error(sample_moments(true), fit.mean, fit.cov) for true in draws.values()]
        scores += over_seeds(dataset, fit.factorization, metric, list(draws), found, floors)
    return scores

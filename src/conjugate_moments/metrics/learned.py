"""Scores of potentials learned from samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conjugate_moments.fits.gaussian import GaussianFactorization
from conjugate_moments.fits.truths import Truth, true_log_density
from conjugate_moments.measures.planar import PlanarLaw
from conjugate_moments.metrics.moments import Moments, cov_error, gibbs_moments, mean_error
from conjugate_moments.metrics.transport import gibbs_distance, matched_w2, sinkhorn_divergence
from conjugate_moments.metrics.uvp import l2_uvp

if TYPE_CHECKING:
    import jax

    from conjugate_moments.fits.result import FitResult

Array = NDArray[np.floating]

LARGEST_UNCONVERGED = 0.01  # share of rows that may be left out of a score; beyond, the fit is refused
PLANAR_METRICS = ("sinkhorn", "w2", "off_support", "log_likelihood", "unconverged", "mixed")
TRUTH_METRICS = (
    "uvp",
    "uvp_inverse",
    "gibbs",
    "gibbs_mean",
    "gibbs_cov",
    "log_likelihood",
    "log_likelihood_gap",
    "unconverged",
    "mixed",
)
LINES, POINTS_PER_LINE = 17, 65  # of the warped grid, in each direction


@dataclass(frozen=True, eq=False)
class Generated:
    """Draws of a fit's source measure and their images, `[n, d]` each; images that did not converge are NaN.

    Args:
      source: draws.
      images: under the transport map.
      mixed: whether the draws are independent, or their chains have mixed.
    """

    source: Array
    images: Array
    mixed: bool

    @property
    def known(self) -> NDArray[np.bool_]:
        """Rows whose image converged, `[n]`."""
        return np.asarray(~np.isnan(self.images).any(axis=1))


def generate(fit: FitResult | GaussianFactorization, n: int, *, key: jax.Array) -> Generated:
    """Draws of the source measure of a fit, mapped."""
    if isinstance(fit, GaussianFactorization):
        source, mixed = fit.sample_gibbs(n, key=key), True
    else:
        source, status = fit.draw(n, key=key)
        mixed = status.converged
    return Generated(source, fit.transport(source), mixed)


def warped_grid(fit: FitResult | GaussianFactorization, source: Array) -> Array:
    """Images of the lines of a grid over the bulk of the source `[n, 2]`: `[lines, points, 2]`."""
    low, high = np.quantile(source, [0.005, 0.995], axis=0)
    lines = [np.linspace(low[i], high[i], LINES) for i in (0, 1)]
    along = [np.linspace(low[i], high[i], POINTS_PER_LINE) for i in (0, 1)]
    vertical = np.stack(np.broadcast_arrays(lines[0][:, None], along[1]), axis=-1)
    horizontal = np.stack(np.broadcast_arrays(along[0], lines[1][:, None]), axis=-1)
    grid = np.concatenate([vertical, horizontal])
    return fit.transport(grid.reshape(-1, 2)).reshape(grid.shape)


def planar_scores(
    law: PlanarLaw, generated: Generated, truth: Array, epsilon: float, likelihood: Array
) -> dict[str, float]:
    """Distances of generated points to true ones `[n, 2]`, and the share of points where the law has no mass.

    `log_likelihood` is the mean of `likelihood`, the log-density of the fit at true points, `[n]`. `mixed` is 1 or 0. A
    fit of which too many rows did not converge scores NaN; so does a Sinkhorn divergence whose own iterations did not
    converge, as happens when points lie far off.
    """
    known = generated.known
    unconverged = 1 - float(known.mean())
    if unconverged > LARGEST_UNCONVERGED:
        return {**dict.fromkeys(PLANAR_METRICS, np.nan), "unconverged": unconverged}
    images = generated.images[known].astype(np.float64)
    try:
        divergence = sinkhorn_divergence(images, truth, epsilon=epsilon).value
    except ArithmeticError as error:
        print(error)
        divergence = np.nan
    return {
        "sinkhorn": divergence,
        "w2": matched_w2(images, truth[: len(images)]),
        "off_support": law.off_support(images),
        "log_likelihood": _mean(likelihood),
        "unconverged": unconverged,
        "mixed": float(generated.mixed),
    }


def held_out(fit: FitResult | GaussianFactorization, y: Array) -> Array:
    """Log-density of a fit at held-out points `[n, d]`, `[n]`; NaN throughout where it is not known or not trusted.

    It is not known for a source that is given by draws, and not trusted where log Z has not converged or more than
    `LARGEST_UNCONVERGED` of the points have no value.
    """
    from conjugate_moments.fits.kinds import MongeFit
    from conjugate_moments.fits.w2dual import W2DualFit

    unknown = np.full(len(y), np.nan)
    if isinstance(fit, MongeFit | W2DualFit) and fit.source is not None:
        return unknown
    try:
        found = fit.log_prob(y)
    except RuntimeError as error:
        print(error)
        return unknown
    return found if np.mean(np.isnan(found)) <= LARGEST_UNCONVERGED else unknown


def truth_scores(
    truth: Truth, fit: FitResult | GaussianFactorization, n: int, *, given_source: bool, key: jax.Array
) -> dict[str, float]:
    """Errors of a fit's maps on draws of the true Gibbs measure, in per cent, and of its Gibbs factor and density.

    `log_likelihood` is the mean log-density of the fit at the images of the draws, which it has not seen, in nats;
    `log_likelihood_gap` is by how much that of the law itself is larger, per dimension: an estimate of KL(ρ | q)/d.

    Where ρ is Gaussian, and so is its P_w = N(a, S), `gibbs_mean` and `gibbs_cov` are the errors of the first two
    moments of the fitted factor: |mean − a| over the root of the trace of S, and |covariance − S| over |S|.

    Args:
      truth: the law, with its exact potential.
      fit: of samples of it.
      n: number of draws.
      given_source: whether the fit was given the true Gibbs measure, so that there is no factor to score.
      key: of the draws.
    """
    import jax

    x = truth.sample_gibbs(n, key=jax.random.fold_in(key, 0))
    y = truth.transport(x)
    found, back = fit.transport(x), fit.inverse_transport(y)
    # One of the two maps is a conjugate, which may be missing.
    known = ~np.isnan(found).any(axis=1) & ~np.isnan(back).any(axis=1)
    unconverged = 1 - float(known.mean())
    scores = {**dict.fromkeys(TRUTH_METRICS, np.nan), "unconverged": unconverged}
    if unconverged > LARGEST_UNCONVERGED:
        return scores
    spread = float(x.var(axis=0).sum())
    scores["uvp"] = l2_uvp(found[known], y[known], truth.variance).value
    scores["uvp_inverse"] = l2_uvp(back[known], x[known], spread).value
    likelihood = held_out(fit, y)
    scores["log_likelihood"] = _mean(likelihood)
    scores["log_likelihood_gap"] = _mean(true_log_density(truth, y) - likelihood) / y.shape[1]
    if given_source:
        return scores
    drawn = generate(fit, n, key=jax.random.fold_in(key, 1))
    scores |= {"gibbs": _apart(drawn.source, x, key=jax.random.fold_in(key, 2)), "mixed": float(drawn.mixed)}
    if isinstance(truth, GaussianFactorization):
        scores |= _gibbs_errors(truth, fit, drawn.source)
    return scores


def _mean(numbers: Array) -> float:
    """Over those that are known; NaN if none is."""
    known = numbers[~np.isnan(numbers)]
    return float(known.mean()) if len(known) else np.nan


def gibbs_floor(truth: Truth, n: int, *, key: jax.Array) -> float:
    """What `gibbs` is for another `n` draws of the true Gibbs measure in the place of the fitted one."""
    import jax

    first, second = (truth.sample_gibbs(n, key=jax.random.fold_in(key, i)) for i in (0, 1))
    return _apart(first, second, key=jax.random.fold_in(key, 2))


def _apart(found: Array, x: Array, *, key: jax.Array) -> float:
    """Distance between draws `[n, d]`, over the root of the variance of the second."""
    return float(gibbs_distance(found, x, key=key).value / np.sqrt(x.var(axis=0).sum()))


def _gibbs_errors(
    truth: GaussianFactorization, fit: FitResult | GaussianFactorization, source: Array
) -> dict[str, float]:
    """Errors of the moments of the fitted factor, from draws of it `[n, d]` and the slopes of its potential there."""
    if isinstance(fit, GaussianFactorization):
        found = Moments(fit.gibbs_mean.astype(np.float64), fit.gibbs_cov.astype(np.float64))
    else:
        from conjugate_moments.potentials.base import gradients

        found = gibbs_moments(source, np.asarray(gradients(fit.network, source)))
    return {
        "gibbs_mean": mean_error(found, truth.gibbs_mean, truth.gibbs_cov),
        "gibbs_cov": cov_error(found, truth.gibbs_mean, truth.gibbs_cov),
    }

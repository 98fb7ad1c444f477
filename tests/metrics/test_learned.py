"""Scores of learned potentials: zero for the truth itself, refused where too much did not converge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from conjugate_moments._matrices import symmetric_power
from conjugate_moments.fits.gaussian import fit_gaussian
from conjugate_moments.fits.kinds import MongeFit
from conjugate_moments.fits.result import GibbsStatus
from conjugate_moments.fits.truths import true_log_density, truth
from conjugate_moments.measures.planar import PLANAR
from conjugate_moments.metrics.learned import (
    LARGEST_UNCONVERGED,
    Generated,
    generate,
    gibbs_floor,
    held_out,
    planar_scores,
    truth_scores,
    warped_grid,
)
from conjugate_moments.metrics.records import ALL, UNCONVERGED, over_fits
from conjugate_moments.potentials.quadratic import Quadratic
from conjugate_moments.settings import TrainingSettings

KEY = jax.random.key(0)
PRODUCT = truth("product", 2)


class Learned:
    """A fit that has learned the truth, but for rows that did not converge and chains that did not mix."""

    def __init__(self, lost=0.0, mixed=True):
        self.lost, self.mixed = lost, mixed

    def draw(self, n, *, key):
        return PRODUCT.sample_gibbs(n, key=key), GibbsStatus("mala", self.mixed, 0.6, 1.0, n, n)

    def transport(self, x):
        y = PRODUCT.transport(x)
        y[: int(self.lost * len(y))] = np.nan
        return y

    def inverse_transport(self, y):
        return PRODUCT.inverse_transport(y)

    def log_prob(self, y):
        return true_log_density(PRODUCT, y)


def test_truth_scores_nothing_but_sampling_noise():
    found = truth_scores(PRODUCT, Learned(), 2000, given_source=False, key=KEY)
    assert found["uvp"] == found["unconverged"] == 0
    assert found["uvp_inverse"] < 1e-20  # the round trip through both maps, in float64
    assert found["mixed"] == 1
    assert 0 < found["gibbs"] < 0.1  # two samples of 2,000 points: a few over their root


def test_affine_fit_is_told_from_the_truth():
    data = PRODUCT.sample(20_000, key=KEY)
    found = truth_scores(PRODUCT, fit_gaussian(data.mean(0), np.cov(data.T)), 2000, given_source=False, key=KEY)
    assert 4 < found["uvp"] < 8  # method.md has 5.4 % for rotated two-mode products


def test_noise_floor_of_the_source_is_what_the_truth_itself_scores():
    floors = [gibbs_floor(PRODUCT, 1000, key=jax.random.key(seed)) for seed in range(6)]
    found = truth_scores(PRODUCT, Learned(), 1000, given_source=False, key=KEY)["gibbs"]
    # Six draws of the same quantity: the seventh is within their mean and four standard deviations.
    assert abs(found - np.mean(floors)) < 4 * np.std(floors, ddof=1)
    assert 0.5 < gibbs_floor(PRODUCT, 4000, key=KEY) / np.mean(floors) * 2 < 2  # falls with the root of the draws


def test_chains_that_did_not_mix_are_reported():
    assert truth_scores(PRODUCT, Learned(mixed=False), 200, given_source=False, key=KEY)["mixed"] == 0


def test_gaussian_truth_is_what_it_says_in_any_dimension():
    for dim in (2, 3, 10):
        law = truth("gaussian", dim)
        assert np.linalg.cond(law.cov) == pytest.approx(30)
        assert np.linalg.norm(law.mean) > 0.5
        assert law.residual < 1e-12
        draws = law.sample(4_000, key=KEY)
        assert np.trace(np.cov(draws.T)) == pytest.approx(law.variance, rel=0.1)  # errors of about 2 %
        assert np.abs(law.cov - np.diag(np.diag(law.cov))).max() > 0.1  # in a frame of its own
    with pytest.raises(ValueError, match="dim: found 1, allowed: an integer >= 2"):
        truth("gaussian", 1)


def gaussian_fit(law, mean=0.0, scale=1.0):
    """A fit whose factor is that of the law, moved by `mean` and with `scale` times its covariance."""

    class Fit:
        network = Quadratic(
            jnp.asarray(symmetric_power(law.gibbs_cov * scale, -1 / 2), jnp.float32),
            jnp.asarray(law.gibbs_mean + mean, jnp.float32),
        )
        transport, inverse_transport = staticmethod(law.transport), staticmethod(law.inverse_transport)
        log_prob = staticmethod(law.log_prob)

        def draw(self, n, *, key):
            x = law.gibbs_mean + mean + np.sqrt(scale) * (law.sample_gibbs(n, key=key) - law.gibbs_mean)
            return x, GibbsStatus("mala", True, 0.6, 1.0, n, n)

    return Fit()


@pytest.mark.parametrize("dim", [2, 10])
def test_moments_of_a_gaussian_factor_are_found_to_rounding(dim):
    """By control variates: the draws alone would leave errors of some hundredths."""
    law = truth("gaussian", dim)
    found = truth_scores(law, gaussian_fit(law), 500, given_source=False, key=KEY)
    assert found["gibbs_mean"] < 1e-5
    assert found["gibbs_cov"] < 1e-5
    root = np.sqrt(np.trace(law.gibbs_cov) / dim)
    wrong = truth_scores(law, gaussian_fit(law, mean=0.1 * root, scale=1.2), 500, given_source=False, key=KEY)
    assert wrong["gibbs_mean"] == pytest.approx(0.1, rel=1e-4)
    assert wrong["gibbs_cov"] == pytest.approx(0.2, rel=1e-4)


def test_affine_fit_of_a_gaussian_errs_by_its_samples_alone():
    law = truth("gaussian", 10)
    data = law.sample(50_000, key=KEY)
    found = truth_scores(law, fit_gaussian(data.mean(0), np.cov(data.T)), 500, given_source=False, key=KEY)
    assert 0 < found["gibbs_mean"] < 0.02  # 0.3 % and 0.4 % were measured
    assert 0 < found["gibbs_cov"] < 0.02


def test_other_laws_have_no_closed_moments_to_compare():
    found = truth_scores(PRODUCT, Learned(), 200, given_source=False, key=KEY)
    assert np.isnan(found["gibbs_mean"])
    assert np.isnan(found["gibbs_cov"])


def test_given_source_has_no_gibbs_factor_to_score():
    found = truth_scores(PRODUCT, Learned(), 200, given_source=True, key=KEY)
    assert np.isnan(found["gibbs"])
    assert found["uvp"] == 0


@pytest.mark.parametrize(("lost", "refused"), [(LARGEST_UNCONVERGED / 2, False), (3 * LARGEST_UNCONVERGED, True)])
def test_fit_with_too_many_unconverged_rows_is_refused(lost, refused):
    found = [truth_scores(PRODUCT, Learned(lost), 1000, given_source=False, key=KEY)] * 2
    assert found[0]["unconverged"] == pytest.approx(lost)
    rows = over_fits("product_d2", "cmfgen", [0, 1], found, {}, largest_unconverged=LARGEST_UNCONVERGED)
    scores = {s.metric: s for s in rows if s.seed == ALL}
    assert (scores["uvp"].status == UNCONVERGED) is refused
    assert scores["unconverged"].value == pytest.approx(lost)


@pytest.mark.parametrize("family", ["product", "gaussian", "log_sum_exp", "curved", "multimodal"])
def test_true_log_density_integrates_to_one_and_is_that_of_the_draws(family):
    law = truth(family, 2)
    draws = law.sample(20_000, key=KEY)
    # A grid of cells ten times as fine as the sharpest ridge that these laws have is not affordable: the share of mass
    # is checked by importance sampling from a kernel of draws instead, whose weights have a bounded variance.
    centre, cov = draws.mean(axis=0), 4 * np.cov(draws.T)
    proposal = stats.multivariate_t(centre, cov, df=5, seed=1)
    points = proposal.rvs(200_000)
    weights = np.exp(true_log_density(law, points) - proposal.logpdf(points))
    assert abs(weights.mean() - 1) < 5 * weights.std() / np.sqrt(len(weights))
    # E_ρ[g] by draws and by weights agree for a bounded g, within both errors.
    low, high = np.quantile(draws, [0.3, 0.8], axis=0)
    inside = [np.all((y > low) & (y < high), axis=1) for y in (draws, points)]
    errors = np.hypot(inside[0].std() / np.sqrt(len(draws)), (weights * inside[1]).std() / np.sqrt(len(points)))
    assert abs(inside[0].mean() - np.mean(weights * inside[1])) < 5 * errors


def test_likelihood_of_the_truth_has_no_gap_and_that_of_another_law_its_divergence():
    found = truth_scores(PRODUCT, Learned(), 500, given_source=False, key=KEY)
    assert found["log_likelihood_gap"] == 0
    law = truth("gaussian", 2)
    wide = fit_gaussian(law.mean, 2 * law.cov)
    found = truth_scores(law, wide, 20_000, given_source=False, key=KEY)
    # KL(N(m, Σ) | N(m, 2Σ))/d = (log 2 - 1/2)/2 a dimension; the summands |z|²/4 have deviation 1/2 in the plane.
    expected = (np.log(2) - 1 / 2) / 2
    assert found["log_likelihood_gap"] == pytest.approx(expected, abs=5 * 0.5 / 2 / np.sqrt(20_000))


def test_likelihood_that_is_not_known_or_not_trusted_is_not_a_number():
    class Lost(Learned):
        def log_prob(self, y):
            return np.where(np.arange(len(y)) < self.lost * len(y), np.nan, 0.0)

    class Unmixed(Learned):
        def log_prob(self, y):
            raise RuntimeError("log_prob: log Z has not converged")

    y = np.zeros((1000, 2))
    assert np.isnan(held_out(Lost(0.005), y)).sum() == 5
    assert np.all(np.isnan(held_out(Lost(0.02), y)))
    assert np.all(np.isnan(held_out(Unmixed(), y)))
    data = PRODUCT.sample(500, key=KEY)
    identity = Quadratic.from_factor(np.eye(2), np.zeros(2))
    given = MongeFit(identity, TrainingSettings(), np.zeros(2), np.eye(2), data, {}, source=data)
    assert np.all(np.isnan(held_out(given, y)))


def test_planar_scores_of_true_points_are_at_the_noise_floor():
    law = PLANAR["circles"]
    first, second = (law.sample(300, key=jax.random.key(seed)) for seed in (1, 2))
    found = planar_scores(law, Generated(first, second, True), first, 0.1, np.zeros(300))
    assert found["off_support"] < 0.02
    assert found["sinkhorn"] < 0.1
    far = planar_scores(law, Generated(first, second + 3.0, True), first, 0.1, np.zeros(300))
    assert far["sinkhorn"] == pytest.approx(18.0, rel=0.1)  # |c|² for a translation by c, plus noise
    assert far["off_support"] > 0.95


def test_warped_grid_of_an_affine_map_is_straight():
    fit = fit_gaussian([1.0, 0.0], [[2.0, 0.5], [0.5, 1.0]])
    grid = warped_grid(fit, generate(fit, 500, key=KEY).source)
    steps = np.diff(grid, axis=1)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), atol=1e-12)

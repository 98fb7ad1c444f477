"""Scores of learned potentials: zero for the truth itself, refused where too much did not converge."""

import jax
import numpy as np
import pytest

from conjugate_moments.fits.gaussian import fit_gaussian
from conjugate_moments.fits.result import GibbsStatus
from conjugate_moments.fits.truths import truth
from conjugate_moments.measures.planar import PLANAR
from conjugate_moments.metrics.learned import (
    LARGEST_UNCONVERGED,
    Generated,
    generate,
    over_fits,
    planar_scores,
    truth_scores,
    warped_grid,
)
from conjugate_moments.metrics.records import ALL, UNCONVERGED

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


def test_chains_that_did_not_mix_are_reported():
    assert truth_scores(PRODUCT, Learned(mixed=False), 200, given_source=False, key=KEY)["mixed"] == 0


def test_given_source_has_no_gibbs_factor_to_score():
    found = truth_scores(PRODUCT, Learned(), 200, given_source=True, key=KEY)
    assert np.isnan(found["gibbs"])
    assert found["uvp"] == 0


@pytest.mark.parametrize(("lost", "refused"), [(LARGEST_UNCONVERGED / 2, False), (3 * LARGEST_UNCONVERGED, True)])
def test_fit_with_too_many_unconverged_rows_is_refused(lost, refused):
    found = [truth_scores(PRODUCT, Learned(lost), 1000, given_source=False, key=KEY)] * 2
    assert found[0]["unconverged"] == pytest.approx(lost)
    scores = {s.metric: s for s in over_fits("product_d2", "cmfgen", [0, 1], found, {}) if s.seed == ALL}
    assert (scores["uvp"].status == UNCONVERGED) is refused
    assert scores["unconverged"].value == pytest.approx(lost)


def test_planar_scores_of_true_points_are_at_the_noise_floor():
    law = PLANAR["circles"]
    first, second = (law.sample(300, key=jax.random.key(seed)) for seed in (1, 2))
    found = planar_scores(law, Generated(first, second, True), first, 0.1)
    assert found["off_support"] < 0.02
    assert found["sinkhorn"] < 0.1
    far = planar_scores(law, Generated(first, second + 3.0, True), first, 0.1)
    assert far["sinkhorn"] == pytest.approx(18.0, rel=0.1)  # |c|² for a translation by c, plus noise
    assert far["off_support"] > 0.95


def test_warped_grid_of_an_affine_map_is_straight():
    fit = fit_gaussian([1.0, 0.0], [[2.0, 0.5], [0.5, 1.0]])
    grid = warped_grid(fit, generate(fit, 500, key=KEY).source)
    steps = np.diff(grid, axis=1)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), atol=1e-12)

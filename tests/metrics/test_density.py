"""Scores of densities: none to be had against itself, closed forms for a wider law, refusals that are said."""

import math
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from conjugate_moments import _random
from conjugate_moments.fits.gaussian import fit_gaussian
from conjugate_moments.fits.result import GibbsStatus
from conjugate_moments.inference.density import LogDensity, LogNormaliser
from conjugate_moments.measures.energies import anisotropic_moments, energy
from conjugate_moments.metrics.density import (
    OF_DRAWS,
    OF_WEIGHTS,
    FitDraws,
    RunScores,
    Truth,
    density_floors,
    draw_fit,
    draws_for_log_z,
    draws_needed,
    failed_scores,
    fit_arrays,
    fit_scores,
    law_arrays,
    over_runs,
    read_fit,
    read_sample,
    sample_scores,
    with_effort,
    write_sample,
)
from conjugate_moments.metrics.records import ALL, CONVERGED, UNCONVERGED
from conjugate_moments.samplers.diagnostics import diagnose
from conjugate_moments.samplers.peers import PeerSample

KEY = jax.random.key(0)
CASE = energy("anisotropic", 2)
MODES = energy("four_modes")
SHARE = 0.01


def truth(case=CASE, n=300):
    draws = case.sample(2 * n, key=jax.random.key(1)).reshape(2, n, case.dim)
    return Truth(*draws, case.log_normaliser)


class Fitted:
    """The exact factorisation of the anisotropic Gaussian with `scale` times its covariance, but for lost rows."""

    def __init__(self, scale=1.0, lost=0.0, mixed=True, normalised=True):
        mean, cov = anisotropic_moments(2)
        self.fit, self.lost, self.mixed = fit_gaussian(mean, scale * cov), lost, mixed
        self.normaliser = LogNormaliser(0.0, 0.0, "closed form", normalised)

    def draw(self, n, *, key):
        return self.fit.sample_gibbs(n, key=key), GibbsStatus("mala", self.mixed, 0.6, 1.0, n, n)

    def transport(self, x):
        y = self.fit.transport(x)
        y[: int(self.lost * len(y))] = np.nan
        return y

    def potential(self, y):
        return self.fit.potential(y)

    def log_density(self, y):
        return LogDensity(self.fit.log_prob(y), np.zeros(len(y)), self.normaliser)


def scores(fit, n=300, seen=True, trusted=True, case=CASE):
    drawn = draw_fit(fit, case, draws_needed(case.modes, n), key=KEY)
    return fit_scores(drawn, case.modes, truth(n=n), n, SHARE, seen=seen, trusted=trusted)


@pytest.mark.parametrize(
    ("spread", "converged", "least", "most"),
    [
        (0.2, True, 0, 0),  # a standard error of 0.003 is small enough
        # √((e^{σ²} - 1)/n) = 0.0083 for log-normal weights: as many as bring it to 0.005, within 15 % for the estimate.
        (0.5, True, 0.85 * 2.84 * 4096, 1.15 * 2.84 * 4096),
        (1.0, True, 32768, 32768),  # no more than that
        (0.5, False, 0, 0),  # no draws to go by
        (8.0, True, 0, 0),  # weights that are no estimates
    ],
)
def test_fits_are_drawn_from_until_log_z_is_known(spread, converged, least, most):
    weights = spread * _random.normal(KEY, (4096,))
    weights[:5] = np.nan  # rows that did not converge
    drawn = FitDraws(np.zeros((4096, 2)), np.zeros((4096, 2)), weights, converged)
    assert least <= draws_for_log_z(drawn) <= most


def test_exact_fit_scores_nothing_but_sampling_noise():
    found, floors = scores(Fitted()), density_floors(truth(), SHARE)
    assert found.refused == frozenset()
    assert found.values["ess"] == pytest.approx(1, abs=1e-6)  # log densities in float32 differ by some 1e-6
    assert found.values["log_z_error"] < 1e-5
    assert found.values["converged"] == 1
    assert math.isnan(found.values["modes"])  # a Gaussian has none to count
    # Three samples of one law: 300 points each leave the two distances equal within a factor of 2.
    for metric in ("sinkhorn", "w2"):
        assert 0.5 < found.values[metric] / floors[metric] < 2


def test_weights_of_a_wider_gaussian_are_those_of_the_closed_form():
    found = scores(Fitted(scale=1.5))
    # For q = N(m, s²Σ) in the plane the mean square weight is the square of s²/√(2s² - 1), s² = 1.5.
    expected = (np.sqrt(2) / 1.5) ** 2
    assert found.values["ess"] == pytest.approx(expected, abs=5 * 1.5**2 / np.sqrt(4096))
    assert found.values["log_z_error"] < 5 * np.sqrt((1 / expected - 1) / 4096)
    moved = scores(Fitted(scale=6.0))
    assert moved.values["w2"] > 3 * found.values["w2"]


def test_weights_that_are_no_estimates_are_refused_and_the_draws_are_not():
    found = scores(Fitted(scale=0.3))  # too narrow: the weights of its tail have no second moment
    assert found.refused == frozenset(OF_WEIGHTS)
    assert found.values["pareto_shape"] > 0.7
    assert np.isfinite(found.values["sinkhorn"])
    # Nor are those that the fit itself does not trust.
    assert scores(Fitted(), trusted=False).refused == frozenset(OF_WEIGHTS)


@pytest.mark.parametrize(
    "fit", [Fitted(lost=0.03), Fitted(mixed=False), Fitted(normalised=False)], ids=["lost", "unmixed", "no log Z"]
)
def test_fit_that_has_not_converged_has_no_number(fit):
    found = scores(fit)
    assert found.refused == frozenset((*OF_WEIGHTS, *OF_DRAWS))
    assert found.values["converged"] == 0
    assert found == scores(Fitted(), seen=False)  # as one that says so itself
    assert found == failed_scores()


def test_few_lost_rows_are_left_out():
    drawn = draw_fit(Fitted(lost=0.005), CASE, 1000, key=KEY)
    assert drawn.converged
    assert (~drawn.known).sum() == 5
    assert fit_scores(drawn, None, truth(), 300, SHARE, seen=True, trusted=True).values["ess"] == pytest.approx(
        1, abs=1e-6
    )


def sample(draws, **rest):
    return PeerSample(**{
        "method": "smc", "draws": draws, "log_weights": None, "density_evaluations": 7, "gradient_evaluations": 5,
        "log_normaliser": None, "log_normaliser_error": None, "diagnostics": None, "divergences": None,
        "converged": True, **rest,
    })  # fmt: skip


def test_true_draws_score_as_a_sampler_that_is_exact():
    draws = MODES.sample(800, key=KEY)
    found = sample_scores(sample(draws), MODES.modes, truth(MODES), SHARE, key=KEY)
    assert found.values["modes"] == 1
    assert math.isnan(found.values["ess"])
    assert math.isnan(found.values["log_z_error"])
    assert found.refused == frozenset()
    half = sample_scores(sample(draws[draws[:, 0] > 0]), MODES.modes, truth(MODES), SHARE, key=KEY)
    assert half.values["modes"] == 0.5
    assert half.values["w2"] > 2 * found.values["w2"]


def test_weighted_draws_stand_for_the_law_they_are_weighted_to():
    """Draws of four modes, weighted to one of them."""
    draws = MODES.sample(4000, key=KEY)
    last = np.argmin([np.sum((draws - c) ** 2, axis=1) for c in MODES.modes.centres], axis=0) == 3
    one = Truth(draws[last][:300], draws[last][300:600], 0.0)
    kept = draws[600:]
    even, weighted = (
        sample_scores(sample(kept, log_weights=w), MODES.modes, one, SHARE, key=KEY).values
        for w in (None, np.where(last[600:], 0.0, -np.inf))
    )
    assert (even["modes"], weighted["modes"]) == (1, 0.25)
    assert weighted["w2"] < 0.3  # of the size of one deviation, 0.5
    assert even["w2"] > 2  # six draws in ten lie in a mode at least 4 away


def test_log_z_of_a_sampler_and_chains_that_have_not_mixed():
    draws = MODES.sample(800, key=KEY)
    found = sample_scores(sample(draws, log_normaliser=0.25), MODES.modes, truth(MODES), SHARE, key=KEY)
    assert found.values["log_z_error"] == pytest.approx(0.25)
    stuck = sample(draws, converged=False)
    assert sample_scores(stuck, MODES.modes, truth(MODES), SHARE, key=KEY) == failed_scores()


def test_files_keep_the_draws_and_judge_chains_by_mixing_alone(tmp_path):
    chains = _random.normal(KEY, (500, 4, 2))
    diagnostics = diagnose(jax.numpy.asarray(chains), acceptance=0.8, step=0.5, moves=500)
    given = sample(chains.reshape(-1, 2), converged=False, diagnostics=diagnostics, divergences=1)
    write_sample(tmp_path / "sample.npz", given, provenance="{}")
    found = read_sample(tmp_path / "sample.npz")
    np.testing.assert_array_equal(found.draws, given.draws)
    assert (found.converged, found.divergences, found.log_weights) == (True, 1, None)
    assert (found.density_evaluations, found.log_normaliser) == (7, None)
    apart = chains + 10 * np.arange(4)[:, None]
    diagnostics = diagnose(jax.numpy.asarray(apart), acceptance=0.8, step=0.5, moves=500)
    write_sample(tmp_path / "sample.npz", sample(given.draws, diagnostics=diagnostics), provenance="{}")
    assert not read_sample(tmp_path / "sample.npz").converged


def test_training_that_diverged_is_no_fit(tmp_path):
    np.savez(tmp_path / "fit.npz", diverged="a loss that is not finite")
    assert read_fit(tmp_path / "fit.npz") is None


def test_one_refused_run_leaves_no_mean():
    good = RunScores({"ess": 0.9, "sinkhorn": 0.1, "converged": 1.0}, frozenset())
    collapsed = RunScores({"ess": 0.01, "sinkhorn": 0.2, "converged": 1.0}, frozenset(["ess"]))
    found = [with_effort(run, 1000.0, 2.0) for run in (good, collapsed)]
    rows = {(s.metric, s.seed): s for s in over_runs("ring_d2", "cmfma", [3, 4], found, {"sinkhorn": [0.05, 0.07]})}
    assert (rows["ess", ALL].status, rows["ess", "3"].status) == (UNCONVERGED, CONVERGED)
    assert rows["ess", "4"].status == UNCONVERGED
    assert math.isnan(rows["ess", ALL].value)
    assert math.isnan(rows["ess", "4"].value)
    assert (rows["sinkhorn", ALL].value, rows["sinkhorn", ALL].noise_floor) == pytest.approx((0.15, 0.06))
    assert rows["evaluations", ALL].value == 1000


def test_regularisation_follows_the_scale_of_the_law():
    wide = truth()
    wide = Truth(10 * wide.draws, 10 * wide.others, wide.log_normaliser)
    assert wide.epsilon(SHARE) == pytest.approx(100 * truth().epsilon(SHARE))
    assert density_floors(wide, SHARE)["sinkhorn"] == pytest.approx(100 * density_floors(truth(), SHARE)["sinkhorn"])


def test_grids_hold_the_densities_that_they_say():
    drawn = draw_fit(Fitted(), CASE, 2000, key=KEY)
    arrays = law_arrays(CASE, truth()) | fit_arrays(Fitted(), drawn, 100)
    for name, case in (("law", CASE), ("gibbs", SimpleNamespace(log_density=lambda y: -Fitted().potential(y)))):
        axes, values = arrays[f"{name}_axes"], arrays[f"{name}_density"]
        row, column = 30, 120  # row by the second axis
        exact = case.log_density(np.array([axes[0, column], axes[1, row]], np.float32))
        peak = np.unravel_index(values.argmax(), values.shape)
        top = case.log_density(np.array([axes[0, peak[1]], axes[1, peak[0]]], np.float32))
        assert np.log(values[row, column]) == pytest.approx(float(exact - top), abs=1e-4)
    assert np.log(np.mean(np.exp(arrays["log_weights"]))) == pytest.approx(0, abs=1e-9)
    assert len(arrays["source"]) == len(arrays["images"]) == 100

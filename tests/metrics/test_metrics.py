"""Scores against closed forms."""

import jax
import numpy as np
import pytest
from scipy import special, stats

from conjugate_moments._random import key_for
from conjugate_moments.fits.gaussian import fit_gaussian
from conjugate_moments.fits.univariate import fit_univariate
from conjugate_moments.metrics.draws import draw_gaussian, draw_univariate
from conjugate_moments.metrics.gaussian import score_gaussian
from conjugate_moments.metrics.moments import cov_error, gibbs_moments, mean_error, rms_std, sample_moments
from conjugate_moments.metrics.profiles import profile
from conjugate_moments.metrics.records import (
    ALL,
    UNCONVERGED,
    Score,
    exact,
    over_fits,
    over_seeds,
    read_scores,
    refuse,
    write_scores,
)
from conjugate_moments.metrics.spread import measure_spread, read_sweep, summarise, write_sweep
from conjugate_moments.metrics.tables import latex_table, markdown_table, number_table
from conjugate_moments.metrics.univariate import score_univariate
from conjugate_moments.metrics.wasserstein import w2_displacement, w2_samples

DRAWS = np.random.default_rng(0).normal(size=1000)


def test_w2_of_a_shifted_and_shuffled_sample_is_the_shift():
    shuffled = np.random.default_rng(1).permutation(DRAWS)
    assert w2_samples(DRAWS, shuffled + 2.5) == pytest.approx(2.5, rel=1e-12)


def test_w2_of_a_centred_scaled_sample_is_the_difference_of_scales():
    centred = (DRAWS - DRAWS.mean()) / DRAWS.std()
    assert w2_samples(centred, 3 * centred) == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize("other", [DRAWS[:-1], DRAWS[:, None], np.full(1000, np.nan)])
def test_w2_refuses_samples_that_cannot_be_matched(other):
    with pytest.raises(ValueError, match="x, y"):
        w2_samples(DRAWS, other)


@pytest.mark.parametrize(("factorization", "std"), [("moment", 1 / 3), ("conjugate", 3 ** (1 / 3))])
def test_displacement_of_normal_laws_is_the_difference_of_deviations(factorization, std):
    # W2(N(0, a²), N(0, b²)) = |a - b|; std is that of the Gibbs measure of N(0, 3²).
    fit = fit_univariate(stats.norm(scale=3.0), factorization)
    assert w2_displacement(fit) == pytest.approx(3.0 - std, rel=1e-6)


def test_moment_errors_in_closed_form():
    sample = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    cov = np.cov(sample, rowvar=False)
    moved = sample_moments(sample + np.array([3.0, 4.0]))
    assert mean_error(moved, [0.0, 0.0], np.eye(2)) == pytest.approx(5 / np.sqrt(2))
    assert cov_error(moved, [0.0, 0.0], cov) == 0
    assert cov_error(moved, [0.0, 0.0], cov / 2) == pytest.approx(1.0)
    assert rms_std(np.diag([1.0, 7.0])) == 2.0
    with pytest.raises(ValueError, match="found, mean, cov"):
        cov_error(moved, [0.0], np.eye(2))


def test_moments_of_a_quadratic_potential_are_exact_from_few_draws():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    mean, cov = rng.normal(size=5), root @ root.T
    x = mean + rng.normal(size=(12, 5)) @ root.T
    found = gibbs_moments(x, (x - mean) @ np.linalg.inv(cov))
    assert mean_error(found, mean, cov) < 1e-9
    assert cov_error(found, mean, cov) < 1e-9
    assert cov_error(sample_moments(x), mean, cov) > 0.1
    with pytest.raises(ValueError, match="points, slopes"):
        gibbs_moments(x, x[:, :4])


def test_moments_of_a_quartic_potential_have_smaller_errors_than_those_of_its_draws():
    # w(x) = x⁴/4 in each coordinate: variance 2 Γ(3/4)/Γ(1/4), x⁴/4 is of the law Gamma(1/4).
    variance = 2 * special.gamma(0.75) / special.gamma(0.25)
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(40):
        x = (4 * rng.gamma(0.25, size=(500, 2))) ** 0.25 * rng.choice([-1.0, 1.0], size=(500, 2))
        each = gibbs_moments(x, x**3), sample_moments(x)
        errors.append([cov_error(moments, np.zeros(2), variance * np.eye(2)) for moments in each])
    controlled, plain = np.square(errors).mean(axis=0)
    assert controlled < plain / 2
    assert np.sqrt(controlled) < 0.05


def test_standard_error_over_seeds():
    *each, mean = over_seeds("law", "moment", "metric", [3, 5], [1.0, 3.0], [0.5, 1.5])
    assert [score.seed for score in each] == ["3", "5"]
    assert mean == Score("law", "moment", ALL, "metric", 2.0, 1.0, 1.0)  # deviation √2 over √2
    with pytest.raises(ValueError, match="seeds"):
        over_seeds("law", "moment", "metric", [3], [1.0], [0.5])


def test_fits_are_averaged_over_seeds_beside_their_floors():
    found = [{"sliced": 0.1, "unconverged": 0.0}, {"sliced": 0.3, "unconverged": 0.01}]
    scores = over_fits("law", "affine", [4, 9], found, {"sliced": [0.05, 0.15]}, largest_unconverged=0.01)
    *each, mean = (score for score in scores if score.metric == "sliced")
    assert [(score.seed, score.value, score.noise_floor) for score in each] == [("4", 0.1, 0.05), ("9", 0.3, 0.15)]
    assert (mean.seed, mean.value, mean.noise_floor) == (ALL, pytest.approx(0.2), pytest.approx(0.1))
    assert mean.standard_error == pytest.approx(0.1)  # of 0.1 and 0.3: √0.02/√2
    assert all(np.isnan(score.noise_floor) for score in scores if score.metric == "unconverged")


def test_a_fit_that_is_refused_in_one_seed_has_no_score_and_says_why():
    found = [{"sliced": 0.1, "unconverged": 0.0, "mixed": 1.0}, {"sliced": np.nan, "unconverged": 0.5, "mixed": 0.0}]
    scores = over_fits("law", "cmfgen", [0, 1], found, {"sliced": [0.1, 0.1]}, largest_unconverged=0.4)
    [refused] = (score for score in scores if score.metric == "sliced")
    assert (refused.seed, refused.status) == (ALL, UNCONVERGED)
    assert np.isnan(refused.value)
    assert [score.value for score in scores if score.metric == "unconverged"] == [0.0, 0.5, 0.25]
    assert [score.value for score in scores if score.metric == "mixed"] == [1.0, 0.0, 0.5]


def test_scores_survive_a_file(tmp_path):
    scores = [*over_seeds("law", "moment", "m", [0, 1], [0.1, 0.3], [0.0, 0.1]), *refuse("law", "conjugate", ["m"])]
    write_scores(tmp_path / "scores.csv", scores, comment="where from")
    assert [repr(score) for score in read_scores(tmp_path / "scores.csv")] == [repr(score) for score in scores]


def test_draws_follow_the_law_and_differ_between_names():
    n = 20_000
    mean, cov = np.array([1.0, -2.0]), np.array([[2.0, 0.6], [0.6, 0.5]])
    draws = draw_gaussian(mean, cov, n, key=key_for(0, "a"))
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 5 * np.sqrt(np.diag(cov) / n))
    assert cov_error(sample_moments(draws), mean, cov) < 5 * 2 / np.sqrt(n)
    law = stats.expon()
    assert stats.kstest(draw_univariate(law, n, key=key_for(0, "a")), law.cdf).pvalue > 1e-4
    assert set(draw_univariate(np.array([1.0, 4.0]), 100, key=jax.random.key(0))) == {1.0, 4.0}
    keys = [key_for(0, "a"), key_for(0, "b"), key_for(1, "a"), key_for(0, "a", "b"), key_for(0, "b", "a")]
    assert len({tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in keys}) == len(keys)


def test_exact_fits_score_at_the_noise_floor():
    law = stats.laplace()
    draws = {s: tuple(draw_univariate(law, 4000, key=key_for(s, role)) for role in "ab") for s in range(8)}
    fit = fit_univariate(law, "conjugate")
    mean = score_univariate("laplace", fit, draws)[-1]
    assert mean.seed == ALL
    assert abs(mean.value - mean.noise_floor) < 5 * mean.standard_error + 0.02
    gaussian = {seed: draw_gaussian([0.0], [[4.0]], 4000, key=key_for(seed)) for seed in range(8)}
    for score in score_gaussian("line", fit_gaussian([0.0], [[4.0]]), gaussian):
        if score.seed == ALL:
            assert abs(score.value - score.noise_floor) < 10 * score.standard_error


def test_fit_that_did_not_converge_is_refused_everywhere():
    law = stats.laplace(scale=5.0)
    fit = fit_univariate(law, "conjugate", max_iterations=1)
    assert not fit.converged
    scores = score_univariate("laplace", fit, {})
    assert {score.status for score in scores} == {UNCONVERGED}
    assert all(np.isnan(score.value) for score in scores)
    point = measure_spread(1.0, fit)
    assert np.isnan([point.law_std, point.gibbs_std, point.w2_over_std, point.residual_over_std]).all()
    assert {score.status for score in summarise("laplace", "conjugate", [point])} == {UNCONVERGED}
    assert set(profile(law, [fit])) == {"density_x", "law_density", "conjugate_converged", "density_limit"}


def test_slopes_of_a_stretched_normal_law(tmp_path):
    for factorization, slope in (("moment", -1.0), ("conjugate", 1 / 3)):
        sweep = [measure_spread(s, fit_univariate(stats.norm(scale=s), factorization)) for s in (0.5, 1.0, 4.0)]
        found = {score.metric: score.value for score in summarise("normal", factorization, sweep)}
        assert found["slope"] == pytest.approx(slope, abs=1e-8)
        assert found["ratio_middle"] == pytest.approx(1.0, abs=1e-8)
        write_sweep(tmp_path / "sweep.csv", sweep, comment="where from")
        assert read_sweep(tmp_path / "sweep.csv") == sweep


@pytest.mark.parametrize("law", [stats.beta(0.5, 0.5), stats.expon(loc=-1), np.random.default_rng(0).normal(size=50)])
def test_profiles_are_finite_and_densities_integrate_to_one(law):
    fits = [fit_univariate(law, "moment", center=True), fit_univariate(law, "conjugate")]
    arrays = profile(law, fits)
    assert all(np.all(np.isfinite(values)) for values in arrays.values())
    for name in ("moment", "conjugate"):
        assert np.all(np.diff(arrays[f"{name}_map"]) >= 0)
        mass = np.trapezoid(arrays[f"{name}_density"], arrays["density_x"])
        assert 0.9 < mass < 1.01


def test_tables_round_refuse_and_escape():
    values = {"law_std": 1.0, "gibbs_std": 2.0, "iterations": 12.0, "residual_over_std": 1.234e-9}
    scores = [
        *exact("a", "moment", values),
        *over_seeds("a", "moment", "w2_over_std", [0, 1], [0.1, 0.3], [0.1, 0.1]),
        *refuse("a", "conjugate", [*values, "w2_over_std"]),
    ]
    labels = {"a": "50 % | more"}
    markdown, latex = (table("univariate", scores, labels) for table in (markdown_table, latex_table))
    assert r"50 % \| more" in markdown
    assert "0.2 ± 0.1 (0.1)" in markdown
    assert markdown.count("not converged") == 5
    assert r"50 \% | more & $P_u$ & $1$ & $2$ & $12$ & $1.23\times 10^{-9}$ & $0.2 \pm 0.1 (0.1)$" in latex
    numbers = number_table("univariate", scores)
    assert numbers.loc[0, "w2_over_std_standard_error"] == pytest.approx(0.1)
    assert np.isnan(numbers.loc[1, "gibbs_std"])
    assert list(numbers["status"]) == ["converged", UNCONVERGED]

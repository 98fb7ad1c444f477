"""The univariate factorisations against closed forms, invariants, and laws that no solver setting was tuned to."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from conjugate_moments import Mixture, PowerLaw, fit_univariate, load_univariate
from conjugate_moments.fits._conjugate import PanelProblem
from conjugate_moments.fits._fixed_point import iterate
from conjugate_moments.measures.univariate import Affine


def mixture(means, scales, weights=None):
    weights = weights or [1 / len(means)] * len(means)
    return Mixture(tuple(weights), tuple(stats.norm(m, s) for m, s in zip(means, scales, strict=True)))


class Bare:
    """No more than the protocol asks for: no sf, logpdf, isf or moments."""

    def __init__(self, law):
        self.pdf, self.cdf, self.ppf, self.support = law.pdf, law.cdf, law.ppf, law.support


SMOOTH = {
    "normal": stats.norm(),
    "narrow": stats.norm(0.3, 0.05),
    "wide": stats.norm(0, 50),
    "far": stats.norm(1000, 50),
    "uniform": stats.uniform(-1, 2),
    "exponential": stats.expon(-1),
    "gamma": stats.gamma(3),
    "laplace": stats.laplace(),
    "logistic": stats.logistic(0, 3),
    "student": stats.t(5),
    "bare": Bare(stats.norm(0, 2)),
    "semicircle": stats.semicircular(),
}
ROUGH = {
    "arcsine": stats.beta(0.5, 0.5),
    "bimodal": mixture([-3, 3], [0.5, 0.5]),
    "gap": mixture([-3.7, 3.7], [0.5, 0.5]),  # the density falls to 1e-12 of its peak
    "trimodal": mixture([-6, 0, 5], [0.5, 0.3, 0.6], [0.25, 0.5, 0.25]),
    "cube": PowerLaw(3.0),
    "quartic, narrow": Affine(PowerLaw(4.0), 0.0, 0.5623413251903491),
    "cusp": PowerLaw(1.5),
    "lognormal": stats.lognorm(1),
    "weibull": stats.weibull_min(0.7),
}


@pytest.mark.parametrize("factorization", ["conjugate", "moment"])
@pytest.mark.parametrize("name", [*SMOOTH, *ROUGH])
def test_push_forward_is_the_law(name, factorization):
    fit = fit_univariate(SMOOTH.get(name, ROUGH.get(name)), factorization, center=True)
    assert fit.converged
    assert fit.iterations == 0 or fit.diagnostics.changes[-1] <= 1e-10

    tight = name in SMOOTH
    assert fit.residual <= (1e-8 if tight else 1e-6) * fit.diagnostics.std
    x = fit.gibbs_ppf(np.linspace(0.001, 0.999, 201))
    np.testing.assert_allclose(fit.gibbs_cdf(x), np.linspace(0.001, 0.999, 201), atol=1e-9)
    assert np.all(np.diff(fit.transport(x)) >= 0)


@pytest.mark.parametrize(("mean", "std"), [(0, 0.05), (1, 0.05), (0, 1), (0, 50), (40, 2), (1000, 50), (-4, 0.2)])
def test_normal_closed_form(mean, std):
    fit = fit_univariate(stats.norm(mean, std))
    variance = std ** (2 / 3)
    centre, spread = mean / (1 + variance), variance**0.5
    y, x = mean + std * np.linspace(-6, 6, 101), centre + spread * np.linspace(-6, 6, 101)
    np.testing.assert_allclose(fit.inverse_transport(y), (y - centre) / variance, atol=1e-8 * spread)
    np.testing.assert_allclose(fit.transport(x), variance * x + centre, atol=1e-8 * std)
    np.testing.assert_allclose(fit.gibbs_pdf(x), stats.norm.pdf(x, centre, spread), atol=1e-8 / spread)
    np.testing.assert_allclose(fit.gibbs_cdf(x), stats.norm.cdf(x, centre, spread), atol=1e-8)


@pytest.mark.parametrize("exponent", [4 / 3, 1.5, 2.5, 3.0])
def test_power_law_closed_form(exponent):
    """w = |y|^p/p, also in the tail of ρ where most of P_w lies for p > 2."""
    fit = fit_univariate(PowerLaw(exponent))
    y = np.linspace(-1.5, 1.5, 201)
    expected = np.sign(y) * np.abs(y) ** (exponent - 1)
    np.testing.assert_allclose(fit.inverse_transport(y), expected, atol=1e-8 * fit.diagnostics.std)
    np.testing.assert_allclose(fit.potential(y) - fit.potential(0.0), np.abs(y) ** exponent / exponent, atol=1e-8)


def test_quartic_power_law():
    fit = fit_univariate(PowerLaw(4.0))
    y = np.linspace(-1.5, 1.5, 201)
    np.testing.assert_allclose(fit.inverse_transport(y), y**3, atol=1e-8)


def test_moment_closed_forms():
    uniform = fit_univariate(stats.uniform(-1, 2), "moment")
    x = np.linspace(-12, 12, 301)
    np.testing.assert_allclose(uniform.transport(x), np.tanh(x / 2), atol=1e-11)
    np.testing.assert_allclose(uniform.gibbs_pdf(x), stats.logistic.pdf(x), atol=1e-11)
    exponential = fit_univariate(stats.expon(-1), "moment")
    x = np.linspace(-12, 3, 301)
    np.testing.assert_allclose(exponential.transport(x), np.exp(x) - 1, atol=1e-11)
    np.testing.assert_allclose(exponential.gibbs_pdf(x), np.exp(x - np.exp(x)), atol=1e-11)
    normal = fit_univariate(stats.norm(0, 3), "moment")
    x = np.linspace(-2, 2, 101)
    np.testing.assert_allclose(normal.transport(x), 9 * x, atol=1e-8)


def _from_start(scale, shift, std, damping, count):
    """Changes of the plain damped iteration on N(0, std²), started from the solution scaled and shifted."""
    levels = fit_univariate(stats.norm(0, std)).levels
    problem = PanelProblem(levels, (-np.inf, np.inf))
    start = scale * levels.panels.nodes.ravel() / std ** (2 / 3) + shift
    found = iterate(problem, start, damping=damping, memory=0, tolerance=1e-13, max_iterations=count)
    return np.asarray(found.changes)


@pytest.mark.parametrize("std", [0.5, 1.0, 3.0])
def test_damped_iteration_converges_at_the_rate_of_the_theory(std):
    """Modes of the linearised update on N(0, s³): -s for a shift of w', -1/2 for its scale."""
    variance = std ** (2 / 3)
    damping = 0.5 / (1 + variance)
    rate = _from_start(1.0, 1e-3, std, damping, 12)
    np.testing.assert_allclose(rate[1:] / rate[:-1], 1 - damping * (1 + variance), rtol=2e-2)
    rate = _from_start(1 + 1e-4, 0.0, std, damping, 12)
    np.testing.assert_allclose(rate[1:] / rate[:-1], 1 - 1.5 * damping, rtol=2e-2)


def test_undamped_iteration_diverges_above_std_one():
    """λ = 1 multiplies an error of the mean by -σ^{2/3} at every step."""
    changes = _from_start(1.0, 1e-6, 8.0, 1.0, 8)
    np.testing.assert_allclose(changes[1:] / changes[:-1], 4.0, rtol=1e-3)
    assert changes[-1] > 1e3 * changes[0]


def test_plain_damping_and_acceleration_agree():
    plain = fit_univariate(stats.logistic(), memory=0)
    fast = fit_univariate(stats.logistic())
    assert fast.iterations < plain.iterations
    y = np.linspace(-8, 8, 101)
    np.testing.assert_allclose(plain.inverse_transport(y), fast.inverse_transport(y), atol=1e-9)


def test_too_few_iterations_say_so():
    fit = fit_univariate(stats.gamma(3), max_iterations=2)
    assert not fit.converged
    assert fit.iterations == 2


@pytest.mark.parametrize("factorization", ["conjugate", "moment"])
def test_reflection_equivariance_and_normalisation(factorization):
    left, right = (fit_univariate(law, factorization, center=True) for law in (stats.gumbel_l(), stats.gumbel_r()))
    x = np.linspace(-2, 2, 41)
    np.testing.assert_allclose(left.transport(-x), -right.transport(x), atol=1e-7)
    low, high = right.gibbs_ppf(np.array([1e-14, 1 - 1e-14]))
    mass = integrate.quad(right.gibbs_pdf, low, high, limit=200, epsabs=1e-11)[0]
    assert abs(mass - 1) < 1e-9


@pytest.mark.parametrize("factorization", ["conjugate", "moment"])
def test_samples_follow_the_law(factorization):
    n, law = 20_000, ROUGH["trimodal"]
    fit = fit_univariate(law, factorization, center=True)
    draws = fit.sample(n, key=jax.random.key(3))
    # Kolmogorov's distance exceeds 2.0/√n with probability 7e-4.
    assert stats.kstest(draws, law.cdf).statistic < 2.0 / np.sqrt(n)
    gibbs = fit.sample_gibbs(n, key=jax.random.key(4))
    assert stats.kstest(gibbs, fit.gibbs_cdf).statistic < 2.0 / np.sqrt(n)
    np.testing.assert_array_equal(draws, fit.sample(n, key=jax.random.key(3)))


def test_sample_fit_is_exact():
    """Every value gets its own weight, on either side of the potential."""
    values = np.array([-2.0, -1.0, -1.0, 0.5, 3.5])
    for factorization in ("conjugate", "moment"):
        fit = fit_univariate(values, factorization, center=True)
        assert fit.converged
        assert fit.residual < 1e-6
        x = fit.gibbs_ppf((np.arange(5000) + 0.5) / 5000)
        pushed, counts = np.unique(fit.transport(x), return_counts=True)
        np.testing.assert_array_equal(pushed, [-2.0, -1.0, 0.5, 3.5])
        np.testing.assert_allclose(counts / 5000, [0.2, 0.4, 0.2, 0.2], atol=1 / 5000)


def test_sample_fit_approaches_the_law():
    law = stats.logistic(0, 2)
    exact = fit_univariate(law)
    sampled = fit_univariate(law.ppf((np.arange(4000) + 0.5) / 4000))
    x = exact.gibbs_ppf(np.linspace(0.05, 0.95, 19))
    np.testing.assert_allclose(sampled.transport(x), exact.transport(x), atol=0.02)


@pytest.mark.parametrize("factorization", ["conjugate", "moment"])
@pytest.mark.parametrize("law", [stats.gamma(2), np.array([-1.0, 0.0, 2.0, 4.0])])
def test_save_and_load(tmp_path, law, factorization):
    fit = fit_univariate(law, factorization, center=True)
    fit.save(tmp_path / "fit.npz", provenance={"seeds": "none: exact"})
    again, provenance = load_univariate(tmp_path / "fit.npz")
    x = fit.gibbs_ppf(np.linspace(0.1, 0.9, 9))
    np.testing.assert_array_equal(again.transport(x), fit.transport(x))
    np.testing.assert_array_equal(again.potential(x), fit.potential(x))
    assert again.residual == fit.residual
    assert again.diagnostics.changes == fit.diagnostics.changes
    assert again.shift == fit.shift
    assert provenance == {"seeds": "none: exact"}


def test_moment_refuses_an_uncentred_law_unless_told():
    with pytest.raises(ValueError, match=r"mean 0, found 3 .*center=True"):
        fit_univariate(stats.gamma(3), "moment")
    fit = fit_univariate(stats.gamma(3), "moment", center=True)
    assert abs(fit.shift - 3) < 1e-10
    assert abs(float(fit.transport(0.0)) - 3) < 1e-9


class Broken(Bare):
    def __init__(self, **changed):
        super().__init__(stats.norm())
        for name, function in changed.items():
            setattr(self, name, function)


@pytest.mark.parametrize(
    ("law", "error", "message"),
    [
        (np.array([]), ValueError, "samples: .* empty"),
        (np.array([1.0, np.nan]), ValueError, "samples: 1 of 2"),
        (np.array([1.0, np.inf]), ValueError, "samples: 1 of 2"),
        (np.full(9, 2.0), ValueError, "samples: .* all are 2.0"),
        (np.zeros((3, 2)), ValueError, "samples: expected a 1-D array"),
        (np.array(["a", "b"]), TypeError, "samples: expected integers"),
        (np.ones(4, dtype=np.float16), TypeError, "float16"),
        ("normal", TypeError, "law: str has no pdf"),
        (Broken(pdf=lambda y: 2 * stats.norm.pdf(y)), ValueError, "law: pdf does not integrate to 1"),
        (Broken(pdf=lambda y: np.full(np.shape(y), np.nan)), ValueError, "law: pdf must be non-negative"),
        (Broken(support=lambda: (1.0, 1.0)), ValueError, "law: support"),
        (Broken(cdf=lambda y: stats.norm.cdf(y) / 2), ValueError, "law: cdf and ppf disagree"),
        (stats.cauchy(), ValueError, "law: .* decays too slowly"),
        (stats.poisson(3), TypeError, "law: .* has no pdf"),
    ],
)
def test_bad_input_names_the_argument(law, error, message):
    with pytest.raises(error, match=message):
        fit_univariate(law)


@pytest.mark.parametrize(
    "settings", [{"tolerance": 0.0}, {"max_iterations": 0}, {"damping": 1.5}, {"factorization": "u"}, {"memory": -1}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match="|".join(settings)):
        fit_univariate(stats.norm(), **settings)

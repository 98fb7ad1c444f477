"""Laws from entries of the configuration, and laws shifted and stretched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, special, stats

from conjugate_moments.config import (
    Component,
    MixtureEntry,
    PowerEntry,
    SamplesEntry,
    ScipyEntry,
    UnivariateEntry,
    load,
)
from conjugate_moments.measures.named import law_from_entry
from conjugate_moments.measures.univariate import Affine, Mixture, PowerLaw, check_law

ROOT = Path(__file__).parents[2]
LAWS = load(ROOT / "config/config.yaml", schema=ROOT / "workflow/schemas/config.schema.yaml", root=ROOT).univariate.laws
LEVELS = np.array([1e-6, 0.01, 0.2, 0.5, 0.77, 0.99, 1 - 1e-6])

NORMAL = ScipyEntry("normal", "norm", {"loc": 2.0, "scale": 1.5})
MIXTURE = MixtureEntry(
    "skew", "mixture", (0.25, 0.75), (Component("norm", {"loc": -3.0}), Component("gamma", {"a": 2.0, "scale": 0.5}))
)


@pytest.mark.parametrize("name", LAWS)
def test_every_shipped_entry_is_a_law(name):
    check_law(law_from_entry(LAWS[name]))


@pytest.mark.parametrize(("entry", "kind"), [(MIXTURE, Mixture), (PowerEntry("power", "power", 3.0), PowerLaw)])
def test_kinds(entry: UnivariateEntry, kind: type):
    assert isinstance(law_from_entry(entry), kind)


def test_parameters_reach_scipy():
    law = law_from_entry(NORMAL)
    np.testing.assert_allclose(law.ppf(LEVELS), stats.norm(2.0, 1.5).ppf(LEVELS), rtol=1e-15)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_centred_and_stretched_laws_are_laws_with_mean_zero(name, scale):
    law = check_law(law_from_entry(LAWS[name], scale=scale, centre=True))
    plain = check_law(law_from_entry(LAWS[name]))
    np.testing.assert_allclose(np.diff(law.ppf(LEVELS)), scale * np.diff(plain.ppf(LEVELS)), rtol=1e-9)
    # The mean is the integral of the quantile: here by the trapezoidal rule in z, with level 1 / (1 + e^{-z}).
    z = np.linspace(-30, 30, 4001)
    mean = integrate.trapezoid(law.ppf(special.expit(z)) * stats.logistic.pdf(z), z)
    assert abs(mean) < 1e-4 * scale  # the quantile is steep in gaps, which costs the rule some digits


@pytest.mark.parametrize("function", ["pdf", "logpdf", "cdf", "sf"])
def test_a_stretched_normal_is_the_normal_of_scipy(function):
    law = law_from_entry(NORMAL, scale=0.4, centre=True)
    y = np.linspace(-20, 20, 41)
    np.testing.assert_allclose(getattr(law, function)(y), getattr(stats.norm(0, 0.6), function)(y), rtol=1e-11)


def test_scaling_without_centring_is_about_zero():
    law = law_from_entry(NORMAL, scale=2.0)
    np.testing.assert_allclose(law.ppf(LEVELS), stats.norm(4.0, 3.0).ppf(LEVELS), rtol=1e-14)


def test_centring_alone_keeps_the_scale():
    law = law_from_entry(NORMAL, centre=True)
    np.testing.assert_allclose(law.ppf(LEVELS), stats.norm(0.0, 1.5).ppf(LEVELS), rtol=1e-13, atol=1e-15)


def test_samples_come_as_numbers(tmp_path):
    values = np.random.default_rng(0).normal(2, 1, size=50)
    np.save(tmp_path / "a.npy", values)
    entry = SamplesEntry("file", "samples", tmp_path / "a.npy")
    np.testing.assert_array_equal(law_from_entry(entry), values)
    centred = law_from_entry(entry, scale=3.0, centre=True)
    np.testing.assert_allclose(centred, 3 * (values - values.mean()), atol=1e-14)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_scales_that_are_refused(scale):
    with pytest.raises(ValueError, match="scale: expected a positive finite number"):
        law_from_entry(NORMAL, scale=scale)
    with pytest.raises(ValueError, match="scale: expected a finite number > 0"):
        Affine(stats.norm(), 0.0, scale)


def test_shifts_that_are_refused():
    with pytest.raises(ValueError, match="shift: expected a finite number"):
        Affine(stats.norm(), np.inf, 1.0)


def test_a_law_without_mean_cannot_be_centred():
    entry = ScipyEntry("Cauchy", "cauchy", {})
    check_law(law_from_entry(entry, scale=2.0))
    with pytest.raises(ValueError, match="Cauchy has no finite mean"):
        law_from_entry(entry, centre=True)


class Bare:
    """The least a law can be: standard logistic, without log density and survival function."""

    pdf, cdf, ppf = stats.logistic.pdf, stats.logistic.cdf, stats.logistic.ppf

    def support(self) -> tuple[float, float]:
        return -np.inf, np.inf


@pytest.mark.parametrize("function", ["logpdf", "sf"])
def test_affine_fills_in_what_a_law_lacks(function):
    law, truth = Affine(Bare(), 1.0, 2.0), stats.logistic(1.0, 2.0)
    y = np.linspace(-10, 10, 21)
    np.testing.assert_allclose(getattr(law, function)(y), getattr(truth, function)(y), rtol=1e-11)


def test_affine_moves_the_support():
    assert Affine(stats.uniform(), -1.0, 4.0).support() == (-1.0, 3.0)
    assert Affine(stats.expon(), 2.0, 0.5).support() == (2.0, np.inf)

"""Closed forms of the Gaussian factorisations."""

import jax
import numpy as np
import pytest
from scipy import stats

from conjugate_moments import fit_gaussian
from conjugate_moments.fits.gaussian import load_gaussian

MEAN = np.array([1.0, -2.0, 0.5])
ROOT = np.array([[1.0, 0.2, 0.0], [0.2, 0.7, -0.3], [0.0, -0.3, 2.0]])
COV = ROOT @ ROOT @ ROOT


def test_conjugate_closed_form():
    fit = fit_gaussian(MEAN, COV)
    centre = np.linalg.solve(np.eye(3) + ROOT, MEAN)
    np.testing.assert_allclose(fit.gibbs_cov, ROOT, atol=1e-13)
    np.testing.assert_allclose(fit.gibbs_mean, centre, atol=1e-13)
    x = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(fit.transport(x), x @ ROOT + centre, atol=1e-13)
    np.testing.assert_allclose(fit.inverse_transport(fit.transport(x)), x, atol=1e-12)
    np.testing.assert_allclose(fit.gibbs_pdf(x), stats.multivariate_normal(centre, ROOT).pdf(x), rtol=1e-12)
    assert fit.residual < 1e-13


def test_transport_is_gradient_of_the_conjugate():
    """∇w(y) by differences is the inverse transport: Fenchel-Young with equality."""
    fit, step = fit_gaussian(MEAN, COV), 1e-5
    y = np.array([0.3, 1.0, -0.7])
    gradient = [(fit.potential(y + step * e) - fit.potential(y - step * e)) / (2 * step) for e in np.eye(3)]
    np.testing.assert_allclose(gradient, fit.inverse_transport(y), atol=1e-8)


def test_moment_closed_form():
    fit = fit_gaussian(np.zeros(3), COV, "moment")
    np.testing.assert_allclose(fit.gibbs_cov, np.linalg.inv(COV), atol=1e-12)
    np.testing.assert_allclose(fit.matrix, COV, atol=1e-13)


def test_moment_refuses_or_records_the_mean():
    with pytest.raises(ValueError, match="center=True"):
        fit_gaussian(MEAN, COV, "moment")
    fit = fit_gaussian(MEAN, COV, "moment", center=True)
    np.testing.assert_array_equal(fit.shift, MEAN)
    np.testing.assert_allclose(fit.transport(np.zeros(3)), MEAN, atol=1e-13)


def test_rotation_equivariance_and_scaling_law():
    rotation = stats.ortho_group(3, seed=0).rvs()
    turned = fit_gaussian(rotation @ MEAN, rotation @ COV @ rotation.T)
    fit = fit_gaussian(MEAN, COV)
    np.testing.assert_allclose(turned.gibbs_cov, rotation @ fit.gibbs_cov @ rotation.T, atol=1e-12)
    scaled = fit_gaussian(MEAN, 8.0 * COV)
    np.testing.assert_allclose(scaled.gibbs_cov, 2.0 * fit.gibbs_cov, atol=1e-12)


def test_samples_have_the_covariance_of_the_law():
    n = 40_000
    draws = fit_gaussian(MEAN, COV).sample(n, key=jax.random.key(1))
    error = np.cov(draws.T) - COV
    # Var of a sample covariance entry: (cov_ii cov_jj + cov_ij²)/n.
    standard_error = np.sqrt((np.outer(np.diag(COV), np.diag(COV)) + COV**2) / n)
    assert np.all(np.abs(error) < 5 * standard_error)


@pytest.mark.parametrize(
    ("mean", "cov", "message"),
    [
        ([0.0], [[0.0]], "cov: not positive definite"),
        ([0.0, 0.0], [[1.0, 2.0], [0.0, 1.0]], "cov: not symmetric"),
        ([0.0, 0.0], [[1.0, 1.0], [1.0, 1.0]], "cov: not positive definite"),
        ([0.0, 0.0], [[1.0]], "cov: expected shape"),
        ([np.nan], [[1.0]], "mean: 1 of 1"),
        ([], [[]], "mean: expected a non-empty vector"),
    ],
)
def test_bad_input_names_the_argument(mean, cov, message):
    with pytest.raises(ValueError, match=message):
        fit_gaussian(mean, cov)


def test_unknown_factorization_is_refused():
    with pytest.raises(ValueError, match=r"factorization: found 'monge'"):
        fit_gaussian([0.0], [[1.0]], "monge")  # pyright: ignore[reportArgumentType]


def test_save_and_load(tmp_path):
    fit = fit_gaussian(MEAN, COV)
    fit.save(tmp_path / "fit.npz", provenance={"seeds": "none: exact"})
    again, provenance = load_gaussian(tmp_path / "fit.npz")
    np.testing.assert_array_equal(again.matrix, fit.matrix)
    assert provenance == {"seeds": "none: exact"}

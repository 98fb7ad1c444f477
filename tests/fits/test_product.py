"""Rotated products: the truth in any dimension."""

import jax
import numpy as np
import pytest
from scipy import stats

from conjugate_moments import PowerLaw, fit_gaussian, fit_product


def test_product_of_normals_is_the_gaussian():
    rotation = stats.ortho_group(3, seed=1).rvs()
    means, stds = np.array([1.0, 0.0, -2.0]), np.array([0.5, 1.0, 3.0])
    product = fit_product([stats.norm(m, s) for m, s in zip(means, stds, strict=True)], rotation)
    gaussian = fit_gaussian(rotation @ means, rotation @ np.diag(stds**2) @ rotation.T)
    x = gaussian.sample_gibbs(50, key=jax.random.key(0))
    np.testing.assert_allclose(product.transport(x), gaussian.transport(x), atol=1e-8)
    np.testing.assert_allclose(product.potential(x), gaussian.potential(x), atol=1e-8)
    np.testing.assert_allclose(product.inverse_transport(product.transport(x)), x, atol=1e-8)


@pytest.mark.parametrize("factorization", ["conjugate", "moment"])
def test_potential_has_the_inverse_map_as_gradient(factorization):
    rotation = stats.ortho_group(4, seed=2).rvs()
    laws = [stats.logistic(), stats.logistic(), PowerLaw(1.5), stats.laplace()]
    product = fit_product(laws, rotation, factorization)
    assert product.factors[0] is not product.factors[2]
    points = product.sample_gibbs(5, key=jax.random.key(1))
    step = 1e-5
    gradient = np.stack(
        [(product.potential(points + step * e) - product.potential(points - step * e)) / (2 * step) for e in np.eye(4)],
        axis=-1,
    )
    gradient_map = product.inverse_transport if factorization == "conjugate" else product.transport
    np.testing.assert_allclose(gradient, gradient_map(points), atol=1e-6)


def test_high_dimension_shares_one_fit():
    law = stats.gamma(3, -3)
    product = fit_product([law] * 64)
    assert len(set(map(id, product.factors))) == 1
    draws = product.sample(500, key=jax.random.key(2))
    assert draws.shape == (500, 64)
    assert stats.kstest(draws.ravel(), law.cdf).statistic < 2.0 / np.sqrt(draws.size)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="rotation: expected an orthogonal"):
        fit_product([stats.norm()] * 2, np.ones((2, 2)))
    with pytest.raises(ValueError, match="rotation: expected shape"):
        fit_product([stats.norm()], np.eye(2))
    with pytest.raises(ValueError, match="laws: expected at least one"):
        fit_product([])
    with pytest.raises(ValueError, match=r"points: expected shape \[..., 2\]"):
        fit_product([stats.norm()] * 2).potential(np.zeros(3))

"""Potentials: derivatives over batches, quadratics, and ott's network behind the same contract."""

import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments import fit_gaussian
from conjugate_moments.potentials.base import (
    gradients,
    hessian_products,
    hessians,
    values,
    values_and_gradients,
)
from conjugate_moments.potentials.ott_icnn import OttPotential
from conjugate_moments.potentials.quadratic import Quadratic

MEAN = np.array([1.0, -2.0, 0.5])
ROOT = np.array([[1.0, 0.2, 0.0], [0.2, 0.7, -0.3], [0.0, -0.3, 2.0]])
POINTS = np.random.default_rng(0).normal(size=(7, 3))


def test_gaussian_closed_form_is_the_exact_factorisation():
    """The constant of the exact potential is its log normaliser; the gradient is the inverse transport."""
    exact = fit_gaussian(MEAN, ROOT @ ROOT @ ROOT)
    with jax.enable_x64(True):
        w = Quadratic.from_gaussian(MEAN, ROOT @ ROOT @ ROOT)
        np.testing.assert_allclose(gradients(w, POINTS), exact.inverse_transport(POINTS), atol=1e-12)
        np.testing.assert_allclose(hessians(w, POINTS[:1])[0], np.linalg.inv(ROOT), atol=1e-12)
        offset = exact.potential(POINTS) - np.asarray(values(w, POINTS))
    np.testing.assert_allclose(offset, offset[0], atol=1e-12)


def test_factor_and_matrix_agree():
    factor = np.random.default_rng(1).normal(size=(5, 3))
    with jax.enable_x64(True):
        one, other = Quadratic.from_factor(factor, MEAN), Quadratic.from_matrix(factor.T @ factor, MEAN)
        np.testing.assert_allclose(values(one, POINTS), values(other, POINTS), rtol=1e-12)
        products = hessian_products(one, POINTS, POINTS[::-1])
        np.testing.assert_allclose(products, POINTS[::-1] @ factor.T @ factor, rtol=1e-12)


def test_dtype_follows_the_inputs():
    assert Quadratic.from_gaussian(MEAN, ROOT).centre.dtype == jnp.float32
    with jax.enable_x64(True):
        assert Quadratic.from_gaussian(MEAN, ROOT).centre.dtype == jnp.float64
        assert Quadratic.from_gaussian(MEAN.astype("f4"), ROOT.astype("f4")).centre.dtype == jnp.float32


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Quadratic.from_factor(np.eye(3), np.zeros(2)), r"factor: expected shape \[k, 2\]"),
        (lambda: Quadratic.from_factor(np.eye(3), 0.0), "centre: expected a vector"),
        (lambda: Quadratic.from_matrix(-np.eye(2), np.zeros(2)), "matrix: expected a positive definite"),
        (lambda: Quadratic.from_gaussian([0.0, np.nan], np.eye(2)), "mean, cov: expected finite"),
        (lambda: Quadratic.from_gaussian([0.0, 0.0], [[1.0, 2.0], [0.0, 1.0]]), "cov: expected a symmetric"),
    ],
)
def test_bad_quadratics_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("function", [values, gradients, values_and_gradients, hessians])
def test_points_of_another_shape_are_refused(function):
    w = Quadratic.from_gaussian(MEAN, ROOT)
    for points in (np.zeros(3), np.zeros((4, 2))):
        with pytest.raises(ValueError, match=r"points: expected shape \[n, 3\]"):
            function(w, points)


def test_vectors_must_match_the_points():
    with pytest.raises(ValueError, match="vectors: expected shape"):
        hessian_products(Quadratic.from_gaussian(MEAN, ROOT), POINTS, POINTS[:2])


@pytest.fixture(scope="module")
def ott():
    with warnings.catch_warnings():
        # ott imports jaxopt, which announces at import that it has no maintainer.
        warnings.simplefilter("ignore", DeprecationWarning)
        import ott.neural.networks.icnn  # noqa: F401
    return OttPotential.initial(3, widths=(8, 8), key=jax.random.key(0))


def test_ott_is_the_module_itself(ott):
    np.testing.assert_allclose(values(ott, POINTS), ott.module.apply({"params": ott.params}, POINTS), rtol=1e-5)


def test_ott_stays_convex_when_its_leaves_move(ott):
    rng = np.random.default_rng(1)
    moved = jax.tree.map(lambda leaf: leaf + jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), ott)
    matrices = hessians(moved, 3 * POINTS)
    eigenvalues = jnp.linalg.eigvalsh(matrices)
    # Symmetric rounding errors of the sum of products, relative to the matrix.
    assert jnp.all(eigenvalues[:, 0] >= -1e-5 * eigenvalues[:, -1])
    np.testing.assert_allclose(
        hessian_products(moved, POINTS, POINTS[::-1]),
        jnp.einsum("nij,nj->ni", hessians(moved, POINTS), POINTS[::-1].astype("f4")),
        rtol=1e-3,
        atol=1e-3,
    )


def test_ott_without_positive_weights_is_refused(ott):
    with pytest.raises(ValueError, match="pos_weights=False"):
        replace(ott, module=ott.module.clone(pos_weights=False))


def test_ott_sizes_are_refused():
    with pytest.raises(ValueError, match="dim: expected a positive integer, found 0"):
        OttPotential.initial(0, key=jax.random.key(0))
    with pytest.raises(ValueError, match="widths: expected"):
        OttPotential.initial(2, widths=(), key=jax.random.key(0))

"""The cosine transform of images: orthonormal, separable, that of scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.fft import dctn

from conjugate_moments._cosine import coefficients, pixels

SHAPES = [(8, 8, 1), (4, 6, 3), (5, 1, 2)]


def images(shape, n=7):
    return np.random.default_rng(0).normal(size=(n, int(np.prod(shape))))


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_orthonormal_transform_of_scipy(shape):
    with jax.enable_x64(True):
        found = coefficients(jnp.asarray(images(shape)), shape)
    expected = dctn(images(shape).reshape(-1, *shape), type=2, norm="ortho", axes=(1, 2, 3)).reshape(found.shape)
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_a_rotation(shape):
    """The matrix, from the unit vectors: its transpose is its inverse, so that lengths and angles stay."""
    with jax.enable_x64(True):
        unit = jnp.eye(int(np.prod(shape)))
        matrix, inverse = np.asarray(coefficients(unit, shape)), np.asarray(pixels(unit, shape))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-13)
    np.testing.assert_allclose(inverse, matrix.T, atol=1e-13)


def test_any_batch_is_transformed_row_by_row_in_the_dtype_of_the_images():
    shape, rows = (4, 6, 3), jnp.asarray(images((4, 6, 3)), jnp.float32)
    found = coefficients(rows, shape)
    assert found.dtype == jnp.float32
    # Sums of 72 products of order 1 in float32.
    np.testing.assert_allclose(pixels(found, shape), rows, atol=1e-5)
    np.testing.assert_allclose(coefficients(rows[3], shape), found[3], atol=1e-5)
    np.testing.assert_allclose(coefficients(rows.reshape(7, 1, 72), shape)[:, 0], found, atol=1e-5)


def test_a_flat_image_has_its_mean_alone():
    with jax.enable_x64(True):
        found = np.asarray(coefficients(jnp.full((1, 12), 3.0), (2, 3, 2)))
    np.testing.assert_allclose(found, [[3 * np.sqrt(12), *np.zeros(11)]], atol=1e-13)

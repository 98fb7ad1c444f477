"""Independent components: known axes found, in every unit of the data, and a fit that starts from them."""

import jax
import numpy as np
import pytest
from scipy.stats import ortho_group

from conjugate_moments import TrainingSettings, fit_gaussian, fit_samples
from conjugate_moments.fits._check import mean_and_cov
from conjugate_moments.fits._components import RANDOM, components
from conjugate_moments.fits.truths import truth
from conjugate_moments.potentials.base import gradients
from conjugate_moments.potentials.icnn import InputConvexNetwork

KEY = jax.random.key(0)
DIM = RANDOM + 1
AXES = ortho_group.rvs(DIM, random_state=1)
SPREAD = np.geomspace(0.5, 4.0, DIM)


@pytest.fixture(scope="module")
def data():
    """Coordinates of two modes and of growing spread, turned."""
    rng = np.random.default_rng(0)
    modes = rng.choice([-1.0, 1.0], (20_000, DIM)) + 0.4 * rng.normal(size=(20_000, DIM))
    return 3 + (SPREAD * modes) @ AXES.T


def test_the_axes_of_a_turned_product_are_found(data):
    found = components(data, key=KEY)
    # ⟨v, y⟩ is one of the coordinates over its deviation, up to its sign, as the others are seen by none.
    unmixed = np.abs(found @ AXES * SPREAD * np.sqrt(1.16))
    assert sorted(unmixed.argmax(axis=1)) == list(range(DIM))
    assert np.abs(unmixed.max(axis=1) - 1).max() < 0.05
    assert np.abs(found @ np.cov(data.T) @ found.T - np.eye(DIM)).max() < 1e-3


def test_units_of_the_columns_do_not_matter(data):
    scale = np.geomspace(1e-6, 1e6, DIM)
    np.testing.assert_allclose(
        components(data * scale, key=KEY) * scale, components(data, key=KEY), rtol=1e-6, atol=1e-9
    )


def test_the_least_gaussian_come_first():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(20_000, DIM))
    y[:, 3] = rng.choice([-1.0, 1.0], len(y))
    first = components(y, key=KEY)[0]
    assert abs(first[3]) > 0.99
    assert np.abs(np.delete(first, 3)).max() < 0.1


def test_few_dimensions_need_none(data):
    assert components(data[:, :RANDOM], key=KEY) is None


def test_units_vary_along_the_given_directions(data):
    mean, cov = mean_and_cov(data)
    v = components(data, key=KEY)[:1]
    options = {"curvature": np.eye(DIM), "slope_mean": np.zeros(DIM), "widths": (6,), "quadratic": 0.5, "key": KEY}
    network = InputConvexNetwork.near(mean, cov, **options, directions=v)
    # Across v the gradient is affine: second differences there vanish, along v they do not.
    across = np.linalg.svd(v)[2][1]
    point = np.float32(data[:200])

    def second(direction):
        moved = [gradients(network, point + np.float32(c * direction)) for c in (-1, 0, 1)]
        return np.abs(np.asarray(moved[0] - 2 * moved[1] + moved[2])).max()

    assert second(across) < 1e-4
    assert second(v[0] / np.linalg.norm(v)) > 0.1


@pytest.mark.parametrize("directions", [np.zeros((2, 3)), np.zeros((0, 2)), np.zeros(2), np.full((1, 2), np.nan)])
def test_other_directions_are_refused(directions):
    options = {"curvature": np.eye(2), "slope_mean": np.zeros(2), "key": KEY}
    with pytest.raises(ValueError, match="directions: expected finite numbers of shape"):
        InputConvexNetwork.near(np.zeros(2), np.eye(2), **options, directions=directions)


def test_a_fit_that_starts_from_them_is_closer_to_the_truth():
    law = truth("product", 16)
    y, x = law.sample(10_000, key=KEY), law.sample_gibbs(1000, key=jax.random.key(1))
    settings = TrainingSettings(steps=60, batch=256, widths=(32,), smoothing=1.0, slope=2.5, learning_rate=3e-2)
    fit = fit_samples(y, key=KEY, settings=settings)
    affine = fit_gaussian(*mean_and_cov(y))
    error, best = (np.sum((found.transport(x) - law.transport(x)) ** 2, axis=1).mean() for found in (fit, affine))
    # 2.3 % of the variance against 5.9 when this was written; from random directions, farther than what is affine: 7.1.
    assert error < 0.6 * best

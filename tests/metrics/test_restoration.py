"""Completed images: the posterior of a Gaussian, baselines by name, refusals of what was not solved."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from conjugate_moments import _cosine
from conjugate_moments.config.images import BASELINES, Inpainting
from conjugate_moments.fits.images import METHODS, ImageMongeFit, cosine_points
from conjugate_moments.fits.quadratics import fit_quadratics
from conjugate_moments.measures.images import Pixels
from conjugate_moments.measures.masks import masks
from conjugate_moments.metrics.generation import LARGEST_UNCONVERGED
from conjugate_moments.metrics.inpainting import conditional_mean, psnr
from conjugate_moments.metrics.restoration import Restored, baseline, complete_images, restoration_scores
from conjugate_moments.potentials.image_network import FLOOR, ImageNetwork
from conjugate_moments.settings import ImageSettings, QuadraticsSettings

KEY = jax.random.key(0)
SHAPE = (4, 4, 1)
PIXELS = Pixels(SHAPE, 100, 0.5)
HALF = masks(SHAPE)["half"]
SETTINGS = Inpainting(
    sets=("digits",),
    models=("monge_whole",),
    masks=("half",),
    images=3,
    chains=4,
    draws=100,
    leaps=20,
    particles=64,
    noise=2.0,
)


def correlated(n, seed=0):
    """Levels around 50 with standard deviations of 10, most of them of a common brightness."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, *SHAPE)) + 1.5 * rng.normal(size=(n, 1, 1, 1))
    return np.clip(np.rint(50 + 6 * noise), 0, 100).astype(np.uint8)


TRAIN, IMAGES = correlated(300), correlated(3, seed=1)


@pytest.fixture(scope="module")
def gaussian():
    """A fit whose map is linear, its units aside: the model is N(m, Σ/(1 + FLOOR)²), Σ diagonal."""
    points = np.asarray(cosine_points(TRAIN, PIXELS, key=KEY), np.float64)
    mean, variance = points.mean(axis=0), points.var(axis=0)
    network = ImageNetwork.near(
        mean,
        variance,
        curvature=np.ones(16),
        slope_mean=mean,
        shape=SHAPE,
        widths=(1,),
        pieces=2,
        patch=None,
        stride=1,
        smoothing=0.1,
        quadratic=1 - 1e-6,
        slope=1.0,
        key=KEY,
    )
    settings = ImageSettings(patch=None, widths=(1,), noise=0.5)
    return ImageMongeFit(network, settings, mean, variance, points.astype(np.float32), {}, pixels=PIXELS)


def test_completions_are_draws_of_the_posterior(gaussian):
    n = 1600
    found = complete_images(gaussian, IMAGES, HALF, TRAIN, replace(SETTINGS, draws=n // 4), key=KEY)
    assert found.draws.shape == (n, 3, 16)
    assert np.all(np.isfinite(found.draws))
    assert found.unconverged == 0
    assert found.mixed == 1
    np.testing.assert_allclose(found.mean, found.draws.mean(axis=0))
    # Exact: in levels of pixels, with the covariance of cosine coefficients turned back.
    turn = np.asarray(_cosine.coefficients(np.eye(16, dtype=np.float32), SHAPE), np.float64)
    cov = 50**2 * turn @ np.diag(gaussian.cov / (1 + FLOOR) ** 2) @ turn.T
    mean = 50 * (turn @ gaussian.mean + 1)
    seen = cov[HALF]
    gain = np.linalg.solve(cov[np.ix_(HALF, HALF)] + SETTINGS.noise**2 * np.eye(HALF.sum()), seen).T
    expected = mean + (IMAGES.reshape(3, -1)[:, HALF] - mean[HALF]) @ gain.T
    spread = np.sqrt(np.diag(cov - gain @ seen))
    # Draws are two moves of twenty leaps apart: taken as a quarter of as many independent ones.
    assert np.all(np.abs(found.mean - expected)[:, ~HALF] < 5 * spread[~HALF] / np.sqrt(n / 4))
    # Standard error of a variance, over the three images, which share it.
    ratio = (found.draws.var(axis=0).mean(axis=0) / spread**2)[~HALF]
    assert np.all(np.abs(ratio - 1) < 5 * np.sqrt(2 / (3 * n / 4)))
    np.testing.assert_array_equal(found.draws[..., HALF], np.tile(IMAGES.reshape(3, -1)[:, HALF], (n, 1, 1)))


def test_quadratics_complete_an_image_by_what_it_is_seen_to_be():
    """Two kinds of image that differ everywhere: half of one tells its kind, and the other half follows."""
    rng = np.random.default_rng(0)
    kinds = np.array([20, 80])[rng.integers(2, size=300)][:, None, None, None]
    train = np.clip(np.rint(kinds + 4 * rng.normal(size=(300, *SHAPE))), 0, 100).astype(np.uint8)
    seen = np.stack([np.full(SHAPE, 22), np.full(SHAPE, 77)]).astype(np.uint8)
    chosen = QuadraticsSettings(steps=5, batch=32, components=4, rank=1, moves=1, noise=0.5)
    for method in METHODS:
        fit = fit_quadratics(train, PIXELS, key=KEY, settings=chosen, method=method)
        found = complete_images(fit, seen, HALF, train, SETTINGS, key=KEY)
        assert found.draws.shape == (4 * SETTINGS.particles, 2, 16)
        np.testing.assert_array_equal(found.draws[..., HALF], np.tile(seen.reshape(2, -1)[:, HALF], (256, 1, 1)))
        assert np.all(np.abs(found.mean[:, ~HALF] - np.array([[20], [80]])) < 10)


def test_baselines_are_those_of_the_config_and_keep_what_is_seen():
    rows, seen = TRAIN.reshape(300, -1).astype(float), IMAGES.reshape(3, -1).astype(float)
    found = {name: baseline(name, IMAGES, HALF, TRAIN, draws=50, key=KEY) for name in BASELINES}
    for restored in found.values():
        np.testing.assert_allclose(restored.mean[:, HALF], seen[:, HALF], atol=1e-9)
        assert (restored.unconverged, restored.mixed) == (0, 1)
    np.testing.assert_allclose(found["mean"].mean[:, ~HALF], np.tile(rows.mean(axis=0)[~HALF], (3, 1)))
    nearest = rows[np.argmin(((seen[:, None, HALF] - rows[None, :, HALF]) ** 2).sum(axis=2), axis=1)]
    np.testing.assert_array_equal(found["nearest"].mean[:, ~HALF], nearest[:, ~HALF])
    gaussian = conditional_mean(seen, HALF, rows.mean(axis=0), np.cov(rows.T))
    np.testing.assert_allclose(found["gaussian"].mean, gaussian)
    assert [len(restored.draws) for restored in found.values()] == [0, 0, 50]
    error = found["gaussian"].draws.std(axis=0) / np.sqrt(50)
    assert np.all(np.abs(found["gaussian"].draws.mean(axis=0) - gaussian) <= 5 * error + 1e-9)


LARGE = np.random.default_rng(2).integers(20, 80, (3, 8, 8, 1)).astype(np.uint8)  # windows of SSIM need 7 pixels
LARGE_HALF = masks((8, 8, 1))["half"]


def scores(*restored):
    return restoration_scores(Restored(*restored), LARGE, LARGE_HALF, 100)


def test_scores_of_a_guess_and_of_draws():
    truth = LARGE.reshape(3, -1).astype(float)
    guess = scores(truth + 200, np.empty((0, 3, 64)))
    assert guess["psnr"] == pytest.approx(psnr(np.full_like(truth, 100), truth, LARGE_HALF, 100).mean())  # clipped
    assert np.isnan([guess["psnr_draw"], guess["coverage"], guess["spread"]]).all()
    exact = np.random.default_rng(0).normal(size=(2000, 3, 64)) * 3
    drawn = scores(truth + 3, truth + 3 + exact)
    # A single draw is off by 3(1 + z), the mean by 3: twice the power on average over 32 pixels, with the relative
    # variance 6/4/32 about it, of which the mean of logarithms lacks half (Jensen, to second order).
    expected = 10 * np.log10(2) - 10 / np.log(10) * 6 / 4 / 32 / 2
    assert drawn["psnr"] - drawn["psnr_draw"] == pytest.approx(expected, abs=0.02)
    # The interval is ±1.645 · 3 about truth + 3: it holds the truth everywhere, and only just.
    assert drawn["coverage"] == 1
    assert drawn["ssim"] < 1
    assert (drawn["unconverged"], drawn["mixed"]) == (0, 1)


def test_too_many_unsolved_conjugates_are_no_scores():
    truth = LARGE.reshape(3, -1) + 1.0
    draws = truth + np.arange(4)[:, None, None]
    just = scores(truth, draws, LARGEST_UNCONVERGED, 0.5)
    assert just["psnr"] == pytest.approx(40)  # off by a hundredth of the range
    beyond = scores(truth, draws, 2 * LARGEST_UNCONVERGED, 0.5)
    assert set(beyond) == set(just)
    assert (beyond["unconverged"], beyond["mixed"]) == (2 * LARGEST_UNCONVERGED, 0.5)
    assert all(np.isnan(value) for name, value in beyond.items() if name not in ("unconverged", "mixed"))

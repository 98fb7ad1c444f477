"""Generated images and their scores: the Gaussian's moments, what did not converge, tidy rows over seeds."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from conjugate_moments.fits.images import ImageMongeFit, cosine_points
from conjugate_moments.fits.result import GibbsStatus
from conjugate_moments.measures.images import Pixels
from conjugate_moments.metrics import generation
from conjugate_moments.metrics.generation import (
    LARGEST_DIM,
    LARGEST_UNCONVERGED,
    PATHS,
    PLACES,
    gaussian_images,
    generate_images,
    held_out_nats,
    image_scores,
)
from conjugate_moments.metrics.images import GENERATION_METRICS
from conjugate_moments.potentials.image_network import FLOOR, ImageNetwork
from conjugate_moments.settings import ImageSettings

KEY = jax.random.key(0)
SHAPE = (2, 3, 1)
PIXELS = Pixels(SHAPE, 100, 0.5)
OPTIONS = {"levels": 100, "epsilon_share": 0.05, "seed": 0, "key": KEY}


def correlated(n, seed=0):
    """Levels around 50 with standard deviations of some 10: clipping is 5 standard deviations away."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, *SHAPE)) + rng.normal(size=(n, 1, 1, 1))
    return np.clip(np.rint(50 + 7 * noise), 0, 100).astype(np.uint8)


TRAIN = correlated(400)


class Known:
    """A fit of which the source is known and the map is a shift, but for rows that did not converge."""

    dim = 6
    pixels = PIXELS

    def __init__(self, lost=0, mixed=True):
        self.lost, self.mixed = lost, mixed

    def draw(self, n, *, key):
        points = np.asarray(PIXELS.points(correlated(n, seed=3), key=key))
        return points, GibbsStatus("mala", self.mixed, 0.6, 1.0, n, n)

    def transport(self, x):
        y = x + 0.1
        y[: self.lost] = np.nan
        return y

    def images(self, points):
        return PIXELS.images(points)


def test_gaussian_images_have_the_moments_of_the_training_images():
    n = 20_000
    drawn = gaussian_images(TRAIN, n, levels=100, key=KEY)
    assert drawn.images.shape == drawn.sources.shape == (n, *SHAPE)
    assert drawn.images.dtype == np.uint8
    assert drawn.unconverged == 0
    flat, rows = (part.reshape(len(part), -1).astype(np.float64) for part in (drawn.images, TRAIN))
    cov = np.cov(rows.T)
    assert np.all(np.abs(flat.mean(axis=0) - rows.mean(axis=0)) < 5 * np.sqrt(np.diag(cov) / n))
    # Rounding to whole levels adds a variance of 1/12; entries of a sample covariance have this standard error.
    error = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / n)
    assert np.all(np.abs(np.cov(flat.T) - cov - np.eye(6) / 12) < 5 * error)


def test_gaussian_images_stand_still_on_their_paths():
    drawn = gaussian_images(TRAIN, 20, levels=100, key=KEY)
    assert drawn.paths.shape == (PATHS, PLACES, *SHAPE)
    np.testing.assert_array_equal(drawn.paths, np.repeat(drawn.images[:PATHS, None], PLACES, axis=1))


def test_paths_lead_from_the_source_to_the_image():
    drawn = generate_images(Known(lost=3), 40, key=KEY)
    np.testing.assert_array_equal(drawn.known, np.arange(40) >= 3)
    assert drawn.unconverged == pytest.approx(3 / 40)
    assert drawn.paths.shape == (PATHS, PLACES, *SHAPE)
    np.testing.assert_array_equal(drawn.paths[:, 0], drawn.sources[3 : 3 + PATHS])
    np.testing.assert_array_equal(drawn.paths[:, -1], drawn.images[3 : 3 + PATHS])
    # A tenth of the unit of points is 5 levels, of which each place has a sixth more, but for rounding.
    steps = np.diff(drawn.paths.astype(float), axis=1)
    assert np.all(np.abs(steps - 5 / 6) < 1)


@pytest.mark.parametrize("lost", [15, 18, 20])
def test_there_may_be_few_paths_or_none(lost):
    drawn = generate_images(Known(lost=lost), 20, key=KEY)
    assert drawn.paths.shape == (min(PATHS, 20 - lost), PLACES, *SHAPE)
    assert drawn.unconverged == pytest.approx(lost / 20)


def test_scores_are_of_images_that_are_known(monkeypatch):
    """At 2,000 images a lost one is within bounds; what is scored is handed over, not computed: that takes minutes."""
    given = []
    monkeypatch.setattr(generation, "generation_scores", lambda *sets, **_: given.append(sets) or {"sliced": 0.5})
    drawn = generate_images(Known(lost=1, mixed=False), 2000, key=KEY)
    real = correlated(10, seed=5)
    found = image_scores(drawn, real, TRAIN, **OPTIONS)
    assert found == {"sliced": 0.5, "unconverged": pytest.approx(1 / 2000), "mixed": 0.0}
    for part, expected in zip(given[0], (drawn.images[1:], real, TRAIN), strict=True):
        np.testing.assert_array_equal(part, expected.reshape(len(expected), -1))


def test_scores_are_all_metrics():
    found = image_scores(generate_images(Known(), 40, key=KEY), correlated(40, seed=5), TRAIN, **OPTIONS)
    assert set(found) == set(GENERATION_METRICS)
    assert np.all(np.isfinite(list(found.values())))
    assert (found["unconverged"], found["mixed"]) == (0, 1)


def test_too_many_that_are_not_known_are_no_scores():
    found = image_scores(generate_images(Known(lost=1), 100, key=KEY), correlated(100, 5), TRAIN, **OPTIONS)
    assert found["unconverged"] == pytest.approx(0.01)
    assert found["unconverged"] > LARGEST_UNCONVERGED
    assert set(found) == set(GENERATION_METRICS)
    assert all(np.isnan(value) for name, value in found.items() if name not in ("unconverged", "mixed"))


# Log-densities


def test_nats_are_those_of_the_gaussian_where_the_map_is_linear():
    """∇w(y) = m + (1 + FLOOR)(y − m) sends N(m, Σ/(1 + FLOOR)²) to N(m, Σ): densities are per level of a pixel."""
    points = np.asarray(cosine_points(TRAIN, PIXELS, key=KEY), np.float64)
    mean, variance = points.mean(axis=0), points.var(axis=0)
    linear = ImageNetwork.near(
        mean,
        variance,
        curvature=np.ones(6),
        slope_mean=mean,
        shape=SHAPE,
        widths=(1,),
        pieces=2,
        patch=None,
        stride=1,
        smoothing=0.1,
        quadratic=1 - 1e-7,
        slope=1.0,
        key=KEY,
    )
    fit = ImageMongeFit(linear, ImageSettings(patch=None, widths=(1,)), mean, variance, points, {}, pixels=PIXELS)
    found = held_out_nats(fit, TRAIN[:50], key=KEY)
    white = (
        (np.asarray(cosine_points(TRAIN[:50], PIXELS, key=KEY), np.float64) - mean) * (1 + FLOOR) / np.sqrt(variance)
    )
    terms = -(white**2) / 2 - np.log(2 * np.pi * variance) / 2 + np.log(1 + FLOOR)
    assert found == pytest.approx(terms.mean() + np.log(2 / 100), abs=1e-5)


def nats(values, dim=6):
    def log_prob(_):
        if isinstance(values, Exception):
            raise values
        return np.asarray(values)

    fit = SimpleNamespace(dim=dim, pixels=PIXELS, log_prob=log_prob, points=lambda images, *, key: images)
    return held_out_nats(fit, TRAIN[:3], key=KEY)


def test_nats_that_cannot_be_trusted_are_none(capsys):
    assert nats([6.0, 12.0, 18.0]) == pytest.approx(2 + np.log(2 / 100))
    assert np.isnan(nats([6.0, np.nan, 18.0]))
    assert np.isnan(nats([6.0, 12.0, 18.0], dim=LARGEST_DIM + 1))
    assert np.isnan(nats(RuntimeError("log_prob: log Z has not converged")))
    assert "log Z has not converged" in capsys.readouterr().out

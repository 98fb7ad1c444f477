"""Fits of images by the conjugate of the potential."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.special import softmax

from conjugate_moments import Pixels, load
from conjugate_moments.fits import _rows, _training
from conjugate_moments.fits._clusters import BALANCING, SHARPER, balanced
from conjugate_moments.fits.quadratics import QuadraticsFit, fit_quadratics
from conjugate_moments.potentials.base import values
from conjugate_moments.settings import QuadraticsSettings

KEY, SHAPE = jax.random.key(0), (2, 2, 1)
PIXELS = Pixels(SHAPE, 16, 0.3)
QUICK = QuadraticsSettings(steps=40, batch=64, components=4, rank=1, smoothing=0.02, moves=2, noise=0.3)
# Two kinds of image, each with a brightness of its own.
RNG = np.random.default_rng(0)
KINDS = np.array([[3, 3, 12, 12], [12, 3, 3, 12]])
TRAIN = np.clip(
    np.rint(KINDS[RNG.integers(2, size=400)] + RNG.normal(size=(400, 1)) + RNG.normal(size=(400, 4))), 0, 16
)
TRAIN = TRAIN.astype(np.uint8).reshape(-1, *SHAPE)


@pytest.fixture(scope="module")
def fit():
    return fit_quadratics(TRAIN, PIXELS, key=KEY, settings=QUICK)


def test_one_program_fits_images_of_any_spread(fit):
    compiled = _training._advance._cache_size()
    flat = fit_quadratics(6 + TRAIN // 4, PIXELS, key=KEY, settings=QUICK)
    assert np.any(flat.solver.solver.unit != fit.solver.solver.unit)
    assert _training._advance._cache_size() == compiled


def test_the_two_maps_undo_each_other(fit):
    y = np.asarray(PIXELS.points(TRAIN[:50], key=KEY))
    x = fit.inverse_transport(y)
    assert not np.any(np.isnan(x))
    # The tolerance is 1e-3 standard deviations of each pixel.
    assert np.abs(fit.transport(x) - y).max() < 2e-3 * np.sqrt(fit.cov.max())


def test_the_potential_is_the_conjugate_of_its_network(fit):
    """Between the kinds too, where chains are: w(x) + φ(z) ≥ ⟨x, z⟩, with equality at z = ∇w(x)."""
    x = np.asarray(fit.chains)
    w = fit.potential(x)
    z = np.concatenate([fit.anchors, x]).astype(np.float32)
    pairs = x @ z.T
    slack = w[:, None] + np.asarray(values(fit.network, z)) - pairs
    assert slack.min() > -1e-3 * np.abs(pairs).max()
    found = fit.solve(x)
    assert np.all(found.converged)
    at_best = np.sum(x * np.asarray(found.point), axis=1) - np.asarray(values(fit.network, found.point))
    np.testing.assert_allclose(w, at_best, rtol=1e-3, atol=1e-3)
    assert fit.potential(x[:0]).shape == (0,)


def test_every_draw_is_an_image_near_one_of_the_kinds(fit):
    x, status = fit.draw(300, key=KEY)
    assert status.method == "mala"
    images = fit.images(fit.transport(x)).reshape(-1, 4)
    distance = np.linalg.norm(images[:, None] - KINDS, axis=2)
    # Deviations are 1.6 in all: few draws lie between the kinds, which are 12.7 apart; both are drawn.
    assert np.mean(distance.min(axis=1) < 5) > 0.9
    assert 0.35 < np.mean(distance.argmin(axis=1)) < 0.65


def test_the_training_starts_from_chains_that_have_settled():
    """E⟨x − E x, ∇w(x)⟩ = d under P_w, by parts; it was 4.2 to 4.4 for the Gaussian that chains start from."""
    standing = replace(QUICK, steps=1, batch=4096, learning_rate=1e-6)
    still = fit_quadratics(TRAIN, PIXELS, key=KEY, settings=standing)
    x = np.asarray(still.chains)
    slopes = np.asarray(still._target.from_guess(x, x)[1])
    products = np.sum((x - x.mean(axis=0)) * slopes, axis=1)
    assert abs(products.mean() - 4) < 3 * products.std() / np.sqrt(len(x))


def test_images_on_disk_give_the_fit_of_memory_bit_for_bit(fit, tmp_path, monkeypatch):
    """Stretches are of 2 steps, and so are blocks."""
    monkeypatch.setattr(_rows, "BLOCK", 2 * QUICK.batch * 4)
    np.save(tmp_path / "images.npy", TRAIN)
    on_disk = np.load(tmp_path / "images.npy", mmap_mode="r")
    fit_quadratics(on_disk, PIXELS, key=KEY, settings=QUICK).save(tmp_path / "disk.npz")
    fit.save(tmp_path / "memory.npz")
    assert (tmp_path / "disk.npz").read_bytes() == (tmp_path / "memory.npz").read_bytes()


def test_saved_and_loaded_it_is_the_same(fit, tmp_path):
    fit.save(tmp_path / "fit.npz")
    again = load(tmp_path / "fit.npz")
    assert isinstance(again, QuadraticsFit)
    x = np.asarray(fit.anchors[:20])
    np.testing.assert_array_equal(again.transport(x), fit.transport(x))
    np.testing.assert_array_equal(again.chains, fit.chains)
    assert again.pixels == PIXELS


def test_a_fit_without_its_chains_is_of_another_version(fit, tmp_path):
    fit.save(tmp_path / "fit.npz")
    with np.load(tmp_path / "fit.npz") as stored:
        np.savez(tmp_path / "old.npz", **{name: stored[name] for name in stored if name != "chains"})
    with pytest.raises(ValueError, match=r"old.npz holds a fit of another version of this package"):
        load(tmp_path / "old.npz")


@pytest.mark.parametrize("found", [None, "1"])
def test_a_fit_in_other_units_is_of_another_version(found, fit, tmp_path):
    fit.save(tmp_path / "fit.npz")
    with np.load(tmp_path / "fit.npz") as stored:
        arrays = {name: stored[name] for name in stored if name != "format"}
    np.savez(tmp_path / "old.npz", **arrays, **({} if found is None else {"format": found}))
    with pytest.raises(ValueError, match=r"old.npz holds a fit of another version of this package"):
        load(tmp_path / "old.npz")


def test_a_fit_with_other_settings_is_of_another_version(fit, tmp_path):
    fit.save(tmp_path / "fit.npz")
    with np.load(tmp_path / "fit.npz") as stored:
        arrays = dict(stored)
    entry = json.loads(str(arrays["settings"]))
    for changed in ({k: v for k, v in entry.items() if k != "leaps"}, {**entry, "unheard_of": 1}):
        np.savez(tmp_path / "old.npz", **{**arrays, "settings": json.dumps(changed)})
        with pytest.raises(ValueError, match=r"old.npz holds a fit of another version of this package"):
            load(tmp_path / "old.npz")


def test_parts_start_with_the_shares_that_are_asked_for():
    """In d = 50, where parts of curvature 0.2 to 0.5 without offsets have more the wider they are."""
    rng, shares = np.random.default_rng(0), np.array([0.4, 0.3, 0.2, 0.1])
    slopes, curvature = rng.normal(size=(4, 50)), np.repeat([[0.2], [0.3], [0.4], [0.5]], 50, axis=1)
    shapes = rng.normal(0, 0.1, (4, 1, 50))
    offsets = balanced(slopes, shapes, curvature, shares, distance=10.0, smoothing=0.005, seed=1)
    t = rng.normal(size=(20_000, 50))
    arguments = t @ slopes.T + t**2 @ curvature.T / 2 + (t @ shapes[:, 0].T) ** 2 / 2

    def found(b):
        return softmax((arguments + b) / (10.0 * SHARPER * 0.005), axis=1).mean(axis=0)

    assert np.all(np.diff(found(np.zeros(4))) > 0)
    # Both the offsets and this check come from draws.
    error = np.sqrt(shares * (1 - shares) * (1 / BALANCING + 1 / len(t)))
    assert np.all(np.abs(found(offsets) - shares) < 4 * error)


def test_resumed_it_is_that_of_an_uninterrupted_fit(fit, tmp_path, monkeypatch):
    path, write = tmp_path / "checkpoint.npz", _training._write

    def interrupted(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(_training, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_quadratics(TRAIN, PIXELS, key=KEY, settings=QUICK, checkpoint=path)
    monkeypatch.setattr(_training, "_write", write)
    assert path.exists()
    again = fit_quadratics(TRAIN, PIXELS, key=KEY, settings=QUICK, checkpoint=path)
    for one, other in zip(jax.tree.leaves(fit.network), jax.tree.leaves(again.network), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_gaussian_that_is_close_to_the_source_has_its_moments(fit):
    source, _ = fit.source
    x, _ = fit.draw(6400, key=KEY)
    spread = x.std(axis=0)
    # Four standard errors of the moments of 64 independent draws, one a chain; there are more.
    assert np.all(np.abs(source.mean - x.mean(axis=0)) < 4 / np.sqrt(64) * spread)
    assert np.all(np.abs(np.sqrt(np.sum(source.root**2, axis=1)) / spread - 1) < 4 / np.sqrt(2 * 64))


def test_monge_draws_its_source_exactly():
    fit = fit_quadratics(TRAIN, PIXELS, key=KEY, settings=QUICK, method="monge")
    x, status = fit.draw(4000, key=KEY)
    assert status.converged
    assert np.all(np.abs((x - fit.mean).mean(axis=0)) < 5 * np.sqrt(fit.cov / 4000))
    assert np.all(np.abs(x.var(axis=0) / fit.cov - 1) < 5 * np.sqrt(2 / 4000))


def test_its_density_is_not_known(fit):
    with pytest.raises(NotImplementedError, match="known by its conjugate only"):
        fit.log_prob(np.asarray(PIXELS.points(TRAIN[:5], key=KEY)))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (TRAIN[:4], "images: found 4, allowed: more than components, 4"),
        (TRAIN[:, :1], r"images: found shape \[400, 1, 2, 1\]"),
        (TRAIN.astype(float), "images: found float64, allowed: integers"),
    ],
)
def test_bad_images_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        fit_quadratics(images, PIXELS, key=KEY, settings=QUICK)


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method: found 'moment'"):
        fit_quadratics(TRAIN, PIXELS, key=KEY, settings=QUICK, method="moment")


@pytest.mark.parametrize("name", ["steps", "components", "rank", "leaps", "thin", "smoothing", "noise"])
def test_settings_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}: found 0"):
        QuadraticsSettings(**{name: 0})

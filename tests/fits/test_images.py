"""Fits of potentials to images: the way there and back, files, resumption, closed forms of the source, refusals."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments import ImageFit, ImageSettings, Pixels, fit_images, load
from conjugate_moments._matrices import log_det, symmetric_power, times
from conjugate_moments.fits import _rows, _training
from conjugate_moments.fits import images as module
from conjugate_moments.fits.images import ImageMongeFit, ImageRows, cosine_points, source_of
from conjugate_moments.fits.kinds import MongeFit
from conjugate_moments.fits.samples import draw_rows
from conjugate_moments.potentials.base import hessians, values

KEY = jax.random.key(0)
SHAPE = (4, 4, 1)
PIXELS = Pixels(SHAPE, 16, 0.3)
QUICK = ImageSettings(
    steps=60,
    batch=64,
    learning_rate=1e-2,
    widths=(2, 4),
    pieces=2,
    smoothing=0.2,
    slope=2.0,
    quadratic=0.9,
    patch=2,
    stride=2,
    noise=0.3,
)


def smooth_images(n, seed=0):
    """Noise about a common brightness: the first cosine coefficient varies more than the others."""
    noise = np.random.default_rng(seed).normal(size=(n, *SHAPE))
    bright = noise + 4 * noise.mean(axis=(1, 2), keepdims=True)
    return np.clip(np.rint(8 + 2.5 * bright), 0, 16).astype(np.uint8)


TRAIN, HELD_OUT = smooth_images(500), smooth_images(100, seed=1)


@pytest.fixture(scope="module")
def fits():
    return {name: fit_images(TRAIN, PIXELS, key=KEY, settings=QUICK, method=name) for name in ("cmfgen", "monge")}


@pytest.fixture(scope="module")
def held_out():
    return np.asarray(cosine_points(HELD_OUT, PIXELS, key=KEY))


# Fits


@pytest.mark.parametrize("name", ["cmfgen", "monge"])
def test_a_fit_converges_and_says_so(fits, name):
    fit = fits[name]
    assert {len(scalars) for scalars in fit.trace.values()} == {QUICK.steps}
    assert fit.diagnostics["unconverged"] == 0
    assert fit.dim == 16
    assert fit.cov.shape == fit.mean.shape == (16,)
    assert isinstance(fit, ImageFit if name == "cmfgen" else ImageMongeFit)


@pytest.mark.parametrize("name", ["cmfgen", "monge"])
def test_one_program_fits_images_of_any_spread(fits, name):
    """Units of the conjugate, which differ from set to set, are data; here images spread about a quarter as far."""
    compiled = _training._advance._cache_size()
    flat = fit_images(6 + TRAIN // 4, PIXELS, key=KEY, settings=QUICK, method=name)
    leaves = zip(*(jax.tree.leaves(fit.solver) for fit in (flat, fits[name])), strict=True)
    assert any(np.any(one != other) for one, other in leaves)
    assert _training._advance._cache_size() == compiled


def test_the_maps_are_inverse_to_each_other_and_every_conjugate_is_solved(fits, held_out):
    fit = fits["cmfgen"]
    sources = fit.inverse_transport(held_out)
    found = fit.solve(sources)
    assert np.all(found.converged)
    assert np.max(found.residual) <= QUICK.tolerance
    # Residuals of 1e-3 in units of at most 1, over the least curvature: 0.67 was measured there.
    least = np.linalg.eigvalsh(np.asarray(hessians(fit.network, held_out)))[:, 0].min()
    assert least > 0.5
    bound = QUICK.tolerance * np.linalg.norm(fit.solver.unit) / least
    assert np.linalg.norm(fit.transport(sources) - held_out, axis=1).max() <= bound


def test_the_source_is_where_the_data_are_sent(fits, held_out):
    """∇w♯ρ = P_w, roughly after so few steps: variances by the closed form, within a factor of 1.5."""
    spread = fits["cmfgen"].inverse_transport(held_out).var(axis=0)
    ratio = spread / fits["cmfgen"].cov ** (1 / 3)
    assert np.all((ratio > 1 / 1.5) & (ratio < 1.5))


@pytest.mark.parametrize("name", ["cmfgen", "monge"])
def test_interrupted_fit_resumes_bit_for_bit(fits, name, tmp_path, monkeypatch):
    """And so the same key gives the same bytes."""
    written, calls = _training._write, []

    def killed(path, *rest):
        written(path, *rest)
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(_training, "_write", killed)
    options = {"key": KEY, "settings": QUICK, "method": name, "checkpoint": tmp_path / "checkpoint.npz"}
    with pytest.raises(KeyboardInterrupt):
        fit_images(TRAIN, PIXELS, **options)
    monkeypatch.undo()
    assert options["checkpoint"].exists()
    resumed = fit_images(TRAIN, PIXELS, **options)
    assert not options["checkpoint"].exists()
    resumed.save(tmp_path / "resumed.npz")
    fits[name].save(tmp_path / "whole.npz")
    assert (tmp_path / "resumed.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


@pytest.mark.parametrize("name", ["cmfgen", "monge"])
def test_images_on_disk_give_the_fit_of_memory_bit_for_bit(fits, name, tmp_path, monkeypatch):
    """Stretches are of 3 steps, and blocks of 2."""
    monkeypatch.setattr(_rows, "BLOCK", 2 * QUICK.batch * 16)
    np.save(tmp_path / "images.npy", TRAIN)
    on_disk, before = np.load(tmp_path / "images.npy", mmap_mode="r"), _training._advance._cache_size()
    fit_images(on_disk, PIXELS, key=KEY, settings=QUICK, method=name).save(tmp_path / "disk.npz")
    fits[name].save(tmp_path / "memory.npz")
    assert (tmp_path / "disk.npz").read_bytes() == (tmp_path / "memory.npz").read_bytes()
    assert _training._advance._cache_size() == before + 1


def test_everything_that_determines_a_fit_is_in_its_fingerprint():
    given = [TRAIN, PIXELS, QUICK, "cmfgen", KEY]
    others = [TRAIN[::-1], replace(PIXELS, noise=0.4), replace(QUICK, patch=4), "monge", jax.random.key(1)]
    prints = [module.fingerprint(*given[:i], other, *given[i + 1 :]) for i, other in enumerate(others)]
    assert len({module.fingerprint(*given), *prints}) == 1 + len(others)


def test_saved_fit_is_the_same(fits, held_out, tmp_path):
    for name, fit in fits.items():
        fit.save(tmp_path / f"{name}.npz")
        again = load(tmp_path / f"{name}.npz")
        assert type(again) is type(fit)
        assert (again.settings, again.pixels) == (fit.settings, fit.pixels)
        assert jax.tree.structure(again.network) == jax.tree.structure(fit.network)
        for one, other in zip(jax.tree.leaves(again.network), jax.tree.leaves(fit.network), strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(again.potential(held_out), fit.potential(held_out))


def test_saved_network_of_the_whole_image_is_the_same(fits, held_out, tmp_path):
    settings = replace(QUICK, patch=None, widths=(2,))
    fit = fits["monge"]
    ones = np.ones(16)
    network = module._network(settings, SHAPE, fit.mean, fit.cov, curvature=ones, slope_mean=fit.mean, key=KEY)
    whole = replace(fit, network=network, settings=settings)
    whole.save(tmp_path / "fit.npz")
    again = load(tmp_path / "fit.npz")
    assert again.network.stride == network.stride == 0
    np.testing.assert_array_equal(again.potential(held_out), values(network, held_out))


def test_a_file_of_other_widths_is_refused(fits, tmp_path):
    replace(fits["monge"], settings=replace(QUICK, widths=(2, 3))).save(tmp_path / "fit.npz")
    with pytest.raises(ValueError, match=r"fit\.npz holds a fit of another version"):
        load(tmp_path / "fit.npz")


# Points and images


def test_points_are_a_rotation_of_pixels_and_become_the_images_again(fits):
    fine = replace(PIXELS, noise=0.05)  # half a level is ten standard deviations
    points = cosine_points(HELD_OUT, fine, key=KEY)
    np.testing.assert_array_equal(replace(fits["monge"], pixels=fine).images(points), HELD_OUT)
    flat = fine.points(HELD_OUT, key=KEY)
    # Distances in float32, of order 1.
    np.testing.assert_allclose(
        np.linalg.norm(points[1:] - points[0], axis=1), np.linalg.norm(flat[1:] - flat[0], axis=1), rtol=1e-5
    )


def test_points_that_did_not_converge_are_no_images(fits):
    with pytest.raises(ValueError, match="points: found NaN or infinity in 1 of 2"):
        fits["monge"].images(np.stack([np.zeros(16), np.full(16, np.nan)]))


def test_rows_are_drawn_from_all_images_with_fresh_noise():
    rows = ImageRows(jnp.asarray(TRAIN[:2]), PIXELS, cosine_points)
    drawn = np.asarray(draw_rows(rows, 1000, KEY))
    assert drawn.shape == (1000, 16)
    assert len(np.unique(drawn, axis=0)) == 1000
    both = np.asarray(cosine_points(TRAIN[:2], replace(PIXELS, noise=0.0), key=KEY))
    nearest = np.argmin(((drawn[:, None] - both) ** 2).sum(axis=2), axis=1)
    assert abs(nearest.mean() - 0.5) < 5 * 0.5 / np.sqrt(1000)
    noise = (drawn - both[nearest]).ravel() / (2 * 0.3 / 16)
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 5 * np.sqrt(2 / noise.size)


def test_points_of_an_array_are_its_rows():
    data = jnp.arange(20.0).reshape(10, 2)
    drawn = np.asarray(draw_rows(data, 50, KEY))
    assert set(map(tuple, drawn)) <= set(map(tuple, np.asarray(data)))


# The source, and diagonals in the place of matrices


def test_draws_of_the_gaussian_have_its_moments(fits):
    fit, n = fits["monge"], 20_000
    draws, status = fit.draw(n, key=KEY)
    assert status.converged
    white = (draws.astype(np.float64) - fit.mean) / np.sqrt(fit.cov)
    assert np.abs(white.mean(axis=0)).max() < 5 / np.sqrt(n)
    # Standard errors of entries of a covariance of white draws: 1/√n, and √2 of that on the diagonal.
    assert np.abs(np.cov(white.T) - np.eye(16)).max() < 5 * np.sqrt(2 / n)


def test_moments_are_those_of_the_images(fits):
    points = np.asarray(cosine_points(TRAIN, PIXELS, key=jax.random.fold_in(KEY, 5)), np.float64)
    for fit in fits.values():
        # The same images with other noise.
        error = 2 * 0.3 / 16 * np.sqrt(2 / len(TRAIN))
        assert np.abs(fit.mean - points.mean(axis=0)).max() < 5 * error
        np.testing.assert_allclose(fit.cov, points.var(axis=0), rtol=0.1)


def test_source_of_a_fit_is_its_potential_or_the_gaussian(fits, held_out):
    cmfgen, monge = fits["cmfgen"], fits["monge"]
    assert source_of(cmfgen).prior is cmfgen.network
    np.testing.assert_allclose(source_of(cmfgen).root ** 2 * source_of(cmfgen).map ** 2, cmfgen.cov, rtol=1e-12)
    source = source_of(monge)
    np.testing.assert_allclose(source.root**2 * source.map**2, monge.cov, rtol=1e-12)
    energy = jax.vmap(source.prior.value)(held_out)
    expected = np.sum((held_out - monge.mean) ** 2 / monge.cov, axis=1) / 2
    np.testing.assert_allclose(energy, expected, rtol=1e-4)


def test_a_diagonal_stands_for_its_matrix(fits, held_out):
    fit = fits["monge"]
    dense = MongeFit(fit.network, fit.settings, fit.mean, np.diag(fit.cov), fit.anchors, fit.trace)
    np.testing.assert_allclose(fit.draw(50, key=KEY)[0], dense.draw(50, key=KEY)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fit._source_energy(held_out), dense._source_energy(held_out), rtol=1e-10)
    assert fit.log_normaliser.value == pytest.approx(dense.log_normaliser.value, rel=1e-12)
    rows, vector = held_out.astype(np.float64), fit.cov
    np.testing.assert_allclose(times(rows, vector), times(rows, np.diag(vector)), rtol=1e-12)
    assert log_det(vector) == pytest.approx(log_det(np.diag(vector)), rel=1e-12)
    np.testing.assert_allclose(
        np.diag(symmetric_power(vector, 1 / 6)), symmetric_power(np.diag(vector), 1 / 6), rtol=1e-10, atol=1e-14
    )


def test_affine_start_of_conjugates_is_a_diagonal(fits):
    """Least squares, coordinate by coordinate: residuals are orthogonal to what is fitted."""
    fit = fits["cmfgen"]
    centre, factor = fit._affine
    assert factor.shape == (16,)
    before, after = np.asarray(fit._images - centre[0], np.float64), np.asarray(fit.anchors - centre[1], np.float64)
    left = np.sum(before * (after - before * np.asarray(factor, np.float64)), axis=0)
    assert np.abs(left / np.sum(before**2, axis=0)).max() < 1e-5


# Refusals


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (TRAIN[..., 0], r"images: found shape \[500, 4, 4\], allowed: \[n, 4, 4, 1\], n > 1"),
        (TRAIN[:, :3], r"images: found shape \[500, 3, 4, 1\], allowed: \[n, 4, 4, 1\], n > 1"),
        (TRAIN[:1], r"images: found shape \[1, 4, 4, 1\], allowed: \[n, 4, 4, 1\], n > 1"),
        (TRAIN / 16, "images: found float64, allowed: integers"),
        (TRAIN > 8, "images: found bool, allowed: integers"),
        (TRAIN.astype(int) - 1, "images: found levels -1 to 1[0-5], allowed: 0 to 16"),
        (TRAIN.astype(int) + 1, "images: found levels [1-9]+ to 17, allowed: 0 to 16"),
        (np.full((5, *SHAPE), 3), "images: found the level 3 in every pixel, allowed: images that differ"),
    ],
)
def test_bad_images_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        fit_images(images, PIXELS, key=KEY, settings=QUICK)


def test_pixels_without_noise_and_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="pixels: found noise 0, allowed: above 0"):
        fit_images(TRAIN, replace(PIXELS, noise=0.0), key=KEY, settings=QUICK)
    with pytest.raises(ValueError, match="method: found 'moment', allowed: 'cmfgen', 'monge'"):
        fit_images(TRAIN, PIXELS, key=KEY, settings=QUICK, method="moment")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 3}, "patch, stride: found 3, 2 for 4 x 4 pixels, allowed: patches that cover the image"),
        ({"widths": (4,)}, r"widths: found \[4\], allowed: two numbers"),
        ({"patch": None}, r"widths: found \[2, 4\], allowed: one number"),
    ],
)
def test_networks_that_do_not_fit_the_images_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        fit_images(TRAIN, PIXELS, key=KEY, settings=replace(QUICK, **changes))


@pytest.mark.parametrize(("name", "value"), [("patch", 0), ("stride", 0), ("noise", 0.0), ("noise", float("nan"))])
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}: found"):
        ImageSettings(**{name: value})

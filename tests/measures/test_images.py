"""Sets of images as pure functions of their seed, and pixels as points and back."""

import math
import struct

import jax
import numpy as np
import pytest
from matplotlib.ft2font import FT2Font
from scipy import stats

from conjugate_moments.measures import _avatars, _fetch, _glyphs, images
from conjugate_moments.measures.images import ImageSet, Pixels, image_set

DRAWN = {"glyphs": (28, 28, 1), "avatars": (32, 32, 3)}
SHAPES = DRAWN | {"digits": (8, 8, 1)}


@pytest.mark.parametrize("name", SHAPES)
def test_shape_levels_and_use_of_them(name):
    data = image_set(name, samples=40, held_out=20, seed=0)
    assert data.train.shape == (40, *SHAPES[name])
    assert data.test.shape == (20, *SHAPES[name])
    assert data.shape == SHAPES[name]
    assert data.dim == math.prod(SHAPES[name])
    assert data.train.dtype == data.test.dtype == np.uint8
    assert data.levels == (16 if name == "digits" else 255)
    assert data.train.max() > 0.9 * data.levels
    assert len(np.unique(np.concatenate([data.train, data.test]), axis=0)) == 60


@pytest.mark.parametrize("name", SHAPES)
def test_same_seed_same_bytes_and_more_extend_fewer(name):
    few = image_set(name, samples=5, held_out=3, seed=7)
    more = image_set(name, samples=9, held_out=8, seed=7)
    np.testing.assert_array_equal(few.train, more.train[:5])
    np.testing.assert_array_equal(few.test, more.test[:3])
    assert not np.array_equal(few.train, image_set(name, samples=5, held_out=3, seed=8).train)


@pytest.mark.parametrize("module", [_glyphs, _avatars])
def test_an_image_is_a_function_of_its_own_row(module):
    rows = np.random.default_rng(0).random((6, module.TRAITS))
    together = module.draw(rows)
    np.testing.assert_array_equal(together[::-1], module.draw(rows[::-1]))


@pytest.mark.parametrize("module", [_glyphs, _avatars])
def test_every_trait_is_used_and_no_more(module):
    rows = np.random.default_rng(1).random((12, module.TRAITS))
    before = module.draw(rows)
    for trait in range(module.TRAITS):
        moved = rows.copy()
        moved[:, trait] = (moved[:, trait] + 0.5) % 1
        assert np.any(module.draw(moved) != before), trait
    module.draw(np.zeros((1, module.TRAITS)))
    module.draw(np.full((1, module.TRAITS), np.nextafter(1, 0)))


def test_every_font_has_ten_digits_of_its_own():
    for name in _glyphs.FONTS:
        assert set(map(ord, "0123456789")) <= set(FT2Font(str(_glyphs.font_file(name))).get_charmap())
    inks = np.stack([np.asarray(master) for master in _glyphs._masters()])
    assert len(np.unique(inks, axis=0)) == 10 * len(_glyphs.FONTS)


def test_a_font_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match=r"glyphs: matplotlib .* ships no font Nowhere\.ttf"):
        _glyphs.font_file("Nowhere")


def test_extreme_glyphs_stay_within_the_frame():
    corners = np.random.default_rng(2).integers(0, 2, (300, _glyphs.TRAITS)) * np.nextafter(1, 0)
    corners[:, :2] = np.random.default_rng(3).random((300, 2))
    ink = _glyphs.draw(corners)[..., 0].astype(int)
    rim = ink.sum(axis=(1, 2)) - ink[:, 1:-1, 1:-1].sum(axis=(1, 2))
    # Measured: at most 1.6 % of the ink lies in the outermost pixels, with all ranges at their ends.
    assert np.max(rim / ink.sum(axis=(1, 2))) < 0.03


def test_each_digit_is_as_frequent():
    uniforms = images._uniforms(images._Request("glyphs", 1, 1, 0, None), "train", (20_000, _glyphs.TRAITS))
    counts = np.bincount((10 * uniforms[:, 1]).astype(int), minlength=10)
    assert stats.chisquare(counts).pvalue > 1e-3
    assert 0 <= uniforms.min() < uniforms.max() < 1


def test_digits_are_split_without_overlap_and_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    data = image_set("digits", samples=1500, held_out=297, seed=3)
    rows = np.concatenate([data.train, data.test]).reshape(1797, 64)
    scans = load_digits().data
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], scans[np.lexsort(scans.T)])


def idx(array):
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """Ten small "training" and six "test" images in place of the downloads."""
    arrays = [np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (10, 6)]
    paths = [tmp_path / "train", tmp_path / "test"]
    for path, array in zip(paths, arrays, strict=True):
        path.write_bytes(idx(array))
    monkeypatch.setattr(_fetch, "mnist_files", lambda cache: tuple(paths))
    return arrays


def test_mnist_keeps_its_own_split(mnist):
    data = image_set("mnist", samples=10, held_out=4, seed=0)
    assert data.shape == (28, 28, 1)
    assert {image.tobytes() for image in data.train} == {image.tobytes() for image in mnist[0]}
    assert {image.tobytes() for image in data.test} < {image.tobytes() for image in mnist[1]}
    assert not np.array_equal(data.train, image_set("mnist", samples=10, held_out=4, seed=1).train)
    with pytest.raises(ValueError, match="held_out: found 7, allowed: at most 6"):
        image_set("mnist", samples=1, held_out=7, seed=0)


def test_cartoon_is_averaged_to_32_pixels(tmp_path, monkeypatch):
    from PIL import Image

    for shade in range(4):
        Image.new("RGBA", (64, 64), (60 * shade, 0, 0, 255)).save(tmp_path / f"cs{shade}.png")
    monkeypatch.setattr(_fetch, "cartoon_file", lambda cache: tmp_path)
    data = image_set("cartoon", samples=3, held_out=1, seed=0)
    assert data.shape == (32, 32, 3)
    assert sorted(np.concatenate([data.train, data.test])[:, 0, 0, 0]) == [0, 60, 120, 180]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "faces"}, "name: found 'faces', allowed: 'digits', 'glyphs', 'avatars', 'mnist', 'cartoon'"),
        ({"samples": 0}, "samples: found 0, allowed: integers from 1"),
        ({"held_out": 0}, "held_out: found 0, allowed: integers from 1"),
        ({"samples": 1.5}, "samples: found 1.5"),
        ({"seed": -1}, "seed: found -1, allowed: integers from 0"),
        ({"samples": 1500, "held_out": 298}, r"samples \+ held_out: found 1500 \+ 298, allowed: at most 1797"),
    ],
)
def test_what_cannot_be_had_is_refused(changes, message):
    arguments = {"name": "digits", "samples": 10, "held_out": 5, "seed": 0} | changes
    with pytest.raises(ValueError, match=message):
        image_set(arguments.pop("name"), **arguments)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (np.zeros((0, 2, 2, 1), np.uint8), np.zeros((1, 2, 2, 1), np.uint8), "train: found uint8"),
        (np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), np.uint8), "train: found float64"),
        (np.zeros((1, 2, 2, 1), np.uint8), np.zeros((1, 3, 2, 1), np.uint8), "test: found images of"),
        (np.zeros((1, 2, 2, 1), np.uint8), np.full((1, 2, 2, 1), 17, np.uint8), "test: found pixels up to 17"),
    ],
)
def test_a_set_holds_images_of_one_shape(train, test, message):
    with pytest.raises(ValueError, match=message):
        ImageSet(train, test, 16, "digits")


@pytest.mark.parametrize("levels", [16, 255])
def test_round_trip(levels):
    """All levels come back without noise, and with small noise: 0.05 levels are ten deviations off the next one."""
    pixels = np.arange(2 * 8 * 8 * 3).reshape(2, 8, 8, 3) % (levels + 1)
    for noise in (0.0, 0.05):
        mapping = Pixels((8, 8, 3), levels, noise)
        points = mapping.points(pixels, key=jax.random.key(0))
        assert points.shape == (2, 192)
        assert points.dtype == np.float32
        np.testing.assert_array_equal(mapping.images(points), pixels)


def test_round_trip_at_noise_0_15_errs_as_often_as_a_normal_exceeds_half_a_level():
    pixels = np.full((40, 50, 50, 1), 9, np.uint8)
    mapping = Pixels((50, 50, 1), 16, 0.15)
    errors = mapping.images(mapping.points(pixels, key=jax.random.key(1))).astype(int) - pixels
    assert np.abs(errors).max() == 1
    share = 2 * stats.norm.sf(0.5 / 0.15)  # 8.6e-4, of 100,000 pixels
    assert abs(np.mean(errors != 0) - share) < 4 * np.sqrt(share / errors.size)


def test_noise_has_the_stated_deviation_and_the_order_is_row_major():
    pixels = np.arange(12).reshape(1, 2, 2, 3).repeat(20_000, axis=0)
    points = np.asarray(Pixels((2, 2, 3), 255, 0.5).points(pixels, key=jax.random.key(2)), np.float64)
    levels = (points + 1) * 255 / 2
    assert np.all(np.abs(levels.mean(axis=0) - np.arange(12)) < 5 * 0.5 / np.sqrt(20_000))
    np.testing.assert_allclose(levels.std(axis=0), 0.5, rtol=5 / np.sqrt(2 * 20_000))


def test_points_are_pure_and_compile():
    mapping = Pixels((28, 28, 1), 255, 0.5)
    pixels = image_set("glyphs", samples=3, held_out=1, seed=0).train
    plain = mapping.points(pixels, key=jax.random.key(3))
    compiled = jax.jit(lambda images, key: mapping.points(images, key=key))(pixels, jax.random.key(3))
    np.testing.assert_allclose(plain, compiled, rtol=0, atol=1e-6)  # rounding: a fused multiply-add may be used
    assert np.any(plain != mapping.points(pixels, key=jax.random.key(4)))


def test_log_unit_changes_a_density_of_points_into_one_of_levels():
    """A normal density of y, told per level, integrates over the levels to 1."""
    mapping = Pixels((1, 1, 1), 16, 0.0)
    levels = np.linspace(-40, 56, 20_001)
    density = np.exp(stats.norm(0.1, 0.3).logpdf(2 * levels / 16 - 1) + mapping.log_unit)
    assert abs(np.trapezoid(density, levels) - 1) < 1e-9


def test_images_are_clipped():
    mapping = Pixels((1, 1, 3), 16, 0.0)
    np.testing.assert_array_equal(mapping.images([[-9.0, 0.0, 9.0]]), [[[[0, 8, 16]]]])


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((1, 8, 8), np.uint8), r"images: found shape \(1, 8, 8\), allowed: \[n, 8, 8, 1\]"),
        (np.zeros((1, 8, 9, 1), np.uint8), "images: found shape"),
        (np.zeros((0, 8, 8, 1), np.uint8), "images: found shape"),
        (np.zeros((1, 8, 8, 1), np.float32), "images: found float32, allowed: integers"),
    ],
)
def test_what_is_no_image_is_refused(pixels, message):
    with pytest.raises(ValueError, match=message):
        Pixels((8, 8, 1), 16, 0.5).points(pixels, key=jax.random.key(0))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((1, 63)), r"points: found shape \(1, 63\), allowed: \[n, 64\]"),
        (np.zeros((0, 64)), "points: found shape"),
        (np.full((2, 64), np.nan), "points: found NaN or infinity in 2 of 2"),
        (np.array([[np.inf] * 64, [0.0] * 64]), "points: found NaN or infinity in 1 of 2"),
    ],
)
def test_what_is_no_point_is_refused(points, message):
    with pytest.raises(ValueError, match=message):
        Pixels((8, 8, 1), 16, 0.5).images(points)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (((8, 8), 16, 0.5), "shape: found"),
        (((8, 0, 1), 16, 0.5), "shape: found"),
        (((8, 8, 1), 256, 0.5), "levels: found 256"),
        (((8, 8, 1), 16, -0.1), "noise: found -0.1"),
        (((8, 8, 1), 16, float("nan")), "noise: found nan"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Pixels(*fields)

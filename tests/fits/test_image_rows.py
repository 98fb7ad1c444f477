"""Images on disk are those in memory: what steps are given, what is asked of them, and how much is read at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments import ImageSettings, Pixels
from conjugate_moments.fits import _image_rows as module
from conjugate_moments.fits import _rows
from conjugate_moments.fits._image_rows import (
    ImageRows,
    ImageStream,
    check_images,
    cosine_points,
    fingerprint,
    image_rows,
    pixel_points,
)
from conjugate_moments.fits._rows import blocks, draw_rows, of_step, step_keys

KEY = jax.random.key(0)
SHAPE, BATCH = (4, 3, 2), 5
PIXELS = Pixels(SHAPE, 16, 0.3)
IMAGES = np.random.default_rng(0).integers(0, 17, (300, *SHAPE)).astype(np.uint8)
STEP = BATCH * 4 * 3 * 2  # bytes


class Watched(np.memmap):
    """Says what is asked of it."""

    asked = ()

    def __getitem__(self, place):
        self.asked = (*self.asked, place)
        return super().__getitem__(place)


@pytest.fixture
def on_disk(tmp_path):
    def written(images):
        np.save(tmp_path / "images.npy", images)
        return np.load(tmp_path / "images.npy", mmap_mode="r")

    return written


def test_only_what_is_mapped_from_a_file_stays_there(on_disk):
    assert isinstance(image_rows(check_images(IMAGES, PIXELS), PIXELS, cosine_points, BATCH), ImageRows)
    assert isinstance(image_rows(check_images(on_disk(IMAGES), PIXELS), PIXELS, cosine_points, BATCH), ImageStream)


@pytest.mark.parametrize("points", [cosine_points, pixel_points])
@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_a_draw_is_that_of_memory(kind, points, on_disk):
    stream = ImageStream(on_disk(IMAGES.astype(kind)), PIXELS, points, BATCH)
    np.testing.assert_array_equal(stream.draw(40, KEY), ImageRows(jnp.asarray(IMAGES), PIXELS, points).draw(40, KEY))


def test_cosine_points_are_pixel_points_turned():
    ways = [ImageRows(jnp.asarray(IMAGES), PIXELS, points).draw(40, KEY) for points in (cosine_points, pixel_points)]
    np.testing.assert_allclose(*(z @ z.T for z in ways), rtol=1e-4, atol=1e-4)
    assert not np.allclose(*ways, atol=0.1)


@pytest.mark.parametrize("in_block", [1, 3, 1000])
def test_every_step_is_given_what_it_would_have_drawn(in_block, on_disk, monkeypatch):
    """Over stretches of 7, 7 and 4 steps, in blocks that may not divide them."""
    monkeypatch.setattr(_rows, "BLOCK", in_block * STEP)
    rows = ImageRows(jnp.asarray(IMAGES), PIXELS, pixel_points)
    data = {"rows": ImageStream(on_disk(IMAGES), PIXELS, pixel_points, BATCH), "a": 1}
    seen, shapes = [], set()
    for first, last in ((0, 7), (7, 14), (14, 18)):
        for start, stop, given in blocks(data, first, last, 7, key=KEY):
            shapes.add(given["rows"].rows.images.shape)
            for i in range(start, stop):
                seen.append(i)
                key_data, _ = step_keys(jax.random.fold_in(KEY, i))
                drawn = of_step(given, i)
                assert drawn["a"] == 1
                np.testing.assert_array_equal(
                    draw_rows(drawn["rows"], BATCH, key_data), draw_rows(rows, BATCH, key_data)
                )
    assert seen == list(range(18))
    assert shapes == {(min(in_block, 7), BATCH, *SHAPE)}


def test_data_in_memory_are_given_as_they_are():
    data = {"rows": ImageRows(jnp.asarray(IMAGES), PIXELS, pixel_points)}
    assert [(*steps, given is data) for *steps, given in blocks(data, 3, 8, 7, key=KEY)] == [(3, 8, True)]


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_the_fingerprint_does_not_depend_on_where_images_are(kind, on_disk, monkeypatch):
    rest = PIXELS, ImageSettings(), "cmfgen", KEY
    expected = fingerprint(IMAGES, *rest)
    monkeypatch.setattr(module, "PART", 1000)
    assert fingerprint(on_disk(IMAGES.astype(kind)), *rest) == expected
    changed = IMAGES.copy()
    changed[-1, 0, 0, 0] += 1
    assert fingerprint(on_disk(changed), *rest) != expected


def test_no_more_is_read_at_once_than_a_part_and_in_the_order_of_the_file(on_disk, monkeypatch):
    monkeypatch.setattr(module, "PART", 1000)
    images = on_disk(IMAGES).view(Watched)
    check_images(images, PIXELS)
    fingerprint(images, PIXELS, ImageSettings(), "cmfgen", KEY)
    parts = [place for place in images.asked if isinstance(place, slice)]
    assert len(parts) == 2 * -(-len(IMAGES) // (1000 // 24))
    assert max(place.stop - place.start for place in parts) * 24 <= 1000
    images.asked = ()
    places = np.random.default_rng(0).integers(0, len(IMAGES), (30, BATCH))
    ImageStream(images, PIXELS, pixel_points, BATCH).read(places, 40)
    assert max(map(len, images.asked)) * 24 <= 1000
    np.testing.assert_array_equal(np.concatenate(images.asked), np.sort(places.ravel()))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[..., 0], r"images: found shape \[300, 4, 3\], allowed: \[n, 4, 3, 2\], n > 1"),
        (IMAGES / 16, "images: found float64, allowed: integers"),
        (np.where(np.arange(300)[:, None, None, None] == 299, 17, IMAGES), "images: found levels 0 to 17, allowed: 0"),
        (np.full((5, *SHAPE), 3), "images: found the level 3 in every pixel, allowed: images that differ"),
    ],
)
def test_bad_images_on_disk_are_refused(images, message, on_disk, monkeypatch):
    monkeypatch.setattr(module, "PART", 1000)
    with pytest.raises(ValueError, match=message):
        check_images(on_disk(images), PIXELS)

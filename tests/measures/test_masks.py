"""Masks: how much they hide and where, and that those that hide nothing or everything are refused."""

import numpy as np
import pytest
from scipy import ndimage

from conjugate_moments.measures.masks import SMALLEST_SIDE, STROKE_SHARE, check_mask, masks

SIDES = (8, 16, 28, 32)


@pytest.mark.parametrize("side", SIDES)
def test_shares_of_missing_pixels(side):
    missing = {name: 1 - mask.mean() for name, mask in masks((side, side)).items()}
    assert list(missing) == ["half", "centre", "random", "strokes"]
    assert missing["half"] == missing["random"] == 0.5
    assert missing["centre"] == 0.25
    assert STROKE_SHARE <= missing["strokes"] < STROKE_SHARE + 0.1


@pytest.mark.parametrize("side", SIDES)
def test_places_of_missing_pixels(side):
    planes = {name: ~mask.reshape(side, side) for name, mask in masks((side, side)).items()}
    assert not planes["half"][: side // 2].any()
    centre = planes["centre"]
    np.testing.assert_array_equal(centre, centre[::-1])
    np.testing.assert_array_equal(centre, centre.T)
    assert centre[side // 2, side // 2]
    assert centre.any(axis=0).sum() == side // 2
    # Strokes hang together; pixels drawn one by one fall apart: a quarter of the neighbours of one would do for that.
    assert ndimage.label(planes["strokes"])[1] <= 3
    assert ndimage.label(planes["random"])[1] > 3
    # Thick ones: most of what they hide is away from their rim, once a pixel is small against their width.
    if side >= 28:
        assert ndimage.binary_erosion(planes["strokes"]).sum() > planes["strokes"].sum() / 2


def test_strokes_look_alike_at_every_resolution():
    coarse, fine = (masks((side, side))["strokes"].reshape(side, side) for side in (16, 32))
    blocks = fine.reshape(16, 2, 16, 2).mean(axis=(1, 3))
    assert np.mean(np.abs(blocks - coarse)) < 0.1


def test_masks_are_the_same_again_and_hide_all_channels_of_a_pixel():
    grey, again, colour = masks((8, 8)), masks([8, 8]), masks((8, 8, 3))
    for name, mask in grey.items():
        np.testing.assert_array_equal(mask, again[name])
        for channel in range(3):
            np.testing.assert_array_equal(mask, colour[name].reshape(8, 8, 3)[..., channel].ravel())


@pytest.mark.parametrize("shape", [(8, 12), (9, 7), (SMALLEST_SIDE, SMALLEST_SIDE, 1)])
def test_every_mask_of_an_odd_shape_can_be_used(shape):
    for mask in masks(shape).values():
        assert check_mask(mask, np.prod(shape)) is mask


@pytest.mark.parametrize("shape", [(8,), (8, 3), (8, 8, 0), (8, 8, 3, 1), ()])
def test_bad_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"shape: found \(.*\), allowed: \(height, width\) or"):
        masks(shape)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones(4), "mask: found an array of float64, allowed: truth values"),
        (np.array([True, False]), r"mask: found shape \[2\], allowed: \[4\]"),
        (np.eye(2, dtype=bool), r"mask: found shape \[2, 2\], allowed: \[4\]"),
        (np.ones(4, dtype=bool), "mask: found no missing pixel"),
        (np.zeros(4, dtype=bool), "mask: found no observed pixel"),
    ],
)
def test_bad_masks_are_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        check_mask(mask, 4)

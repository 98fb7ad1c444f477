"""The public names resolve, and no others do."""

import pytest

import conjugate_moments


def test_every_public_name_resolves():
    for name in conjugate_moments.__all__:
        assert getattr(conjugate_moments, name).__name__ == name


def test_images_are_fitted_from_public_names_alone():
    assert {"fit_images", "ImageFit", "ImageSettings", "Pixels", "image_set"} <= set(conjugate_moments.__all__)


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'fit_everything'"):
        _ = conjugate_moments.fit_everything

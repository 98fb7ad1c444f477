"""The public names resolve, and no others do."""

import pytest

import conjugate_moments


def test_every_public_name_resolves():
    for name in conjugate_moments.__all__:
        assert getattr(conjugate_moments, name).__name__ == name


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'fit_everything'"):
        _ = conjugate_moments.fit_everything

"""What a fit says of how well it knows its density: from weights in closed form."""

import numpy as np
import pytest
from scipy import stats

from conjugate_moments.fits._status import SCORED, DensityStatus


def status(deviation, *, lost=0, sound=True):
    """Of weights of N(0, 1), times e^5, at draws of N(0, deviation²)."""
    y = deviation * np.random.default_rng(0).normal(size=SCORED)
    weights = 5 + stats.norm.logpdf(y) - stats.norm.logpdf(y, scale=deviation)
    weights[:lost] = np.nan
    return DensityStatus.of_weights(weights, error=0.01, evaluations=7, sound=sound)


def test_a_wider_law_is_trusted_and_its_normaliser_found():
    found = status(1.5)
    assert found.seen
    assert found.converged
    assert found.evaluations == 7
    assert found.standard_error > 0.01  # the error that all draws share is in it
    assert abs(found.log_normaliser - 5) < 5 * found.standard_error


def test_weights_without_a_second_moment_are_seen_and_not_trusted():
    """For q = N(0, s²) with s < 1 the shape of the weights' tail is 1 - s²."""
    found = status(0.4)
    assert found.pareto_shape == pytest.approx(1 - 0.4**2, abs=4 * (2 - 0.4**2) / np.sqrt(3 * np.sqrt(SCORED)))
    assert found.seen
    assert not found.converged


@pytest.mark.parametrize(
    "found",
    [status(1.5, sound=False), status(1.5, lost=SCORED // 50), status(1.5, lost=SCORED - 10), status(0.002)],
    ids=["unmixed", "lost", "few left", "far too narrow"],
)
def test_what_is_not_seen_has_not_converged(found):
    assert not found.seen
    assert not found.converged


def test_files_hold_all_of_it():
    for found in (status(1.5), status(0.4), status(1.5, lost=SCORED)):
        assert DensityStatus.from_array(found.to_array()) == found

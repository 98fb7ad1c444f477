"""Modes: found from a share of their mass, by weights too; refusals."""

import numpy as np
import pytest

from conjugate_moments.measures.energies import Modes
from conjugate_moments.metrics.modes import mode_shares, modes_found

CORNERS = Modes(np.array([[-2.0, 0.0], [2.0, 0.0]]), 1.0, np.array([0.6, 0.4]))


def test_modes_are_found_from_a_tenth_of_their_mass():
    draws = np.zeros((1000, 2))
    draws[:, 0] = -2
    draws[:41, 0] = 2
    np.testing.assert_allclose(mode_shares(draws, CORNERS), [0.959, 0.041])
    assert modes_found(draws, CORNERS) == 2
    draws[:2, 1] = 1.5
    assert modes_found(draws, CORNERS) == 1


def test_modes_of_weighted_draws():
    draws = np.array([[-2.0, 0.0], [2.0, 0.0]] * 50)
    logs = np.where(draws[:, 0] > 0, np.log(0.03), np.log(0.97))
    np.testing.assert_allclose(mode_shares(draws, CORNERS, logs), [0.97, 0.03])
    assert modes_found(draws, CORNERS, logs) == 1
    assert modes_found(draws, CORNERS) == 2


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (np.zeros((100, 3)), r"draws: found shape .100, 3., allowed: .n, 2."),
        (np.full((100, 2), np.nan), "draws: found 200 NaN"),
        (np.zeros((24, 2)), "draws: found 24, allowed: at least 25"),
    ],
)
def test_bad_draws_are_refused(draws, message):
    with pytest.raises(ValueError, match=message):
        modes_found(draws, CORNERS)

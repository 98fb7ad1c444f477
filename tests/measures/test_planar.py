"""Planar laws: moments, determinism, and the region without mass."""

import jax
import numpy as np
import pytest
from scipy import stats

from conjugate_moments.measures.planar import GAP, PLANAR, Checkerboard, NoisyCurve

N = 10_000
CURVES = {name: law for name, law in PLANAR.items() if isinstance(law, NoisyCurve)}
BOARDS = {name: law for name, law in PLANAR.items() if isinstance(law, Checkerboard)}


@pytest.fixture(scope="module")
def draws():
    return {name: law.sample(N, key=jax.random.key(0)) for name, law in PLANAR.items()}


@pytest.mark.parametrize("name", PLANAR)
def test_mean_is_zero_and_mean_variance_one(name, draws):
    sample = draws[name]
    assert sample.shape == (N, 2)
    assert sample.dtype == np.float64
    assert np.all(np.abs(sample.mean(axis=0)) < 5 * sample.std(axis=0) / np.sqrt(N))
    squares = np.sum(sample**2, axis=1) / 2
    assert abs(squares.mean() - 1) < 5 * squares.std() / np.sqrt(N)


@pytest.mark.parametrize("name", PLANAR)
def test_a_key_decides_the_draws(name):
    law = PLANAR[name]
    first = law.sample(50, key=jax.random.key(3))
    np.testing.assert_array_equal(first, law.sample(50, key=jax.random.key(3)))
    assert not np.any(first == law.sample(50, key=jax.random.key(4)))


@pytest.mark.parametrize("name", PLANAR)
def test_the_law_itself_is_off_its_support_as_rarely_as_stated(name, draws):
    bound = PLANAR[name].off_support_bound
    assert PLANAR[name].off_support(draws[name]) <= bound + 5 * np.sqrt(bound / N)


@pytest.mark.parametrize("name", PLANAR)
def test_far_points_are_off_the_support(name):
    angles = np.linspace(0, 6, 20)
    assert PLANAR[name].off_support(6 * np.stack([np.cos(angles), np.sin(angles)], axis=1)) == 1


@pytest.mark.parametrize("name", PLANAR)
def test_a_gaussian_of_the_same_moments_falls_into_the_gap(name):
    """Else the share would say nothing about mass left between modes."""
    gaussian = np.random.default_rng(0).normal(size=(N, 2))
    assert PLANAR[name].off_support(gaussian) > 0.4


@pytest.mark.parametrize("name", CURVES)
def test_distances_see_the_whole_curve(name):
    """A noise-free point moved by less than GAP deviations stays on the support: the discretised curve has no holes."""
    law, rng = CURVES[name], np.random.default_rng(1)
    angle = rng.uniform(0, 2 * np.pi, N)
    shift = 0.99 * GAP * law.noise * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    levels = rng.uniform(size=N)
    levels[:2] = 1e-12, 1 - 1e-12
    assert not np.any(law.gap(law.clean(levels) + shift))


def test_rings_have_the_radii_and_the_gap_of_their_closed_form(draws):
    law = CURVES["circles"]
    radius = np.linalg.norm(draws["circles"], axis=1)
    outer = radius > 0.75 * law.scale
    assert abs(outer.mean() - 0.5) < 5 * 0.5 / np.sqrt(N)
    # E r² = R² + 2 noise²; its variance is 4 R² noise² + 4 noise⁴.
    error = np.mean(radius[outer] ** 2) - (law.scale**2 + 2 * law.noise**2)
    assert abs(error) < 5 * np.sqrt((4 * law.scale**2 * law.noise**2 + 4 * law.noise**4) / outer.sum())
    grid = np.linspace(0, 4, 400)
    expected = np.abs(grid[:, None] - law.scale * np.array([0.5, 1.0])).min(axis=1) > GAP * law.noise
    np.testing.assert_array_equal(law.gap(np.stack([grid, 0 * grid], axis=1)), expected)


def test_eight_gaussians_are_eight_equal_normals(draws):
    law = CURVES["eight_gaussians"]
    centres = law.clean((np.arange(8) + 0.5) / 8)
    offsets = draws["eight_gaussians"][:, None] - centres
    nearest = np.argmin(np.linalg.norm(offsets, axis=-1), axis=1)
    assert stats.chisquare(np.bincount(nearest, minlength=8)).pvalue > 1e-4
    scaled = offsets[np.arange(N), nearest] / law.noise
    assert stats.kstest(np.linalg.norm(scaled, axis=1), stats.rayleigh.cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", BOARDS)
def test_boards_cover_eight_cells_evenly(name, draws):
    angle = BOARDS[name].angle
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    cells = np.floor(draws[name] @ turn / (np.sqrt(12) / 4) + 2).astype(int)
    counts = np.zeros((4, 4))
    np.add.at(counts, (cells[:, 0], cells[:, 1]), 1)
    dark = np.indices((4, 4)).sum(axis=0) % 2 == 0
    assert counts[~dark].sum() == 0
    assert stats.chisquare(counts[dark]).pvalue > 1e-4
    square = np.random.default_rng(0).uniform(-np.sqrt(3), np.sqrt(3), size=(N, 2)) @ turn.T
    assert abs(PLANAR[name].off_support(square) - 0.5) < 5 * 0.5 / np.sqrt(N)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros(2), "points: expected shape"),
        (np.zeros((3, 3)), "points: expected shape"),
        (np.array([[np.nan, 0.0]]), "points: 1 of 2"),
        (np.zeros((0, 2)), "points: expected at least one"),
    ],
)
def test_bad_points_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        PLANAR["moons"].off_support(points)

"""Scores of generated images: closed forms, counts by hand, and what copies and strangers must score."""

import jax
import numpy as np
import pytest
from scipy.stats import ortho_group

from conjugate_moments.metrics import images
from conjugate_moments.metrics.images import (
    COMPARED,
    PcaBasis,
    frechet_distance,
    generation_scores,
    nearest_ratio,
    pca_basis,
    precision_recall_density_coverage,
    sliced_wasserstein,
    two_sample_accuracy,
)

KEY = jax.random.key(0)
LEVELS = 16.0


def normals(n, dim, seed):
    return np.random.default_rng(seed).normal(size=(n, dim))


def whole(dim):
    return PcaBasis(np.zeros(dim), np.eye(dim))


def with_moments(mean, cov, n, seed):
    """A set of images with exactly these moments: no Monte Carlo error is left."""
    raw = normals(n, len(mean), seed)
    raw -= raw.mean(axis=0)
    raw = np.linalg.solve(np.linalg.cholesky(np.cov(raw.T)), raw.T).T
    return mean + raw @ np.linalg.cholesky(cov).T


def scans(n, seed):
    """Images of 8 x 8 pixels in whole levels with three kinds of blots, dark corners and strongly dependent pixels."""
    rng = np.random.default_rng(seed)
    grid = (np.indices((8, 8)) - 3.5) / 2
    centres = np.array([[-0.7, -0.5], [0.8, -0.3], [0.0, 0.9]])[rng.integers(3, size=n)]
    offsets = grid[None] - (centres + 0.25 * rng.normal(size=(n, 2)))[..., None, None]
    ink = np.exp(-np.sum(offsets**2, axis=1) / rng.uniform(0.5, 1.5, size=(n, 1, 1)))
    return np.rint(LEVELS * ink).reshape(n, 64).astype(np.uint8)


def test_principal_components_are_those_of_the_covariance():
    axes = ortho_group(6, seed=0).rvs()
    data = with_moments(np.arange(6.0), axes.T @ np.diag([9.0, 4, 1, 0.1, 0.1, 0.1]) @ axes, 50, 0)
    basis = pca_basis(data, 3)
    np.testing.assert_allclose(np.abs(basis.components @ axes[:3].T), np.eye(3), atol=1e-10)
    np.testing.assert_allclose(np.cov(basis.coordinates(data).T), np.diag([9.0, 4, 1]), atol=1e-10)
    assert len(pca_basis(data, 100).components) == 6
    assert len(pca_basis(data[:4], 100).components) == 3
    np.testing.assert_array_equal(pca_basis(data, 3).components, basis.components)


def test_frechet_distance_of_commuting_covariances_is_the_closed_form():
    """|m₁ - m₂|² + Σ (√a - √b)² for covariances with the same eigenvectors."""
    axes, shift = ortho_group(4, seed=1).rvs(), np.array([1.0, -2.0, 0.5, 0.0])
    a, b = np.array([4.0, 1, 0.25, 9]), np.array([1.0, 16, 0.25, 1e-6])
    first = with_moments(np.zeros(4), axes.T @ np.diag(a) @ axes, 40, 0)
    second = with_moments(shift, axes.T @ np.diag(b) @ axes, 60, 1)
    expected = shift @ shift + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    np.testing.assert_allclose(frechet_distance(first, second, whole(4)), expected, rtol=1e-10)


def test_frechet_distance_of_planar_gaussians_is_the_closed_form():
    """In the plane tr (C₁^{1/2} C₂ C₁^{1/2})^{1/2} = √(tr C₁C₂ + 2 √det C₁C₂), commuting or not."""
    one, two = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.0, -0.9], [-0.9, 3.0]])
    product = one @ two
    shared = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    found = frechet_distance(with_moments(np.zeros(2), one, 30, 0), with_moments(np.zeros(2), two, 30, 1), whole(2))
    np.testing.assert_allclose(found, np.trace(one) + np.trace(two) - 2 * shared, rtol=1e-10)


def test_frechet_distance_is_zero_for_the_same_set_and_invariant():
    first, second, shift = normals(30, 5, 0), 2 * normals(40, 5, 1), np.arange(5.0)
    turn = ortho_group(5, seed=2).rvs()
    found = frechet_distance(first, second, whole(5))
    assert frechet_distance(first, first[::-1], whole(5)) < 1e-13
    np.testing.assert_allclose(frechet_distance(second, first, whole(5)), found, rtol=1e-12)
    np.testing.assert_allclose(frechet_distance(first @ turn, second @ turn, whole(5)), found, rtol=1e-12)
    np.testing.assert_allclose(frechet_distance(first, first + shift, whole(5)), shift @ shift, rtol=1e-12)
    basis = pca_basis(first, 2)
    np.testing.assert_allclose(
        frechet_distance(first, first + shift, basis), np.sum((basis.components @ shift) ** 2), rtol=1e-12
    )


def test_frechet_distance_of_singular_covariances_loses_no_digits():
    """Three images span a plane, and the others do not vary at all."""
    flat = np.zeros((3, 6))
    flat[:, 0] = [-1, 0, 1]
    assert frechet_distance(flat, flat, whole(6)) < 1e-15
    np.testing.assert_allclose(frechet_distance(flat, np.zeros((5, 6)), whole(6)), 1, rtol=1e-12)
    np.testing.assert_allclose(frechet_distance(flat, flat[:, ::-1], whole(6)), 2, rtol=1e-12)


def test_forests_do_not_tell_the_same_law_apart_and_a_seed_decides_them(monkeypatch):
    monkeypatch.setattr(images, "TREES", 40)
    first, second = scans(150, 0), scans(150, 1)
    found = two_sample_accuracy(first, second, seed=0)
    # 300 guesses. Over 40 other pairs: mean 0.506, standard deviation 0.029, that of a coin.
    assert abs(found - 0.5) < 3 * 0.5 / np.sqrt(300)
    assert two_sample_accuracy(first, second, seed=0) == found
    assert two_sample_accuracy(first, second, seed=1) != found


def test_forests_tell_separated_laws_apart(monkeypatch):
    """Images and the negatives of others."""
    monkeypatch.setattr(images, "TREES", 10)
    assert two_sample_accuracy(LEVELS - scans(30, 1), scans(30, 0), seed=0) == 1


@pytest.mark.parametrize("dim", [16, 300])
def test_sliced_distance_of_changed_images(dim):
    """x ↦ 2x is at √(mean |x|²/d); a shift c at |c|/√d, exactly or, from 256 of 300 directions, within 4 deviations."""
    x, shift = normals(60, dim, 0), np.linspace(-1, 1, dim)
    tolerance = 1e-12 if dim <= 256 else 4 * np.sqrt((1 - 256 / dim) / (2 * 256))
    moved = sliced_wasserstein(x, x[::-1] + shift, key=KEY)
    np.testing.assert_allclose(moved, np.linalg.norm(shift) / np.sqrt(dim), rtol=tolerance)
    enlarged = sliced_wasserstein(x, 2 * x[::-1], key=KEY)
    np.testing.assert_allclose(enlarged, np.sqrt(np.mean(x**2)), rtol=tolerance)
    assert sliced_wasserstein(x, x, key=KEY) == 0
    assert sliced_wasserstein(x, x + shift, key=KEY) == sliced_wasserstein(x, x + shift, key=jax.random.key(0))


def test_fewer_projections_are_unbiased():
    """The mean square over many subspaces is that over the whole sphere."""
    x, scale = normals(40, 12, 0), np.linspace(0.2, 3, 12)
    full = sliced_wasserstein(x, x * scale, key=KEY) ** 2
    squares = [sliced_wasserstein(x, x * scale, projections=9, key=jax.random.key(i)) ** 2 for i in range(8)]
    assert abs(np.mean(squares) - full) < 4 * np.std(squares) / np.sqrt(8)
    assert np.std(squares) > 0


def test_neighbours_counted_by_hand():
    """On the line, k = 1: the real reach 1, 1, 2 and 3 from 0, 1, 3 and 6, the generated 0.2, 0.2 and 8.7."""
    real, generated = np.array([[0.0], [1], [3], [6]]), np.array([[1.1], [1.3], [10.0]])
    found = precision_recall_density_coverage(generated, real, k=1)
    # 1.1 lies within reach of 1 and 3, 1.3 of 1 and 3, 10 of none.
    assert found.precision == 2 / 3
    np.testing.assert_allclose(found.density, 4 / 3, rtol=1e-15)
    assert found.coverage == 2 / 4
    # 1 is within 0.2 of 1.1; 3 and 6 are within 8.7 of 10; 0 is reached by none.
    assert found.recall == 3 / 4


def test_neighbours_of_equal_and_of_far_sets():
    points = normals(40, 7, 0)
    same = precision_recall_density_coverage(points, points[::-1], k=3)
    assert same == (1, 1, 1, 1)
    assert precision_recall_density_coverage(points, points + 100) == (0, 0, 0, 0)
    # One image over and over: precise, but nothing is covered but the neighbourhood of that image.
    once = precision_recall_density_coverage(np.repeat(points[:1], 40, axis=0), points)
    assert once.precision == 1
    assert once.recall == 0
    assert once.coverage < 0.5


def test_neighbours_do_not_change_under_an_isometry():
    real, generated, turn = normals(50, 6, 0), 0.8 * normals(60, 6, 1), ortho_group(6, seed=0).rvs()
    found = precision_recall_density_coverage(generated, real)
    assert 0 < found.recall < 1
    assert precision_recall_density_coverage(generated @ turn + 3, real @ turn + 3) == found


def test_nearest_ratio_of_copies_and_of_new_images():
    train, real, fresh = normals(200, 5, 0), normals(101, 5, 1), normals(101, 5, 2)
    assert nearest_ratio(train[:50], train, real) == 0
    assert nearest_ratio(real, train, real) == 1
    # The median of 101 distances had a standard deviation of 4.6 % over 200 such sets; there are two.
    assert abs(nearest_ratio(fresh, train, real) - 1) < 3 * np.sqrt(2) * 0.046
    assert nearest_ratio(train[:50] + 1e-6, train, real) < 1e-5
    assert nearest_ratio(fresh + 10, train, real) > 5
    with pytest.raises(ValueError, match="real: found at least half of the images in train"):
        nearest_ratio(real, real, real)


@pytest.fixture(scope="module")
def scored():
    """Scores of real images, of the same images told in other units and with digits after the point, and of noise."""
    patch = pytest.MonkeyPatch()
    patch.setattr(images, "TREES", 10)
    counts = {"train": 120, "real": 60, "more": 70}
    sets = {name: scans(n, seed).astype(float) for seed, (name, n) in enumerate(counts.items())}
    settings = {"epsilon_share": 0.05, "seed": 0, "key": KEY}

    def score(generated, scale=1.0):
        return generation_scores(
            scale * generated, scale * sets["real"], scale * sets["train"], levels=scale * LEVELS, **settings
        )

    found = {
        "real": score(sets["more"]),
        "cut": score(sets["more"][:60]),
        "scaled": score(sets["more"], scale=15.0),
        "blurred": score(sets["more"] + np.random.default_rng(0).uniform(-0.49, 0.49, size=(70, 64))),
        "noise": score(np.random.default_rng(1).uniform(0, LEVELS, size=(60, 64))),
    }
    patch.undo()
    return found


def test_scores_are_all_there_and_order_real_images_before_noise(scored):
    real, noise = scored["real"], scored["noise"]
    assert tuple(real) == COMPARED
    for name in ("sinkhorn", "sliced", "frechet", "two_sample", "nearest"):
        assert real[name] < noise[name] / 1.5, name
    for name in ("precision", "recall", "density", "coverage"):
        assert real[name] > 0.5 > noise[name], name


def test_scores_are_in_units_of_the_range_and_of_whole_levels(scored):
    for name, value in scored["real"].items():
        assert scored["blurred"][name] == value, name
        np.testing.assert_allclose(scored["scaled"][name], value, rtol=1e-9, err_msg=name)


def test_of_the_larger_set_as_many_as_of_the_smaller_are_taken(scored):
    assert scored["cut"] == scored["real"]


def test_an_unconverged_sinkhorn_divergence_is_no_number_and_says_why(monkeypatch, capsys):
    def unconverged(*_, **__):
        raise ArithmeticError("sinkhorn_divergence: not converged")

    monkeypatch.setattr(images, "sinkhorn_divergence", unconverged)
    monkeypatch.setattr(images, "TREES", 2)
    sets = (scans(30, seed) for seed in range(3))
    found = generation_scores(*sets, levels=LEVELS, epsilon_share=0.1, seed=0, key=KEY)
    assert np.isnan(found.pop("sinkhorn"))
    assert np.all(np.isfinite(list(found.values())))
    assert "sinkhorn_divergence: not converged" in capsys.readouterr().out


GOOD = np.zeros((12, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_sample_accuracy(GOOD, GOOD[:5], seed=0), "generated, real: found 12 and 5 images"),
        (lambda: two_sample_accuracy(GOOD[:4], GOOD[:4], seed=0), "allowed: as many of each, >= 5"),
        (lambda: precision_recall_density_coverage(GOOD, GOOD[:5]), "k: found 5, allowed: 1 to 4"),
        (lambda: precision_recall_density_coverage(GOOD, GOOD, 0), "k: found 0, allowed: 1 to 11"),
        (lambda: sliced_wasserstein(GOOD, GOOD, projections=0, key=KEY), "projections: found 0"),
        (lambda: sliced_wasserstein(GOOD, GOOD[:3], key=KEY), "found 12 and 3 points"),
        (lambda: pca_basis(GOOD, 0), "dim, train: found 0 and 12 images"),
        (lambda: frechet_distance(GOOD[:1], GOOD, whole(4)), "images: found 1, allowed: at least 2"),
        (lambda: frechet_distance(GOOD, GOOD[:, :3], whole(4)), r"images: found shape \[12, 3\]"),
        (lambda: nearest_ratio(GOOD[:, :3], GOOD, GOOD), r"generated: found shape \[12, 3\], allowed: .* \[n, 4\]"),
        (lambda: nearest_ratio(GOOD, GOOD[0], GOOD), r"train: found shape \[4\]"),
        (lambda: nearest_ratio(GOOD * np.nan, GOOD, GOOD), "generated: found 48 NaN or infinite entries"),
        (
            lambda: generation_scores(GOOD, GOOD, GOOD, levels=0, epsilon_share=0.1, seed=0, key=KEY),
            "levels: found 0, allowed: a positive",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

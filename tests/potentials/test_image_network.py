"""The network of images: convexity for all leaves, its convolution, its start near the Gaussian closed form."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate

from conjugate_moments.potentials.base import gradients, hessians, values
from conjugate_moments.potentials.image_network import FLOOR, INITIAL_POINTS, ImageNetwork, _patch_rows

SHAPE = (4, 6, 2)
DIM = 48
RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=DIM)
VARIANCE = np.exp(RNG.normal(size=DIM))
SOURCE = VARIANCE ** (1 / 3)  # variances of the source, in the closed form of a Gaussian
POINTS = MEAN + 2 * np.sqrt(VARIANCE) * RNG.normal(size=(12, DIM))
DRAWS = MEAN + np.sqrt(VARIANCE) * RNG.normal(size=(4000, DIM))

PATCHES = {"widths": (2, 4), "patch": 3, "stride": 1}  # at 2 x 4 places
WHOLE = {"widths": (4,), "patch": None, "stride": 1}


def network(**changes):
    settings = {"pieces": 3, "smoothing": 0.2, "quadratic": 0.9, "slope": 2.0, "shape": SHAPE, "key": jax.random.key(0)}
    return ImageNetwork.near(
        MEAN, VARIANCE, curvature=1 / SOURCE, slope_mean=MEAN / (1 + SOURCE), **(settings | PATCHES | changes)
    )


@pytest.fixture(scope="module")
def nets():
    """Both kinds, in float64 so that rounding does not decide."""
    kinds = {"patches": network(), "whole": network(**WHOLE)}
    with jax.enable_x64(True):
        return {
            kind: jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), np.float64), kinds[kind]) for kind in kinds
        }


def moved(net, size, seed=0):
    """Trained-like leaves: every trained one moved at random, of any sign, in units of its own size."""
    rng = np.random.default_rng(seed)

    def move(leaf):
        return leaf + size * (0.5 + jnp.abs(leaf).mean()) * jnp.asarray(rng.normal(size=leaf.shape))

    return replace(jax.tree.map(move, replace(net, frame=())), frame=net.frame)


@pytest.mark.parametrize("kind", ["patches", "whole"])
def test_strongly_convex_for_all_leaves(nets, kind):
    """In the frame where the closed form's Hessian is the identity, against the floor, and by Jensen at midpoints."""
    scale = np.sqrt(SOURCE)
    with jax.enable_x64(True):
        for size in (0.0, 0.1, 3.0):
            net = moved(nets[kind], size, seed=1)
            least = np.linalg.eigvalsh(np.asarray(hessians(net, POINTS)) * np.outer(scale, scale))[:, 0]
            assert np.all(least >= FLOOR * (1 - 1e-6))
            own, middle = np.asarray(values(net, POINTS)), np.asarray(values(net, (POINTS + POINTS[::-1]) / 2))
            apart = np.sum((POINTS - POINTS[::-1]) ** 2 / SOURCE, axis=1)
            assert np.all(middle <= (own + own[::-1]) / 2 - FLOOR / 8 * apart * (1 - 1e-9))


@pytest.mark.parametrize("kind", ["patches", "whole"])
def test_gradient_is_that_of_the_value(nets, kind):
    step = 1e-5
    with jax.enable_x64(True):
        net = moved(nets[kind], 0.3)
        along = RNG.normal(size=POINTS.shape)
        slopes = np.sum(np.asarray(gradients(net, POINTS)) * along, axis=1)
        above, below = (np.asarray(values(net, POINTS + sign * step * along)) for sign in (1, -1))
    # Central differences: step² times the third derivative, and 1e-16 of the value over the step.
    np.testing.assert_allclose((above - below) / (2 * step), slopes, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 3])
def test_patches_are_a_convolution(nets, stride):
    """Every filter at every place, as scipy correlates them with the whole image."""
    image = RNG.normal(size=SHAPE)
    with jax.enable_x64(True):
        found = replace(nets["patches"], stride=stride)._filtered(jnp.asarray(image.ravel()))
        filters = np.asarray(nets["patches"].maxima)
    for group, piece in np.ndindex(2, 3):
        expected = correlate(image, filters[group, piece], mode="valid")[::stride, ::stride, 0]
        np.testing.assert_allclose(found[:, group, piece], expected.ravel(), atol=1e-12)


def test_a_pattern_that_moves_by_a_stride_moves_what_filters_see(nets):
    image = np.zeros((2, *SHAPE))
    image[0, :, 2:4] = RNG.normal(size=(4, 2, 2))
    image[1, :, 3:5] = image[0, :, 2:4]
    with jax.enable_x64(True):
        still, shifted = (np.asarray(nets["patches"]._filtered(jnp.asarray(part.ravel()))) for part in image)
    still, shifted = (seen.reshape(2, 4, 2, 3) for seen in (still, shifted))
    assert np.abs(still[:, :3]).min() > 0
    np.testing.assert_array_equal(shifted[:, 1:], still[:, :3])
    np.testing.assert_array_equal(shifted[:, 0], 0)


def test_patches_cover_every_pixel():
    image = np.arange(DIM).reshape(SHAPE)
    for side, stride, places in [(4, 2, 2), (2, 2, 6), (2, 1, 15)]:
        rows = _patch_rows(image, side, stride)
        assert rows.shape == (places, side * side * 2)
        assert set(rows.ravel()) == set(range(DIM))


@pytest.mark.parametrize("kind", ["patches", "whole"])
def test_starts_near_the_closed_form(nets, kind):
    """Balanced at 256 points of the Gaussian, in opposite pairs; measured here at 4,000 others."""
    with jax.enable_x64(True):
        slopes = np.asarray(gradients(nets[kind], DRAWS))
    error = slopes.mean(axis=0) - MEAN / (1 + SOURCE)
    # Of a random sample of 256; opposite pairs do better: 0.9 of these errors was measured at most.
    assert np.all(np.abs(error) < 4 * slopes.std(axis=0) / np.sqrt(INITIAL_POINTS))
    # Stein: mean curvatures, over those of the closed form. Units have 0.19 of them on average, the quadratic part at
    # least the rest and at most all, and FLOOR more.
    curved = (DRAWS - MEAN) * slopes / VARIANCE * SOURCE
    stiffness = VARIANCE / SOURCE
    total = curved @ stiffness / stiffness.sum()
    error = 4 * total.std() / np.sqrt(INITIAL_POINTS)
    assert 1 + FLOOR - error < total.mean() < 1 + FLOOR + 1 - 0.9**2 + error
    assert curved.mean(axis=0).min() > 0.9  # 0.94 was measured
    # Of so few units a direction or two is too steep: 0.99 to 1.9 was measured, with medians of 1.11 and 1.12.
    ratio = slopes.std(axis=0) / np.sqrt(SOURCE)
    assert ratio.min() > 0.95
    assert np.median(ratio) < 1.2
    assert ratio.max() < 2.2


def test_with_hardly_any_units_it_is_the_closed_form():
    net = network(quadratic=1 - 1e-6)
    exact = (1 + FLOOR) * (POINTS - MEAN) / SOURCE + MEAN / (1 + SOURCE)
    np.testing.assert_allclose(gradients(net, POINTS) * np.sqrt(SOURCE), exact * np.sqrt(SOURCE), atol=1e-3)


@pytest.mark.parametrize("kind", ["patches", "whole"])
def test_no_gradient_reaches_the_frame_and_one_every_other_leaf(nets, kind):
    with jax.enable_x64(True):
        slopes = jax.jit(jax.grad(lambda net: jnp.sum(values(net, POINTS))))(nets[kind])
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(slopes.frame))
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(replace(slopes, frame=())))


def test_memory_grows_with_the_number_of_pixels():
    """No leaf has d² numbers."""
    large = jax.eval_shape(_large)
    assert max(leaf.size for leaf in jax.tree.leaves(large)) <= 8 * 32 * 32 * 3


def _large():
    dim = 32 * 32 * 3
    ones = np.ones(dim)
    return ImageNetwork.near(
        0 * ones,
        ones,
        curvature=ones,
        slope_mean=0 * ones,
        shape=(32, 32, 3),
        widths=(4, 8),
        pieces=2,
        patch=8,
        stride=4,
        smoothing=0.1,
        quadratic=0.9,
        slope=2.0,
        key=jax.random.key(0),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (4, 6, 1)}, r"shape: found \[4, 6, 1\] for 48 coefficients, allowed: factors of their number"),
        ({"widths": (2,)}, r"widths: found \[2\], allowed: two numbers, of groups of filters and of units above"),
        ({"patch": None}, r"widths: found \[2, 4\], allowed: one number, of maxima of the whole image"),
        ({"stride": 2}, "patch, stride: found 3, 2 for 4 x 6 pixels, allowed: patches that cover the image"),
        ({"patch": 5}, "patch, stride: found 5, 1 for 4 x 6 pixels, allowed: patches that cover the image"),
        ({"patch": 1, "stride": 3}, "patch, stride: found 1, 3 for 4 x 6 pixels, allowed: patches that cover"),
        ({"widths": (2, 0)}, "widths: expected one or more positive integers"),
        ({"pieces": 1}, "pieces: expected an integer >= 2, found 1"),
        ({"smoothing": 0.0}, "smoothing: expected a finite number > 0, found 0.0"),
        ({"quadratic": 1.1}, r"quadratic: expected a number in \[0.1, 1\), found 1.1"),
        ({"slope": float("nan")}, "slope: expected a finite number > 0, found nan"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        network(**settings)

"""The input convex network: convexity for all leaves, its initial law, its exact Hessian."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments.fits.gaussian import fit_gaussian
from conjugate_moments.potentials.base import gradients, hessians, values, values_and_gradients
from conjugate_moments.potentials.icnn import FLOOR, InputConvexNetwork
from conjugate_moments.potentials.quadratic import Quadratic

MEAN = np.array([1.0, -2.0, 0.5])
S = np.array([[1.0, 0.2, 0.0], [0.2, 0.7, -0.3], [0.0, -0.3, 2.0]])
COV = S @ S @ S
POINTS = MEAN + 3 * np.random.default_rng(0).normal(size=(20, 3))


def network(widths=(12, 8, 6), **settings):
    return InputConvexNetwork.initial(MEAN, COV, widths=widths, key=jax.random.key(0), **settings)


def moved(net, size, seed=0):
    """Trained-like leaves: every trained one moved at random, of any sign."""
    rng = np.random.default_rng(seed)
    trained = jax.tree.map(lambda x: x + jnp.asarray(size * rng.normal(size=x.shape), x.dtype), replace(net, frame=()))
    return replace(trained, frame=net.frame)


# Few pieces and many, an odd number that does not halve, are combined in different ways.
SHAPES = pytest.mark.parametrize(("widths", "pieces"), [((12,), 4), ((12, 8, 6), 4), ((5,), 23)])


@SHAPES
@pytest.mark.parametrize("reach", [1e-3, 1.0, 30.0])
def test_gradient_is_that_of_the_value(widths, pieces, reach):
    """Close to the origin, where rises are computed in another way, and far from it."""
    with jax.enable_x64(True):
        net = moved(network(widths, pieces=pieces), 1.0)
        points = np.asarray(net.frame.origin) + reach * (POINTS - MEAN)
        found = values_and_gradients(net, points)
        expected = jax.jit(jax.vmap(jax.value_and_grad(net.value)))(jnp.asarray(points))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@SHAPES
def test_hessian_is_that_of_the_value(widths, pieces):
    with jax.enable_x64(True):
        net = moved(network(widths, pieces=pieces), 1.0)
        automatic = jax.jit(jax.vmap(jax.hessian(net.value)))(jnp.asarray(POINTS))
        np.testing.assert_allclose(hessians(net, POINTS), automatic, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [0.1, 3.0])
def test_strongly_convex_for_all_leaves(size, seed):
    """The floor, in float64 so that rounding does not decide."""
    with jax.enable_x64(True):
        net = moved(network(smoothing=0.02), size, seed)
        # In the frame where the closed form's Hessian, S⁻¹, has a unit diagonal.
        root = np.sqrt(np.diag(np.linalg.inv(S)))
        least = np.linalg.eigvalsh(hessians(net, POINTS) / np.outer(root, root))[:, 0]
        bound = FLOOR * np.linalg.eigvalsh(np.linalg.inv(S) / np.outer(root, root))[0]
        np.testing.assert_allclose(net.frame.floor, bound * np.diag(COV) * root**2, rtol=1e-10)
        assert np.all(least >= bound * (1 - 1e-6))


def test_convex_in_float32():
    eigenvalues = jnp.linalg.eigvalsh(hessians(moved(network(smoothing=0.02), 3.0), POINTS))
    assert jnp.all(eigenvalues[:, 0] >= -1e-6 * eigenvalues[:, -1])


def test_convex_along_segments():
    """Jensen at midpoints: convexity of the values themselves, with no derivative."""
    with jax.enable_x64(True):
        net = moved(network(), 2.0)
        own, middle = np.asarray(values(net, POINTS)), np.asarray(values(net, (POINTS + POINTS[::-1]) / 2))
    assert np.all(middle <= (own + own[::-1]) / 2 + 1e-12)


def test_without_units_the_network_is_the_closed_form():
    with jax.enable_x64(True):
        net, exact = network(quadratic=1 - 1e-12), Quadratic.from_gaussian(MEAN, COV)
        np.testing.assert_allclose(gradients(net, POINTS), gradients(exact, POINTS), rtol=1e-8, atol=1e-8)


def test_units_supply_the_curvature_that_the_quadratic_gives_up():
    with jax.enable_x64(True):
        net = network(widths=(64,), quadratic=0.6)
        rng = np.random.default_rng(1)
        draws = rng.multivariate_normal(MEAN, COV, size=4000)
        traces = np.einsum("ij,nji->n", S, np.asarray(hessians(net, draws)))
        slopes = np.asarray(gradients(net, draws))
    # The network was balanced over 256 draws and is measured over 4000: the first sample's error dominates.
    assert abs(traces.mean() - 3) < 5 * traces.std() / np.sqrt(256)
    error = slopes.mean(axis=0) - np.linalg.solve(np.eye(3) + S, MEAN)
    assert np.all(np.abs(error) < 5 * slopes.std(axis=0) / np.sqrt(256))


@pytest.mark.parametrize("widths", [(12,), (12, 8, 6)])
def test_units_do_not_move_the_slope_at_the_origin(widths):
    """Which is where P_w lies: only F and the linear part move it, and where P_w is wide F hardly does."""
    with jax.enable_x64(True):
        net = network(widths)
        other = replace(moved(net, 1.0), factor=net.factor, linear=net.linear)
        origin = np.linalg.solve(np.eye(3) + S, MEAN)[None]
        np.testing.assert_allclose(gradients(other, origin), gradients(net, origin), rtol=1e-10)
        np.testing.assert_allclose(values(other, origin), 0, atol=1e-12)
        assert not np.allclose(gradients(other, POINTS), gradients(net, POINTS), rtol=0.1)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_values_on_the_gibbs_measure_keep_their_accuracy_at_every_scale(scale):
    """On P_w the rises of w are of order 1, though its units and quadratic part are of order σ^{4/3}."""
    cov = scale**2 * COV
    truth = fit_gaussian(scale * MEAN, cov)
    points = truth.sample_gibbs(200, key=jax.random.key(1))

    net = InputConvexNetwork.initial(scale * MEAN, cov, widths=(12, 8), key=jax.random.key(0))

    def rises(precise):
        with jax.enable_x64(precise):
            dtype = np.float64 if precise else np.float32
            same = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), dtype), net)
            found = np.asarray(values(same, points.astype(np.float32).astype(dtype)))
            return found - found[0]

    assert rises(True).std() > 0.1
    # 4e-3 was measured at 1e6, where the parts reach 1e8 and float32 rounds them to 8.
    np.testing.assert_allclose(rises(False), rises(True), atol=0.02)


def test_no_gradient_reaches_the_frame():
    slopes = jax.jit(jax.grad(lambda net: jnp.sum(values(net, POINTS))))(network())
    assert all(jnp.all(leaf == 0) for leaf in jax.tree.leaves(slopes.frame))
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(replace(slopes, frame=())))


def test_translation_and_scaling_of_one_axis_move_the_potential_along():
    """t is the same, so are the units: a shift of the data shifts w, up to the linear part that recentres P_w."""
    shift = np.array([5.0, 0.0, -3.0])
    with jax.enable_x64(True):
        net = network()
        other = InputConvexNetwork.initial(MEAN + shift, COV, widths=(12, 8, 6), key=jax.random.key(0))
        np.testing.assert_allclose(hessians(other, POINTS + shift), hessians(net, POINTS), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": ()}, "widths: expected one or more positive integers"),
        ({"widths": (8, 0)}, "widths: expected one or more positive integers"),
        ({"smoothing": 0.0}, "smoothing: expected a finite number > 0, found 0.0"),
        ({"quadratic": 1.0}, r"quadratic: expected a number in \[0.1, 1\), found 1.0"),
        ({"slope": float("nan")}, "slope: expected a finite number > 0, found nan"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        network(**settings)


def test_bad_moments_are_refused():
    with pytest.raises(ValueError, match="cov: expected shape"):
        InputConvexNetwork.initial(MEAN, np.eye(2), key=jax.random.key(0))

"""Planted laws: a potential, its Gibbs measure and its map agree, and the families keep their promises."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from conjugate_moments.measures.planted import Block, planted
from conjugate_moments.potentials.base import gradients, hessians, values
from conjugate_moments.potentials.planted import PlantedPotential

FAMILIES = ["log_sum_exp", "curved", "multimodal"]
N = 10_000


@pytest.fixture(scope="module", params=FAMILIES)
def law(request):
    return planted(request.param, 4, key=jax.random.key(1))


@pytest.fixture(scope="module")
def gibbs(law):
    return law.sample_gibbs(N, key=jax.random.key(2))


@pytest.fixture(scope="module")
def images(law, gibbs):
    return law.transport(gibbs)


def test_the_jax_potential_is_w_up_to_a_constant_with_the_same_gradient(law, images):
    y = images[:200]
    with jax.enable_x64(True):
        potential = PlantedPotential(**jax.tree.map(jax.numpy.asarray, law.parameters))
        assert potential.dim == law.dim == 4
        difference = np.asarray(jax.jit(values)(potential, y)) - law.potential(y)
        np.testing.assert_allclose(jax.jit(gradients)(potential, y), law.inverse_transport(y), atol=1e-12)
    np.testing.assert_allclose(difference, difference[0], atol=1e-12)


def test_the_map_inverts_the_gradient(law, gibbs, images):
    np.testing.assert_allclose(law.inverse_transport(images), gibbs, atol=1e-11)
    np.testing.assert_allclose(law.transport(law.inverse_transport(images)), images, atol=1e-10)


def test_gradient_is_strongly_monotone(law, images):
    step = images - images[::-1]
    rise = np.sum((law.inverse_transport(images) - law.inverse_transport(images[::-1])) * step, axis=1)
    assert np.all(rise >= law.parameters["curvatures"].min() * np.sum(step**2, axis=1) - 1e-10)


def test_fenchel_young(law, gibbs, images):
    """w(y) - ⟨x, y⟩ is smallest at y = ∇w*(x)."""
    at_image = law.potential(images) - np.sum(gibbs * images, axis=1)
    for shift in (0.1, -3.0):
        elsewhere = law.potential(images + shift) - np.sum(gibbs * (images + shift), axis=1)
        assert np.all(elsewhere > at_image)


def test_gibbs_draws_have_the_moments_of_the_density(law, gibbs):
    """Against adaptive quadrature of e^{-v}, block by block."""
    for block, x in zip(law.blocks, np.moveaxis(law._split(gibbs), 1, 0), strict=True):
        grid = np.linspace(-12, 12, 1201)
        density = np.exp(-block.value(np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1)))
        assert np.isclose(np.log(density.sum() * 0.02**2), block.moments.log_mass, atol=1e-6)
        density /= density.sum()
        marginals = density.sum(axis=1), density.sum(axis=0)
        for i, marginal in enumerate(marginals):
            assert abs(x[:, i].mean() - marginal @ grid) < 5 * x[:, i].std() / np.sqrt(N)
            cdf = integrate.cumulative_simpson(marginal, x=grid, initial=0)
            assert stats.kstest(np.interp(x[:, i], grid, cdf / cdf[-1]), "uniform").pvalue > 1e-4
        product = grid @ density @ grid
        assert abs(np.mean(x[:, 0] * x[:, 1]) - product) < 5 * np.std(x[:, 0] * x[:, 1]) / np.sqrt(N)


def test_mean_and_covariance_of_the_law_match_draws(law, images):
    assert law.converged
    assert np.all(np.abs(images.mean(axis=0) - law.mean) < 5 * images.std(axis=0) / np.sqrt(N))
    centred = images - law.mean
    products = centred[:, :, None] * centred[:, None, :]
    assert np.all(np.abs(products.mean(axis=0) - law.cov) < 5 * products.std(axis=0) / np.sqrt(N))
    assert np.isclose(law.variance, np.trace(law.cov), rtol=1e-12)


def test_the_residual_bounds_the_error_of_the_variance(monkeypatch):
    coarse = planted("curved", 2, key=jax.random.key(0))
    monkeypatch.setattr("conjugate_moments.measures.planted.MOMENT_POINTS", 193)
    fine = planted("curved", 2, key=jax.random.key(0))
    assert abs(coarse.variance / fine.variance - 1) < coarse.residual


def test_hessians_do_not_commute(law, images):
    """A sum of univariate terms in some orthonormal frame would have Hessians that share it, hence commute."""
    with jax.enable_x64(True):
        potential = PlantedPotential(**jax.tree.map(jax.numpy.asarray, law.parameters))
        found = np.asarray(jax.jit(hessians)(potential, images[:40]))
    commutators = found[:20] @ found[20:] - found[20:] @ found[:20]
    sizes = np.linalg.norm(found[:20], axis=(1, 2)) * np.linalg.norm(found[20:], axis=(1, 2))
    assert np.median(np.linalg.norm(commutators, axis=(1, 2)) / sizes) > 0.01
    assert np.linalg.eigvalsh(found).min() >= law.parameters["curvatures"].min() * (1 - 1e-9)


def test_curved_eigenvalues_range_over_a_hundred():
    law = planted("curved", 4, key=jax.random.key(5))
    x = law._split(law.sample_gibbs(N, key=jax.random.key(6)))
    eigenvalues = [np.linalg.eigvalsh(block.hessian(x[:, i])).ravel() for i, block in enumerate(law.blocks)]
    low, high = np.quantile(np.concatenate(eigenvalues), [0.01, 0.99])
    assert high > 100 * low


def test_multimodal_has_five_separate_modes():
    """The density e^{-w(∇w(y))} det ∇²w(y) along the way from corner to corner, and at the centre."""
    block = planted("multimodal", 2, key=jax.random.key(1)).blocks[0]
    slopes, offsets = block.slopes[1:], block.offsets[1:]
    corners = [np.linalg.solve(slopes[[k, (k + 1) % 5]], -offsets[[k, (k + 1) % 5]]) for k in range(5)]

    def density(z):
        return np.exp(-block.value(block.inverse_transport(z))) * np.linalg.det(block.hessian(z))

    way = np.linspace(0, 1, 501)[:, None]
    for k, corner in enumerate(corners):
        along = density(corner + way * (corners[(k + 1) % 5] - corner))
        assert along.min() < 0.02 * min(along[:50].max(), along[-50:].max())
    assert density(np.zeros(2)) < 0.01 * density(np.array(corners)).min()


def test_blocks_repeat_in_high_dimension_and_the_map_still_inverts():
    law = planted("multimodal", 128, key=jax.random.key(0))
    assert len(set(law.blocks)) == 8
    np.testing.assert_allclose(law.rotation @ law.rotation.T, np.eye(128), atol=1e-13)
    x = law.sample_gibbs(50, key=jax.random.key(1))
    np.testing.assert_allclose(law.inverse_transport(law.transport(x)), x, atol=1e-10)
    planes = law._split(x)
    assert not np.any(planes[:, 0] == planes[:, 8])  # equal blocks, independent draws


def test_keys_decide_law_and_draws():
    first, again, other = (planted("log_sum_exp", 2, key=jax.random.key(seed)) for seed in (0, 0, 1))
    draws = first.sample(20, key=jax.random.key(0))
    np.testing.assert_array_equal(draws, again.sample(20, key=jax.random.key(0)))
    assert not np.any(draws == other.sample(20, key=jax.random.key(0)))


def test_newton_does_not_cycle_across_sharp_kinks():
    """Steps that are accepted because the gradient halves cycle for ever on this block."""
    angles = 2 * np.pi * np.arange(5) / 5
    block = Block(0.15, 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1), np.zeros(5), 0.02)
    x = np.random.default_rng(0).normal(scale=3, size=(5000, 2))
    np.testing.assert_allclose(block.inverse_transport(block.transport(x)), x, atol=1e-10)


def test_points_without_solution_are_refused():
    law = planted("log_sum_exp", 2, key=jax.random.key(0))
    with pytest.raises(ArithmeticError, match="1 of 2 points miss"), np.errstate(invalid="ignore"):
        law.transport(np.array([[0.0, 1.0], [np.nan, 0.0]]))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="family: found 'product'"):
        planted("product", 2, key=jax.random.key(0))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="dim: expected an even number >= 2, found 3"):
        planted("curved", 3, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"points: expected shape \[..., 2\]"):
        planted("curved", 2, key=jax.random.key(0)).transport(np.zeros((3, 4)))

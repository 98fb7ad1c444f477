"""Unnormalised densities: constants by other quadratures, draws against the density, gradients, modes, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from conjugate_moments.measures._energy import DoubleWell
from conjugate_moments.measures.energies import ENERGIES, anisotropic_moments, breast_cancer, energy

N = 20_000
PLANAR = [name for name, family in ENERGIES.items() if family.smallest == 2]
EXACT = [*((name, 2) for name in PLANAR), ("funnel", 10), ("double_wells", 8), ("student_t", 5), ("anisotropic", 10)]

# Boxes that hold all but 1e-8 of the planar laws, for a product Gauss rule; two laws are too wide for one.
BOXES = {
    "banana": ((-12, 12), (-8, 80)),
    "four_modes": ((-5.5, 5.5), (-5.5, 5.5)),
    "forty_modes": ((-50, 50), (-50, 50)),
    "ring": ((-4, 4), (-4, 4)),
    "two_moons": ((-5, 5), (-5, 5)),
    "double_wells": ((-3.5, 3.5), (-3.5, 3.5)),
    "anisotropic": ((-25, 25), (-25, 25)),
}


def values_at(case, points):
    """log_density in float64, `[n]`."""
    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.vmap(case.log_density))(jnp.asarray(points, jnp.float64)))


def rule(low, high, nodes=40, panels=20):
    """A composite Gauss rule on an interval."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    edges = np.linspace(low, high, panels + 1)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (x + 1)).ravel(), (half * w).ravel()


@pytest.mark.parametrize("name", BOXES)
def test_normaliser_of_planar_laws(name):
    case = energy(name, 2)
    (x, wx), (y, wy) = (rule(*side) for side in BOXES[name])
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    mass = wx @ np.exp(values_at(case, points)).reshape(len(x), len(y)) @ wy
    # The kink of two moons at 0, where its density is 1e-8, is all that a Gauss rule does not resolve.
    assert abs(np.log(mass) - case.log_normaliser) < 1e-8


@pytest.mark.parametrize("dim", [2, 10])
def test_normaliser_of_the_funnel(dim):
    """Given v the others are Gaussian: e^{log density} at 0 times their closed mass, integrated over v."""
    case = energy("funnel", dim)
    v, w = rule(-40, 40)
    points = np.concatenate([v[:, None], np.zeros((len(v), dim - 1))], axis=1)
    logs = values_at(case, points) + (dim - 1) / 2 * (np.log(2 * np.pi) + v)
    assert abs(np.log(w @ np.exp(logs)) - case.log_normaliser) < 1e-8


@pytest.mark.parametrize("dim", [2, 5])
def test_normaliser_of_student(dim):
    """Along a ray, with the area of the sphere."""
    case = energy("student_t", dim)
    nodes, w = rule(0, 1)
    radius = nodes / (1 - nodes)
    points = np.zeros((len(nodes), dim))
    points[:, -1] = radius
    area = 2 * np.pi ** (dim / 2) / special.gamma(dim / 2)
    mass = area * (w / (1 - nodes) ** 2) @ (radius ** (dim - 1) * np.exp(values_at(case, points)))
    assert abs(np.log(mass) - case.log_normaliser) < 1e-8


@pytest.mark.parametrize("dim", [8, 32])
def test_wells_are_a_product(dim):
    """By an adaptive rule on the line, not the table's."""
    mass, _ = integrate.quad(lambda t: np.exp(-((t**2 - 2) ** 2) + t / 10), -5, 5, epsabs=1e-12, limit=200)
    assert abs(energy("double_wells", dim).log_normaliser - dim * np.log(mass)) < 1e-10
    levels = np.array([1e-6, 0.2, 0.5, 0.9, 1 - 1e-6])
    points = DoubleWell(0.1).ppf(levels)
    below = [integrate.quad(lambda t: np.exp(-((t**2 - 2) ** 2) + t / 10), -5, p, limit=200)[0] for p in points]
    # The table's points are 1.2e-4 apart: an error of 1e-6 in t is one of 2e-5 in a level of the steep tail.
    np.testing.assert_allclose(np.array(below) / mass, levels, rtol=2e-5)


def test_normaliser_of_the_anisotropic_gaussian():
    """Against scipy's density, at points where both are far from their maximum."""
    case, (mean, cov) = energy("anisotropic", 10), anisotropic_moments(10)
    points = mean + np.random.default_rng(0).normal(size=(20, 10))
    expected = stats.multivariate_normal(mean, cov).logpdf(points)
    np.testing.assert_allclose(values_at(case, points) - case.log_normaliser, expected, rtol=1e-10)
    assert np.linalg.cond(cov) == pytest.approx(100)


@pytest.mark.parametrize(("name", "dim"), EXACT)
def test_draws_satisfy_the_identity_of_stein(name, dim):
    """E[g·∇log ρ + div g] = 0 for g = y/(1 + |y|²/2s²), bounded with its derivatives: draws and density agree."""
    case = energy(name, dim)
    draws = case.sample(N, key=jax.random.key(1))
    assert draws.shape == (N, dim)
    assert draws.dtype == np.float64
    with jax.enable_x64(True):
        scores = np.asarray(jax.jit(jax.vmap(jax.grad(case.log_density)))(jnp.asarray(draws)))
    width = 2 * case.scale**2
    shrink = 1 / (1 + draws**2 / width)
    terms = draws * shrink * scores + shrink - 2 * draws**2 / width * shrink**2
    error = terms.std(axis=0) / np.sqrt(N)
    # Five standard errors in each of at most ten coordinates.
    np.testing.assert_array_less(np.abs(terms.mean(axis=0)), 5 * error)


@pytest.mark.parametrize("name", BOXES)
def test_draws_follow_the_marginals(name):
    """Kolmogorov-Smirnov on both coordinates, the distribution functions by quadrature of the density."""
    case = energy(name, 2)
    draws = case.sample(N, key=jax.random.key(2))
    (x, wx), (y, wy) = (rule(*side) for side in BOXES[name])
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(values_at(case, points) - case.log_normaliser).reshape(len(x), len(y))
    for nodes, marginal, sample in ((x, wx * (density @ wy), draws[:, 0]), (y, wy * (wx @ density), draws[:, 1])):
        cumulative = np.cumsum(marginal) - marginal / 2
        found = stats.kstest(sample, lambda t, n=nodes, c=cumulative: np.interp(t, n, c))
        assert found.pvalue > 1e-4


@pytest.mark.parametrize("dim", [2, 10])
def test_draws_of_the_funnel_are_normal_once_unfolded(dim):
    draws = energy("funnel", dim).sample(N, key=jax.random.key(3))
    white = np.concatenate([draws[:, :1] / 3, draws[:, 1:] * np.exp(-draws[:, :1] / 2)], axis=1)
    for column in white.T:
        assert stats.kstest(column, stats.norm.cdf).pvalue > 1e-4


@pytest.mark.parametrize("dim", [2, 5])
def test_draws_of_student_have_its_radius(dim):
    radius = np.sum(energy("student_t", dim).sample(N, key=jax.random.key(4)) ** 2, axis=1) / dim
    assert stats.kstest(radius, stats.f(dim, 5).cdf).pvalue > 1e-4


@pytest.mark.parametrize(("name", "dim"), [*EXACT, ("double_wells", 32), ("logistic", 31)])
def test_values_and_gradients_are_finite_in_float32(name, dim):
    """At draws, at 0 and far out, and float32 agrees with float64 to its rounding."""
    case = energy(name, dim)
    far = case.scale * np.random.default_rng(0).normal(size=(200, dim))
    points = np.concatenate([np.zeros((1, dim)), far, 10 * far[:50]])
    if case.sampler is not None:
        points = np.concatenate([points, case.sample(500, key=jax.random.key(5))])
    points = points.astype(np.float32)
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(case.log_density)))(points)
    assert value.dtype == jnp.float32
    assert np.all(np.isfinite(gradient))
    exact = values_at(case, points)
    # 1.2e-6 measured at most, twenty roundings.
    assert np.max(np.abs(value - exact) / (1 + np.abs(exact))) < 1e-5


def test_the_neck_of_the_funnel_does_not_overflow():
    """At v = -100 the scale of the others is e^{-50}; e^{100} is not a float32."""
    case = energy("funnel", 10)
    point = jnp.concatenate([jnp.array([-100.0]), jnp.full(9, 1e-21)])
    value, gradient = jax.value_and_grad(case.log_density)(point)
    assert value == pytest.approx(-(100**2) / 18 + 450 - 9 * 1e-42 * np.exp(100.0) / 2, rel=1e-5)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(
    ("name", "dim"), [("four_modes", 2), ("forty_modes", 2), ("two_moons", 2), ("double_wells", 8)]
)
def test_masses_of_modes(name, dim):
    """Counts of exact draws in every box are binomial with the stated masses."""
    case = energy(name, dim)
    draws = case.sample(N, key=jax.random.key(6))
    counts = [np.sum(np.all(np.abs(draws - c) <= case.modes.radius, axis=1)) for c in case.modes.centres]
    expected = N * case.modes.masses
    # Up to 256 boxes with 25 to 200 draws each: five deviations of the Poisson law.
    np.testing.assert_array_less(np.abs(counts - expected), 5 * np.sqrt(expected))


def test_modes_of_the_forty_are_apart():
    centres = energy("forty_modes").modes.centres
    distance = np.linalg.norm(centres[:, None] - centres, axis=-1) + 1e9 * np.eye(40)
    assert centres.shape == (40, 2)
    assert distance.min() > 4 * np.log1p(np.e)


def test_logistic_is_the_posterior():
    """Against probabilities written out, and scikit-learn's own penalised fit has no gradient there."""
    from sklearn.linear_model import LogisticRegression

    design, labels = breast_cancer()
    assert design.shape == (569, 31)
    case = energy("logistic")
    y = np.random.default_rng(0).normal(size=31) / 5
    chance = special.expit(design @ y)
    expected = np.log(np.where(labels > 0, chance, 1 - chance)).sum() + stats.norm.logpdf(y).sum()
    assert values_at(case, y[None])[0] == pytest.approx(expected, rel=1e-10)
    peer = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(design, labels)
    with jax.enable_x64(True):
        slope = jax.grad(case.log_density)(jnp.asarray(peer.coef_[0]))
    # The largest entry of the gradient at 0 is 218.
    assert np.max(np.abs(slope)) < 1e-3


def test_lookup():
    assert energy("funnel", 10) is energy("funnel", 10)
    assert energy("ring").dim == 2
    assert energy("logistic").dim == 31
    for name in ENERGIES:
        assert energy(name).name == name
    with pytest.raises(ValueError, match="name: found 'rings', allowed: 'banana', 'four_modes'"):
        energy("rings")
    with pytest.raises(ValueError, match=r"dim: found 3 for ring, allowed: 2$"):
        energy("ring", 3)
    with pytest.raises(ValueError, match="dim: found 1 for funnel, allowed: 2 to 1000"):
        energy("funnel", 1)
    with pytest.raises(ValueError, match="sample: found 'logistic', allowed: energies with exact draws"):
        energy("logistic").sample(3, key=jax.random.key(0))
    with pytest.raises(ValueError, match="n: found 0"):
        energy("ring").sample(0, key=jax.random.key(0))


@pytest.mark.parametrize("name", PLANAR)
def test_a_key_decides_the_draws(name):
    case = energy(name)
    first = case.sample(50, key=jax.random.key(3))
    np.testing.assert_array_equal(first, case.sample(50, key=jax.random.key(3)))
    assert not np.any(first == case.sample(50, key=jax.random.key(4)))

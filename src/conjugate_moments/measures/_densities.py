"""The unnormalised densities themselves, each with its exact draws and its constant where it has them."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from conjugate_moments import _random
from conjugate_moments.measures._energy import Array, DoubleWell, Energy, Modes, box_mass, mixture_modes

LOG_2PI = float(np.log(2 * np.pi))


def banana(dim: int) -> Energy:
    """A Gaussian bent along a parabola (Haario, Saksman & Tamminen 1999): y₂ is N(y₁²/2 - 2, 1), y₁ is N(0, 4)."""

    def log_density(y: jax.Array) -> jax.Array:
        return -(y[0] ** 2) / 8 - (y[1] - (y[0] ** 2 / 2 - 2)) ** 2 / 2

    def sampler(n: int, key: jax.Array) -> Array:
        z = _random.normal(key, (n, 2))
        return np.stack([2 * z[:, 0], z[:, 1] + 2 * z[:, 0] ** 2 - 2], axis=-1)

    return Energy("banana", dim, log_density, "a Gaussian bent along a parabola", 3.0, LOG_2PI + np.log(2), sampler)


def _mixture(name: str, weights: Array, centres: Array, deviation: float, radius: float, describe: str) -> Energy:
    """A mixture of isotropic Gaussians of one width, normalised."""
    dim = centres.shape[1]
    offsets = np.log(weights) - dim * (LOG_2PI / 2 + np.log(deviation))
    cumulative = np.cumsum(weights)

    def log_density(y: jax.Array) -> jax.Array:
        places, constants = jnp.asarray(centres, y.dtype), jnp.asarray(offsets, y.dtype)
        return jax.nn.logsumexp(constants - jnp.sum(((y - places) / deviation) ** 2, axis=1) / 2)

    def sampler(n: int, key: jax.Array) -> Array:
        choice, noise = jax.random.split(key)
        component = np.searchsorted(cumulative, _random.uniform(choice, (n,)) * cumulative[-1])
        return centres[component] + deviation * _random.normal(noise, (n, dim))

    modes = mixture_modes(weights, centres, deviation, radius)
    return Energy(name, dim, log_density, describe, float(np.sqrt(np.mean(centres**2))), 0.0, sampler, modes)


def four_modes(dim: int) -> Energy:
    """Four Gaussians of deviation 1/2 at (±2, ±2), weights 0.1 to 0.4: eight deviations apart."""
    del dim
    centres = 2.0 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    return _mixture("four_modes", weights, centres, 0.5, 1.5, "four Gaussians of unequal weights")


FORTY_KEY = 40
APART = 4.0  # deviations between places, at least: closer ones would be one mode


def forty_modes(dim: int) -> Energy:
    """Forty equal Gaussians at random places of [-40, 40]², after Midgley et al. (2023); our own draw of places."""
    deviation = float(np.log1p(np.e))  # softplus(1), as in that work
    places: list[Array] = []
    for place in 80 * _random.uniform(jax.random.key(FORTY_KEY), (100, dim)) - 40:
        if len(places) < 40 and all(np.linalg.norm(place - other) > APART * deviation for other in places):
            places.append(place)
    describe = "forty Gaussians at random places"
    return _mixture("forty_modes", np.full(40, 1 / 40), np.stack(places), deviation, 2 * deviation, describe)


def ring(dim: int) -> Energy:
    """Density ∝ exp(-(|y|² - 4)²/2), smooth at 0 too: |y|² is a normal cut at 0; radius 2, width about 1/4."""

    def log_density(y: jax.Array) -> jax.Array:
        return -((jnp.sum(y**2) - 4) ** 2) / 2

    def sampler(n: int, key: jax.Array) -> Array:
        u = _random.uniform(key, (n, 2))
        # Levels from above, where the cut normal has no loss of digits.
        radius = np.sqrt(4 - special.ndtri(special.ndtr(4.0) * u[:, 0]))
        angle = 2 * np.pi * u[:, 1]
        return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    log_normaliser = np.log(np.pi) + LOG_2PI / 2 + special.log_ndtr(4.0)
    return Energy("ring", dim, log_density, "a ring of radius 2 and width 1/4", 1.5, float(log_normaliser), sampler)


def funnel(dim: int) -> Energy:
    """Neal's funnel (2003): v = y₁ is N(0, 9), the others N(0, e^v) given v; not finite for v < -170 in float32."""

    def log_density(y: jax.Array) -> jax.Array:
        # Squaring after scaling overflows at half the exponent of e^{-v}.
        scaled = y[1:] * jnp.exp(-y[0] / 2)
        return -(y[0] ** 2) / 18 - (dim - 1) * y[0] / 2 - jnp.sum(scaled**2) / 2

    def sampler(n: int, key: jax.Array) -> Array:
        z = _random.normal(key, (n, dim))
        v = 3 * z[:, :1]
        return np.concatenate([v, z[:, 1:] * np.exp(v / 2)], axis=1)

    log_normaliser = dim * LOG_2PI / 2 + np.log(3)
    return Energy("funnel", dim, log_density, "Neal's funnel", 3.0, float(log_normaliser), sampler)


def two_moons(dim: int) -> Energy:
    """Two crescents on a circle of radius 2: the first energy of Rezende & Mohamed (2015), deviations 0.4 and 0.6."""

    def log_density(y: jax.Array) -> jax.Array:
        square = jnp.sum(y**2)
        radius = jnp.sqrt(jnp.where(square > 0, square, 1.0)) * (square > 0)  # the root has no gradient at 0
        sides = jnp.logaddexp(-(((y[0] - 2) / 0.6) ** 2) / 2, -(((y[0] + 2) / 0.6) ** 2) / 2)
        return -(((radius - 2) / 0.4) ** 2) / 2 + sides

    # A Gauss rule in the radius and a uniform one in the angle: both converge geometrically.
    nodes, weights = np.polynomial.legendre.leggauss(200)
    radii, angles = 3 * (nodes + 1), 2 * np.pi * np.arange(400) / 400
    angular = _moon_sides(radii[:, None] * np.cos(angles)).mean(axis=1) * 2 * np.pi
    normaliser = float(np.sum(3 * weights * radii * np.exp(-(((radii - 2) / 0.4) ** 2) / 2) * angular))

    def density(points: Array) -> Array:
        radius = np.linalg.norm(points, axis=-1)
        return np.exp(-(((radius - 2) / 0.4) ** 2) / 2) * _moon_sides(points[..., 0]) / normaliser

    centres = np.array([[2.0, 0.0], [-2.0, 0.0]])
    modes = Modes(centres, 2.0, np.array([box_mass(density, centre, 2.0) for centre in centres]))
    return Energy("two_moons", dim, log_density, "two crescents", 1.5, np.log(normaliser), _moons, modes)


def _moon_sides(x: Array) -> Array:
    return np.exp(-(((x - 2) / 0.6) ** 2) / 2) + np.exp(-(((x + 2) / 0.6) ** 2) / 2)


def _moons(n: int, key: jax.Array) -> Array:
    """Rejection from the ring: the radius is drawn as r N(r; 2, 0.4²), by rejection too, the angle uniformly."""
    kept: list[Array] = []
    while sum(map(len, kept)) < n:
        draw, noise = jax.random.split(jax.random.fold_in(key, len(kept)))
        u, radius = _random.uniform(draw, (4 * n + 100, 3)), 2 + 0.4 * _random.normal(noise, (4 * n + 100,))
        points = radius[:, None] * np.stack([np.cos(2 * np.pi * u[:, 0]), np.sin(2 * np.pi * u[:, 0])], axis=-1)
        # 5 is 7.5 deviations out: the part of r N(r) beyond is 1e-13. The sides are at most 1 + e^{-(2/0.6)²/2}.
        accepted = (radius > 5 * u[:, 1]) & (_moon_sides(points[:, 0]) > (1 + np.exp(-50 / 9)) * u[:, 2])
        kept.append(points[accepted])
    return np.concatenate(kept)[:n]


WELL_TILT = 0.1
COUNTABLE = 8  # dimensions in which 2^d wells can still be counted


def double_wells(dim: int) -> Energy:
    """A product of double wells exp(-(t² - 2)² + t/10): 2^d modes, whose masses differ by a factor 1.3 each way."""
    well = DoubleWell(WELL_TILT)

    def log_density(y: jax.Array) -> jax.Array:
        return jnp.sum(WELL_TILT * y - (y**2 - 2) ** 2)

    def sampler(n: int, key: jax.Array) -> Array:
        return well.ppf(_random.uniform(key, (n, dim)))

    describe = "a product of double wells"
    modes = _wells(well, dim) if dim <= COUNTABLE else None
    return Energy("double_wells", dim, log_density, describe, 1.4, dim * well.log_normaliser, sampler, modes)


def _wells(well: DoubleWell, dim: int) -> Modes:
    radius = float(np.sqrt(2))
    left = well.cdf(0.0) - well.cdf(-2 * radius)
    right = well.cdf(2 * radius) - well.cdf(0.0)
    corner = np.indices((2,) * dim).reshape(dim, -1).T
    return Modes(radius * (2.0 * corner - 1), radius, np.prod(np.where(corner == 1, right, left), axis=1))


DEGREES = 5


def student_t(dim: int) -> Energy:
    """Student's t with 5 degrees of freedom: a tail of power -(5 + d)."""

    def log_density(y: jax.Array) -> jax.Array:
        return -(DEGREES + dim) / 2 * jnp.log1p(jnp.sum(y**2) / DEGREES)

    def sampler(n: int, key: jax.Array) -> Array:
        spread, noise = jax.random.split(key)
        square = special.chdtri(DEGREES, _random.uniform(spread, (n, 1)))
        return _random.normal(noise, (n, dim)) * np.sqrt(DEGREES / square)

    gammas = special.gammaln(DEGREES / 2) - special.gammaln((DEGREES + dim) / 2)
    log_normaliser = float(gammas + dim / 2 * np.log(DEGREES * np.pi))
    return Energy("student_t", dim, log_density, "Student's t, 5 degrees of freedom", 1.3, log_normaliser, sampler)


def anisotropic_moments(dim: int) -> tuple[Array, Array]:
    """Mean `[d]` and covariance `[d, d]` of `anisotropic`, of which w is known in closed form.

    Variances 0.1 to 10, evenly spaced in the logarithm, along axes turned by a fixed reflection; mean 1/2 throughout.
    """
    axis = np.sqrt(np.arange(1.0, dim + 1))
    reflection = np.eye(dim) - 2 * np.outer(axis, axis) / (axis @ axis)
    return np.full(dim, 0.5), (reflection * np.geomspace(0.1, 10.0, dim)) @ reflection


def anisotropic(dim: int) -> Energy:
    """A Gaussian of condition number 100, off centre."""
    mean, cov = anisotropic_moments(dim)
    precision, root = np.linalg.inv(cov), np.linalg.cholesky(cov)

    def log_density(y: jax.Array) -> jax.Array:
        offset = y - jnp.asarray(mean, y.dtype)
        return -offset @ jnp.asarray(precision, y.dtype) @ offset / 2

    def sampler(n: int, key: jax.Array) -> Array:
        return mean + _random.normal(key, (n, dim)) @ root.T

    log_normaliser = dim * LOG_2PI / 2 + float(np.linalg.slogdet(cov)[1]) / 2
    return Energy("anisotropic", dim, log_density, "a Gaussian of condition number 100", 1.5, log_normaliser, sampler)


@cache
def breast_cancer() -> tuple[Array, Array]:
    """Features with an intercept, standardised, `[569, 31]`, and labels ±1, `[569]`, bundled with scikit-learn."""
    from sklearn.datasets import load_breast_cancer

    features, labels = (np.asarray(part, dtype=np.float64) for part in load_breast_cancer(return_X_y=True))
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    return np.concatenate([np.ones((len(labels), 1)), standard], axis=1), 2.0 * labels - 1


def logistic(dim: int) -> Energy:
    """The posterior of a logistic regression with prior N(0, I): its normaliser is the evidence of the data."""

    def log_density(y: jax.Array) -> jax.Array:
        design, labels = (jnp.asarray(part, y.dtype) for part in breast_cancer())
        return jnp.sum(jax.nn.log_sigmoid(labels * (design @ y))) - (y @ y + dim * LOG_2PI) / 2

    return Energy("logistic", dim, log_density, "logistic regression on the breast-cancer data, prior N(0, I)", 1.0)

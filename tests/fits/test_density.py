"""Fits to unnormalised densities: closed forms, modes, odd densities, refusals, files."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from conjugate_moments import DensitySettings, DivergedError, fit_density, load
from conjugate_moments.fits._explore import LOOKS, explore
from conjugate_moments.fits.density import CLIP, _outwards, _pulls, _renewed, outer_log_density
from conjugate_moments.potentials.quadratic import Quadratic

KEY = jax.random.key(0)
MEAN = np.array([0.6, -0.3])
COV = np.array([[1.0, 0.7], [0.7, 0.8]])
# The conjugate closed form: P_w is N(A, S), and ∇w*(x) = S x + A.
VALUES, VECTORS = np.linalg.eigh(COV)
S = (VECTORS * np.cbrt(VALUES)) @ VECTORS.T
A = np.linalg.solve(np.eye(2) + S, MEAN)
QUICK = DensitySettings(steps=150, batch=256, widths=(16,), explorations=20_000, learning_rate=2e-2)
SMOOTH = replace(QUICK, smoothing=1.0, slope=1.5, quadratic=0.7)
BRIEF = DensitySettings(steps=4, batch=32, widths=(4,), explorations=10_000)


def gaussian(y):
    return -jnp.sum(jnp.linalg.solve(COV, y - MEAN) * (y - MEAN)) / 2 + 3.0


def quartet(y):
    centres = jnp.array([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]])
    return jax.nn.logsumexp(-jnp.sum((y - centres) ** 2, axis=1) / (2 * 0.5**2))


@pytest.fixture(scope="module")
def fit():
    return fit_density(gaussian, 2, key=KEY, settings=SMOOTH)


def test_gaussian_has_its_closed_form(fit):
    # w is quadratic; the network starts with smooth units instead, and the equation alone corrects it.
    y = np.random.default_rng(0).multivariate_normal(MEAN, COV, 2000)
    exact = (y - A) @ np.linalg.inv(S)
    error = np.mean(np.sum((fit.inverse_transport(y) - exact) ** 2, axis=1)) / np.trace(S)
    assert error < 5e-4  # 1.4e-4 was measured
    assert fit.status.converged
    assert fit.status.ess > 0.99  # 0.998 was measured


def test_density_is_normalised_and_its_constant_is_found(fit):
    truth = 3.0 + np.log(2 * np.pi) + np.linalg.slogdet(COV)[1] / 2
    assert abs(fit.status.log_normaliser - truth) < 4 * fit.status.standard_error
    y = np.random.default_rng(1).multivariate_normal(MEAN, COV, 2000)
    gap = stats.multivariate_normal(MEAN, COV).logpdf(y) - fit.log_prob(y)
    # Mean over ρ of log ρ/q is the Kullback–Leibler divergence: about half of 1/ess − 1 where that is small.
    assert abs(gap.mean()) < 0.02 + 4 * gap.std() / np.sqrt(len(y))


def test_every_evaluation_is_counted():
    seen = []

    def note(y):
        seen.append(y.size)
        return np.zeros(y.shape, np.float32)

    def counted(y):
        first = jax.lax.stop_gradient(y[0])
        return gaussian(y) + jax.pure_callback(note, first, first, vmap_method="expand_dims")

    fit = fit_density(counted, 2, key=KEY, settings=BRIEF)
    # Of the two looks at the first points the second is for purity, and is not counted.
    assert fit.status.evaluations == pytest.approx(sum(seen) - LOOKS, rel=1e-3)


def test_all_modes_are_found():
    fit = fit_density(quartet, 2, key=KEY, settings=QUICK)
    y = fit.sample(4000, key=KEY)
    y = y[~np.isnan(y).any(axis=1)]
    shares = [np.mean(np.all(np.sign(y) == sign, axis=1)) for sign in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    assert min(shares) > 0.15  # each has a quarter of the mass


def test_support_with_an_edge():
    # Uniform on a disc: −inf outside. Draws leak by as much as a smooth map must, no farther.
    fit = fit_density(lambda y: jnp.where(jnp.sum(y**2) < 1, 0.0, -jnp.inf), 2, key=KEY, settings=QUICK)
    y = fit.sample(2000, key=KEY)
    radius = np.linalg.norm(y[~np.isnan(y).any(axis=1)], axis=1)
    assert np.mean(radius < 1.1) > 0.9
    assert fit.status.log_normaliser == pytest.approx(np.log(np.pi), abs=0.1)


def test_support_that_is_a_half_plane():
    seen = explore(
        lambda y: jnp.where(y[0] > 0, -y[0] - y[1] ** 2 / 2, -jnp.inf), 2, key=KEY, scale=10.0, budget=20_000
    )
    # Exponential and normal: means 1 and 0, variances 1; a few hundred particles, a kernel of a tenth.
    np.testing.assert_allclose(seen.mean, [1.0, 0.0], atol=0.3)
    np.testing.assert_allclose(np.diag(seen.cov), [1.0, 1.0], rtol=0.5)


def test_density_that_is_not_differentiable():
    fit = fit_density(lambda y: -jnp.sum(jnp.abs(y)), 2, key=KEY, settings=QUICK)
    assert fit.status.converged
    assert fit.status.log_normaliser == pytest.approx(2 * np.log(2), abs=0.05)


def test_collapsed_weights_are_not_called_converged():
    # Four steps teach nothing about modes this far apart for their width: 1 % of the Gaussian's mass is theirs.
    def islands(y):
        centres = jnp.array([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]])
        return jax.nn.logsumexp(-jnp.sum((y - centres) ** 2, axis=1) / (2 * 0.05**2))

    narrow = fit_density(islands, 2, key=KEY, settings=BRIEF)
    assert not narrow.status.converged
    assert narrow.status.ess < 0.1


class Fickle:
    def __init__(self):
        self.calls = 0

    def __call__(self, y):
        self.calls += 1
        return -jnp.sum(y**2) * self.calls


@pytest.mark.parametrize(
    ("log_density", "message"),
    [
        (lambda y: y, r"log_density: found the value .* allowed: one real number"),
        (lambda y: -y @ y if y[0] > 0 else 0.0, r"log_density: found code that cannot be traced .* allowed"),
        (lambda y: jnp.where(y[0] > 0, jnp.nan, -y @ y), r"log_density: found NaN at \d+ of 4096 points, as at"),
        (lambda y: jnp.where(y[0] > 0, jnp.inf, -y @ y), r"log_density: found \+inf at \d+ of 4096 points"),
        (
            lambda y: jnp.where(jnp.sum(y**2) > 0, -jnp.inf, 0.0),
            r"scale: found 10, which gives 4096 points of density 0",
        ),
        (Fickle(), r"log_density: found other values on a second call at the same points, allowed: a pure function"),
        (lambda y: 0.0 * y[0], r"log_density: found mass that spreads as far as it is sought"),
        (3.0, r"log_density: found float, allowed: a function of one point"),
    ],
    ids=["vector", "branch", "nan", "infinite", "nowhere", "impure", "improper", "number"],
)
def test_what_is_no_density_is_refused(log_density, message):
    with pytest.raises(ValueError, match=message):
        fit_density(log_density, 2, key=KEY, settings=BRIEF)


def test_nan_met_on_the_way_stops_the_fit():
    # A ball so small that the first look misses it, at the mode, where the exploration goes.
    def holed(y):
        return jnp.where(jnp.sum(y**2) < 1e-2, jnp.nan, -50 * jnp.sum(y**2))

    with pytest.raises((ValueError, DivergedError), match="NaN"):
        fit_density(holed, 2, key=KEY, settings=QUICK)


@pytest.mark.parametrize(("name", "value"), [("share", 0.0), ("share", 1.0), ("scale", 0.0), ("explorations", 0)])
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=rf"{name}: found {value}"):
        DensitySettings(**{name: value})


def test_saved_fit_is_the_same(fit, tmp_path):
    fit.save(tmp_path / "fit.npz")
    again = load(tmp_path / "fit.npz")
    assert again.status == fit.status
    assert again.settings == fit.settings
    y = np.zeros((3, 2)) + MEAN
    np.testing.assert_array_equal(again.log_prob(y), fit.log_prob(y))


def test_a_file_with_the_status_of_an_earlier_version_is_refused(fit, tmp_path):
    fit.save(tmp_path / "fit.npz")
    with np.load(tmp_path / "fit.npz") as stored:
        arrays = dict(stored)
    np.savez(tmp_path / "fit.npz", **{**arrays, "status": arrays["status"][:6]})
    with pytest.raises(ValueError, match="another version of this package"):
        load(tmp_path / "fit.npz")


def test_interrupted_fit_is_resumed_bit_for_bit(monkeypatch, tmp_path):
    from conjugate_moments.fits import _training

    settings = DensitySettings(steps=8, batch=32, widths=(4,), explorations=10_000)
    whole = fit_density(gaussian, 2, key=KEY, settings=settings)
    written = _training._write

    def interrupt(path, done, state, fingerprint):
        written(path, done, state, fingerprint)
        if done >= 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(_training, "_write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit_density(gaussian, 2, key=KEY, settings=settings, checkpoint=tmp_path / "half.npz")
    monkeypatch.setattr(_training, "_write", written)
    resumed = fit_density(gaussian, 2, key=KEY, settings=settings, checkpoint=tmp_path / "half.npz")
    for one, other in zip(jax.tree.leaves(whole.network), jax.tree.leaves(resumed.network), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_pulls_sum_to_nothing_and_are_clipped():
    # The normaliser of the model must not feel them: its derivative would be missing from the gradient.
    residuals = jnp.concatenate([jax.random.normal(KEY, (200,)), jnp.array([50.0, -1e4, jnp.inf])])
    share = jnp.ones(203) / 203
    found = np.asarray(_pulls(residuals, share))
    assert abs(found.sum() / 203) < 1e-4
    assert np.abs(found).max() == CLIP
    assert found[-1] == CLIP


def outer_draws(n, key):
    x = A + np.asarray(jax.random.normal(key, (n, 2))) @ np.linalg.cholesky(S).T
    return np.asarray(_outwards(jnp.asarray(x), jnp.asarray(A))) @ S + A


def test_images_of_draws_moved_outwards_have_their_closed_form():
    # In two dimensions by a half: a Gaussian about MEAN of 2.25 times the covariance.
    network, y = Quadratic.from_matrix(np.linalg.inv(S), A), outer_draws(4000, KEY)
    np.testing.assert_allclose(np.cov(y.T), 2.25 * COV, atol=5 * 2.25 * np.sqrt(2 / 4000))
    found = np.asarray(outer_log_density(network, jnp.asarray(y), jnp.asarray(A)))
    np.testing.assert_allclose(
        np.diff(found), np.diff(stats.multivariate_normal(MEAN, 2.25 * COV).logpdf(y)), atol=1e-3
    )


def test_pool_comes_to_the_law_from_elsewhere():
    """A Gaussian that draws moved outwards cover, so that their weights are bounded; from a single point."""
    mean, cov = np.array([0.8, 0.0]), np.array([[0.5, 0.25], [0.25, 0.4]])
    network, law, n = Quadratic.from_matrix(np.linalg.inv(S), A), stats.multivariate_normal(mean, cov), 2000
    pool = np.tile([2.5, 1.5], (n, 1))
    for i in range(60):
        key_draws, key = jax.random.split(jax.random.fold_in(KEY, i))
        y = np.concatenate([outer_draws(n, key_draws), pool])
        pool = np.asarray(_renewed(network, jnp.asarray(y), jnp.asarray(-law.logpdf(y)), jnp.asarray(A), n, key=key))
    # Rows are independent chains.
    np.testing.assert_allclose(pool.mean(axis=0), mean, atol=4 * np.sqrt(0.5 / n))
    np.testing.assert_allclose(np.cov(pool.T), cov, atol=4 * 0.5 * np.sqrt(2 / n))


def test_pool_takes_no_point_that_is_not_known_and_leaves_none_outside():
    network, pool = Quadratic.from_matrix(np.eye(2), np.zeros(2)), jnp.zeros((3, 2))
    offered = jnp.ones((3, 2))
    energy = jnp.array([jnp.nan, 0.0, 0.0, 0.0, jnp.inf, -50.0])
    found = _renewed(network, jnp.concatenate([offered, pool]), energy, jnp.zeros(2), 3, key=KEY)
    np.testing.assert_array_equal(found, [[0, 0], [1, 1], [0, 0]])


def test_exploration_widens_until_it_holds_the_mass():
    def far(y):
        return -jnp.sum((y / 30.0) ** 2) / 2

    seen = explore(far, 2, key=KEY, scale=1.0, budget=20_000)
    error = np.abs(np.diag(seen.cov) / 900 - 1).max()
    assert error < 0.5  # a few hundred particles: standard errors of about 0.1
    assert len(seen.points) > 1000

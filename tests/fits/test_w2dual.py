"""OTT's W2NeuralDual behind the contract of a fit: closed form, its own loop, files, refusals."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments import PeerSettings, fit_w2dual, load
from conjugate_moments._matrices import gaussian_map
from conjugate_moments.fits import _training, w2dual
from conjugate_moments.fits.w2dual import W2DualFit
from conjugate_moments.metrics.uvp import l2_uvp
from conjugate_moments.potentials.base import hessians

KEY = jax.random.key(0)
COV = np.array([[1.0, 0.6], [0.6, 0.8]])
SMALL = PeerSettings(steps=60, batch=128, learning_rate=3e-2, widths=(8,))


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).multivariate_normal([0.5, -0.2], COV, 5_000)


@pytest.fixture(scope="module")
def source():
    return np.random.default_rng(1).normal(size=(5_000, 2))


@pytest.fixture(scope="module")
def fit(data, source):
    return fit_w2dual(data, key=KEY, settings=SMALL, source=source)


def test_map_between_gaussians_is_the_closed_form(data, source, fit):
    x = source[:2_000]
    expected = data.mean(axis=0) + (x - source.mean(axis=0)) @ gaussian_map(np.cov(source.T), np.cov(data.T))
    # In per cent; 0.14 and 0.11 were measured after these 60 steps, and the constant map scores 100.
    assert l2_uvp(fit.transport(x), expected, float(np.trace(COV))).value <= 0.5
    assert l2_uvp(fit.inverse_transport(expected), x, 2.0).value <= 0.5


def test_the_gaussian_of_the_data_is_the_source_unless_another_is_given(data):
    fit = fit_w2dual(data, key=KEY, settings=SMALL)
    draws = fit.sample_gibbs(20_000, key=KEY)
    # Four standard errors of a mean and of a covariance of 20,000 draws.
    assert np.abs(draws.mean(axis=0) - data.mean(axis=0)).max() <= 4 / np.sqrt(20_000)
    np.testing.assert_allclose(np.cov(draws.T), np.cov(data.T), atol=4 * np.sqrt(2 / 20_000))


def test_the_potential_is_convex_after_training(source, fit):
    matrices = np.asarray(hessians(fit.network, np.concatenate([source[:200], 5 * source[:200]])))
    eigenvalues = np.linalg.eigvalsh(matrices)
    assert np.all(eigenvalues[:, 0] >= -1e-6 * eigenvalues[:, -1])  # the rounding of float32


def test_inverse_rows_that_do_not_converge_are_nan(data, fit):
    class Strict(PeerSettings):
        tolerance = 1e-6
        conjugate_steps = 1

    strict, y = replace(fit, settings=Strict()), data[:50]
    solved = np.asarray(strict.solve(y).converged)
    assert solved.mean() < 0.5
    np.testing.assert_array_equal(np.isnan(strict.inverse_transport(y)), np.repeat(~solved[:, None], 2, axis=1))
    assert not np.any(np.isnan(fit.inverse_transport(y)))


def test_losses_are_those_of_the_loop_of_ott(data, source, fit):
    """The same batches through `W2NeuralDual.__call__`: only the loop is ours."""
    given = w2dual._Given(*(jnp.asarray(part, jnp.float32) for part in (data, source, np.zeros(2), np.eye(2))))
    step = w2dual._Step(w2dual._solver.__wrapped__(2, SMALL), SMALL.batch)
    dual, steps = step.solver, 10
    dual.state_f, dual.state_g = step.start(given, key=jax.random.fold_in(KEY, 0))
    dual.num_train_iters, dual.logging, dual.log_freq = steps, True, 1
    keys = [jax.random.fold_in(jax.random.fold_in(KEY, 1), i) for i in range(steps)]
    loaders = (iter([step.batch(given, key)[side] for key in keys]) for side in ("source", "target"))
    _, logs = dual(*loaders, iter(()), iter(()))
    # Compiled apart, they differ by the rounding of float32, 1e-7; the losses move by a tenth in these steps.
    np.testing.assert_allclose(fit.trace["loss"][:steps], logs["train_logs"]["loss_f"], rtol=1e-5)
    np.testing.assert_allclose(fit.trace["w2_squared"][:steps], logs["train_logs"]["w_dist"], rtol=1e-4)


def test_trace_has_one_value_per_step(fit):
    assert set(fit.trace) == {"loss", "amortisation", "w2_squared"}
    assert {len(values) for values in fit.trace.values()} == {SMALL.steps}
    assert all(np.all(np.isfinite(values)) for values in fit.trace.values())


def test_the_key_decides_everything(data, source, fit):
    again, other = (fit_w2dual(data, key=key, settings=SMALL, source=source) for key in (KEY, jax.random.key(1)))
    x = source[:50]
    np.testing.assert_array_equal(again.transport(x), fit.transport(x))
    assert np.abs(other.transport(x) - fit.transport(x)).max() > 1e-3


def test_interrupted_fit_resumes_bit_for_bit(data, source, fit, tmp_path, monkeypatch):
    written, calls = _training._write, []

    def killed(path, *rest):
        written(path, *rest)
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt

    given = {"key": KEY, "settings": SMALL, "source": source, "checkpoint": tmp_path / "fit.checkpoint.npz"}
    monkeypatch.setattr(_training, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        fit_w2dual(data, **given)
    monkeypatch.undo()
    with np.load(given["checkpoint"]) as stored:
        assert 0 < stored["done"] < SMALL.steps
    # The key of a batch is that of its step: a fit that began anew would be the same, so the steps done are counted.
    counted, advance = [], _training._advance

    def counting(step, carry, trace, given, start, stop, key):
        counted.append(stop - start)
        return advance(step, carry, trace, given, start, stop, key)

    monkeypatch.setattr(_training, "_advance", counting)
    resumed = fit_w2dual(data, **given)
    assert not given["checkpoint"].exists()
    assert sum(counted) == SMALL.steps - 3 * SMALL.steps // _training.CHUNKS
    for one, other in zip(jax.tree.leaves(fit.network), jax.tree.leaves(resumed.network), strict=True):
        np.testing.assert_array_equal(one, other)
    for name, values in fit.trace.items():
        np.testing.assert_array_equal(values, resumed.trace[name])


def test_saved_fit_is_the_same(fit, tmp_path):
    fit.save(tmp_path / "fit.npz", provenance={"seeds": "0"})
    again = load(tmp_path / "fit.npz")
    assert isinstance(again, W2DualFit)
    assert again.settings == fit.settings
    y = fit.sample(50, key=KEY)
    np.testing.assert_array_equal(again.sample(50, key=KEY), y)
    np.testing.assert_array_equal(again.inverse_transport(y), fit.inverse_transport(y))
    np.testing.assert_array_equal(again.trace["loss"], fit.trace["loss"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": np.zeros(5)}, r"data: found shape \[5\]"),
        ({"source": np.full((50, 2), np.nan)}, "source: found 100 NaN or infinite entries"),
        (
            {"source": np.random.default_rng(0).normal(size=(50, 3))},
            r"source: found shape \[50, 3\], allowed: \[m, 2\]",
        ),
    ],
)
def test_bad_samples_are_refused(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_w2dual(**{"data": data, "key": KEY, "settings": SMALL} | arguments)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"steps": 0}, "steps: found 0, allowed: an integer >= 1"),
        ({"learning_rate": float("inf")}, "learning_rate: found inf, allowed: a finite number > 0"),
        ({"widths": ()}, r"widths: found \(\), allowed: a tuple of one or more integers >= 1"),
        ({"widths": (8, 0)}, r"widths: found \(8, 0\), allowed"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        PeerSettings(**setting)

"""Fits of networks to samples: closed forms, invariants, resumption, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments import TrainingSettings, fit_gaussian, fit_samples, load
from conjugate_moments._matrices import gaussian_map
from conjugate_moments.fits.result import FORMAT
from conjugate_moments.fits.samples import check_samples

KEY = jax.random.key(0)
COV = np.array([[1.0, 0.6], [0.6, 0.8]])
SMALL = TrainingSettings(steps=800, batch=256, widths=(16,), learning_rate=5e-3, quadratic=0.7, smoothing=0.25)
QUICK = TrainingSettings(steps=40, batch=64, widths=(8,))


def gaussian_data(n, mean=(0.5, -0.2)):
    return np.random.default_rng(0).multivariate_normal(mean, COV, n)


@pytest.fixture(scope="module")
def data():
    return gaussian_data(20_000)


@pytest.fixture(scope="module")
def fit(data):
    return fit_samples(data, key=KEY, settings=SMALL)


def test_gaussian_law_gives_the_closed_form(data, fit):
    # S = cov^{1/3} and a = (I + S)⁻¹ mean; the network starts elsewhere (its units are not quadratic).
    truth = fit_gaussian(data.mean(axis=0), np.cov(data.T))
    draws = fit.sample_gibbs(10_000, key=KEY)
    covariance = np.cov(draws.T)
    assert np.linalg.norm(covariance - truth.gibbs_cov) <= 0.05 * np.linalg.norm(truth.gibbs_cov)
    assert np.abs(draws.mean(axis=0) - truth.gibbs_mean).max() <= 0.05
    x = truth.sample_gibbs(2_000, key=KEY)
    error = np.sum((fit.transport(x) - truth.transport(x)) ** 2, axis=1).mean() / np.trace(truth.cov)
    assert error <= 1e-2  # L²-UVP of 1 %; 0.3 % was measured after these 800 steps of batch 256


def test_the_maps_are_inverse_to_each_other(data, fit):
    y = data[:500]
    back = fit.transport(fit.inverse_transport(y))
    solved = ~np.isnan(back).any(axis=1)
    assert solved.mean() > 0.99
    # Residuals of 1e-3 in the source, over the least curvature of w, which is about 1 here.
    assert np.abs(back - y)[solved].max() < 1e-2


def test_the_hessian_is_positive_definite_after_training(data, fit):
    from conjugate_moments.potentials.base import hessians

    matrices = np.asarray(hessians(fit.network, data[:200]))
    assert np.linalg.eigvalsh(matrices).min() > 0


def test_trace_has_one_value_per_step_and_says_what_did_not_converge(fit):
    assert {len(values) for values in fit.trace.values()} == {SMALL.steps}
    assert fit.diagnostics["unconverged"] < 1e-3
    assert fit.diagnostics["acceptance"] == pytest.approx(0.6, abs=0.1)


def test_saved_fit_is_the_same(fit, tmp_path):
    fit.save(tmp_path / "fit.npz", provenance={"seeds": "0"})
    again = load(tmp_path / "fit.npz")
    x = fit.sample_gibbs(50, key=KEY)
    assert again.settings == fit.settings
    np.testing.assert_array_equal(again.transport(x), fit.transport(x))
    np.testing.assert_array_equal(again.sample(50, key=KEY), fit.sample(50, key=KEY))


def test_load_refuses_other_files(tmp_path):
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(ValueError, match=r"path: .*other\.npz does not hold a trained fit"):
        load(tmp_path / "other.npz")


def test_load_refuses_a_network_of_another_version(fit, tmp_path):
    fit.save(tmp_path / "fit.npz")
    with np.load(tmp_path / "fit.npz") as stored:
        arrays = dict(stored)
    del arrays["leaf0"]
    np.savez(tmp_path / "old.npz", **arrays)
    with pytest.raises(ValueError, match=r"old\.npz holds a fit of another version"):
        load(tmp_path / "old.npz")


@pytest.mark.parametrize("method", ["cmfgen", "monge", "moment"])
def test_interrupted_fit_resumes_bit_for_bit(method, data, tmp_path, monkeypatch):
    from conjugate_moments.fits import _training

    whole = fit_samples(data[:1000], key=KEY, settings=QUICK, method=method)
    written = _training._write
    calls = []

    def killed(path, *rest):
        written(path, *rest)
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(_training, "_write", killed)
    checkpoint = tmp_path / "fit.checkpoint.npz"
    with pytest.raises(KeyboardInterrupt):
        fit_samples(data[:1000], key=KEY, settings=QUICK, method=method, checkpoint=checkpoint)
    monkeypatch.undo()
    assert checkpoint.exists()
    resumed = fit_samples(data[:1000], key=KEY, settings=QUICK, method=method, checkpoint=checkpoint)
    assert not checkpoint.exists()
    for one, other in zip(jax.tree.leaves(whole.network), jax.tree.leaves(resumed.network), strict=True):
        np.testing.assert_array_equal(one, other)
    for name, values in whole.trace.items():
        np.testing.assert_array_equal(values, resumed.trace[name])


def test_checkpoint_of_another_fit_is_not_resumed(data, tmp_path):
    from conjugate_moments.fits import _training

    path = tmp_path / "fit.checkpoint.npz"
    _training._write(path, 20, (np.zeros(2),), "another")
    assert _training._read(path, (np.zeros(2),), "this") is None


@pytest.mark.parametrize(("written", "ends_at"), [(FORMAT, 101.0), (FORMAT - 1, 21.0)])
def test_checkpoint_of_another_format_is_not_resumed(written, ends_at, tmp_path):
    from conjugate_moments.fits import _training

    path, carry, trace = tmp_path / "fit.checkpoint.npz", jnp.zeros(1), {"loss": jnp.zeros(21)}
    _training._write(path, 20, (carry + 100, trace), f"{written} this")

    def step(carry, _, key):
        return carry + 1, {"loss": carry[0]}

    end, _ = _training.train(step, carry, None, 21, key=KEY, name="", checkpoint=path, fingerprint="this")
    assert end == ends_at


def test_monge_map_between_gaussians_is_the_closed_form(data):
    source = np.random.default_rng(1).normal(size=(20_000, 2))
    found = fit_samples(data, key=KEY, settings=SMALL, method="monge", source=source)
    x = source[:2_000]
    expected = data.mean(axis=0) + x @ gaussian_map(np.eye(2), np.cov(data.T))
    error = np.sum((found.transport(x) - expected) ** 2, axis=1).mean() / np.trace(COV)
    assert error <= 1e-2  # 0.45 % was measured


def test_moment_measure_of_a_gaussian_does_the_opposite(data):
    found = fit_samples(data, key=KEY, settings=SMALL, method="moment")
    draws = found.sample_gibbs(5_000, key=KEY)
    inverse = np.linalg.inv(np.cov(data.T))
    assert np.linalg.norm(np.cov(draws.T) - inverse) <= 0.1 * np.linalg.norm(inverse)


def test_gaussian_map_pushes_one_covariance_to_the_other():
    target = np.array([[2.0, -0.3], [-0.3, 0.5]])
    found = gaussian_map(COV, target)
    np.testing.assert_allclose(found @ COV @ found, target, rtol=1e-12)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(5), r"data: found shape \[5\]"),
        (np.full((50, 2), np.nan), "data: found 100 NaN or infinite entries"),
        (np.zeros((5, 2)), "data: found 5 points in dimension 2, allowed: at least 20"),
        (np.ones((50, 1)) * np.arange(50)[:, None] * [1.0, 2.0], "data: found columns 0, 1 that are the same"),
    ],
)
def test_bad_samples_are_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        check_samples("data", samples)


def test_unknown_method_and_misplaced_source_are_refused(data):
    with pytest.raises(ValueError, match="method: found 'gan', allowed: 'cmfgen', 'monge', 'moment'"):
        fit_samples(data, key=KEY, method="gan")
    with pytest.raises(ValueError, match="source: found shape"):
        fit_samples(data, key=KEY, method="cmfgen", source=data)


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("learning_rate", -1.0), ("tolerance", float("nan"))])
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}: found"):
        TrainingSettings(**{name: value})


def test_widths_may_be_a_list():
    assert TrainingSettings(widths=[8, 4]) == TrainingSettings(widths=(8, 4))
    assert hash(TrainingSettings(widths=[8, 4])) == hash(TrainingSettings(widths=(8, 4)))

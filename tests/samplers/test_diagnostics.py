"""Closed forms and limits of the mixing diagnostics."""

from functools import partial

import blackjax.diagnostics
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from conjugate_moments.samplers.diagnostics import diagnose, effective_sample_size, split_r_hat


def autoregression(phi, shape, seed=0):
    """Stationary AR(1) chains of variance 1 along the first axis."""
    noise = np.random.default_rng(seed).normal(size=shape)
    noise[1:] *= np.sqrt(1 - phi**2)
    return np.asarray(signal.lfilter([1.0], [1.0, -phi], noise, axis=0))


def report(draws):
    return diagnose(draws, acceptance=jnp.asarray(0.6), step=jnp.asarray(1.0), moves=len(draws))


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, -0.5])
def test_ess_of_an_autoregression(phi):
    m, n = 1000, 100
    found = effective_sample_size(autoregression(phi, (m, n, 2)))
    exact = m * n * (1 - phi) / (1 + phi)
    # n · m / τ windows each know their autocorrelation time to a few times √(τ/(n m)): 8 % at φ = 0.9.
    np.testing.assert_allclose(found, exact, rtol=0.08)


def test_ess_and_r_hat_agree_with_blackjax():
    with jax.enable_x64(True):
        draws = autoregression(0.7, (301, 8, 3)) + np.linspace(0, 0.3, 8)[:, None]
        theirs = jax.jit(partial(blackjax.diagnostics.effective_sample_size, chain_axis=1, sample_axis=0))(draws)
        np.testing.assert_allclose(effective_sample_size(draws), theirs, rtol=1e-10)
        halves = np.concatenate([draws[:150], draws[-150:]], axis=1)
        theirs = blackjax.diagnostics.potential_scale_reduction(halves, chain_axis=1, sample_axis=0)
        np.testing.assert_allclose(split_r_hat(draws), theirs, rtol=1e-10)


def test_r_hat_of_a_stationary_autoregression():
    """R̂² = 1 + (τ - 1)/L in expectation for half chains of length L, τ the autocorrelation time."""
    phi, m, n = 0.9, 1000, 200
    tau = (1 + phi) / (1 - phi)
    excess = split_r_hat(autoregression(phi, (m, n, 1))) ** 2 - 1
    # The variance of 2n half-chain means is known to √(2/(2n)), and finite L lowers it by about τ/L of itself.
    np.testing.assert_allclose(excess, (tau - 1) / (m / 2), rtol=5 * np.sqrt(1 / n))


def test_disagreeing_chains_are_flagged():
    draws = autoregression(0.0, (200, 4, 1))
    assert report(draws).converged
    apart = draws + np.array([0.0, 0.0, 0.0, 2.0])[:, None]
    assert split_r_hat(apart)[0] > 1.1
    assert effective_sample_size(apart)[0] < 20
    assert not report(apart).converged


def test_a_common_drift_is_flagged():
    draws = autoregression(0.0, (200, 4, 1)) + np.linspace(-1, 1, 200)[:, None, None]
    assert split_r_hat(draws)[0] > 1.1


def test_moves_that_come_back_mirrored_are_flagged():
    """x itself looks better than independent, while |x| hardly changes; its correlation is about that of x²: φ²."""
    draws = autoregression(-0.995, (400, 16, 1))
    assert effective_sample_size(draws)[0] > draws.size
    assert split_r_hat(draws)[0] < 1.01
    found = report(draws)
    phi = 0.995**2
    assert found.ess[0] < 2 * draws.size * (1 - phi) / (1 + phi)
    assert not found.converged


def test_chains_of_several_widths_are_flagged():
    draws = autoregression(0.0, (200, 8, 1)) * np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0])[:, None]
    assert split_r_hat(draws)[0] < 1.01
    assert report(draws).r_hat[0] > 1.01


def test_one_bad_coordinate_is_enough():
    draws = autoregression(0.0, (200, 4, 2))
    draws[:, 0, 1] += 2.0
    assert not report(draws).converged


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_values_that_are_not_finite_never_count_as_converged(spoil):
    draws = autoregression(0.0, (200, 4, 1))
    draws[100, 2] = spoil
    assert not report(draws).converged


def test_chains_that_never_move_are_not_converged():
    stuck = np.broadcast_to(np.arange(4.0)[:, None], (100, 4, 1))
    assert split_r_hat(stuck)[0] == np.inf
    assert not report(stuck).converged
    assert not report(np.zeros((100, 4, 1))).converged


@pytest.mark.parametrize("shape", [(3, 4, 1), (100, 4), (100, 0, 1)])
def test_draws_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"draws: expected shape \[m, chains, d\]"):
        split_r_hat(np.zeros(shape))

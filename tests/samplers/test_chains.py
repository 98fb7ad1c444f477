"""Draws by chains: their moments, what chains that have not mixed go on with, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments.potentials.quadratic import Quadratic
from conjugate_moments.samplers import chains
from conjugate_moments.samplers.chains import DRAWS_PER_CHAIN, LANGEVIN, TRAJECTORIES, run_chains, sample
from conjugate_moments.samplers.mala import initial_state

KEY = jax.random.key(7)
ROOT = np.array([[2.0, 0.0], [1.5, 0.5]])


def quadratic(cov):
    """½ xᵀ cov⁻¹ x, whose P_w is N(0, cov); float32."""
    return Quadratic.from_matrix(np.linalg.inv(cov).astype(np.float32), np.zeros(len(cov), np.float32))


STANDARD = quadratic(np.eye(2))


def test_moments_within_the_errors_that_ess_claims():
    cov = ROOT @ ROOT.T
    start = 3 * jax.random.normal(KEY, (200, 2))
    found = sample(quadratic(cov), 20_000, key=KEY, start=start, root=jnp.asarray(ROOT))
    assert found.diagnostics.converged
    assert found.points.shape == (20_000, 2)
    ess = np.asarray(found.diagnostics.ess)
    points = np.asarray(found.points, dtype=np.float64)
    np.testing.assert_array_less(np.abs(points.mean(axis=0)), 5 * np.sqrt(np.diag(cov) / ess))
    # Squares decorrelate no slower than the coordinates themselves for a Gaussian.
    error = 5 * np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / ess.min())
    np.testing.assert_array_less(np.abs(np.cov(points.T) - cov), error)


def test_chains_that_have_not_mixed_go_on_by_trajectories(monkeypatch):
    """Deviations from 1 to 8 without a root: too many for 1,500 Langevin moves."""
    deviations = np.linspace(1, 8, 10, dtype=np.float32)
    potential = quadratic(np.diag(deviations**2))
    state = initial_state(potential, deviations * jax.random.normal(KEY, (64, 10)), step=0.1)
    found = run_chains(potential, state, key=KEY)
    assert found.diagnostics.converged
    assert found.diagnostics.moves == TRAJECTORIES.thin * DRAWS_PER_CHAIN
    monkeypatch.setattr(chains, "TRAJECTORIES", LANGEVIN)
    assert not run_chains(potential, state, key=KEY).diagnostics.converged


@pytest.mark.parametrize(("dim", "schedule"), [(chains.SMALL, LANGEVIN), (chains.SMALL + 1, TRAJECTORIES)])
def test_trajectories_are_taken_at_once_in_many_dimensions(dim, schedule):
    potential = quadratic(np.eye(dim))
    found = run_chains(potential, initial_state(potential, jax.random.normal(KEY, (32, dim)), step=0.5), key=KEY)
    assert found.diagnostics.converged
    assert found.diagnostics.moves == schedule.thin * DRAWS_PER_CHAIN
    assert abs(float(found.diagnostics.acceptance) - schedule.acceptance) < 0.05
    variance = np.asarray(found.draws, np.float64).reshape(-1, dim).var(axis=0)
    error = np.sqrt(2 / np.asarray(found.diagnostics.ess))
    np.testing.assert_array_less(np.abs(variance - 1), 5 * error)


def test_bad_arguments_are_named():
    start = jnp.zeros((4, 2))
    with pytest.raises(ValueError, match="start: w is not finite at 4 of 4"):
        sample(STANDARD, 10, key=KEY, start=start + 1e30)  # w overflows
    with pytest.raises(ValueError, match="n: expected an integer >= 1"):
        sample(STANDARD, 0, key=KEY, start=start)
    with pytest.raises(ValueError, match="root: expected shape"):
        sample(STANDARD, 10, key=KEY, start=start, root=jnp.eye(3))
    with pytest.raises(ValueError, match=r"root: expected shape \(2, 2\) or \(2,\), found \(3,\)"):
        sample(STANDARD, 10, key=KEY, start=start, root=jnp.ones(3))

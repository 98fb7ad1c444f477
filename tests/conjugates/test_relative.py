"""Conjugates to a tolerance in units of each coordinate of the source."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conjugate_moments.conjugates.lbfgs import LBFGS
from conjugate_moments.conjugates.newton import Newton
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.potentials.base import gradients
from conjugate_moments.potentials.icnn import InputConvexNetwork

KEY = jax.random.key(0)


def network(scales):
    cov = np.outer(scales, scales) * np.array([[1.0, 0.3], [0.3, 1.0]])
    return InputConvexNetwork.initial(np.zeros(2), cov, widths=(8,), key=KEY)


@pytest.mark.parametrize("solver", [Newton(1e-3, 100), LBFGS(1e-3, 500)])
@pytest.mark.parametrize("scales", [(1.0, 1.0), (1e-6, 1e6), (1e6, 1e6), (1e-6, 1e-6)])
def test_every_coordinate_is_solved_to_its_own_scale(solver, scales):
    net = network(scales)
    spread = np.asarray(scales) ** (1 / 3)  # of the closed form's source, but for the correlation
    x = spread * np.random.default_rng(0).normal(size=(100, 2))
    start = np.asarray(scales) * np.random.default_rng(1).normal(size=(100, 2))
    relative = RelativeConjugate.of_spread(solver, spread)
    found = relative.solve(net, x.astype(np.float32), start.astype(np.float32))
    converged = np.asarray(found.converged)
    assert converged.mean() >= 0.9  # where curvatures differ by 1e9 Newton missed 1 row of 100, L-BFGS 7
    unit = np.asarray(relative.unit)
    residual = np.abs(np.asarray(gradients(net, found.point)) - x) / unit
    assert residual[converged].max() <= 2e-3  # that of the solver, and the rounding of y back to its own scale
    assert np.all((spread / unit > 0.7) & (spread / unit < 1.42))


def test_units_of_one_change_nothing():
    net, solver = network((1.0, 1.0)), Newton(1e-3, 100)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(50, 2)), jnp.float32)
    mine, plain = RelativeConjugate.of_spread(solver, [1.2, 0.8]).solve(net, x, x), solver.solve(net, x, x)
    np.testing.assert_array_equal(mine.point, plain.point)
    np.testing.assert_array_equal(mine.residual, plain.residual)


def test_an_absolute_tolerance_would_ask_too_little_of_a_narrow_source():
    """What the units are for: a Gaussian of standard deviation 1e-6 has a source of 0.01."""
    net = network((1e-6, 1e-6))
    x = 0.01 * np.random.default_rng(0).normal(size=(100, 2))
    found = Newton(1e-1, 100).solve(net, x.astype(np.float32), np.zeros((100, 2), np.float32))
    assert np.all(found.converged)
    assert np.all(found.steps == 0)

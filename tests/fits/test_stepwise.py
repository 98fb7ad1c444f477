"""A training advanced by hand is the fit, bit for bit, wherever it is halted."""

import jax
import numpy as np
import pytest

from conjugate_moments.fits.samples import fit_samples
from conjugate_moments.fits.stepwise import Stepwise
from conjugate_moments.fits.w2dual import fit_w2dual
from conjugate_moments.settings import PeerSettings, TrainingSettings

KEY = jax.random.key(0)
DATA = np.random.default_rng(0).normal(size=(200, 2)) + 0.5
SOURCE = np.random.default_rng(1).laplace(size=(300, 2))


def cmfgen():
    settings = TrainingSettings(steps=6, batch=16, widths=(4,))
    given = {"key": KEY, "settings": settings}
    return Stepwise.cmfgen(DATA, **given), fit_samples(DATA, **given)


def w2dual():
    given = {"key": KEY, "settings": PeerSettings(steps=6, batch=16, widths=(4,))}
    return Stepwise.w2dual(DATA, SOURCE, **given), fit_w2dual(DATA, source=SOURCE, **given)


@pytest.mark.parametrize("method", [cmfgen, w2dual])
def test_stretches_of_any_length_are_the_fit(method):
    loop, fit = method()
    seen = []
    for steps in (0, 1, 3, 2):
        loop.advance(steps)
        seen.append(jax.tree.leaves(loop.network))
    for one, other in zip(seen[-1], jax.tree.leaves(fit.network), strict=True):
        np.testing.assert_array_equal(one, other)
    # A network that was read is not changed by the steps after it.
    assert not all(np.array_equal(one, other) for one, other in zip(seen[1], seen[2], strict=True))
    assert set(loop.trace) == set(fit.trace)
    for name, values in fit.trace.items():
        np.testing.assert_array_equal(loop.trace[name], values)
    with pytest.raises(ValueError, match="steps: found 1, allowed: 0 to 0"):
        loop.advance(1)

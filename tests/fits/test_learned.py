"""Methods by name: each gets what its own function takes, and a source only if it is for one."""

import jax
import numpy as np
import pytest

from conjugate_moments.fits import learned, w2dual
from conjugate_moments.fits.gaussian import fit_gaussian
from conjugate_moments.fits.learned import fit_learned
from conjugate_moments.settings import TrainingSettings

KEY = jax.random.key(0)
DATA = np.random.default_rng(0).normal(size=(200, 2)) + 0.5
SOURCE = np.random.default_rng(1).laplace(size=(300, 2))


@pytest.mark.parametrize(
    ("method", "module", "function", "given"),
    [
        ("cmfgen", learned, "fit_samples", {"method": "cmfgen", "source": None}),
        ("moment", learned, "fit_samples", {"method": "moment", "source": None}),
        ("monge", learned, "fit_samples", {"method": "monge", "source": SOURCE}),
        ("w2dual", w2dual, "fit_w2dual", {"source": SOURCE}),
    ],
)
def test_method_gets_what_its_function_takes(method, module, function, given, monkeypatch):
    seen = {}
    monkeypatch.setattr(module, function, lambda data, **rest: seen.update(rest, data=data) or "fit")
    settings = TrainingSettings(steps=4)
    options = {"settings": settings, "progress": True, "checkpoint": "here"}
    assert fit_learned(method, DATA, key=KEY, source=SOURCE, **options) == "fit"
    expected = {"data": DATA, "key": KEY, "settings": settings, "progress": True, "checkpoint": "here", **given}
    assert set(seen) == set(expected)
    assert all(seen[name] is value for name, value in expected.items())


def test_affine_is_the_closed_form_of_mean_and_covariance():
    found = fit_learned("affine", DATA, key=KEY, settings=None, source=SOURCE)
    expected = fit_gaussian(DATA.mean(axis=0), np.cov(DATA.T))
    np.testing.assert_array_equal(found.transport(DATA), expected.transport(DATA))


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method: found 'cmfmen', allowed: 'cmfgen', 'monge', 'moment'"):
        fit_learned("cmfmen", DATA, key=KEY, settings=None, source=None)

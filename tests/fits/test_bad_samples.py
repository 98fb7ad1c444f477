"""Samples that cannot be fitted, or hardly: refused in one line, taken as they are, or stopped with a trace."""

import tracemalloc
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import jax
import numpy as np
import pandas as pd
import pytest

from conjugate_moments import DivergedError, TrainingSettings, fit_gaussian, fit_samples
from conjugate_moments.fits import samples
from conjugate_moments.fits._check import FARTHEST, check_reach, check_samples, mean_and_cov
from conjugate_moments.fits.samples import fingerprint

KEY = jax.random.key(0)
GOOD = np.random.default_rng(0).normal(size=(60, 3))
QUICK = TrainingSettings(steps=40, batch=64, widths=(8,))


def with_entry(value):
    objects = GOOD.astype(object)
    objects[3, 1] = value
    return objects


def with_column(values):
    return pd.DataFrame({"a": GOOD[:, 0], "b": GOOD[:, 1], "c": values})


REFUSED = {
    "NaN": (np.where(GOOD > 2, np.nan, GOOD), "1 NaN or infinite entries, allowed: none"),
    "infinity": (np.where(GOOD > 2, np.inf, GOOD), "1 NaN or infinite entries, allowed: none"),
    "one axis": (GOOD[:, 0], "shape [60], allowed: a non-empty [n, d]"),
    "three axes": (GOOD[None], "shape [1, 60, 3], allowed"),
    "empty": (np.empty((0, 3)), "shape [0, 3], allowed: a non-empty"),
    "rows of different lengths": ([[1.0, 2.0], [3.0]], "rows of different lengths, allowed: a non-empty [n, d]"),
    "fewer points than dimensions": (GOOD[:2], "2 points in dimension 3, allowed: at least 30, 10 for each"),
    "fewer than ten times": (GOOD[:29], "29 points in dimension 3, allowed: at least 30, 10 for each dimension"),
    "constant column": (GOOD * [1, 0, 1] + 0.1, "constant column 1, allowed: columns that vary"),
    "constant columns": (GOOD * [0, 1, 0], "constant columns 0, 2, allowed"),
    "constant column of a frame": (with_column(0.1), "constant column c, allowed"),
    "duplicate column": (GOOD[:, [0, 1, 1]], "columns 1, 2 that are the same but for scale and shift, allowed"),
    "column in another unit": (with_column(32 - 1.8 * GOOD[:, 0]), "columns a, c that are the same but for scale"),
    "dependent columns": (with_column(GOOD[:, 0] - GOOD[:, 1]), "linearly dependent columns a, b, c, allowed"),
    "dependent columns of other scales": (
        np.column_stack([GOOD[:, 0], 1e6 * GOOD[:, 1], 1e-6 * (GOOD[:, 0] + GOOD[:, 1])]),
        "linearly dependent columns 0, 1, 2, allowed",
    ),
    "standard deviation beyond float32": (GOOD * [1, 1e200, 1], "column 1 with standard deviation inf, allowed: 1e-15"),
    "complex": (GOOD + 0j, "an array of complex128, allowed: integers or floats"),
    "truth values": (GOOD > 0, "an array of bool, allowed"),
    "text": (GOOD.astype(str), "an array of str"),
    "dates": (GOOD.astype("M8[s]"), "an array of datetime64[s], allowed"),
    "nothing": (None, "the entry None, allowed: numbers that float64 holds exactly"),
    "a missing object": (with_entry(None), "the entry None, allowed: numbers"),
    "text among objects": (with_entry("a\nb"), r"the entry 'a\nb', allowed"),
    "a truth value among objects": (with_entry(True), "the entry True, allowed"),
    "a complex number among objects": (with_entry(1j), "the entry 1j, allowed"),
    "an integer that float64 rounds": (with_entry(2**70 + 1), "the entry 1180591620717411303425, allowed: numbers"),
    "a missing value of pandas": (with_column(pd.array([None] + [1] * 59, dtype="Int64")), "the entry <NA>, allowed"),
    "a masked entry": (np.ma.masked_greater(GOOD, 2), "1 masked entries, allowed: none (drop their rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_samples_are_refused_in_one_line(case):
    samples, message = REFUSED[case]
    with pytest.raises(ValueError, match="data: found ") as caught:
        check_samples("data", samples)
    assert str(caught.value).startswith(f"data: found {message}")
    assert "\n" not in str(caught.value)


def test_fit_refuses_them_too():
    with pytest.raises(ValueError, match="data: found constant column 1"):
        fit_samples(GOOD * [1, 0, 1], key=KEY, settings=QUICK)
    with pytest.raises(ValueError, match="source: found an array of bool"):
        fit_samples(GOOD, key=KEY, settings=QUICK, method="monge", source=GOOD > 0)


EIGHTHS = np.rint(8 * GOOD) / 8  # which every kind below holds exactly


@pytest.mark.parametrize(
    "samples",
    [
        EIGHTHS.astype(np.float16),
        EIGHTHS.astype(np.float32),
        EIGHTHS.astype(np.longdouble),
        EIGHTHS.astype(object),
        np.array([[Fraction(int(8 * value), 8) for value in row] for row in EIGHTHS]),
        np.array([[Decimal(float(value)) for value in row] for row in EIGHTHS]),
        EIGHTHS.tolist(),
        np.ma.masked_greater(EIGHTHS, 100.0),
        pd.DataFrame(EIGHTHS),
        jax.numpy.asarray(EIGHTHS),
    ],
    ids=["float16", "float32", "longdouble", "object", "Fraction", "Decimal", "lists", "masked", "frame", "jax"],
)
def test_numbers_of_every_kind_are_taken(samples):
    found = check_samples("data", samples)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, EIGHTHS)


def test_integers_are_taken():
    np.testing.assert_array_equal(check_samples("data", (8 * EIGHTHS).astype(np.int8)), 8 * EIGHTHS)


CORRELATED = np.random.default_rng(0).multivariate_normal([0.0, 0.0], [[1.0, 0.3], [0.3, 1.0]], 20_000)
FITTED = TrainingSettings(steps=300, batch=256, widths=(64,), smoothing=0.25, slope=2.5)


@pytest.mark.parametrize("scales", [(1e-6, 1e-6), (1e6, 1e6), pytest.param((1e-6, 1e6), marks=pytest.mark.optimised)])
def test_a_gaussian_of_any_scale_gives_the_closed_form(scales):
    """Scaling does not commute with the factorisation: S = cov^{1/3} is of standard deviations 0.01 and 100 here."""
    data = CORRELATED * scales
    truth = fit_gaussian(data.mean(axis=0), np.cov(data, rowvar=False))
    found = fit_samples(data, key=KEY, settings=FITTED)
    assert found.diagnostics["unconverged"] < 0.01
    assert found.diagnostics["acceptance"] == pytest.approx(0.6, abs=0.1)
    x = truth.sample_gibbs(1_000, key=KEY)
    y = found.transport(x)
    solved = ~np.isnan(y).any(axis=1)
    assert solved.mean() > 0.98
    errors = np.mean(((y - truth.transport(x)) / scales)[solved] ** 2, axis=0)
    # L²-UVP in each coordinate: at most 3.2, 0.02 and 5.9 % were measured after these 300 steps.
    assert errors.max() < 0.1


@pytest.mark.parametrize("width", [1e-2, 1e2])
def test_a_fit_that_ran_away_is_not_called_sound(width, monkeypatch):
    """Chains a hundredth, or a hundred times, as wide as ∇w of the data are no draws of ∇w♯ρ; the fit's own may be."""

    def astray(*arguments, **options):
        carry, trace = train(*arguments, **options)
        position = carry.chains.position
        narrowed = position.mean(axis=0) + width * (position - position.mean(axis=0))
        return carry._replace(chains=replace(carry.chains, position=narrowed)), trace

    fit_samples(GOOD, key=KEY, settings=QUICK)
    train = samples.train
    monkeypatch.setattr(samples, "train", astray)
    with pytest.raises(DivergedError, match="times the variance of the Gibbs measure by step 40, allowed"):
        fit_samples(GOOD, key=KEY, settings=QUICK)


def test_closed_form_at_scales_apart_is_that_of_the_coordinates():
    """Where one coordinate is a million million times wider, and independent, each is factorised by itself."""
    found = fit_gaussian([2e-6, 3e6], np.diag([1e-12, 1e12]))
    np.testing.assert_allclose(np.diag(found.gibbs_cov), [1e-4 * 1e-4 * 1e4, 1e4 * 1e4 * 1e-4], rtol=1e-12)
    np.testing.assert_allclose(found.gibbs_mean, [2e-6 / (1 + 1e-4), 3e6 / (1 + 1e4)], rtol=1e-12)
    correlated = fit_gaussian([0.0, 0.0], np.cov(CORRELATED * [1e-6, 1e6], rowvar=False))
    np.testing.assert_allclose(correlated.matrix @ correlated.gibbs_cov @ correlated.matrix, correlated.cov, rtol=1e-12)


def test_scales_apart_that_a_rotation_has_mixed_are_refused():
    """Twelve digits between two directions leave no digit of the narrower one in float32."""
    rotation = np.array([[0.8, -0.6], [0.6, 0.8]])
    with pytest.raises(ValueError, match="data: found columns 0, 1 that are the same but for scale and shift"):
        check_samples("data", CORRELATED * [1e-6, 1e6] @ rotation)


def test_moments_by_blocks_are_those_of_numpy(monkeypatch):
    from conjugate_moments.fits import _check

    monkeypatch.setattr(_check, "ROWS", 7)
    mean, cov = mean_and_cov(GOOD)
    np.testing.assert_allclose(mean, GOOD.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(cov, np.cov(GOOD, rowvar=False), rtol=1e-13)


def test_checks_and_moments_take_no_memory_that_grows_like_a_copy():
    data = np.random.default_rng(0).normal(size=(1_000_000, 2))
    tracemalloc.start()
    try:
        assert check_samples("data", data) is data
        mean_and_cov(data)
        fingerprint(data, None, QUICK, "cmfgen", KEY)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Whether each number is finite takes an eighth of the data; a block of rows and its offsets a fifteenth.
    assert peak < 0.25 * data.nbytes


def test_no_row_is_left_out():
    """The data that a fit holds are all of the rows, and the last row may be drawn."""
    from conjugate_moments.fits.samples import _start, draw_rows

    given = _start("cmfgen", check_samples("data", GOOD), None, QUICK, KEY).given
    np.testing.assert_array_equal(given.data, GOOD.astype(np.float32))
    rows = draw_rows(jax.numpy.arange(60)[:, None], 2_000, KEY)
    assert set(np.unique(rows)) == set(range(60))  # one is missing with probability 60 · (59/60)^2000 = 1e-13


def test_mean_far_from_zero_is_refused_where_no_data_can_say_what_w_is():
    # N(m, 1): P_w = N(m/2, 1), at a distance of m/2 in units of the root of 1 + 1.
    mean, one = np.array([FARTHEST * np.sqrt(8)]), np.eye(1)
    check_reach("data", 0.99 * mean, 0.99 * mean / 2, one, one)
    with pytest.raises(ValueError, match=r"data: found a mean for which P_w lies 10.1 standard deviations .*subtract"):
        check_reach("data", 1.01 * mean, 1.01 * mean / 2, one, one)
    with pytest.raises(ValueError, match="data: found a mean for which P_w lies"):
        fit_samples(GOOD + 1e6, key=KEY, settings=QUICK)


def diverging():
    return TrainingSettings(steps=200, batch=64, widths=(8,), learning_rate=1e3, conjugate_steps=5)


@pytest.mark.parametrize("method", ["cmfgen", "monge", "moment"])
def test_absurd_learning_rate_stops_early_with_its_trace(method):
    with pytest.raises(DivergedError, match=rf"{method}: found .* by step \d+, .*lower learning_rate") as caught:
        fit_samples(GOOD, key=KEY, settings=diverging(), method=method)
    steps = {len(values) for values in caught.value.trace.values()}
    assert len(steps) == 1
    assert steps.pop() < 200
    assert "\n" not in str(caught.value)


def step_to(scalars):
    """A step that does nothing and reports the given scalars."""

    def step(carry, data, key):
        return carry, {name: jax.numpy.asarray(value) for name, value in scalars.items()}

    return step


@pytest.mark.parametrize(
    ("carry", "scalars", "found", "steps"),
    [
        (0.0, {"loss": np.nan}, "a loss that is not finite", 2),
        (np.inf, {"loss": 0.0}, "parameters that are not finite", 2),
        (0.0, {"loss": 0.0, "acceptance": 0.001}, "chains that accept 0.001 of their moves", 4),
        (0.0, {"loss": 0.0, "unconverged": 0.9}, "0.9 of the conjugates not solved", 4),
    ],
)
def test_each_way_of_going_astray_is_named(carry, scalars, found, steps):
    from conjugate_moments.fits._training import train

    with pytest.raises(DivergedError, match=f"some: found {found} by step {steps}, ") as caught:
        train(step_to(scalars), jax.numpy.asarray(carry), None, 40, key=KEY, name="some")
    assert len(caught.value.trace["loss"]) == steps


def test_sound_training_goes_on_to_the_end():
    from conjugate_moments.fits._training import train

    scalars = {"loss": -1e20, "acceptance": 0.1, "unconverged": 0.1}
    trace = train(step_to(scalars), jax.numpy.asarray(0.0), None, 40, key=KEY, name="some")[1]
    assert len(trace["loss"]) == 40

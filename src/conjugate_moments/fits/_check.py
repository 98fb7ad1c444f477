"""What is asked of the samples that a network is fitted to, and their first two moments."""

from __future__ import annotations

import math
from numbers import Complex, Real
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from conjugate_moments._matrices import correlations

FEWEST = 10  # data points for each dimension
ROWS = 65_536  # moments are summed over so many at a time: memory does not grow with the number of points
DEPENDENT = 1e-10  # smallest eigenvalue of the correlations, below which columns count as linearly dependent
SHARE = 0.1  # of the largest entry of that eigenvector, beyond which a column is named
FARTHEST = 10.0  # standard deviations from the data to the closed form's source; float32 and fits fail well beyond
NAMED = 6  # columns that a message names


def check_samples(name: str, data: ArrayLike) -> np.ndarray:
    """The samples in float64, `[n, d]`.

    Numbers of every kind are taken: integers, floats of every precision (float16 with the three digits it has),
    objects that are numbers, masked arrays without a masked entry, frames of pandas. Truth values and complex numbers
    are not: they are more likely a slip. Columns may differ in scale by any factor. An array of float64 is not copied.

    Raises:
      ValueError: naming what is wrong with them, and the columns.
    """
    labels = [str(label) for label in getattr(data, "columns", ())]
    array = _as_floats(name, data)
    if array.ndim != 2 or not array.size:
        _refuse(name, f"shape {list(array.shape)}", "a non-empty [n, d]")
    n, d = array.shape
    if not np.all(np.isfinite(array)):
        _refuse(name, f"{int(np.sum(~np.isfinite(array)))} NaN or infinite entries", "none")
    if n < FEWEST * d:
        _refuse(name, f"{n} points in dimension {d}", f"at least {FEWEST * d}, {FEWEST} for each dimension")
    _check_columns(name, array, labels or [str(j) for j in range(d)])
    return array


def _refuse(name: str, found: str, allowed: str) -> NoReturn:
    raise ValueError(f"{name}: found {found}, allowed: {allowed}") from None


def _as_floats(name: str, data: ArrayLike) -> np.ndarray:
    if isinstance(data, np.ma.MaskedArray):
        masked = int(np.sum(np.ma.getmaskarray(data)))
        if masked:
            _refuse(name, f"{masked} masked entries", "none (drop their rows, or fill them)")
        data = data.data
    try:
        array = np.asarray(data)
    except ValueError:  # rows of different lengths
        _refuse(name, "rows of different lengths", "a non-empty [n, d]")
    if array.dtype.kind == "O":
        return np.array([_number(name, entry) for entry in array.ravel()]).reshape(array.shape)
    if array.dtype.kind not in "iuf":
        _refuse(name, f"an array of {array.dtype.name}", "integers or floats")
    return array.astype(np.float64, copy=False)


def _number(name: str, entry: Any) -> float:
    """One entry of an array of objects."""
    numeric = isinstance(entry, Real) or (hasattr(entry, "__float__") and not isinstance(entry, Complex))
    if numeric and not isinstance(entry, bool | np.bool_):
        try:
            value = float(entry)  # pyright: ignore[reportArgumentType]
            # A float of another kind, or NaN, is not equal to itself by every library: only integers are held to it.
            if not (isinstance(entry, int) and value != entry):
                return value
        except (ValueError, TypeError, OverflowError):
            pass
    text = " ".join(repr(entry).split())
    _refuse(name, f"the entry {text if len(text) <= 40 else text[:37] + '...'}", "numbers that float64 holds exactly")


def _check_columns(name: str, array: np.ndarray, labels: list[str]) -> None:
    constant = np.flatnonzero(array.min(axis=0) == array.max(axis=0))
    if constant.size:
        _refuse(name, f"constant {_columns(labels, constant)}", "columns that vary (drop it)")
    with np.errstate(over="ignore", invalid="ignore"):
        cov = mean_and_cov(array)[1]
    # Float32 keeps squares down to 1e-38: beyond these ends a variance is lost.
    spread = np.sqrt(np.diag(cov))
    extreme = np.flatnonzero(~((spread > 1e-15) & (spread < 1e15)))
    if extreme.size:
        found = f"{_columns(labels, extreme)} with standard deviation {spread[extreme[0]]:.3g}"
        _refuse(name, found, "1e-15 to 1e+15 (change the unit)")
    correlation, _ = correlations(cov)
    twins = np.argwhere(np.triu(np.abs(correlation) > 1 - DEPENDENT, k=1))
    if len(twins):
        found = f"{_columns(labels, twins[0])} that are the same but for scale and shift"
        _refuse(name, found, "columns that span all dimensions (drop one)")
    eigenvalues, vectors = np.linalg.eigh(correlation)
    if not eigenvalues[0] > DEPENDENT:
        involved = np.abs(vectors[:, 0])
        found = f"linearly dependent {_columns(labels, np.flatnonzero(involved > SHARE * involved.max()))}"
        _refuse(name, found, "columns that span all dimensions (drop one)")


def _columns(labels: list[str], places: np.ndarray) -> str:
    names = [labels[j] for j in places[:NAMED]]
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return f"column{'s' * (len(places) > 1)} {', '.join(names)}{more}"


def check_reach(name: str, mean: np.ndarray, source_mean: np.ndarray, cov: np.ndarray, source_cov: np.ndarray) -> None:
    """Refuse data from which the source of their Gaussian, N(source_mean, source_cov), lies far.

    The conjugate factorisation depends on where 0 is. Data with a mean of many standard deviations have their P_w where
    there are no data that could say what w is.

    Raises:
      ValueError: saying how far.
    """
    offset = source_mean - mean
    distance = math.sqrt(offset @ np.linalg.solve(cov + source_cov, offset))
    if not distance <= FARTHEST:
        found = f"a mean for which P_w lies {distance:.3g} standard deviations from the data"
        _refuse(name, found, f"at most {FARTHEST:g} (subtract the mean, or use the method 'moment', which does)")


def mean_and_cov(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean `[d]` and covariance `[d, d]` of samples `[n, d]`, a block of rows at a time."""
    mean = samples.mean(axis=0)
    total = np.zeros((samples.shape[1],) * 2)
    for first in range(0, len(samples), ROWS):
        offsets = samples[first : first + ROWS] - mean
        total += offsets.T @ offsets
    return mean, total / (len(samples) - 1)

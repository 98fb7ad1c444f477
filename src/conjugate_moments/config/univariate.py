"""Experiment 2: laws on the line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conjugate_moments.config._messages import KeyPath, closest, listed, one_line, quote, refuse

FEWEST_SAMPLES = 10
WEIGHT_TOLERANCE = 1e-12
HEAVY = 10.0 ** (4 / 3)  # growth of a quantile between tail masses 1e-6 and 1e-10 where the tail falls as y^-3


@dataclass(frozen=True)
class Component:
    """One component of a mixture: a family of `scipy.stats` and its parameters."""

    family: str
    parameters: Mapping[str, float]


@dataclass(frozen=True)
class ScipyEntry:
    """A law of `scipy.stats`."""

    label: str
    family: str
    parameters: Mapping[str, float]


@dataclass(frozen=True)
class MixtureEntry:
    """A finite mixture of laws of `scipy.stats`."""

    label: str
    family: str
    weights: tuple[float, ...]
    components: tuple[Component, ...]


@dataclass(frozen=True)
class PowerEntry:
    """The law whose conjugate potential is |y|^p/p, p the exponent."""

    label: str
    family: str
    exponent: float


@dataclass(frozen=True)
class SamplesEntry:
    """The empirical law of the numbers in `file`, which is already joined to the root it was relative to."""

    label: str
    family: str
    file: Path


UnivariateEntry = ScipyEntry | MixtureEntry | PowerEntry | SamplesEntry
OWN_FAMILIES: dict[str, type] = {"mixture": MixtureEntry, "power": PowerEntry, "samples": SamplesEntry}


@dataclass(frozen=True)
class Univariate:
    """Experiment 2: laws on the line, and when the iteration stops (tolerance in standard deviations of P_w)."""

    tolerance: float
    max_iterations: int
    laws: Mapping[str, UnivariateEntry]


def read_samples(path: Path | str) -> NDArray[np.float64]:
    """The numbers in a .npy, .txt or .csv file, shape `[n]`.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if it does not hold one column of at least 10 finite numbers that are not all equal.
    """
    path = Path(path)
    if path.suffix == ".npy":
        with path.open("rb") as handle:
            values = np.lib.format.read_array(handle, allow_pickle=False)
    else:
        values = np.asarray([float(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()])
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise ValueError(f"an array of shape {list(values.shape)} and type {values.dtype}")
    values = values.astype(np.float64)
    if len(values) < FEWEST_SAMPLES:
        raise ValueError(f"{len(values)} numbers")
    if not np.all(np.isfinite(values)):
        raise ValueError("numbers that are not finite")
    if np.all(values == values[0]):
        raise ValueError("numbers that are all equal")
    return values


def check_univariate(univariate: Univariate, config: Any) -> None:
    """Refuse equal labels, parameters and weights that are no law of finite variance, and unusable files."""
    named: dict[str, str] = {}
    for name, entry in univariate.laws.items():
        path = ("univariate", "laws", name)
        if entry.label in named:
            refuse((*path, "label"), quote(entry.label), f"a label other than that of {named[entry.label]}")
        named[entry.label] = name
        match entry:
            case ScipyEntry():
                _check_family(path, entry)
            case MixtureEntry():
                _check_mixture(path, entry)
            case SamplesEntry():
                _check_samples((*path, "file"), config["univariate"]["laws"][name]["file"], entry.file)
            case PowerEntry():
                pass  # the schema says it all


def _check_mixture(path: KeyPath, entry: MixtureEntry) -> None:
    if len(entry.weights) != len(entry.components):
        refuse((*path, "weights"), f"{len(entry.weights)} weights", f"{len(entry.components)}, one per component")
    if abs(math.fsum(entry.weights) - 1) > WEIGHT_TOLERANCE:
        found = f"{quote(list(entry.weights))} with sum {math.fsum(entry.weights):.15g}"
        refuse((*path, "weights"), found, f"numbers that sum to 1 within {WEIGHT_TOLERANCE}")
    for index, component in enumerate(entry.components):
        _check_family((*path, "components", index), component)


def _check_family(path: KeyPath, law: ScipyEntry | Component) -> None:
    family, path = families()[law.family], (*path, "parameters")
    shapes: Sequence[str] = family.shapes.split(", ") if family.shapes else ()
    known = [*shapes, "loc", "scale"]
    for name in law.parameters:
        if name not in known:
            refuse((*path, name), f"the unknown key {quote(name)}", listed(known), closest(name, known))
    for name in shapes:
        if name not in law.parameters:
            refuse((*path, name), "nothing", f"a number, a shape of scipy.stats.{law.family}")
    if law.parameters.get("scale", 1.0) <= 0:
        refuse((*path, "scale"), quote(law.parameters["scale"]), "a number > 0")
    with np.errstate(all="ignore"):
        low, high = family(**law.parameters).support()
    if not low < high:  # scipy answers NaN for shapes that it does not accept
        refuse(path, quote(dict(law.parameters)), f"numbers that scipy.stats.{law.family} accepts")
    if not _has_variance(family(**law.parameters)):
        refuse(path, f"{quote(dict(law.parameters))} (infinite variance)", "a law of finite variance")


def _has_variance(law: Any) -> bool:
    """Whether the variance is finite. Many families integrate it numerically, in seconds: quantiles clear light tails.

    Where P(|Y| > y) falls as y^-α, the quantile at tail mass s leaves the median as s^(-1/α); the variance needs α > 2.
    """
    masses = np.array([1e-6, 1e-10])
    with np.errstate(all="ignore"):
        growth = np.abs(np.stack([law.isf(masses), law.ppf(masses)]) - law.ppf(0.5))
        if np.all(growth[:, 1] < HEAVY * growth[:, 0]):
            return True
        return math.isfinite(law.var())


def _check_samples(path: KeyPath, written: str, file: Path) -> None:
    allowed = f"one column of at least {FEWEST_SAMPLES} finite numbers, not all equal, no header"
    try:
        read_samples(file)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        refuse(path, f"{quote(written)} ({reason})", "a file that can be read")
    except (ValueError, MemoryError) as error:
        refuse(path, f"{quote(written)} ({one_line(error)})", allowed)


@cache
def families() -> Mapping[str, Any]:
    """The continuous families of `scipy.stats` by name."""
    from scipy import stats  # takes most of a second, and only validation needs it

    return {name: value for name, value in vars(stats).items() if isinstance(value, stats.rv_continuous)}

"""Univariate laws from their entries in the configuration."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from conjugate_moments.config.univariate import (
    Component,
    MixtureEntry,
    PowerEntry,
    SamplesEntry,
    ScipyEntry,
    UnivariateEntry,
    read_samples,
)
from conjugate_moments.measures.univariate import Affine, Mixture, PowerLaw, UnivariateLaw

Array = NDArray[np.floating]  # float64 throughout


def law_from_entry(entry: UnivariateEntry, *, scale: float = 1.0, centre: bool = False) -> UnivariateLaw | Array:
    """The law of `scale` · (Y − m), where Y has the law of the entry and m is its mean, or 0 without `centre`.

    Args:
      entry: a validated entry of `univariate.laws`.
      scale: positive factor, no unit.
      centre: whether to move the mean to 0.

    Returns:
      The law; for a file of samples, the numbers themselves, shape `[n]`.

    Raises:
      ValueError: if `scale` is not positive and finite, or if the law to be centred has no finite mean.
      OSError: if a file of samples can no longer be read.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale: expected a positive finite number, found {scale}")
    law = _law(entry)
    if scale == 1 and not centre:
        return law
    shift = -scale * _mean(law) if centre else 0.0
    if not math.isfinite(shift):
        raise ValueError(f"law: {entry.label} has no finite mean, so it cannot be centred")
    if isinstance(law, np.ndarray):
        return shift + scale * law
    return Affine(law, shift=shift, scale=scale)


def _law(entry: UnivariateEntry) -> UnivariateLaw | Array:
    match entry:
        case ScipyEntry():
            return _frozen(entry)
        case MixtureEntry(weights=weights, components=components):
            return Mixture(weights, tuple(_frozen(component) for component in components))
        case PowerEntry(exponent=exponent):
            return PowerLaw(exponent)
        case SamplesEntry(file=file):
            return read_samples(file)


def _frozen(entry: ScipyEntry | Component) -> Any:
    from scipy import stats  # takes a second: for the jobs that need it

    return getattr(stats, entry.family)(**entry.parameters)


def _mean(law: UnivariateLaw | Array) -> float:
    match law:
        case Mixture(weights=weights, components=components):
            return math.fsum(w * float(c.mean()) for w, c in zip(weights, components, strict=True))
        case PowerLaw():
            return 0.0  # symmetric
        case _:
            return float(cast("Any", law).mean())

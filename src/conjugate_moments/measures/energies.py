"""Laws that are known by an unnormalised log-density, with exact draws, constants and modes as truths.

Each is a hard case of its own: bent (banana), in parts (mixtures, moons, wells), hollow (ring), of many scales
(funnel), heavy in the tail (Student), badly conditioned (anisotropic), real (logistic).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from conjugate_moments.measures import _densities
from conjugate_moments.measures._densities import anisotropic_moments, breast_cancer
from conjugate_moments.measures._energy import Energy, Modes

__all__ = ["ENERGIES", "Energy", "Family", "Modes", "anisotropic_moments", "breast_cancer", "energy"]

LARGEST = 1000  # dimension, of the families that exist in any


@dataclass(frozen=True)
class Family:
    """An energy in the dimensions that it exists in.

    Args:
      build: the energy in a given dimension.
      smallest: dimension.
      largest: dimension.
    """

    build: Callable[[int], Energy]
    smallest: int = 2
    largest: int = 2


ENERGIES: dict[str, Family] = {
    "banana": Family(_densities.banana),
    "four_modes": Family(_densities.four_modes),
    "forty_modes": Family(_densities.forty_modes),
    "ring": Family(_densities.ring),
    "funnel": Family(_densities.funnel, 2, LARGEST),
    "two_moons": Family(_densities.two_moons),
    "double_wells": Family(_densities.double_wells, 2, LARGEST),
    "student_t": Family(_densities.student_t, 2, LARGEST),
    "anisotropic": Family(_densities.anisotropic, 2, LARGEST),
    "logistic": Family(_densities.logistic, 31, 31),
}


@cache
def energy(name: str, dim: int | None = None) -> Energy:
    """The energy of that name; the same object at every call, so that what is compiled for it is used again.

    Args:
      name: a key of `ENERGIES`.
      dim: dimension; None for the smallest, 2 but for logistic, which has 31.

    Raises:
      ValueError: if there is no such energy, or not in that dimension.
    """
    if name not in ENERGIES:
        raise ValueError(f"name: found {name!r}, allowed: {', '.join(map(repr, ENERGIES))}")
    family = ENERGIES[name]
    dim = family.smallest if dim is None else dim
    if not (isinstance(dim, int) and family.smallest <= dim <= family.largest):
        last = f" to {family.largest}" if family.largest > family.smallest else ""
        raise ValueError(f"dim: found {dim} for {name}, allowed: {family.smallest}{last}")
    return family.build(dim)

"""Experiment 4: laws known by their unnormalised density."""

from __future__ import annotations

from dataclasses import dataclass

from conjugate_moments.config._messages import refuse
from conjugate_moments.settings import DensitySettings

SAMPLERS = ("mala", "nuts", "smc")  # whose budget is what CMFMA used
# Dimensions of the energies that do not exist in every one from 2 on; tests hold them against the energies themselves.
ONLY = {"banana": 2, "four_modes": 2, "forty_modes": 2, "ring": 2, "two_moons": 2, "logistic": 31}


@dataclass(frozen=True)
class Energies:
    """Names of energies, each in all of the dimensions, with one run per seed and networks that are trained alike."""

    energies: tuple[str, ...]
    dimensions: tuple[int, ...]
    seeds: tuple[int, ...]
    training: DensitySettings


@dataclass(frozen=True)
class Density:
    """Experiment 4: `points` are per seed; `epsilon_share` is a share of the law's total variance."""

    methods: tuple[str, ...]
    points: int
    epsilon_share: float
    energies: tuple[Energies, ...]


def check_density(density: Density) -> None:
    """Refuse samplers without a budget, an energy in a dimension that it does not have, and one written twice."""
    given = [method for method in density.methods if method in SAMPLERS]
    if given and "cmfma" not in density.methods:
        refuse(("density", "methods"), f"{given[0]} without cmfma", "cmfma too, whose evaluations are its budget")
    seen: set[tuple[str, int]] = set()
    for index, entry in enumerate(density.energies):
        path = ("density", "energies", index)
        for name in entry.energies:
            for place, dimension in enumerate(entry.dimensions):
                if ONLY.get(name, dimension) != dimension:
                    refuse((*path, "dimensions", place), f"{dimension} for {name}", str(ONLY[name]))
        cases = {(name, dimension) for name in entry.energies for dimension in entry.dimensions}
        for name, dimension in sorted(cases & seen):
            refuse(path, f"{name} in dimension {dimension}", "an energy and dimension that no entry before has")
        seen |= cases

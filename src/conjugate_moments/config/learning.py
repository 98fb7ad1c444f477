"""Experiments 3 and 7: planar laws and laws of known potential, both learned from samples."""

from __future__ import annotations

from dataclasses import dataclass

from conjugate_moments.config._messages import refuse
from conjugate_moments.settings import PeerSettings, TrainingSettings

FEWEST_PER_DIMENSION = 10


@dataclass(frozen=True)
class Planar:
    """Experiment 3: names of the planar laws, data points per seed, and how a network is trained on each."""

    laws: tuple[str, ...]
    samples: int
    training: TrainingSettings


@dataclass(frozen=True)
class Truth:
    """Experiment 7: families of potentials that are known, each learned in all of the dimensions, trained alike.

    `samples` are data points per seed.
    """

    families: tuple[str, ...]
    dimensions: tuple[int, ...]
    samples: int
    training: TrainingSettings


@dataclass(frozen=True)
class Learning:
    """Experiments 3 and 7: `points` are per seed, `epsilon` is in squared units of the data.

    `w2dual` is how OTT's networks are trained, in every dimension.
    """

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    points: int
    epsilon: float
    w2dual: PeerSettings
    planar: Planar
    truth: tuple[Truth, ...]


def check_learning(learning: Learning) -> None:
    """Refuse methods that no truth judges, a law written twice, and too few samples for a dimension."""
    if set(learning.methods) == {"moment"}:
        refuse(("learning", "methods"), "moment alone", "one more, as moment is for planar laws only")
    seen: set[tuple[str, int]] = set()
    for index, entry in enumerate(learning.truth):
        laws = {(family, dimension) for family in entry.families for dimension in entry.dimensions}
        for family, dimension in sorted(laws & seen):
            path = ("learning", "truth", index)
            refuse(path, f"{family} in dimension {dimension}", "a family and dimension that no entry before has")
        seen |= laws
        largest = max(entry.dimensions)
        fewest = FEWEST_PER_DIMENSION * largest
        if entry.samples < fewest:
            allowed = f"an integer >= {fewest}, {FEWEST_PER_DIMENSION} per dimension of the largest, {largest}"
            refuse(("learning", "truth", index, "samples"), str(entry.samples), allowed)

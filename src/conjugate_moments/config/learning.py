"""Experiments 3 and 7: planar laws and laws of known potential, both learned from samples."""

from __future__ import annotations

from dataclasses import dataclass

from conjugate_moments.config._messages import refuse
from conjugate_moments.settings import TrainingSettings

FEWEST_PER_DIMENSION = 10


@dataclass(frozen=True)
class Planar:
    """Experiment 3: names of the planar laws, and how a network is trained on each."""

    laws: tuple[str, ...]
    training: TrainingSettings


@dataclass(frozen=True)
class TruthDimension:
    """A dimension, and how the networks in it are trained."""

    dimension: int
    training: TrainingSettings


@dataclass(frozen=True)
class Truth:
    """Experiment 7: families of potentials that are known, and the dimensions in which they are learned."""

    families: tuple[str, ...]
    dimensions: tuple[TruthDimension, ...]


@dataclass(frozen=True)
class Learning:
    """Experiments 3 and 7: `samples` and `points` are per seed, `epsilon` in squared units of the data."""

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    samples: int
    points: int
    epsilon: float
    planar: Planar
    truth: Truth


def check_learning(learning: Learning) -> None:
    """Refuse a dimension that is written twice, and too few samples for the largest."""
    dimensions = [entry.dimension for entry in learning.truth.dimensions]
    for index, d in enumerate(dimensions):
        if d in dimensions[:index]:
            path = ("learning", "truth", "dimensions", index, "dimension")
            refuse(path, str(d), "a dimension that no entry before has")
    fewest = FEWEST_PER_DIMENSION * max(dimensions)
    if learning.samples < fewest:
        allowed = f"an integer >= {fewest}, {FEWEST_PER_DIMENSION} per dimension of the largest, {max(dimensions)}"
        refuse(("learning", "samples"), str(learning.samples), allowed)

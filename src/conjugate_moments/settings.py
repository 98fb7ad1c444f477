"""Settings of the fits that train a network."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

METHODS = ("cmfgen", "monge", "moment")


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained. The defaults suit some 30,000 planar points and two CPU cores.

    Args:
      steps: of the optimiser.
      batch: data points, and source points, per step.
      learning_rate: at the start; it decays to 0 along a cosine.
      widths: of the hidden layers.
      smoothing: β of the units σ(s) = (s + √(s² + 4β²))/2; small values allow steep maps.
      slope: standard deviation of the first layer's arguments over the data, at the start.
      quadratic: share of the Gaussian closed form's factor at the start, from 0.1 to below 1.
      moves: of each Langevin chain between two steps.
      tolerance: on ‖∇w(y) − x‖_∞ of the conjugate, in units of the source.
      conjugate_steps: of the conjugate solver, at most.

    Raises:
      ValueError: naming the setting that is out of range, what was found and what is allowed.
    """

    steps: int = 6000
    batch: int = 512
    learning_rate: float = 1e-2
    widths: tuple[int, ...] = (64, 64)
    smoothing: float = 0.05
    slope: float = 2.0
    quadratic: float = 0.5
    moves: int = 2
    tolerance: float = 1e-3
    conjugate_steps: int = 100

    def __post_init__(self) -> None:
        """Validate the settings that no other part does."""
        for name in ("steps", "batch", "moves", "conjugate_steps"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"{name}: found {value}, allowed: an integer >= 1")
        for name in ("learning_rate", "tolerance"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: found {value}, allowed: a finite number > 0")

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> TrainingSettings:
        """The settings that `asdict` or a configuration gives."""
        return cls(**{**entry, "widths": tuple(entry["widths"])})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for files and fingerprints."""
        return {**asdict(self), "widths": list(self.widths)}

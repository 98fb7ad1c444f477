"""Settings of the fits that train a network."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

METHODS = ("cmfgen", "monge", "moment")
GIVEN_SOURCE = ("monge", "w2dual")  # methods that are given the source measure, and fit the map alone


@dataclass(frozen=True)
class _Settings:
    """Plain values in both directions; `widths` is a tuple here and a list in files."""

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Self:
        """The settings that `asdict` or a configuration gives."""
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for files and fingerprints."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def _check(self, counts: tuple[str, ...], positive: tuple[str, ...]) -> None:
        for name in counts:
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f"{name}: found {value}, allowed: an integer >= 1")
        for name in positive:
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: found {value}, allowed: a finite number > 0")


def _checked(widths: Any) -> tuple[int, ...]:
    """Widths of layers, which may be given as a list: settings are compared and hashed."""
    found = tuple(widths) if isinstance(widths, list) else widths
    if not (isinstance(found, tuple) and found and all(isinstance(width, int) and width >= 1 for width in found)):
        raise ValueError(f"widths: found {widths}, allowed: a tuple of one or more integers >= 1")
    return found


@dataclass(frozen=True)
class TrainingSettings(_Settings):
    """How a network is trained. The defaults suit some 30,000 planar points and two CPU cores.

    The rate was chosen on products, with plain units in the place of maxima: one wide layer at a high rate reached a
    given error many times sooner than two narrow ones at a low rate. For smooth laws `smoothing` 0.25 and `slope` 2.5
    are better: with 0.5 a product in d = 8 had half the error of 0.25, and four separate modes in the plane five times
    as much. On both, the one with the higher held-out log-likelihood (`FitResult.log_prob`) was the better one. In
    d = 32 the rate had to be lower, 0.03, and the batch larger.

    Args:
      steps: of the optimiser.
      batch: data points, and source points, per step.
      learning_rate: at the start; it decays to 0 along a cosine.
      widths: of the hidden layers.
      pieces: affine functions in the maximum of each unit of the first layer.
      smoothing: β of the maxima and of the units above them; small values allow steep maps.
      slope: standard deviation of the first layer's arguments over the data, at the start.
      quadratic: share of the Gaussian closed form's factor at the start, from 0.1 to below 1.
      moves: of each Langevin chain between two steps.
      tolerance: on ‖∇w(y) − x‖_∞ of the conjugate, each coordinate in standard deviations of the source (to the
        nearest power of two).
      conjugate_steps: of the conjugate solver, at most.

    Raises:
      ValueError: naming the setting that is out of range, what was found and what is allowed.
    """

    steps: int = 4000
    batch: int = 512
    learning_rate: float = 5e-2
    widths: tuple[int, ...] = (64,)
    pieces: int = 4
    smoothing: float = 0.05
    slope: float = 4.0
    quadratic: float = 0.5
    moves: int = 2
    tolerance: float = 1e-3
    conjugate_steps: int = 100

    def __post_init__(self) -> None:
        """Validate the settings that no other part does."""
        self._check(("steps", "batch", "moves", "conjugate_steps"), ("learning_rate", "tolerance"))
        object.__setattr__(self, "widths", _checked(self.widths))


@dataclass(frozen=True)
class ImageSettings(TrainingSettings):
    """How an `ImageNetwork` is trained on images.

    Args:
      steps: as for `TrainingSettings`, and so for the rest.
      widths: maxima of the whole image; for patches, groups of filters and units above their maxima.
      patch: side of the patches in pixels; None for maxima of the whole image.
      stride: pixels between patches.
      noise: standard deviation of the dequantisation, in levels of a pixel.

    Raises:
      ValueError: naming the setting that is out of range, what was found and what is allowed.
    """

    widths: tuple[int, ...] = (16, 64)
    pieces: int = 8
    patch: int | None = 4
    stride: int = 2
    noise: float = 0.15

    def __post_init__(self) -> None:
        """Validate the settings that no other part does."""
        super().__post_init__()
        self._check(("stride", *(() if self.patch is None else ("patch",))), ("noise",))


@dataclass(frozen=True)
class QuadraticsSettings(_Settings):
    """How a maximum of quadratics is trained, as the conjugate φ = w* of the potential.

    Args:
      steps: of the optimiser.
      batch: data points, and source points, per step.
      learning_rate: of the slopes, at the start; it decays to 0 along a cosine.
      components: quadratics in the maximum, the parts that a law is seen as.
      rank: directions in which each has a curvature of its own, beside those of coordinates.
      smoothing: β at the end, as a share of the distance between slopes; five times as much at the start.
      moves: of each chain between two steps.
      leaps: gradients of one move of a chain, on average. Moves that are too long come back mirrored.
      thin: moves between two draws of P_w from the fit.
      tolerance: on ‖∇φ(x) − y‖_∞ of the conjugate, each coordinate in standard deviations of the law.
      conjugate_steps: of the conjugate solver, at most.
      noise: standard deviation of the dequantisation, in levels of a pixel.

    Raises:
      ValueError: naming the setting that is out of range, what was found and what is allowed.
    """

    steps: int = 400
    batch: int = 128
    learning_rate: float = 2e-2
    components: int = 128
    rank: int = 4
    smoothing: float = 5e-3
    moves: int = 1
    leaps: int = 3
    thin: int = 3
    tolerance: float = 1e-3
    conjugate_steps: int = 100
    noise: float = 0.15

    def __post_init__(self) -> None:
        """Validate every setting."""
        self._check(
            ("steps", "batch", "components", "rank", "moves", "leaps", "thin", "conjugate_steps"),
            ("learning_rate", "smoothing", "tolerance", "noise"),
        )


@dataclass(frozen=True)
class DensitySettings(TrainingSettings):
    """How a network is trained on an unnormalised density. The defaults suit a planar one and two CPU cores.

    Args:
      steps: as for `TrainingSettings`, and so for the rest.
      batch: points of one step, at each of which the density is evaluated once.
      share: of the batch that explores, the rest being draws of the model; see `fit_density`.
      scale: standard deviation of the Gaussian about 0 that the exploration begins with, in units of y. It is widened
        as long as the mass spreads as far, so that too small a value costs evaluations, and misses modes far outside.
      explorations: density evaluations of the exploration, each time it is widened.

    Raises:
      ValueError: naming the setting that is out of range, what was found and what is allowed.
    """

    steps: int = 2000
    smoothing: float = 0.25
    slope: float = 2.5
    share: float = 0.25
    scale: float = 10.0
    explorations: int = 200_000

    def __post_init__(self) -> None:
        """Validate the settings that no other part does."""
        super().__post_init__()
        self._check(("explorations",), ("scale",))
        if not 0 < self.share < 1:
            raise ValueError(f"share: found {self.share}, allowed: a number above 0 and below 1")

    @property
    def explored(self) -> int:
        """Points of a batch that are drawn from the exploration."""
        return min(self.batch - 1, max(1, round(self.share * self.batch)))


@dataclass(frozen=True)
class PeerSettings(_Settings):
    """How OTT's `W2NeuralDual` is trained; what OTT fixes is not here.

    Args:
      steps: of the optimisers.
      batch: source points, and data points, per step.
      learning_rate: of both networks, at the start; it decays to a hundredth along a cosine.
      widths: of the hidden layers of both networks.

    Raises:
      ValueError: naming the setting that is out of range, what was found and what is allowed.
    """

    steps: int = 1000
    batch: int = 512
    learning_rate: float = 3e-2
    widths: tuple[int, ...] = (64,)

    # No settings: of the conjugates that are solved after the training, by the solvers of this package.
    tolerance = TrainingSettings.tolerance
    conjugate_steps = TrainingSettings.conjugate_steps

    def __post_init__(self) -> None:
        """Validate every setting: OTT takes no widths for a network without hidden layer."""
        self._check(("steps", "batch"), ("learning_rate",))
        object.__setattr__(self, "widths", _checked(self.widths))

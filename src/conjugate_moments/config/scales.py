"""Sweeps over a scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conjugate_moments.config._messages import KeyPath, quote, refuse


@dataclass(frozen=True)
class Scales:
    """`count` values from `smallest` to `largest`, evenly spaced in the logarithm."""

    smallest: float
    largest: float
    count: int

    def values(self) -> NDArray[np.float64]:
        """The values, shape `[count]`, ascending."""
        return np.geomspace(self.smallest, self.largest, self.count)


def check_scales(path: KeyPath, scales: Scales) -> None:
    """Refuse a sweep that does not ascend; `path` is where it is written."""
    if scales.smallest >= scales.largest:
        refuse((*path, "smallest"), quote(scales.smallest), f"a number below `largest`, which is {scales.largest}")

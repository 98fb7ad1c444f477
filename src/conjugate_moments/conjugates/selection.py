"""Which solver of the conjugate suits a dimension."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from conjugate_moments.conjugates.base import Conjugate
from conjugate_moments.conjugates.lbfgs import LBFGS
from conjugate_moments.conjugates.newton import Newton

# Measured on networks up to d = 64, batches of 512 on a CPU: beyond, a Hessian costs more than the gradients it saves.
LARGEST_FOR_NEWTON = 8


def conjugate_solver(dim: int, **overrides: Any) -> Conjugate:
    """The solver for dimension `dim`: `Newton` while Hessians are cheap, `LBFGS` beyond.

    `NewtonCG` was as fast where curvature differed more between directions than between points, and slower elsewhere.
    There, give either of them a preconditioner.

    Args:
      dim: d.
      **overrides: settings of that solver.

    Raises:
      ValueError: if `dim` is not positive, the solver has no such setting, or refuses its value.
    """
    if not dim > 0:
        raise ValueError(f"dim: expected an integer > 0, found {dim}")
    kind = Newton if dim <= LARGEST_FOR_NEWTON else LBFGS
    allowed = [setting.name for setting in fields(kind)]
    unknown = [name for name in overrides if name not in allowed]
    if unknown:
        raise ValueError(f"overrides: {kind.__name__} has no {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    return kind(**overrides)

"""Change of ∇w in each iteration, one line per law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from conjugate_moments.figures.style import CYCLE, PAGE, new_figure, refused, styled


@dataclass(frozen=True)
class Trace:
    """Changes `[n]` of a fit, in standard deviations of its Gibbs measure, and whether it converged."""

    label: str
    changes: NDArray[np.float64]
    converged: bool


def plot_convergence(traces: Sequence[Trace], tolerance: float) -> Figure:
    """Draw the changes of the fits that converged; the others are named.

    Args:
      traces: one per law.
      tolerance: at which the iteration stops.
    """
    with styled():
        figure = new_figure(PAGE * 0.75, 2.9)
        axes = figure.subplots()
        for look, trace in zip(cycle(CYCLE), traces, strict=False):
            if trace.converged:
                axes.semilogy(
                    np.arange(1, len(trace.changes) + 1), trace.changes, label=trace.label, marker=".", **look
                )
        axes.axhline(tolerance, color="0.5", lw=0.6, zorder=0, label="tolerance")
        missing = [trace.label for trace in traces if not trace.converged]
        if missing:
            refused(axes, missing)
        axes.set(xlabel="iteration", ylabel=r"relative change of $\nabla w$")
        figure.legend(loc="outside right center")
    return figure

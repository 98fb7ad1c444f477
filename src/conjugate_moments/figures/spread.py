"""How both Gibbs measures follow the scale of a law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from conjugate_moments.figures.style import (
    LAW,
    MARKERS,
    METHODS,
    PAGE,
    measure_handles,
    new_figure,
    refused,
    styled,
)

Array = NDArray[np.floating]  # float64 throughout


@dataclass(frozen=True)
class Sweep:
    """One factorisation of one law over scales, `[n]` each; NaN where it did not converge."""

    label: str
    method: str
    law_std: Array
    gibbs_std: Array
    w2_over_std: Array


def plot_spread(sweeps: Sequence[Sweep]) -> Figure:
    """Draw standard deviations (left) and W2 to ρ in standard deviations of ρ (right), a line per law and measure."""
    with styled():
        figure = new_figure(PAGE, 3.3)
        left, right = figure.subplots(1, 2)
        labels = list(dict.fromkeys(sweep.label for sweep in sweeps))
        markers = dict(zip(labels, cycle(MARKERS), strict=False))
        for sweep in sweeps:
            look = {**METHODS[sweep.method].line, "marker": markers[sweep.label], "markeredgewidth": 0, "lw": 0.8}
            left.loglog(sweep.law_std, sweep.gibbs_std, **look)
            right.loglog(sweep.law_std, sweep.w2_over_std, **look)
        widths = np.concatenate([sweep.law_std for sweep in sweeps])
        if np.any(np.isfinite(widths)):
            ends = np.array([np.nanmin(widths), np.nanmax(widths)])
            left.loglog(ends, ends, color=LAW.color, linestyle=":", lw=0.8)
        missing = [f"{s.label}, {METHODS[s.method].measure}" for s in sweeps if np.any(np.isnan(s.gibbs_std))]
        if missing:
            refused(left, missing)
        left.set(xlabel=r"standard deviation of $\rho$", ylabel="standard deviation of the source")
        right.set(xlabel=r"standard deviation of $\rho$", ylabel=r"$W_2(\mathrm{source}, \rho)\,/\,\mathrm{std}(\rho)$")
        shapes = [Line2D([], [], color="0.4", linestyle="", marker=markers[label], label=label) for label in labels]
        handles = [*measure_handles(law=False), *shapes]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 7), columnspacing=1.2)
    return figure

"""Gaussian laws: ellipses of ρ, P_u and P_w in the plane, and their spread on the line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from conjugate_moments.figures.style import LAW, METHODS, PAGE, measure_handles, new_figure, styled

Array = NDArray[np.floating]  # float64 throughout
Moments = tuple[Array, Array]  # mean and covariance
COLUMNS = 3


@dataclass(frozen=True)
class Panel:
    """A law in the plane and its Gibbs measures, as means `[2]` and covariances `[2, 2]`."""

    name: str
    law: Moments
    gibbs: Mapping[str, Moments]


def plot_gaussian(panels: Sequence[Panel], sweep: Mapping[str, tuple[Array, Array]]) -> Figure:
    """Draw one panel per law in the plane, with the same limits, and one for the sweep.

    Args:
      panels: the laws, perhaps none.
      sweep: for each factorisation the standard deviations of ρ and of the Gibbs measure, `[n]` each.
    """
    with styled():
        rows = ceil((len(panels) + 1) / COLUMNS)
        columns = min(COLUMNS, len(panels) + 1)
        figure = new_figure(PAGE * columns / COLUMNS, 2.45 * rows + 0.25)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        limits = _limits(panels)
        for axes, panel in zip(grid, panels, strict=False):
            _plot_ellipses(axes, panel, limits)
        _plot_sweep(grid[len(panels)], sweep)
        for axes in grid[len(panels) + 1 :]:
            axes.set_visible(False)
        figure.legend(handles=measure_handles(), loc="outside upper center", ncols=3)
    return figure


def _plot_ellipses(axes: Axes, panel: Panel, limits: tuple[Array, Array]) -> None:
    for look, moments in [(LAW, panel.law), *((METHODS[name], panel.gibbs[name]) for name in METHODS)]:
        for sigmas, alpha in ((1, 1.0), (2, 0.6)):
            axes.plot(*_ellipse(*moments, sigmas).T, **look.line, alpha=alpha)
        axes.plot(*moments[0], marker="+", color=look.color, markersize=5)
    axes.set(xlim=limits[0], ylim=limits[1], aspect="equal", adjustable="box", title=panel.name)
    axes.set(xlabel="$y_1$", ylabel="$y_2$")


def _plot_sweep(axes: Axes, sweep: Mapping[str, tuple[Array, Array]]) -> None:
    for name, (law, gibbs) in sweep.items():
        axes.loglog(law, gibbs, **METHODS[name].line)
    law = next(iter(sweep.values()))[0]
    axes.loglog(law, law, color=LAW.color, linestyle=":")
    axes.set(title="centred, on the line", box_aspect=1)
    axes.set(xlabel=r"standard deviation of $\rho$", ylabel="standard deviation of the measure")


def _ellipse(mean: Array, cov: Array, sigmas: float) -> Array:
    angle = np.linspace(0, 2 * np.pi, 201)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return mean + sigmas * circle @ np.linalg.cholesky(cov).T


def _limits(panels: Sequence[Panel]) -> tuple[Array, Array]:
    """Square limits around every ellipse of every panel."""
    points = [_ellipse(*moments, 2) for panel in panels for moments in (panel.law, *panel.gibbs.values())] or [
        np.zeros((1, 2))
    ]
    low, high = np.min(np.concatenate(points), axis=0), np.max(np.concatenate(points), axis=0)
    half = 1.05 * float(np.max(high - low)) / 2
    middle = (low + high) / 2
    return np.array([middle[0] - half, middle[0] + half]), np.array([middle[1] - half, middle[1] + half])

"""Laws whose potential is known: errors of the map and of the source measure against the dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from conjugate_moments.figures.style import BLACK, LEARNED, MARKERS, PAGE, new_figure, refused, styled

Array = NDArray[np.floating]  # float64 throughout
TALL = 1.9  # inches, of a row
LINE = 0.12  # of the height of a panel, for a line of text
SHORT = 100  # an axis whose ends have a smaller ratio
NARROW = 3  # families for which the page is as wide as it can be
FLOOR: Any = {"color": BLACK, "linestyle": "-", "linewidth": 0.6}
LABELS = (r"$\mathcal{L}^2$-UVP of the map (%)", "sliced $W_2$ of the source")


@dataclass(frozen=True)
class TruthCurve:
    """Errors of one method on one family of laws, `[k]` each, against the dimension.

    Args:
      family: as it is called in the figure.
      method: a key of `style.LEARNED`.
      dimension: increasing.
      value: mean over seeds.
      standard_error: of that mean.
      status: `"converged"`, or the point is not drawn.
      noise_floor: what true draws score; NaN where there is no such thing, None for none.
    """

    family: str
    method: str
    dimension: Array
    value: Array
    standard_error: Array
    status: Sequence[str]
    noise_floor: Array | None = None

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Which points are drawn."""
        return np.asarray([status == "converged" for status in self.status], dtype=bool)


def plot_truth(curves_map: Sequence[TruthCurve], curves_gibbs: Sequence[TruthCurve]) -> Figure:
    """Draw one panel per family, with the same limits within a row, and a line with standard errors per method.

    Args:
      curves_map: L²-UVP of the map in per cent, for the first row.
      curves_gibbs: distances between fitted and true source measure, for the second; none for a figure without it.

    Raises:
      ValueError: if there is no curve of a map.
    """
    if not curves_map:
        raise ValueError("curves_map: expected at least one curve")
    rows = [curves_map, curves_gibbs] if curves_gibbs else [curves_map]
    curves = [*curves_map, *curves_gibbs]
    families = list(dict.fromkeys(curve.family for curve in curves))
    methods = [method for method in LEARNED if any(curve.method == method for curve in curves)]
    with styled():
        width = PAGE * max(min(len(families) / NARROW, 1), 0.55)
        figure = new_figure(width, TALL * len(rows) + 0.4)
        table = figure.subplots(len(rows), len(families), squeeze=False, sharex="col", sharey="row")
        for axes, row, label in zip(table, rows, LABELS, strict=False):
            for each, family in zip(axes, families, strict=True):
                mine = [curve for curve in row if curve.family == family]
                _plot_floor(each, mine)
                _plot_family(each, mine)
            _scale(axes)
            axes[0].set_ylabel(label)
        for column, family in zip(table.T, families, strict=True):
            column[0].set_title(family)
            column[-1].set_xlabel("dimension")
            _mark_dimensions(column[-1], [curve for curve in curves if curve.family == family])
        handles = [
            Line2D([], [], label=LEARNED[method].name, marker=_marker(method), **LEARNED[method].line)
            for method in methods
        ]
        if any(_floor(curves) is not None for curves in rows):
            handles.append(Line2D([], [], label="noise floor", **FLOOR))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _floor(curves: Sequence[TruthCurve]) -> TruthCurve | None:
    """A curve that has a noise floor; it is the same for every method."""
    known = (curve for curve in curves if curve.noise_floor is not None and np.any(np.isfinite(curve.noise_floor)))
    return next(known, None)


def _plot_floor(axes: Axes, curves: Sequence[TruthCurve]) -> None:
    curve = _floor(curves)
    if curve is not None and curve.noise_floor is not None:
        axes.plot(curve.dimension, curve.noise_floor, **FLOOR)


def _plot_family(axes: Axes, curves: Sequence[TruthCurve]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for curve in curves:
        drawn = curve.converged
        axes.errorbar(
            curve.dimension,
            np.where(drawn, curve.value, np.nan),
            yerr=np.where(drawn, curve.standard_error, np.nan),
            marker=_marker(curve.method),
            capsize=1.8,
            elinewidth=0.7,
            markeredgewidth=0.7,
            **LEARNED[curve.method].line,
        )
    missing = [f"{LEARNED[curve.method].name}, {_missing(curve)}" for curve in curves if not np.all(curve.converged)]
    if missing:
        refused(axes, missing)


def _mark_dimensions(axes: Axes, curves: Sequence[TruthCurve]) -> None:
    dimensions = sorted({int(dimension) for curve in curves for dimension in curve.dimension})
    axes.set_xticks(dimensions, [str(dimension) for dimension in dimensions])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(dimensions[0] / 1.3, dimensions[-1] * 1.3)


def _missing(curve: TruthCurve) -> str:
    return "$d$ = " + ", ".join(f"{dimension:g}" for dimension in curve.dimension[~curve.converged])


def _scale(axes: Sequence[Axes]) -> None:
    """Numbers on the shared axis of errors in full, also between powers of ten if it is short; room for texts."""
    low, high = axes[0].get_ylim()
    lines = [1 + text.get_text().count("\n") for each in axes for text in each.texts]
    room = min(LINE * max(lines, default=0), 0.35)
    axes[0].set_ylim(low, high * (high / low) ** (room / (1 - room)))
    axes[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    if high / low < SHORT:
        axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if high / low < 10 else (1, 2, 5)))
        axes[0].yaxis.set_minor_locator(NullLocator())


def _marker(method: str) -> str:
    return MARKERS[list(LEARNED).index(method)]

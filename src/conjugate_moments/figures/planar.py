"""Laws in the plane, one row each: draws of ρ and of its source measures, and what the transport maps make of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from conjugate_moments.figures.style import (
    COLUMN,
    LAW,
    LEARNED,
    PAGE,
    TALLEST,
    VERMILION,
    Look,
    new_figure,
    refused,
    styled,
)

Array = NDArray[np.floating]  # float64 throughout
MOST = 9  # rows on a page
LARGEST = 1.9  # inches, of a panel on a page with few
LABELS, HEAD, GAP, TITLE = 0.75, 0.36, 0.06, 0.18  # inches: names of rows, head of a page, between panels, of a panel
CENTRAL = 0.998  # share of the reference, in each coordinate, that limits hold
WIDEST = 1.25  # most that limits grow beyond those of the reference, so that stray points do not shrink the rest
TOLD = 0.005  # share of draws outside the limits from which a panel says so
MASSES = (0.9, 0.6, 0.3)  # inside the contours of a density
KERNELS, NODES = 2000, 60  # of that density: draws it is made of, and nodes along each axis
SMOOTHER = 1.3  # than Scott's rule: lines without the noise of single draws
BACKGROUND, MARKED = "0.62", VERMILION


@dataclass(frozen=True)
class MethodDraws:
    """What one method makes of one law.

    Args:
      source: draws of the source measure, `[n, 2]`.
      generated: their images under the transport map, `[n, 2]`; rows of NaN did not converge and are left out.
      grid: images of k lines of a regular grid over the bulk of the source, `[k, m, 2]`; NaN breaks a line.
      off: whether a row of `generated` lies off the support of the law, `[n]`; only failures need it.
    """

    source: Array
    generated: Array
    grid: Array | None = None
    off: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class PlanarPanel:
    """A law in the plane, as draws `[n, 2]`, and what each method, a key of `style.LEARNED`, makes of it."""

    label: str
    data: Array
    methods: Mapping[str, MethodDraws]


@dataclass(frozen=True)
class _Frame:
    """Square limits, the same for all panels that are compared."""

    middle: Array
    half: float

    def holds(self, points: Array) -> NDArray[np.bool_]:
        return np.max(np.abs(points - self.middle), axis=1) <= self.half


@dataclass(frozen=True)
class _Row:
    """A law with the limits of its panels, in the space of the data and in that of the sources."""

    panel: PlanarPanel
    space: _Frame
    sources: _Frame


@dataclass(frozen=True)
class _Column:
    """Panels of one kind for one method."""

    method: str
    title: str
    draw: Callable[[Axes, _Row, MethodDraws, Look], None]


def plot_planar(panels: Sequence[PlanarPanel]) -> Figure:
    """Draw a page of laws: the data, then what each method generates.

    A method with a grid has its source measure, with contours of its density, on the left of what it generates and the
    image of the grid on the right. Within a row all panels in the space of the data have the same limits, and so have
    all sources; each of the two has one bar of a given length. Shares of draws that did not converge, or that are
    outside the limits, are written in the panel.

    Args:
      panels: one to nine; methods are drawn in the order in which they come. One that a law lacks did not converge.

    Raises:
      ValueError: if there are no panels, or more than fit a page.
    """
    columns = []
    for method in _methods(panels):
        look = LEARNED[method]
        generated = _Column(method, f"{look.name}\ngenerated", _plot_generated)
        if any(panel.methods[method].grid is not None for panel in panels if method in panel.methods):
            source = _Column(method, f"{look.name}\nsource {look.measure}", _plot_source)
            grid = _Column(method, f"{look.name}\n{look.transport} of a grid", _plot_grid)
            columns += [source, generated, grid]
        else:
            columns.append(generated)
    with styled():
        return _plot_table(panels, columns, "data\n" + LAW.measure, 0.0)


def plot_failures(panels: Sequence[PlanarPanel]) -> Figure:
    """Draw the data and what each method generates; points off the support are marked, their share is in the title.

    Args:
      panels: one to nine, every method with `off`. A method that a law lacks did not converge.

    Raises:
      ValueError: if there are no panels, or more than fit a page, or a method lacks `off`.
    """
    columns = [_Column(method, "", _plot_off) for method in _methods(panels)]
    if any(draws.off is None for panel in panels for draws in panel.methods.values()):
        raise ValueError("panels: every method needs off, which points lie off the support")
    with styled():
        figure = _plot_table(panels, columns, "data " + LAW.measure, TITLE)
        dot: Any = {"linestyle": "", "marker": "o", "markeredgewidth": 0}
        handles = [
            Line2D([], [], color=color, label=label, **dot)
            for color, label in ((BACKGROUND, "generated, on the support"), (MARKED, "generated, off the support"))
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, handletextpad=0.2)
    return figure


def _methods(panels: Sequence[PlanarPanel]) -> list[str]:
    if not 1 <= len(panels) <= MOST:
        raise ValueError(f"panels: expected 1 to {MOST} laws on a page, found {len(panels)}; draw several pages")
    return list(dict.fromkeys(method for panel in panels for method in panel.methods))


def _plot_table(panels: Sequence[PlanarPanel], columns: Sequence[_Column], data_title: str, above: float) -> Figure:
    """One row per law, with panels as large as the page allows and `above` inches over each for a title of its own."""
    rows, across = len(panels), len(columns) + 1
    side = min(LARGEST, (TALLEST - HEAD) / rows - GAP - above, (PAGE - LABELS) / across - GAP)
    width = min(PAGE, max(COLUMN, LABELS + across * (side + GAP)))
    figure = new_figure(width, min(TALLEST, HEAD + rows * (side + GAP + above)))
    figure.set_layout_engine("compressed", w_pad=GAP / 2, h_pad=GAP / 2, wspace=0, hspace=0)
    table = figure.subplots(rows, across, squeeze=False)
    for axes, panel in zip(table, panels, strict=True):
        row = _row(panel)
        _plot_data(axes[0], row)
        axes[0].set_ylabel(
            fill(panel.label, 12, break_long_words=False), rotation=0, ha="right", va="center", labelpad=4
        )
        for each, column in zip(axes[1:], columns, strict=True):
            _plot_cell(each, row, column)
    for axes, title in zip(table[0], [data_title, *(column.title for column in columns)], strict=True):
        if title:
            axes.set_title(title, pad=3, linespacing=1.1)
    return figure


def _plot_cell(axes: Axes, row: _Row, column: _Column) -> None:
    look = LEARNED[column.method]
    draws = row.panel.methods.get(column.method)
    if draws is None:
        _apply(axes, row.space)
        refused(axes, [look.name])
    else:
        column.draw(axes, row, draws, look)


def _plot_data(axes: Axes, row: _Row) -> None:
    _apply(axes, row.space)
    _plot_cloud(axes, row.panel.data, LAW.color)
    _count(axes, row.space, row.panel.data)
    _plot_bar(axes, row.space)


def _plot_source(axes: Axes, row: _Row, draws: MethodDraws, look: Look) -> None:
    _apply(axes, row.sources)
    source = _finite(draws.source)
    _plot_cloud(axes, source, look.color, fade=0.4)
    _plot_contours(axes, row.sources, source, look)
    _count(axes, row.sources, draws.source)
    _plot_bar(axes, row.sources)


def _plot_generated(axes: Axes, row: _Row, draws: MethodDraws, look: Look) -> None:
    _apply(axes, row.space)
    _plot_cloud(axes, _finite(draws.generated), look.color)
    _count(axes, row.space, draws.generated)


def _plot_grid(axes: Axes, row: _Row, draws: MethodDraws, look: Look) -> None:
    _apply(axes, row.space)
    _plot_cloud(axes, row.panel.data, BACKGROUND, fade=0.5)
    if draws.grid is not None:
        axes.plot(draws.grid[..., 0].T, draws.grid[..., 1].T, color=look.color, lw=0.45, solid_joinstyle="round")


def _plot_off(axes: Axes, row: _Row, draws: MethodDraws, look: Look) -> None:
    _apply(axes, row.space)
    assert draws.off is not None
    converged = np.all(np.isfinite(draws.generated), axis=1)
    _plot_cloud(axes, draws.generated[converged & ~draws.off], BACKGROUND)
    _plot_cloud(axes, draws.generated[converged & draws.off], MARKED)
    _count(axes, row.space, draws.generated)
    share = f"{_percent(np.mean(draws.off[converged]))} off" if np.any(converged) else "none converged"
    axes.set_title(f"{look.name}: {share}", pad=2.5, fontsize=7)


def _plot_cloud(axes: Axes, points: Array, color: str, fade: float = 1.0) -> None:
    """Dots, the fainter the more there are; a bitmap, as thousands of them make vectors slow."""
    alpha = fade * min(0.7, max(0.12, 900 / max(len(points), 1)))
    axes.scatter(*points.T, s=1.1, color=color, alpha=alpha, linewidths=0, rasterized=True)


def _plot_contours(axes: Axes, frame: _Frame, points: Array, look: Look) -> None:
    """Lines around the densest `MASSES` of the draws."""
    if len(points) < 10:
        return
    import seaborn as sns  # takes two seconds, and only this panel needs it

    some = points[:: ceil(len(points) / KERNELS)].T
    low, high = frame.middle - frame.half, frame.middle + frame.half
    sns.kdeplot(
        x=some[0], y=some[1], ax=axes, color=look.color, linewidths=0.7, levels=[1 - mass for mass in MASSES],
        bw_adjust=SMOOTHER, gridsize=NODES, clip=((low[0], high[0]), (low[1], high[1])),
    )  # fmt: skip


def _plot_bar(axes: Axes, frame: _Frame) -> None:
    """A bar of a round length, about a third of the frame."""
    target = frame.half * 0.7
    power = 10.0 ** floor(log10(target))
    length = max(step * power for step in (1, 2, 5) if step * power <= target)
    left, low = frame.middle - 0.9 * frame.half
    outline = [withStroke(linewidth=2, foreground="white")]
    axes.plot([left, left + length], [low, low], color="black", lw=1.2, solid_capstyle="butt", path_effects=outline)
    axes.annotate(
        f"{length:g}", (left + length, low), xytext=(2, 0), textcoords="offset points", va="center", fontsize=7,
        path_effects=outline,
    )  # fmt: skip


def _count(axes: Axes, frame: _Frame, points: Array) -> None:
    """Say which shares of the draws are missing from a panel."""
    found = _finite(points)
    unconverged = 1 - len(found) / max(len(points), 1)
    outside = np.sum(~frame.holds(found)) / max(len(points), 1)
    shares = ((unconverged, "unconverged", 0.0), (outside, "outside", TOLD))
    lines = [f"{_percent(share)} {what}" for share, what, least in shares if share > least]
    if lines:
        outline = [withStroke(linewidth=2, foreground="white")]
        axes.text(
            0.97, 0.97, "\n".join(lines), transform=axes.transAxes, ha="right", va="top", fontsize=7, linespacing=1.0,
            path_effects=outline,
        )  # fmt: skip


def _percent(share: float | np.floating[Any]) -> str:
    """A share in per cent; never 0 for one that is not."""
    return "<0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%" if share < 0.0995 else f"{100 * share:.0f}%"


def _apply(axes: Axes, frame: _Frame) -> None:
    low, high = frame.middle - frame.half, frame.middle + frame.half
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color="0.6", linewidth=0.5)


def _row(panel: PlanarPanel) -> _Row:
    every = panel.methods.values()
    sources = np.concatenate([np.empty((0, 2)), *(_finite(draws.source) for draws in every)])
    space = _frame(panel.data, [_finite(draws.generated) for draws in every])
    return _Row(panel, space, _frame(sources, []))


def _frame(reference: Array, others: Sequence[Array]) -> _Frame:
    """Square limits around the bulk of a reference, wider by up to `WIDEST` if others need it."""
    if not len(reference):
        return _Frame(np.zeros(2), 1.0)
    low, high = np.quantile(reference, [(1 - CENTRAL) / 2, (1 + CENTRAL) / 2], axis=0)
    middle, half = (low + high) / 2, float(np.max(high - low)) / 2 or 1.0
    reach = [float(np.max(np.abs(points - middle))) for points in others if len(points)]
    return _Frame(middle, 1.1 * min(WIDEST * half, max([half, *reach])))


def _finite(points: Array) -> Array:
    return points[np.all(np.isfinite(points), axis=1)]

"""Planar laws that are known by their density, one row each: ρ, the source P_w, its image, importance weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from conjugate_moments.figures.style import BLACK, LAW, LEARNED, PAGE, TALLEST, new_figure, refused, styled

Array = NDArray[np.floating]  # float64 throughout
MOST = 9  # rows on a page
LARGEST = 1.55  # inches, of a panel on a page with few
LABELS, HEAD, GAP, BAR = 0.75, 0.4, 0.06, 0.6  # inches: names of rows, head, between panels, scale of the weights
LEVELS = (0.01, 0.1, 0.5)  # of the highest density, at lines
SHADES, WEIGHTS = "Greys", "cividis"  # both are told apart by colour-blind readers, and no weight is white on white
WIDEST = 1.0  # nats: weights beyond are drawn as these
TITLES = (
    f"density of\n{LAW.measure}",
    f"source {LEARNED['cmfgen'].measure}\nand its density",
    f"images under\n{LEARNED['cmfgen'].transport}",
    "their importance\nweights",
)


@dataclass(frozen=True, eq=False)
class Surface:
    """A density on a grid, over its largest value.

    Args:
      axes: the nodes along both, `[2, k]`.
      values: `[k, k]`, the second axis varying with the row.
    """

    axes: Array
    values: Array


@dataclass(frozen=True, eq=False)
class FitPanel:
    """A fit of a law.

    Args:
      gibbs: density of the source measure.
      source: draws of it, `[n, 2]`.
      images: under the transport map, `[n, 2]`.
      log_weights: log ρ − log q at the images, less the log of the mean weight, `[n]`.
      note: said in the panel of the weights.
    """

    gibbs: Surface
    source: Array
    images: Array
    log_weights: Array
    note: str


@dataclass(frozen=True, eq=False)
class DensityPanel:
    """A law by its density, and a fit of it; None for one that did not converge."""

    label: str
    law: Surface
    fit: FitPanel | None = None


def plot_density(panels: Sequence[DensityPanel]) -> Figure:
    """Draw a page of laws. The panels of a row in the space of ρ have the same limits; all weights have one scale.

    Args:
      panels: one to nine.

    Raises:
      ValueError: if there are no panels, or more than fit a page.
    """
    if not 1 <= len(panels) <= MOST:
        raise ValueError(f"panels: found {len(panels)}, allowed: 1 to {MOST} laws on a page")
    rows, across = len(panels), len(TITLES)
    side = min(LARGEST, (TALLEST - HEAD) / rows - GAP, (PAGE - LABELS - BAR) / across - GAP)
    scale = ScalarMappable(Normalize(-WIDEST, WIDEST), WEIGHTS)
    with styled():
        figure = new_figure(LABELS + BAR + across * (side + GAP), HEAD + rows * (side + GAP))
        figure.set_layout_engine("compressed", w_pad=GAP / 2, h_pad=GAP / 2, wspace=0, hspace=0)
        table = figure.subplots(rows, across, squeeze=False)
        for axes, panel in zip(table, panels, strict=True):
            _plot_row(axes, panel, scale)
        for axes, title in zip(table[0], TITLES, strict=True):
            axes.set_title(title, pad=3, linespacing=1.1)
        bar = figure.colorbar(scale, ax=table[:, -1], extend="both", shrink=min(1.0, 3 / rows), pad=0.02, aspect=15)
        bar.set_label(r"$\log\rho - \log q$, less its mean level (nats)")
        bar.outline.set_linewidth(0.5)  # pyright: ignore[reportCallIssue]
    return figure


def _plot_row(axes: Sequence[Axes], panel: DensityPanel, scale: ScalarMappable) -> None:
    fit, look = panel.fit, LEARNED["cmfgen"]
    for place, each in enumerate(axes):
        _apply(each, fit.gibbs if fit is not None and place == 1 else panel.law)
    axes[0].set_ylabel(panel.label.replace(" ", "\n"), rotation=0, ha="right", va="center", labelpad=4)
    _shade(axes[0], panel.law)
    if fit is None:
        for each in axes[1:]:
            refused(each, ["CMFMA"])
        return
    _scatter(axes[1], fit.source, color=look.color)
    _contour(axes[1], fit.gibbs, BLACK)
    _scatter(axes[2], fit.images, color=look.color)
    _contour(axes[2], panel.law, BLACK)
    weights = np.clip(fit.log_weights, -WIDEST, WIDEST)
    # The most unusual last, and so on top.
    order = np.argsort(np.abs(weights))
    _scatter(axes[3], fit.images[order], c=weights[order], norm=scale.norm, cmap=scale.cmap)
    axes[3].text(0.97, 0.97, fit.note, transform=axes[3].transAxes, ha="right", va="top", fontsize=7)


def _apply(axes: Axes, surface: Surface) -> None:
    (left, *_, right), (low, *_, high) = surface.axes
    axes.set(xlim=(left, right), ylim=(low, high), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color="0.6", linewidth=0.5)


def _shade(axes: Axes, surface: Surface) -> None:
    (left, *_, right), (low, *_, high) = surface.axes
    extent = (left, right, low, high)
    axes.imshow(surface.values, origin="lower", extent=extent, cmap=SHADES, vmin=0, vmax=1, interpolation="bilinear")
    _contour(axes, surface, LAW.color)


def _contour(axes: Axes, surface: Surface, color: str) -> None:
    axes.contour(*surface.axes, surface.values, levels=LEVELS, colors=color, linewidths=0.5)


def _scatter(axes: Axes, points: Array, **how: object) -> None:
    """Dots; a bitmap, as thousands of them make vectors slow."""
    alpha = 1.0 if "c" in how else min(0.6, max(0.12, 700 / max(len(points), 1)))
    axes.scatter(*points.T, s=1.3, alpha=alpha, linewidths=0, rasterized=True, **how)  # pyright: ignore

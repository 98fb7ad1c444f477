"""Images: what models generate, from source to image, what they complete, and how they were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from conjugate_moments.figures.style import CYCLE, PAGE, TALLEST, new_figure, styled

Levels = NDArray[np.uint8]

ACROSS = 12  # images in a row
LABELS = 1.0  # inches, for the names of rows
LINE = 1  # pixels between images
MISSING = np.array([0.55, 0.71, 0.84])  # colour of missing pixels: no image has a flat blue
SHARE = 1e-3  # of conjugates that did not converge, which the axis reaches at least
TRACES = {"loss": "loss", "unconverged": "conjugates\nnot converged", "conjugate_steps": "steps of the\nconjugate"}
TRACES |= {"acceptance": "acceptance\nof chains"}
SMOOTHED = 20  # steps that a trace is averaged over


@dataclass(frozen=True, eq=False)
class Strip:
    """Rows of images under one name.

    Args:
      label: beside them.
      images: uint8 `[rows, columns, h, w, c]`, or in floats from 0 to 1 where colours are mixed in.
    """

    label: str
    images: NDArray


def generated(label: str, sources: Levels | None, images: Levels, groups: int) -> Strip:
    """Draws of a model in rows of `ACROSS`; those of the source above their images, where they are given.

    Args:
      label: of the model.
      sources: `[n, h, w, c]` or None.
      images: `[n, h, w, c]`, of which n may be less than there is room for.
      groups: rows of images.
    """
    rows = _in_rows(images, groups)
    if sources is None:
        return Strip(label, rows)
    above = _in_rows(sources, groups)
    return Strip(label, np.stack([above, rows], axis=1).reshape(2 * groups, *rows.shape[1:]))


def _in_rows(images: Levels, groups: int) -> Levels:
    """The first images in rows of `ACROSS`; where they are too few, as of a fit that failed, the page stays white."""
    shown = images[: groups * ACROSS]
    white = np.full((groups * ACROSS - len(shown), *images.shape[1:]), 255, np.uint8)
    return np.concatenate([shown, white]).reshape(groups, ACROSS, *images.shape[1:])


def veiled(images: Levels, mask: NDArray[np.bool_], levels: int) -> NDArray[np.floating]:
    """Images `[..., h, w, c]` from 0 to 1, with missing pixels in one colour; mask `[h, w, c]`, True where seen."""
    shade = np.repeat(images / levels, 3 // images.shape[-1], axis=-1)
    return np.where(np.all(mask, axis=-1, keepdims=True), shade, MISSING)


def plot_strips(strips: Sequence[Strip], *, levels: int, heads: Sequence[str] = ()) -> Figure:
    """A page of images, the strips one below the other, all with the same grey levels.

    Args:
      strips: of images of one shape, in one number of columns.
      levels: the level that is white, where images are whole numbers.
      heads: of the columns; none for none.

    Raises:
      ValueError: if there are no strips, or they differ in their columns.
    """
    columns = {strip.images.shape[1] for strip in strips}
    if len(columns) != 1 or len(heads) not in (0, *columns):
        raise ValueError(f"strips: found {sorted(columns)} columns and {len(heads)} heads, allowed: as many in all")
    rows = [strip.images.shape[0] for strip in strips]
    height, width = strips[0].images.shape[2:4]
    tile = min(0.55, (PAGE - LABELS) / columns.pop(), (TALLEST - 0.4) / (sum(rows) + 0.35 * len(rows)))
    with styled():
        page_height = tile * height / width * sum(rows) + 0.12 * len(rows) + (0.45 if heads else 0.15)
        figure = new_figure(PAGE, page_height)
        # Heights in pixels of the images, so that all strips have one width.
        figure.set_layout_engine("compressed")
        heights = [count * (height + LINE) - LINE for count in rows]
        axes = figure.subplots(len(strips), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, strip in zip(axes, strips, strict=True):
            axis.imshow(_mosaic(strip.images, levels), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
            axis.set_ylabel(strip.label, rotation=0, ha="right", va="center")
        places = (np.arange(len(heads)) + 0.5) * (width + LINE) - LINE
        for place, head in zip(places, heads, strict=True):
            axes[0].text(place, -1.5, head, ha="center", va="bottom", fontsize=7)
    return figure


def _mosaic(images: NDArray, levels: int) -> NDArray[np.floating]:
    """One picture of `[rows, columns, h, w, c]`, white between the images, `[H, W, 3]`."""
    shade = images / levels if images.dtype == np.uint8 else images
    shade = np.repeat(shade, 3 // shade.shape[-1], axis=-1)
    padded = np.pad(shade, [(0, 0), (0, 0), (0, LINE), (0, LINE), (0, 0)], constant_values=1.0)
    rows, columns, h, w, c = padded.shape
    return np.clip(padded.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, c)[:-LINE, :-LINE], 0, 1)


def plot_traces(traces: Mapping[str, Mapping[str, NDArray]]) -> Figure:
    """How fits were trained: running means over `SMOOTHED` steps, a line for each fit.

    Args:
      traces: of each fit, by its label: one array `[steps]` for each scalar of `TRACES` that it has.
    """
    with styled():
        figure = new_figure(PAGE, 1.35 * len(TRACES) + 0.6)
        axes = figure.subplots(len(TRACES), 1, sharex=True)
        for axis, (name, label) in zip(axes, TRACES.items(), strict=True):
            for (fit, trace), look in zip(traces.items(), CYCLE * len(traces), strict=False):
                if name in trace:
                    kernel = min(SMOOTHED, len(trace[name]))
                    mean = np.convolve(trace[name], np.full(kernel, 1 / kernel), mode="valid")
                    axis.plot(kernel + np.arange(len(mean)), mean, label=fit, **look)
            axis.set_ylabel(label)
            if name == "unconverged":
                axis.set_ylim(0, max(SHARE, 1.05 * axis.dataLim.y1))  # a share; most often it is 0 throughout
        axes[-1].set_xlabel("step of the optimiser")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(4, max(1, len(labels))))
    return figure

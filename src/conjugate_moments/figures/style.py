"""One style for every figure: sizes of a page, fixed colours, files that are the same byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from conjugate_moments._files import replacing

COLUMN, PAGE = 3.4, 7.0  # widths in inches
TALLEST = 9.4  # inches; leaves room for a caption
CLOUD_DPI = 400  # of point clouds, which are bitmaps also where the rest are vectors

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)  # the palette of Okabe and Ito, told apart by colour-blind readers


@dataclass(frozen=True)
class Look:
    """How a measure is drawn and what it is called, the same in every figure."""

    color: str
    linestyle: str | tuple[float, tuple[float, ...]]
    measure: str
    transport: str = ""
    potential: str = ""
    name: str = ""

    @property
    def line(self) -> dict[str, Any]:
        """Keywords of a line."""
        return {"color": self.color, "linestyle": self.linestyle}


LAW = Look(BLACK, "-", r"$\rho$")
METHODS = {
    "moment": Look(VERMILION, (0, (4, 1.5)), "$P_u$", r"$\nabla u$", "$u$"),
    "conjugate": Look(BLUE, "-", "$P_w$", r"$\nabla w^*$", "$w$"),
}
# What is learned from samples. A source that is given, and not fitted, is the normal law γ.
LEARNED = {
    "affine": Look("0.5", (0, (1, 1.2)), "$P_w$", r"$\nabla w^*$", "$w$", name="affine"),
    "cmfgen": Look(BLUE, "-", "$P_w$", r"$\nabla w^*$", "$w$", name="CMFGen"),
    "monge": Look(GREEN, (0, (6, 1.5, 1, 1.5)), r"$\gamma$", "$T$", name="Monge"),
    "moment": Look(VERMILION, (0, (4, 1.5)), "$P_u$", r"$\nabla u$", "$u$", name="moment"),
    "w2dual": Look(PURPLE, (0, (2, 1)), r"$\gamma$", "$T$", name="W2 dual"),
}
MARKERS = "osD^vP*X<>hp"
# For what is no measure, such as one line per law: the palette's other colours, then other dashes.
CYCLE = [{"color": c, "linestyle": s} for s in ("-", "--", ":") for c in (ORANGE, SKY, GREEN, PURPLE)]

_SETTINGS: Any = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "axes.labelpad": 2,
    "lines.linewidth": 1.1,
    "lines.markersize": 3,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType: text stays text
    "svg.hashsalt": "conjugate-moments",
}


@contextmanager
def styled() -> Iterator[None]:
    """The style, within a block."""
    with mpl.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches, that lays itself out."""
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, *, pdf: str | Path, png: str | Path, dpi: int, comment: str) -> None:
    """Write a figure as vectors and as a bitmap, with a comment that says where it came from in place of dates."""
    with replacing(pdf) as temporary:
        figure.savefig(temporary, dpi=CLOUD_DPI, metadata={"CreationDate": None, "Subject": comment})
    with replacing(png) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata={"Software": None, "Comment": comment})


def refused(axes: Axes, lines: list[str]) -> None:
    """Say in an axes which fits are not drawn because they did not converge."""
    text = "\n".join(["not converged:", *lines])
    axes.text(0.98, 0.96, text, transform=axes.transAxes, ha="right", va="top", fontsize=7)


def measure_handles(methods: bool = True, law: bool = True) -> list[Line2D]:
    """Entries of a legend for ρ, P_u and P_w."""
    looks = [*([LAW] if law else []), *(METHODS.values() if methods else [])]
    return [Line2D([], [], label=look.measure, **look.line) for look in looks]

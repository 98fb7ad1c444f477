"""Laws on the line, one row each: densities, maps and potentials of both factorisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from conjugate_moments.figures.style import (
    LAW,
    METHODS,
    PAGE,
    TALLEST,
    measure_handles,
    new_figure,
    refused,
    styled,
)

Profile = Mapping[str, Any]
TALL = 1.3  # inches, of a row on a page with few


def plot_univariate(profiles: Sequence[tuple[str, Profile]]) -> Figure:
    """Draw a page of laws.

    Args:
      profiles: label of each law and its curves, named as by `metrics.profiles.profile`.
    """
    with styled():
        rows = len(profiles)
        figure = new_figure(PAGE, min(TALLEST, TALL * rows + 0.6))
        grid = figure.subplots(rows, 3, squeeze=False)
        for axes, (label, profile) in zip(grid, profiles, strict=True):
            _plot_densities(axes[0], profile)
            _plot_curves(axes[1], profile, "map")
            _plot_curves(axes[2], profile, "potential")
            axes[0].set_ylabel(fill(label, 11), rotation=0, ha="right", va="center", labelpad=8)
            for each in axes:
                each.xaxis.set_major_locator(MaxNLocator(5, min_n_ticks=3))
                each.yaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))
        for axes, title in zip(grid[0], ("density", _title("transport"), _title("potential")), strict=True):
            axes.set_title(title)
        figure.legend(handles=measure_handles(), loc="outside upper center", ncols=3)
    return figure


def _title(part: str) -> str:
    kind = {"transport": "transport map", "potential": "potential, from its minimum"}[part]
    return f"{kind}: {', '.join(getattr(look, part) for look in METHODS.values())}"


def _plot_densities(axes: Axes, profile: Profile) -> None:
    x = profile["density_x"]
    axes.plot(x, profile["law_density"], **LAW.line)
    axes.fill_between(
        x, profile["law_density"].clip(max=2 * profile["density_limit"]), color=LAW.color, alpha=0.08, lw=0
    )
    for name, look in METHODS.items():
        if profile[f"{name}_converged"]:
            axes.plot(x, profile[f"{name}_density"], **look.line)
    missing = [look.measure for name, look in METHODS.items() if not profile[f"{name}_converged"]]
    if missing:
        refused(axes, missing)
    axes.set(xlim=(x[0], x[-1]), ylim=(0, profile["density_limit"]))


def _plot_curves(axes: Axes, profile: Profile, part: str) -> None:
    for name, look in METHODS.items():
        if profile[f"{name}_converged"]:
            axes.plot(profile[f"{name}_x"], profile[f"{name}_{part}"], **look.line)

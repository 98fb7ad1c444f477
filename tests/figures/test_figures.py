"""Figures: the same bytes from the same numbers, legible text, one colour per measure, and refusals said."""

import numpy as np
import pytest
from matplotlib.text import Text

from conjugate_moments.figures.convergence import Trace, plot_convergence
from conjugate_moments.figures.gaussian import Panel, plot_gaussian
from conjugate_moments.figures.spread import Sweep, plot_spread
from conjugate_moments.figures.style import COLUMN, LAW, METHODS, PAGE, TALLEST, save
from conjugate_moments.figures.univariate import plot_univariate

X = np.linspace(-1, 1, 11)
SCALES = np.array([0.5, 1.0, 2.0])


def spread(gibbs=SCALES):
    return plot_spread([Sweep("law", method, SCALES, gibbs, gibbs) for method in METHODS])


def convergence(converged=True):
    return plot_convergence([Trace("law", np.array([1e-1, 1e-5]), converged), Trace("other", SCALES, True)], 1e-4)


def gaussian(panels=2):
    moments = (np.zeros(2), np.eye(2))
    each = [Panel("law", moments, dict.fromkeys(METHODS, moments))] * panels
    return plot_gaussian(each, dict.fromkeys(METHODS, (SCALES, SCALES)))


def univariate(rows=12, converged=True):
    profile = {"density_x": X, "law_density": np.where(X == 1, np.inf, 1.0), "density_limit": np.asarray(1.5)}
    for name in METHODS:
        profile[f"{name}_converged"] = np.asarray(converged)
        profile |= {f"{name}_{part}": X**2 for part in ("density", "potential")} | {
            f"{name}_{p}": X for p in ("x", "map")
        }
    return plot_univariate([("a law with a long name", profile)] * rows)


EVERY = [gaussian, univariate, spread, convergence]


@pytest.mark.parametrize("draw", EVERY)
def test_files_are_the_same_byte_for_byte(draw, tmp_path):
    for name in "ab":
        save(draw(), pdf=tmp_path / f"{name}.pdf", png=tmp_path / f"{name}.png", dpi=50, comment="where from")
    for form in ("pdf", "png"):
        assert (tmp_path / f"a.{form}").read_bytes() == (tmp_path / f"b.{form}").read_bytes()
    assert b"/CreationDate" not in (tmp_path / "a.pdf").read_bytes()


@pytest.mark.parametrize("draw", EVERY)
def test_figures_fit_a_page_and_are_legible(draw):
    figure = draw()
    assert COLUMN <= figure.get_figwidth() <= PAGE
    assert figure.get_figheight() <= TALLEST
    figure.draw_without_rendering()
    assert all(text.get_fontsize() >= 7 for text in figure.findobj(Text) if text.get_text())


def test_every_measure_has_its_own_colour():
    assert len({LAW.color, *(look.color for look in METHODS.values())}) == 3


def test_panels_of_gaussians_share_limits_and_need_no_law_in_the_plane():
    first, second, *_ = gaussian().axes
    assert first.get_xlim() == second.get_xlim()
    assert len([axes for axes in gaussian(panels=0).axes if axes.get_visible()]) == 1


@pytest.mark.parametrize(
    "figure",
    [
        lambda: spread(np.array([np.nan, 1.0, np.nan])),
        lambda: convergence(converged=False),
        lambda: univariate(rows=1, converged=False),
    ],
)
def test_fits_that_did_not_converge_are_named(figure):
    texts = [text.get_text() for text in figure().findobj(Text)]
    assert any(text.startswith("not converged:") for text in texts)

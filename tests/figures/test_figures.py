"""Figures: the same bytes from the same numbers, legible text, one colour per measure, and refusals said."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.text import Text

from conjugate_moments.figures.convergence import Trace, plot_convergence
from conjugate_moments.figures.density import DensityPanel, FitPanel, Surface, plot_density
from conjugate_moments.figures.gaussian import Panel, plot_gaussian
from conjugate_moments.figures.images import ACROSS, MISSING, Strip, generated, plot_strips, plot_traces, veiled
from conjugate_moments.figures.planar import MethodDraws, PlanarPanel, plot_failures, plot_planar
from conjugate_moments.figures.spread import Sweep, plot_spread
from conjugate_moments.figures.style import COLUMN, LAW, LEARNED, METHODS, PAGE, TALLEST, save
from conjugate_moments.figures.truth import TruthCurve, plot_truth
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


def draws(spread=1.0, unconverged=3, grid=True):
    points = np.random.default_rng(0).normal(size=(50, 2))
    generated = 2 + spread * points
    generated[:unconverged] = np.nan
    return MethodDraws(points, generated, np.stack([points[:4], points[4:8]]) if grid else None, points[:, 0] > 1)


def page(rows, **methods):
    methods = methods or {"cmfgen": draws(), "monge": draws(spread=1.1, grid=False)}
    return [PlanarPanel("a law with a long name", 2 + draws().source, methods)] * rows


def planar(rows=2):
    return plot_planar(page(rows))


def failures(rows=2):
    return plot_failures(page(rows))


def truth(status="converged"):
    maps = [
        TruthCurve(family, method, 2 * SCALES, SCALES, SCALES / 9, ["converged", "converged", status])
        for family in ("one", "other")
        for method in ("affine", "cmfgen")
    ]
    return plot_truth(maps, maps[:2])


def surface(width=1.0):
    values = np.exp(-(X[:, None] ** 2 + X**2) / width)
    return Surface(width * np.stack([X, X]), values / values.max())


def density(rows=2, fit=True):
    points = np.random.default_rng(0).normal(size=(50, 2)) / 3
    made = FitPanel(surface(2.0), 2 * points, points, 3 * points[:, 0], "ESS 0.990")
    return plot_density([DensityPanel("two moons", surface(), made if fit else None)] * rows)


def pictures(n, shape=(8, 8, 1)):
    return np.random.default_rng(0).integers(0, 17, (n, *shape)).astype(np.uint8)


def strips():
    rows = [generated("real", None, pictures(24), 2), generated("CMFGen,\npatches", pictures(24), pictures(24), 2)]
    return plot_strips(rows, levels=16, heads=[f"{place}" for place in range(ACROSS)])


def traces():
    names = ("loss", "unconverged", "conjugate_steps")
    fit = {name: np.linspace(1, 0, 60) for name in names}
    return plot_traces({"CMFGen, patches": {**fit, "acceptance": np.full(60, 0.6)}, "Monge, patches": fit})


EVERY = [gaussian, univariate, spread, convergence, planar, failures, truth, density, strips, traces]


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


def test_learned_methods_differ_in_colour_and_dashes_and_keep_the_colour_of_their_measure():
    assert len({LAW.color, *(look.color for look in LEARNED.values())}) == len(LEARNED) + 1
    assert len({look.linestyle for look in LEARNED.values()}) == len(LEARNED)
    assert (LEARNED["cmfgen"].color, LEARNED["moment"].color) == (METHODS["conjugate"].color, METHODS["moment"].color)


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
        lambda: truth("unconverged"),
        lambda: plot_planar([*page(1), *page(1, cmfgen=draws())]),
        lambda: density(fit=False),
    ],
)
def test_fits_that_did_not_converge_are_named(figure):
    texts = [text.get_text() for text in figure().findobj(Text)]
    assert any(text.startswith("not converged:") for text in texts)


def clouds(axes):
    """Points drawn in an axes."""
    return sum(len(cloud.get_offsets()) for cloud in axes.collections if isinstance(cloud, PathCollection))


def limits(axes):
    return (*axes.get_xlim(), *axes.get_ylim())


def test_planar_draws_that_did_not_converge_are_left_out_and_counted():
    data, _, generated, _, _ = planar(rows=1).axes
    assert clouds(data) == 50
    assert clouds(generated) == 47
    assert "6.0% unconverged" in [text.get_text() for text in generated.texts]
    _, failed, _ = failures(rows=1).axes
    assert clouds(failed) == 47


def test_planar_panels_that_are_compared_share_limits():
    first = draws()
    other = MethodDraws(5 * first.source, 3 * first.source, first.grid)
    data, source, generated, grid, other_source, other_generated, other_grid = plot_planar(
        page(1, cmfgen=first, monge=other)
    ).axes
    assert len({limits(axes) for axes in (data, generated, grid, other_generated, other_grid)}) == 1
    assert limits(source) == limits(other_source)
    assert limits(source) != limits(data)
    assert all(axes.get_aspect() == 1 for axes in (data, source))


def test_planar_draws_outside_the_limits_are_counted():
    far = draws(unconverged=0).generated + np.where(np.arange(50) < 5, 100.0, 0.0)[:, None]
    *_, generated = plot_planar(page(1, monge=MethodDraws(draws().source, far))).axes
    assert "10% outside" in [text.get_text() for text in generated.texts]


def test_points_off_the_support_are_marked_and_their_share_of_what_converged_is_the_title():
    off = np.arange(50) < 13  # of which three did not converge
    generated = np.random.default_rng(0).normal(size=(50, 2))
    generated[:3] = np.nan
    _, panel = plot_failures(page(1, monge=MethodDraws(generated, generated, off=off))).axes
    assert [len(cloud.get_offsets()) for cloud in panel.collections] == [37, 10]
    assert panel.get_title() == "Monge: 21% off"


def test_a_method_of_which_nothing_converged_is_drawn_as_such():
    nothing = np.full((50, 2), np.nan)
    panels = page(1, monge=MethodDraws(nothing, nothing, off=np.zeros(50, bool)))
    for figure in (plot_planar(panels), plot_failures(panels)):
        assert "100% unconverged" in [text.get_text() for text in figure.axes[-1].texts]


def test_nine_laws_fit_a_page():
    many = {"cmfgen": draws()} | dict.fromkeys(["monge", "moment", "affine", "w2dual"], draws(grid=False))
    for figure in (planar(9), failures(9), plot_planar(page(9, **many))):
        assert COLUMN <= figure.get_figwidth() <= PAGE
        assert figure.get_figheight() <= TALLEST


@pytest.mark.parametrize("rows", [0, 10])
def test_planar_figures_are_one_page(rows):
    with pytest.raises(ValueError, match="1 to 9 laws"):
        planar(rows)


def test_failures_need_to_know_what_is_off():
    with pytest.raises(ValueError, match="off"):
        plot_failures(page(1, monge=MethodDraws(draws().source, draws().source)))


def test_truth_panels_share_limits_and_leave_out_what_did_not_converge():
    first, second, below, _ = truth("unconverged").axes
    assert limits(first) == limits(second)
    assert [label.get_text() for label in below.get_xticklabels()] == ["1", "2", "4"]
    assert all(np.isnan(container[0].get_ydata()[-1]) for container in first.containers)


def test_truth_is_drawn_without_sources_or_when_nothing_converged_but_not_empty():
    curve = TruthCurve("one", "cmfgen", 2 * SCALES, SCALES, SCALES, ["unconverged"] * 3)
    assert len(plot_truth([curve], []).axes) == 1
    floor = TruthCurve("one", "cmfgen", 2 * SCALES, SCALES, SCALES, ["converged"] * 3, SCALES / 2)
    figure = plot_truth([curve], [floor])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["CMFGen", "noise floor"]
    with pytest.raises(ValueError, match="curves_map"):
        plot_truth([], [curve])


def test_densities_that_are_compared_share_limits_and_weights_share_one_scale():
    figure = density(rows=2)
    law, gibbs, images, weights = figure.axes[:4]
    assert len({limits(axes) for axes in (law, images, weights)}) == 1
    assert limits(gibbs) != limits(law)
    clouds = [axes.collections[0] for axes in figure.axes if axes.texts]
    assert {cloud.get_clim() for cloud in clouds} == {(-1.0, 1.0)}
    assert all(np.abs(cloud.get_array()).max() == 1 for cloud in clouds)  # weights beyond are drawn at the ends


def test_images_of_the_source_stand_above_their_own():
    sources, images = pictures(24), 16 - pictures(24)
    rows = generated("fit", sources, images, 2).images
    assert rows.shape == (4, ACROSS, 8, 8, 1)
    np.testing.assert_array_equal(rows[::2].reshape(sources.shape), sources)
    np.testing.assert_array_equal(rows[1::2].reshape(images.shape), images)


def test_images_that_are_too_few_leave_the_page_white():
    strip = generated("fit", pictures(5), pictures(5), 1)
    np.testing.assert_array_equal(strip.images[1, :5], pictures(5))
    (axes,) = plot_strips([strip], levels=16).axes
    assert np.all(np.asarray(axes.images[0].get_array())[:, 45:] == 1)


def test_missing_pixels_have_a_colour_that_no_grey_has():
    mask = np.arange(64).reshape(8, 8, 1) < 32
    found = veiled(pictures(2), mask, 16)
    np.testing.assert_array_equal(found[:, 4:], np.broadcast_to(MISSING, (2, 4, 8, 3)))
    np.testing.assert_array_equal(found[:, :4, :, 2], pictures(2)[:, :4, :, 0] / 16)


def test_mosaic_holds_every_pixel_once_on_white():
    images = pictures(6).reshape(2, 3, 8, 8, 1)
    (axes,) = plot_strips([Strip("two by three", images)], levels=16).axes
    picture = np.asarray(axes.images[0].get_array())
    assert picture.shape == (17, 26, 3)
    np.testing.assert_allclose(picture[9:, 18:, 0], images[1, 2, ..., 0] / 16)
    assert np.all(picture[8] == 1)


def test_strips_that_do_not_match_are_refused():
    one, other = (Strip("a", pictures(n)[None]) for n in (2, 3))
    with pytest.raises(ValueError, match=r"strips: found \[2, 3\] columns and 0 heads, allowed: as many in all"):
        plot_strips([one, other], levels=16)
    with pytest.raises(ValueError, match=r"strips: found \[\] columns"):
        plot_strips([], levels=16)


@pytest.mark.parametrize("rows", [0, 10])
def test_page_of_densities_has_one_to_nine_laws(rows):
    with pytest.raises(ValueError, match=f"panels: found {rows}, allowed: 1 to 9 laws on a page"):
        density(rows=rows)

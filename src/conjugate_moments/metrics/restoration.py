"""Images with a part missing: what models and baselines make of them, and its scores over masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conjugate_moments.config.images import LARGEST_DENSE, Inpainting
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.measures.masks import Mask
from conjugate_moments.metrics.generation import LARGEST_UNCONVERGED, Levels
from conjugate_moments.metrics.inpainting import (
    conditional_gaussian,
    conditional_mean,
    coverage,
    mean_fill,
    nearest_fill,
    psnr,
    spread_error_ratio,
    ssim,
)

if TYPE_CHECKING:
    import jax

    from conjugate_moments.fits.images import ImageFit, ImageMongeFit
    from conjugate_moments.fits.quadratics import QuadraticsFit, QuadraticsMongeFit
    from conjugate_moments.inference._completions import Completions

Array = NDArray[np.floating]

LEVEL = 0.9  # of the central interval whose coverage is counted
THIN, WARMUP = 2, 50  # moves between two draws of a chain, and before the first


@dataclass(frozen=True, eq=False)
class Restored:
    """Completions of images, in levels of a pixel.

    Args:
      mean: the best guess, `[n, d]`.
      draws: of the posterior, `[s, n, d]`; none for a method that has one guess only.
      unconverged: share of conjugates that were not solved.
      mixed: share of images whose chains have mixed, or populations agree; 1 without either.
    """

    mean: Array
    draws: Array
    unconverged: float = 0.0
    mixed: float = 1.0


@dataclass(frozen=True)
class _Seen:
    """The pixels that a mask leaves, of points in cosine coordinates or pixels; equal ones are compiled for once.

    `shape` is that of images whose cosine coefficients the points are; None for pixels.
    """

    shape: tuple[int, int, int] | None
    places: tuple[int, ...]

    def __call__(self, points: jax.Array) -> jax.Array:
        from conjugate_moments import _cosine

        rows = points if self.shape is None else _cosine.pixels(points, self.shape)
        return rows[:, np.asarray(self.places)]


def complete_images(
    fit: ImageFit | ImageMongeFit | QuadraticsFit | QuadraticsMongeFit,
    images: Levels,
    mask: Mask,
    train: Levels,
    settings: Inpainting,
    *,
    key: jax.Array,
) -> Restored:
    """Posterior draws of images `[n, h, w, c]` given what the mask leaves of them, which they keep as it is.

    Of a fit that knows w by chains, which start from draws of the conditional Gaussian with the moments of the training
    images; of a fit that knows w* by particles. The best guess is the mean of all draws, as the conditional mean is
    that of the Gaussian: of all guesses it has the least expected square error.
    """
    from conjugate_moments.fits.images import ImageFit, ImageMongeFit

    pixels, rows = fit.pixels, images.reshape(len(images), -1)
    unit = 2 / pixels.levels
    observed = rows[:, mask].astype(np.float32) * unit - 1
    if isinstance(fit, ImageFit | ImageMongeFit):
        found = _by_chains(fit, images, mask, observed, train, settings, key=key)
    else:
        found = _by_particles(fit, mask, observed, settings, key=key)
    drawn = np.asarray(fit.to_pixels(found.points.reshape(-1, fit.dim)), np.float64).reshape(found.points.shape)
    draws = np.where(mask, rows, (drawn + 1) / unit)
    print(f"acceptance {found.acceptance:.3g}, split R-hat up to {found.r_hat.max():.3g}")
    return Restored(draws.mean(axis=0), draws, found.unconverged, float(found.converged.mean()))


def _by_chains(
    fit: ImageFit | ImageMongeFit,
    images: Levels,
    mask: Mask,
    observed: Array,
    train: Levels,
    settings: Inpainting,
    *,
    key: jax.Array,
) -> Completions:
    import jax
    import jax.numpy as jnp

    from conjugate_moments import _cosine
    from conjugate_moments.fits.images import source_of
    from conjugate_moments.inference.inpainting import complete, posterior_root

    key_start, key_run = jax.random.split(key)
    shape, unit = fit.pixels.shape, 2 / fit.pixels.levels
    guess = baseline("gaussian", images, mask, train, draws=settings.chains, key=key_start).draws
    seen, source = _seen(mask, shape), source_of(fit)
    root = source.root
    if fit.dim <= LARGEST_DENSE:
        root = posterior_root(source.map, source.root, seen, settings.noise * unit)
    assert isinstance(fit.solver, RelativeConjugate)
    return complete(
        fit.network,
        source.prior,
        fit.solver,
        seen,
        observed,
        noise=settings.noise * unit,
        start=_cosine.coefficients(jnp.asarray(guess * unit - 1, jnp.float32), shape),
        root=root,
        key=key_run,
        draws=settings.chains * settings.draws,
        chains=settings.chains,
        moves=settings.draws * THIN,
        warmup=WARMUP,
        leaps=settings.leaps,
    )


def _by_particles(
    fit: QuadraticsFit | QuadraticsMongeFit, mask: Mask, observed: Array, settings: Inpainting, *, key: jax.Array
) -> Completions:
    from conjugate_moments.inference.particles import complete_in_parts
    from conjugate_moments.potentials.quadratic_maxima import QuadraticMaxima

    assert isinstance(fit.network, QuadraticMaxima)
    return complete_in_parts(
        fit.network,
        *fit.source,
        _seen(mask, None),
        observed,
        noise=settings.noise * 2 / fit.pixels.levels,
        key=key,
        populations=settings.chains,
        particles=settings.particles,
    )


def _seen(mask: Mask, shape: tuple[int, int, int] | None) -> _Seen:
    return _Seen(shape, tuple(int(place) for place in np.flatnonzero(mask)))


def baseline(name: str, images: Levels, mask: Mask, train: Levels, *, draws: int, key: jax.Array) -> Restored:
    """Completions without a fit: "mean", "nearest" or "gaussian", with the moments of the training images."""
    rows, seen = (part.reshape(len(part), -1).astype(np.float64) for part in (train, images))
    if name == "mean":
        return Restored(mean_fill(seen, mask, rows.mean(axis=0)), np.empty((0, *seen.shape)))
    if name == "nearest":
        return Restored(nearest_fill(seen, mask, rows), np.empty((0, *seen.shape)))
    moments = rows.mean(axis=0), np.cov(rows, rowvar=False)
    drawn = conditional_gaussian(seen, mask, *moments, n_samples=draws, key=key)
    return Restored(conditional_mean(seen, mask, *moments), drawn)


def restoration_scores(restored: Restored, images: Levels, mask: Mask, levels: int) -> dict[str, float]:
    """PSNR, SSIM and calibration, means over images; NaN where too many conjugates were not solved."""
    truth = images.reshape(len(images), -1).astype(np.float64)
    counted = {"unconverged": restored.unconverged, "mixed": restored.mixed}
    if restored.unconverged > LARGEST_UNCONVERGED:
        return {**dict.fromkeys(("psnr", "psnr_draw", "ssim", "coverage", "spread"), np.nan), **counted}
    mean, draws = np.clip(restored.mean, 0, levels), np.clip(restored.draws, 0, levels)
    similar = ssim(mean, truth, images.shape[1:], levels).mean()
    found = {"psnr": psnr(mean, truth, mask, levels).mean(), "psnr_draw": np.nan, "ssim": similar}
    found |= {"coverage": np.nan, "spread": np.nan}
    if len(draws):
        found["psnr_draw"] = np.mean([psnr(draw, truth, mask, levels).mean() for draw in draws])
        found["coverage"] = coverage(draws, truth, mask, LEVEL)
        found["spread"] = spread_error_ratio(draws, truth, mask)
    return {**{name: float(value) for name, value in found.items()}, **counted}

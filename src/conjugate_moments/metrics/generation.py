"""Images that a model generates, and the scores of models over sets of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conjugate_moments import _random
from conjugate_moments.metrics.images import GENERATION_METRICS, generation_scores

if TYPE_CHECKING:
    import jax

    from conjugate_moments.fits.images import OfImages

Levels = NDArray[np.uint8]

LARGEST_UNCONVERGED = 1e-3  # share of images that may be left out of a score; beyond, the fit is refused
LARGEST_DIM = 64  # up to which log-densities have exact determinants
PATHS = 8  # draws that are followed from the source measure to the image
PLACES = 7  # on each of these paths


@dataclass(frozen=True, eq=False)
class GeneratedImages:
    """Draws of a model, uint8 `[n, h, w, c]`.

    Args:
      images: of all draws; of those that are not `known`, without meaning.
      known: whether the conjugate of a draw converged, `[n]`.
      sources: draws of the source measure shown as images; those of the Gaussian are its draws themselves.
      paths: images on the straight lines from `PATHS` draws of the source to their images, `[paths, places, h, w, c]`;
        of known ones only, be they fewer.
      mixed: whether the draws are independent, or their chains have mixed.
    """

    images: Levels
    known: NDArray[np.bool_]
    sources: Levels
    paths: Levels
    mixed: bool

    @property
    def unconverged(self) -> float:
        """Share of images that are not known."""
        return float(1 - self.known.mean())


def generate_images(fit: OfImages, n: int, *, key: jax.Array) -> GeneratedImages:
    """`n` draws of a fit."""
    source, status = fit.draw(n, key=key)
    points = fit.transport(source)
    known = np.asarray(~np.isnan(points).any(axis=1))
    filled = np.where(known[:, None], points, source)
    share = np.linspace(0, 1, PLACES)[:, None]
    first = np.flatnonzero(known)[:PATHS]
    ways = (1 - share) * source[first, None] + share * filled[first, None]
    images = fit.images(filled)
    # There may be none.
    paths = fit.images(ways.reshape(-1, fit.dim)) if len(first) else images[:0]
    paths = paths.reshape(len(first), PLACES, *images.shape[1:])
    return GeneratedImages(images, known, fit.images(source), paths, status.converged)


def gaussian_images(train: Levels, n: int, *, levels: int, key: jax.Array) -> GeneratedImages:
    """`n` draws of the Gaussian with the moments of `train` `[m, h, w, c]`: what the affine closed form generates.

    Sums of training images with random weights have their covariance, of which no matrix is formed.
    """
    flat = train.reshape(len(train), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    draws = mean + _random.normal(key, (n, len(flat))) @ (flat - mean) / np.sqrt(len(flat) - 1)
    images = np.clip(np.rint(draws), 0, levels).astype(np.uint8).reshape(n, *train.shape[1:])
    paths = np.repeat(images[:PATHS, None], PLACES, axis=1)
    return GeneratedImages(images, np.ones(n, dtype=bool), images, paths, True)


def image_scores(
    drawn: GeneratedImages, real: Levels, train: Levels, *, levels: int, epsilon_share: float, seed: int, key: jax.Array
) -> dict[str, float]:
    """`GENERATION_METRICS` of draws against held-out images, both `[n, h, w, c]`; NaN where too many are not known."""
    counted = {"unconverged": drawn.unconverged, "mixed": float(drawn.mixed)}
    if drawn.unconverged > LARGEST_UNCONVERGED:
        return {**dict.fromkeys(GENERATION_METRICS, np.nan), **counted}
    sets = (images.reshape(len(images), -1) for images in (drawn.images[drawn.known], real, train))
    found = generation_scores(*sets, levels=levels, epsilon_share=epsilon_share, seed=seed, key=key)
    return {**found, **counted}


def held_out_nats(fit: OfImages, real: Levels, *, key: jax.Array) -> float:
    """Mean log-density of dequantised held-out images, in nats per pixel, of densities per level; NaN if not known.

    Known up to `LARGEST_DIM` dimensions, of fits of the potential itself, and where log Z and all but few of the
    densities can be trusted.
    """
    if fit.dim > LARGEST_DIM:
        return np.nan
    try:
        found = fit.log_prob(fit.points(real, key=key))
    except RuntimeError as error:
        print(error)
        return np.nan
    known = ~np.isnan(found)
    if known.mean() < 1 - LARGEST_UNCONVERGED:
        return np.nan
    return float(found[known].mean() / fit.dim + fit.pixels.log_unit)

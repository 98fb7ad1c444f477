"""Every method that learns a potential from samples, by its name in the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from conjugate_moments.fits.gaussian import GaussianFactorization, fit_gaussian
from conjugate_moments.fits.result import FitResult
from conjugate_moments.fits.samples import fit_samples
from conjugate_moments.settings import GIVEN_SOURCE, PeerSettings, TrainingSettings


def fit_learned(
    method: str,
    data: ArrayLike,
    *,
    key: jax.Array,
    settings: TrainingSettings | PeerSettings | None,
    source: ArrayLike | None,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> FitResult | GaussianFactorization:
    """Fit one method to samples of a law.

    Args:
      method: "affine" (the closed form, which needs no training), "w2dual" (`fit_w2dual`) or one of `fit_samples`.
      data: independent draws of ρ, `[n, d]`.
      key: of the whole fit.
      settings: of the training, `PeerSettings` for "w2dual"; None for the method's defaults.
      source: draws of the true source measure, `[m, d]`, for the methods of `GIVEN_SOURCE`; others do not see them.
      progress: whether to show a progress bar.
      checkpoint: file that a fit which was interrupted is resumed from, bit for bit; None for none.

    Raises:
      ValueError: for an unknown method, or data that the method refuses.
      DivergedError: if the training went astray.
    """
    if method == "affine":
        return fit_gaussian(np.mean(data, axis=0), np.cov(data, rowvar=False))
    given: dict[str, Any] = {"key": key, "settings": settings, "progress": progress, "checkpoint": checkpoint}
    given["source"] = source if method in GIVEN_SOURCE else None
    if method == "w2dual":
        from conjugate_moments.fits.w2dual import fit_w2dual

        return fit_w2dual(data, **given)
    return fit_samples(data, method=method, **given)

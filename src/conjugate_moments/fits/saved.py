"""Trained fits from files."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_moments.fits.density import DensityFit
from conjugate_moments.fits.images import ImageFit, ImageMongeFit
from conjugate_moments.fits.kinds import ConjugateFit, MomentFit, MongeFit
from conjugate_moments.fits.quadratics import QuadraticsFit, QuadraticsMongeFit
from conjugate_moments.fits.result import FORMAT, FitResult
from conjugate_moments.fits.variational import AffineKLFit, ReverseKLFit
from conjugate_moments.fits.w2dual import W2DualFit

KINDS = {
    kind.method: kind
    for kind in (
        ConjugateFit,
        MongeFit,
        MomentFit,
        W2DualFit,
        DensityFit,
        ReverseKLFit,
        AffineKLFit,
        ImageFit,
        ImageMongeFit,
        QuadraticsFit,
        QuadraticsMongeFit,
    )
}


def load(path: str | Path) -> FitResult:
    """Read what `FitResult.save` wrote.

    Raises:
      ValueError: if the file does not hold a trained fit, or one of a network that has changed since.
    """
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    kind = KINDS.get(str(arrays.get("method")))
    if kind is None:
        raise ValueError(f"path: {path} does not hold a trained fit")
    other = f"path: {path} holds a fit of another version of this package, allowed: one of this version"
    entry = json.loads(str(arrays["settings"]))
    if str(arrays.get("format")) != str(FORMAT):
        raise ValueError(other)
    if entry.keys() != {setting.name for setting in fields(kind.settings_type)}:
        raise ValueError(other)
    settings = kind.settings_type.from_dict(entry)
    skeleton = jax.eval_shape(lambda: kind.blank(settings, arrays))
    wanted = {f"leaf{i}": leaf.shape for i, leaf in enumerate(jax.tree.leaves(skeleton))}
    if wanted != {name: array.shape for name, array in arrays.items() if name.startswith("leaf")}:
        raise ValueError(other)
    try:
        more = kind._more_fields(arrays)
    except (KeyError, ValueError):  # fields that are not there, or of another length
        raise ValueError(other) from None
    network = jax.tree.unflatten(jax.tree.structure(skeleton), [jnp.asarray(arrays[name]) for name in wanted])
    trace = {name.removeprefix("trace_"): values for name, values in arrays.items() if name.startswith("trace_")}
    moments = arrays["mean"], arrays["cov"]
    return kind(network, settings, *moments, arrays["anchors"], trace, **more)

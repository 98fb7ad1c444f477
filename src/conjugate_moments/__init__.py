"""Conjugate moment measures: sample and map from a single convex potential.

Reference implementation of Vesseron, Béthune & Cuturi (NeurIPS 2025, arXiv 2503.10576).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conjugate_moments.fits._training import DivergedError
    from conjugate_moments.fits.density import DensityFit, fit_density
    from conjugate_moments.fits.factorization import UnivariateFactorization
    from conjugate_moments.fits.gaussian import GaussianFactorization, fit_gaussian
    from conjugate_moments.fits.images import ImageFit, fit_images
    from conjugate_moments.fits.product import ProductFactorization, fit_product
    from conjugate_moments.fits.quadratics import QuadraticsFit, fit_quadratics
    from conjugate_moments.fits.result import FitResult
    from conjugate_moments.fits.samples import fit_samples
    from conjugate_moments.fits.saved import load
    from conjugate_moments.fits.univariate import fit_univariate, load_univariate
    from conjugate_moments.fits.variational import fit_variational
    from conjugate_moments.fits.w2dual import fit_w2dual
    from conjugate_moments.measures.images import Pixels, image_set
    from conjugate_moments.measures.univariate import Mixture, PowerLaw, UnivariateLaw
    from conjugate_moments.settings import (
        DensitySettings,
        ImageSettings,
        PeerSettings,
        QuadraticsSettings,
        TrainingSettings,
    )

__version__ = "0.1.0"

__all__ = [
    "DensityFit",
    "DensitySettings",
    "DivergedError",
    "FitResult",
    "GaussianFactorization",
    "ImageFit",
    "ImageSettings",
    "Mixture",
    "PeerSettings",
    "Pixels",
    "PowerLaw",
    "ProductFactorization",
    "QuadraticsFit",
    "QuadraticsSettings",
    "TrainingSettings",
    "UnivariateFactorization",
    "UnivariateLaw",
    "fit_density",
    "fit_gaussian",
    "fit_images",
    "fit_product",
    "fit_quadratics",
    "fit_samples",
    "fit_univariate",
    "fit_variational",
    "fit_w2dual",
    "image_set",
    "load",
    "load_univariate",
]

_MODULES = {
    "fits._training": ("DivergedError",),
    "fits.density": ("DensityFit", "fit_density"),
    "fits.factorization": ("UnivariateFactorization",),
    "fits.gaussian": ("GaussianFactorization", "fit_gaussian"),
    "fits.images": ("ImageFit", "fit_images"),
    "fits.product": ("ProductFactorization", "fit_product"),
    "fits.quadratics": ("QuadraticsFit", "fit_quadratics"),
    "fits.result": ("FitResult",),
    "fits.samples": ("fit_samples",),
    "fits.saved": ("load",),
    "fits.univariate": ("fit_univariate", "load_univariate"),
    "fits.variational": ("fit_variational",),
    "fits.w2dual": ("fit_w2dual",),
    "measures.images": ("Pixels", "image_set"),
    "measures.univariate": ("Mixture", "PowerLaw", "UnivariateLaw"),
    "settings": ("DensitySettings", "ImageSettings", "PeerSettings", "QuadraticsSettings", "TrainingSettings"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: most jobs of the chain need only one, and scipy.stats is slow to load."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)

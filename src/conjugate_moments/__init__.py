"""Conjugate moment measures: sample and map from a single convex potential.

Reference implementation of Vesseron, Béthune & Cuturi (NeurIPS 2025, arXiv 2503.10576).
"""

from conjugate_moments.fits.gaussian import GaussianFactorization, fit_gaussian
from conjugate_moments.fits.product import ProductFactorization, fit_product
from conjugate_moments.fits.univariate import UnivariateFactorization, fit_univariate, load_univariate
from conjugate_moments.measures.univariate import Mixture, PowerLaw, UnivariateLaw

__version__ = "0.1.0"

__all__ = [
    "GaussianFactorization",
    "Mixture",
    "PowerLaw",
    "ProductFactorization",
    "UnivariateFactorization",
    "UnivariateLaw",
    "fit_gaussian",
    "fit_product",
    "fit_univariate",
    "load_univariate",
]

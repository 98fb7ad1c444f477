"""The configuration: closed schema, checks that a schema cannot express, and the frozen records that come out."""

from conjugate_moments.config._messages import ConfigError
from conjugate_moments.config._whole import Config, Figures, fingerprint, load, validate
from conjugate_moments.config.density import Density, Energies
from conjugate_moments.config.gaussian import Gaussian, GaussianLaw
from conjugate_moments.config.learning import Learning, Planar, Truth
from conjugate_moments.config.scales import Scales
from conjugate_moments.config.spread import Spread
from conjugate_moments.config.univariate import (
    OWN_FAMILIES,
    Component,
    MixtureEntry,
    PowerEntry,
    SamplesEntry,
    ScipyEntry,
    Univariate,
    UnivariateEntry,
    read_samples,
)

__all__ = [
    "OWN_FAMILIES",
    "Component",
    "Config",
    "ConfigError",
    "Density",
    "Energies",
    "Figures",
    "Gaussian",
    "GaussianLaw",
    "Learning",
    "MixtureEntry",
    "Planar",
    "PowerEntry",
    "SamplesEntry",
    "Scales",
    "ScipyEntry",
    "Spread",
    "Truth",
    "Univariate",
    "UnivariateEntry",
    "fingerprint",
    "load",
    "read_samples",
    "validate",
]

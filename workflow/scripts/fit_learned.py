"""Fit a potential to samples, and record how the training went."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from functools import partial
from pathlib import Path

import jax
import numpy as np

from conjugate_moments._random import key_for
from conjugate_moments.fits._training import DivergedError
from conjugate_moments.fits.gaussian import fit_gaussian
from conjugate_moments.fits.samples import fit_samples
from conjugate_moments.fits.w2dual import fit_w2dual
from conjugate_moments.metrics.records import write_trace
from conjugate_moments.provenance import line, provenance
from conjugate_moments.settings import GIVEN_SOURCE, METHODS


def fit_affine(data, **_):
    """The closed form, which needs no training."""
    return fit_gaussian(data.mean(axis=0), np.cov(data, rowvar=False))


FITS = {"affine": fit_affine, "w2dual": fit_w2dual}
FITS |= {name: partial(fit_samples, method=name) for name in METHODS}

method, seed = snakemake.wildcards.method, int(snakemake.wildcards.seed)
device = jax.devices()[0].device_kind
record = provenance(snakemake.params.fingerprint, seeds=[seed], device=device)
with np.load(snakemake.input.draws, allow_pickle=False) as stored:
    data, source = stored["draws"], stored.get("source")
try:
    fit = FITS[method](
        data,
        key=key_for(seed, "fit", snakemake.wildcards.learned, method),
        settings=snakemake.params.training,
        source=source if method in GIVEN_SOURCE else None,
        progress=True,
        checkpoint=snakemake.params.checkpoint,
    )
except DivergedError as error:
    # Beside the log: what a failed job has written among its outputs is removed.
    write_trace(Path(snakemake.log[0]).with_suffix(".trace.csv"), error.trace, comment=line(record))
    raise
trace = getattr(fit, "trace", {})
if trace:
    print({name: round(value, 6) for name, value in fit.diagnostics.items()})
fit.save(snakemake.output.fit, provenance=record)
write_trace(snakemake.output.trace, trace, comment=line(record))

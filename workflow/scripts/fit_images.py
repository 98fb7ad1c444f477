"""Fit a potential to images, and record how the training went."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from pathlib import Path

import jax
import numpy as np

from conjugate_moments._random import key_for
from conjugate_moments.fits._training import DivergedError
from conjugate_moments.fits.images import fit_images
from conjugate_moments.fits.quadratics import fit_quadratics
from conjugate_moments.measures.images import Pixels
from conjugate_moments.metrics.records import write_trace
from conjugate_moments.provenance import line, provenance

name, model, seed = snakemake.wildcards.images, snakemake.wildcards.trained, int(snakemake.wildcards.repeat)
params, (method, _, network) = snakemake.params, model.partition("_")
record = provenance(params.fingerprint, seeds=[seed], device=jax.devices()[0].device_kind)
with np.load(snakemake.input.images, allow_pickle=False) as stored:
    train, levels = stored["train"], int(stored["levels"])
pixels = Pixels(train.shape[1:], levels, params.training.noise)
options = {"settings": params.training, "progress": True, "checkpoint": params.checkpoint}
try:
    learn = fit_quadratics if network == "quadratics" else fit_images
    fit = learn(train, pixels, key=key_for(seed, "fit", name, model), method=method, **options)
except DivergedError as error:
    # Beside the log: what a failed job has written among its outputs is removed.
    write_trace(Path(snakemake.log[0]).with_suffix(".trace.csv"), error.trace, comment=line(record))
    raise
print({name: round(value, 6) for name, value in fit.diagnostics.items()})
fit.save(snakemake.output.fit, provenance=record)
write_trace(snakemake.output.trace, fit.trace, comment=line(record))

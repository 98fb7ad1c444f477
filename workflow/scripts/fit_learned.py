"""Fit a potential to samples, and record how the training went."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from pathlib import Path

import jax
import numpy as np

from conjugate_moments._random import key_for
from conjugate_moments.fits._training import DivergedError
from conjugate_moments.fits.learned import fit_learned
from conjugate_moments.metrics.records import write_trace
from conjugate_moments.provenance import line, provenance

name, method, seed = snakemake.wildcards.learned, snakemake.wildcards.method, int(snakemake.wildcards.seed)
params, key = snakemake.params, key_for(seed, "fit", name, method)
record = provenance(params.fingerprint, seeds=[seed], device=jax.devices()[0].device_kind)
with np.load(snakemake.input.draws, allow_pickle=False) as stored:
    data, source = stored["draws"], stored.get("source")
try:
    fit = fit_learned(
        method, data, key=key, settings=params.training, source=source, progress=True, checkpoint=params.checkpoint
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

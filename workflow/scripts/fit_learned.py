"""Fit a potential to samples, and record how the training went."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import jax
import numpy as np

from conjugate_moments._random import key_for
from conjugate_moments.fits.gaussian import fit_gaussian
from conjugate_moments.fits.samples import fit_samples
from conjugate_moments.metrics.records import write_rows
from conjugate_moments.provenance import line, provenance

method, seed = snakemake.wildcards.method, int(snakemake.wildcards.seed)
device = jax.devices()[0].device_kind
record = provenance(snakemake.params.fingerprint, seeds=[seed], device=device)
with np.load(snakemake.input.draws, allow_pickle=False) as stored:
    data, source = stored["draws"], stored.get("source")
if method == "affine":
    fit, trace = fit_gaussian(data.mean(axis=0), np.cov(data, rowvar=False)), {}
else:
    fit = fit_samples(
        data,
        key=key_for(seed, "fit", snakemake.wildcards.learned, method),
        settings=snakemake.params.training,
        method=method,
        source=source if method == "monge" else None,
        progress=True,
        checkpoint=snakemake.params.checkpoint,
    )
    trace = fit.trace
    print({name: round(value, 6) for name, value in fit.diagnostics.items()})
fit.save(snakemake.output.fit, provenance=record)
steps = range(1, 1 + len(next(iter(trace.values()), ())))
write_rows(snakemake.output.trace, ["step", *trace], zip(steps, *trace.values(), strict=True), comment=line(record))

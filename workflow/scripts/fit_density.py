"""Fit a potential to an unnormalised density, and record what it cost; a training that diverged leaves its reason."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import json
from time import perf_counter

import jax

from conjugate_moments._files import write_arrays
from conjugate_moments._random import key_for
from conjugate_moments.fits._training import DivergedError
from conjugate_moments.fits.density import fit_density
from conjugate_moments.fits.variational import fit_variational
from conjugate_moments.measures.energies import energy
from conjugate_moments.metrics.records import write_rows, write_trace
from conjugate_moments.provenance import line, provenance

(name, dim), method, seed = snakemake.params.law, snakemake.wildcards.fitted, int(snakemake.wildcards.repetition)
params, settings, law = snakemake.params, snakemake.params.training, energy(name, dim).log_density
record = provenance(params.fingerprint, seeds=[seed], device=jax.devices()[0].device_kind)
# The same key for all methods, and so the same exploration.
options = {"key": key_for(seed, "fit", snakemake.wildcards.energy), "settings": settings, "progress": True}
options["checkpoint"] = params.checkpoint
started = perf_counter()
try:
    fit = fit_density(law, dim, **options) if method == "cmfma" else fit_variational(law, dim, method=method, **options)
    evaluations, trace = fit.status.evaluations, fit.trace
    print(fit.status)
    fit.save(snakemake.output.fit, provenance=record)
except DivergedError as error:
    print(error)
    evaluations, trace = settings.explorations + settings.batch * len(error.trace["loss"]), error.trace
    write_arrays(snakemake.output.fit, {"diverged": str(error), "provenance": json.dumps(record)})
effort = [evaluations, perf_counter() - started]
write_rows(snakemake.output.effort, ["evaluations", "seconds"], [effort], comment=line(record))
write_trace(snakemake.output.trace, trace, comment=line(record))

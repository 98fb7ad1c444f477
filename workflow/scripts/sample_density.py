"""Sample an unnormalised density by a method without a potential, with as many evaluations as CMFMA used."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import json
from time import perf_counter

from conjugate_moments._random import key_for
from conjugate_moments.measures.energies import energy
from conjugate_moments.metrics.density import write_sample
from conjugate_moments.metrics.records import read_columns, write_rows
from conjugate_moments.provenance import line, provenance
from conjugate_moments.samplers.peers import mala_sample, nuts_sample, smc_sample

SAMPLERS = {"mala": mala_sample, "nuts": nuts_sample, "smc": smc_sample}

(name, dim), method, seed = snakemake.params.law, snakemake.wildcards.sampler, int(snakemake.wildcards.repetition)
case, record = energy(name, dim), provenance(snakemake.params.fingerprint, seeds=[seed])
((budget,),) = read_columns(snakemake.input.budget, "evaluations")
key, started = key_for(seed, "sample", snakemake.wildcards.energy, method), perf_counter()
# The start is as wide as the law, which CMFMA has to find out.
sample = SAMPLERS[method](case.log_density, dim, key=key, budget=int(budget), scale=case.scale)
effort = [sample.density_evaluations, perf_counter() - started]
if sample.diagnostics is not None:
    print(f"split R̂ {float(sample.diagnostics.r_hat.max()):.4f}, {sample.divergences or 0} divergences")
print(f"{sample.density_evaluations} evaluations of {budget:.0f}, {sample.gradient_evaluations} with gradient")
write_sample(snakemake.output.sample, sample, provenance=json.dumps(record))
write_rows(snakemake.output.effort, ["evaluations", "seconds"], [effort], comment=line(record))

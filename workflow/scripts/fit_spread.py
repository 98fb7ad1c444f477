"""Factorise a univariate law, centred and stretched, over a range of scales."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from conjugate_moments.fits.univariate import fit_univariate
from conjugate_moments.measures.named import law_from_entry
from conjugate_moments.metrics.spread import measure_spread, write_sweep
from conjugate_moments.provenance import line, provenance

settings = {name: snakemake.params[name] for name in ("tolerance", "max_iterations")}
for factorization, path in zip(snakemake.params.factorizations, snakemake.output.sweeps, strict=True):
    sweep = []
    for scale in snakemake.params.scales:
        law = law_from_entry(snakemake.params.law, scale=scale, centre=True)
        # Centred already, but for rounding.
        fit = fit_univariate(law, factorization, center=factorization == "moment", **settings)
        print(f"{factorization}, scale {scale:.3g}: iterations {fit.iterations}, converged {fit.converged}")
        sweep.append(measure_spread(scale, fit))
    write_sweep(path, sweep, comment=line(provenance(snakemake.params.fingerprint)))

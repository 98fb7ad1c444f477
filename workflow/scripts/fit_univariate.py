"""Factorise a univariate law, and record how the iteration went."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from conjugate_moments.fits.univariate import fit_univariate
from conjugate_moments.measures.named import law_from_entry
from conjugate_moments.metrics.records import write_rows
from conjugate_moments.provenance import line, provenance

law, record = law_from_entry(snakemake.params.law), provenance(snakemake.params.fingerprint)
settings = {name: snakemake.params[name] for name in ("tolerance", "max_iterations")}
paths = zip(snakemake.params.factorizations, snakemake.output.fits, snakemake.output.traces, strict=True)
for factorization, path, trace in paths:
    fit = fit_univariate(law, factorization, center=factorization == "moment", **settings)
    print(f"{factorization}: iterations {fit.iterations}, converged {fit.converged}, residual {fit.residual:.3g}")
    fit.save(path, provenance=record)
    write_rows(trace, ["iteration", "change"], enumerate(fit.diagnostics.changes, start=1), comment=line(record))

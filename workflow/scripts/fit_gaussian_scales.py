"""Factorise centred Gaussians on the line over a range of standard deviations."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import math

from conjugate_moments.fits.gaussian import fit_gaussian
from conjugate_moments.metrics.records import write_rows
from conjugate_moments.provenance import line, provenance

rows = []
for std in snakemake.params.scales:
    fits = [fit_gaussian([0.0], [[std**2]], factorization) for factorization in snakemake.params.factorizations]
    rows.append([std, *(math.sqrt(fit.gibbs_cov[0, 0]) for fit in fits)])
comment = line(provenance(snakemake.params.fingerprint))
write_rows(snakemake.output.sweep, ["law_std", *snakemake.params.factorizations], rows, comment=comment)

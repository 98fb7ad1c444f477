"""Factorise a Gaussian law in closed form."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from conjugate_moments.fits.gaussian import fit_gaussian
from conjugate_moments.provenance import provenance

law, record = snakemake.params.law, provenance(snakemake.params.fingerprint)
for factorization, path in zip(snakemake.params.factorizations, snakemake.output.fits, strict=True):
    fit = fit_gaussian(law.mean, law.covariance, factorization, center=factorization == "moment")
    fit.save(path, provenance=record)

"""Summarise how both Gibbs measures follow the scale of a law."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from conjugate_moments.metrics.records import write_scores
from conjugate_moments.metrics.spread import read_sweep, summarise
from conjugate_moments.provenance import line, provenance

sweeps = zip(snakemake.params.factorizations, snakemake.input.sweeps, strict=True)
scores = [score for method, path in sweeps for score in summarise(snakemake.wildcards.law, method, read_sweep(path))]
write_scores(snakemake.output.scores, scores, comment=line(provenance(snakemake.params.fingerprint)))

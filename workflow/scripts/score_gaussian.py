"""Score both factorisations of a Gaussian law."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments.fits.gaussian import load_gaussian
from conjugate_moments.metrics.gaussian import score_gaussian
from conjugate_moments.metrics.records import write_scores
from conjugate_moments.provenance import line, provenance

draws = {}
for seed, path in zip(snakemake.params.seeds, snakemake.input.draws, strict=True):
    with np.load(path, allow_pickle=False) as stored:
        draws[seed] = stored["draws"]
fits = [load_gaussian(path)[0] for path in snakemake.input.fits]
scores = [score for fit in fits for score in score_gaussian(snakemake.wildcards.law, fit, draws)]
comment = line(provenance(snakemake.params.fingerprint, seeds=snakemake.params.seeds))
write_scores(snakemake.output.scores, scores, comment=comment)

"""Score both factorisations of a univariate law, and evaluate them on grids for the figure."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments._files import write_arrays
from conjugate_moments.fits.univariate import load_univariate
from conjugate_moments.measures.named import law_from_entry
from conjugate_moments.metrics.profiles import profile
from conjugate_moments.metrics.records import write_scores
from conjugate_moments.metrics.univariate import score_univariate
from conjugate_moments.provenance import line, provenance

draws = {}
for seed, path in zip(snakemake.params.seeds, snakemake.input.draws, strict=True):
    with np.load(path, allow_pickle=False) as stored:
        draws[seed] = (stored["draws"], stored["second"])
fits = [load_univariate(path)[0] for path in snakemake.input.fits]
scores = [score for fit in fits for score in score_univariate(snakemake.wildcards.law, fit, draws)]
record = line(provenance(snakemake.params.fingerprint, seeds=snakemake.params.seeds))
write_scores(snakemake.output.scores, scores, comment=record)
arrays = profile(law_from_entry(snakemake.params.law), fits)
write_arrays(snakemake.output.profile, {**arrays, "provenance": record})

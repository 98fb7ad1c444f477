"""Score the fits of one method to one law, over seeds."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments._files import write_arrays
from conjugate_moments._random import key_for
from conjugate_moments.fits.gaussian import load_gaussian
from conjugate_moments.fits.saved import load
from conjugate_moments.fits.truths import truth
from conjugate_moments.measures.planar import PLANAR
from conjugate_moments.metrics.learned import (
    LARGEST_UNCONVERGED,
    generate,
    gibbs_floor,
    held_out,
    planar_scores,
    truth_scores,
    warped_grid,
)
from conjugate_moments.metrics.records import over_fits, read_columns, write_scores
from conjugate_moments.provenance import line, provenance
from conjugate_moments.settings import GIVEN_SOURCE

name, method, seeds = snakemake.wildcards.learned, snakemake.wildcards.method, snakemake.params.seeds
n, record = snakemake.params.points, line(provenance(snakemake.params.fingerprint, seeds=snakemake.params.seeds))
found, arrays = [], {}
for seed, path in zip(seeds, snakemake.input.fits, strict=True):
    fit = load_gaussian(path)[0] if method == "affine" else load(path)
    key = key_for(seed, "score", name, method)
    if snakemake.params.truth:
        law = truth(*snakemake.params.truth)
        found.append(truth_scores(law, fit, n, given_source=method in GIVEN_SOURCE, key=key))
        continue
    law, drawn = PLANAR[name], generate(fit, n, key=key)
    true = law.sample(n, key=key_for(seed, "truth", name))
    found.append(planar_scores(law, drawn, true, snakemake.params.epsilon, held_out(fit, true)))
    if not arrays:
        arrays = {"source": drawn.source, "generated": drawn.images, "off": law.gap(np.nan_to_num(drawn.images))}
        arrays |= {"grid": warped_grid(fit, drawn.source), "truth": true}
floors = {}
if snakemake.params.truth and method not in GIVEN_SOURCE:
    law = truth(*snakemake.params.truth)
    floors["gibbs"] = [gibbs_floor(law, n, key=key_for(seed, "noise floor", name)) for seed in seeds]
elif snakemake.input.floors:
    names = ("sinkhorn", "w2")
    floors = dict(zip(names, read_columns(snakemake.input.floors[0], *names), strict=True))
scores = over_fits(name, method, seeds, found, floors, largest_unconverged=LARGEST_UNCONVERGED)
write_scores(snakemake.output.scores, scores, comment=record)
write_arrays(snakemake.output.draws, {**arrays, "provenance": record})

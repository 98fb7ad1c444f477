"""Figure of errors against the exact truth, over dimension."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments.figures.style import save
from conjugate_moments.figures.truth import TruthCurve, plot_truth
from conjugate_moments.metrics.records import ALL, read_scores
from conjugate_moments.provenance import line, provenance

found = {}
for (family, dimension, method), path in zip(snakemake.params.fits, snakemake.input.scores, strict=True):
    for score in read_scores(path):
        if score.seed == ALL:
            found.setdefault((score.metric, family, method), []).append((dimension, score))


def curves(metric):
    """One curve per family and method that has this metric."""
    for (name, family, method), points in found.items():
        if name == metric and not all(np.isnan(score.value) and score.status == "converged" for _, score in points):
            dimensions, scores = zip(*sorted(points, key=lambda point: point[0]), strict=True)
            numbers = [[score.value, score.standard_error, score.noise_floor] for score in scores]
            values, errors, floors = np.transpose(numbers)
            statuses = [score.status for score in scores]
            label = family.replace("_", " ")
            yield TruthCurve(label, method, np.array(dimensions), values, errors, statuses, floors)


comment = line(provenance(snakemake.params.fingerprint, seeds=snakemake.params.seeds))
figure = plot_truth(list(curves("uvp")), list(curves("gibbs")))
save(figure, pdf=snakemake.output.pdf, png=snakemake.output.png, dpi=snakemake.params.dpi, comment=comment)

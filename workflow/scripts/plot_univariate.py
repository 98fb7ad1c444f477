"""A page of the figure of the univariate laws."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments.figures.style import save
from conjugate_moments.figures.univariate import plot_univariate
from conjugate_moments.provenance import line, provenance

profiles = []
for label, path in zip(snakemake.params.labels, snakemake.input.profiles, strict=True):
    with np.load(path, allow_pickle=False) as stored:
        profiles.append((label, dict(stored)))
comment = line(provenance(snakemake.params.fingerprint))
save(
    plot_univariate(profiles),
    pdf=snakemake.output.pdf,
    png=snakemake.output.png,
    dpi=snakemake.params.dpi,
    comment=comment,
)

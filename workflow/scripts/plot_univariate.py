"""A page of the figure of the univariate laws."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments.figures.style import save
from conjugate_moments.figures.univariate import plot_univariate

profiles = []
for label, path in zip(snakemake.params.labels, snakemake.input.profiles, strict=True):
    with np.load(path, allow_pickle=False) as stored:
        profiles.append((label, dict(stored)))
save(plot_univariate(profiles), pdf=snakemake.output.pdf, png=snakemake.output.png, dpi=snakemake.params.dpi)

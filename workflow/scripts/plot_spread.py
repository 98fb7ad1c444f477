"""Figure of the spread study."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments.figures.spread import Sweep, plot_spread
from conjugate_moments.figures.style import save

sweeps = []
for (label, method), path in zip(snakemake.params.sweeps, snakemake.input.sweeps, strict=True):
    rows = np.genfromtxt(path, delimiter=",", names=True)
    sweeps.append(Sweep(label, method, *(rows[name] for name in ("law_std", "gibbs_std", "w2_over_std"))))
save(plot_spread(sweeps), pdf=snakemake.output.pdf, png=snakemake.output.png, dpi=snakemake.params.dpi)

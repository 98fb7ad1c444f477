"""Figure of the Gaussian laws."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np
import pandas as pd

from conjugate_moments.figures.gaussian import Panel, plot_gaussian
from conjugate_moments.figures.style import save

fits = {}
for (law, method), path in zip(snakemake.params.fits, snakemake.input.fits, strict=True):
    with np.load(path, allow_pickle=False) as stored:
        fits.setdefault(law, {})[method] = dict(stored)
panels = []
for law, methods in fits.items():
    rho = next(iter(methods.values()))
    gibbs = {method: (fit["gibbs_mean"], fit["gibbs_cov"]) for method, fit in methods.items()}
    panels.append(Panel(law, (rho["mean"], rho["cov"]), gibbs))
rows = pd.read_csv(snakemake.input.sweep)
sweep = {str(method): (part.law_std.to_numpy(), part.gibbs_std.to_numpy()) for method, part in rows.groupby("method")}
save(plot_gaussian(panels, sweep), pdf=snakemake.output.pdf, png=snakemake.output.png, dpi=snakemake.params.dpi)

"""Figure of the Gaussian laws."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

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
rows = np.genfromtxt(snakemake.input.sweep, delimiter=",", names=True)
sweep = {method: (rows["law_std"], rows[method]) for method in rows.dtype.names[1:]}
save(plot_gaussian(panels, sweep), pdf=snakemake.output.pdf, png=snakemake.output.png, dpi=snakemake.params.dpi)

"""Figure of the Gaussian laws."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments.figures.gaussian import Panel, plot_gaussian
from conjugate_moments.figures.style import METHODS, save
from conjugate_moments.metrics.records import read_columns
from conjugate_moments.provenance import line, provenance

fits = {}
for (law, method), path in zip(snakemake.params.fits, snakemake.input.fits, strict=True):
    with np.load(path, allow_pickle=False) as stored:
        fits.setdefault(law, {})[method] = dict(stored)
panels = []
for law, methods in fits.items():
    rho = next(iter(methods.values()))
    gibbs = {method: (fit["gibbs_mean"], fit["gibbs_cov"]) for method, fit in methods.items()}
    panels.append(Panel(law, (rho["mean"], rho["cov"]), gibbs))
methods = list(METHODS)
law_std, *gibbs_stds = read_columns(snakemake.input.sweep, "law_std", *methods)
sweep = {method: (law_std, gibbs_std) for method, gibbs_std in zip(methods, gibbs_stds, strict=True)}
comment = line(provenance(snakemake.params.fingerprint))
save(
    plot_gaussian(panels, sweep),
    pdf=snakemake.output.pdf,
    png=snakemake.output.png,
    dpi=snakemake.params.dpi,
    comment=comment,
)

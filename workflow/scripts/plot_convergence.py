"""Figure of how the iterations converged."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments.figures.convergence import Trace, plot_convergence
from conjugate_moments.figures.style import save

traces = []
for label, fit, trace in zip(snakemake.params.labels, snakemake.input.fits, snakemake.input.traces, strict=True):
    with np.load(fit, allow_pickle=False) as stored:
        converged = bool(stored["converged"])
    changes = np.genfromtxt(trace, delimiter=",", names=True, ndmin=1)["change"]
    traces.append(Trace(label, changes, converged))
figure = plot_convergence(traces, snakemake.params.tolerance)
save(figure, pdf=snakemake.output.pdf, png=snakemake.output.png, dpi=snakemake.params.dpi)

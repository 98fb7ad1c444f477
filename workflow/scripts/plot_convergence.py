"""Figure of how the iterations converged."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments.figures.convergence import Trace, plot_convergence
from conjugate_moments.figures.style import save
from conjugate_moments.metrics.records import read_columns
from conjugate_moments.provenance import line, provenance

traces = []
for label, fit, trace in zip(snakemake.params.labels, snakemake.input.fits, snakemake.input.traces, strict=True):
    with np.load(fit, allow_pickle=False) as stored:
        converged = bool(stored["converged"])
    (changes,) = read_columns(trace, "change")
    traces.append(Trace(label, changes, converged))
figure = plot_convergence(traces, snakemake.params.tolerance)
comment = line(provenance(snakemake.params.fingerprint))
save(figure, pdf=snakemake.output.pdf, png=snakemake.output.png, dpi=snakemake.params.dpi, comment=comment)

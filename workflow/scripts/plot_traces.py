"""Figure of how the fits to one set of images were trained."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from conjugate_moments.figures.images import TRACES, plot_traces
from conjugate_moments.figures.style import save
from conjugate_moments.metrics.records import read_columns, read_rows
from conjugate_moments.metrics.tables import LEARNED
from conjugate_moments.provenance import line, provenance

params, traces = snakemake.params, {}
for model, path in zip(params.models, snakemake.input.traces, strict=True):
    names = [name for name in TRACES if name in read_rows(path)[0]]
    traces[LEARNED[model]] = dict(zip(names, read_columns(path, *names), strict=True))
comment = line(provenance(params.fingerprint, seeds=params.seeds))
save(plot_traces(traces), pdf=snakemake.output.pdf, png=snakemake.output.png, dpi=params.dpi, comment=comment)

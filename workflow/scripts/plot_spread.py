"""Figure of the spread study."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from conjugate_moments.figures.spread import Sweep, plot_spread
from conjugate_moments.figures.style import save
from conjugate_moments.metrics.records import read_columns
from conjugate_moments.provenance import line, provenance

sweeps = []
for (label, method), path in zip(snakemake.params.sweeps, snakemake.input.sweeps, strict=True):
    sweeps.append(Sweep(label, method, *read_columns(path, "law_std", "gibbs_std", "w2_over_std")))
comment = line(provenance(snakemake.params.fingerprint))
save(plot_spread(sweeps), pdf=snakemake.output.pdf, png=snakemake.output.png, dpi=snakemake.params.dpi, comment=comment)

"""Figures of the planar laws: what each method makes of them, and where it fails."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments.figures.planar import MethodDraws, PlanarPanel, plot_failures, plot_planar
from conjugate_moments.figures.style import save
from conjugate_moments.provenance import line, provenance

WORST = 3  # laws on the page of failures

panels = {}
for (law, method), path in zip(snakemake.params.fits, snakemake.input.draws, strict=True):
    with np.load(path, allow_pickle=False) as stored:
        # The source and the warped grid tell something new for the method of the paper only.
        grid = stored["grid"] if method == "cmfgen" else None
        draws = MethodDraws(stored["source"], stored["generated"], grid, stored["off"])
        label = snakemake.params.labels[law]
        panels.setdefault(law, PlanarPanel(label, stored["truth"], {})).methods[method] = draws
pages = list(panels.values())
worst = sorted(pages, key=lambda panel: -float(np.mean(panel.methods[snakemake.params.judged].off)))[:WORST]
comment = line(provenance(snakemake.params.fingerprint, seeds=snakemake.params.seeds))
for name, figure in (("planar", plot_planar(pages)), ("failures", plot_failures(worst))):
    pdf, png = (snakemake.output[f"{name}_{form}"] for form in ("pdf", "png"))
    save(figure, pdf=pdf, png=png, dpi=snakemake.params.dpi, comment=comment)

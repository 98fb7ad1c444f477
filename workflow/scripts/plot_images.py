"""Figures of images that models generate: side by side with real ones, and on the way from the source."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments.figures.images import Strip, generated, plot_strips
from conjugate_moments.figures.style import save
from conjugate_moments.metrics.tables import LEARNED
from conjugate_moments.provenance import line, provenance

ROWS, FOLLOWED = 2, 3  # rows of images of a model, and draws of it that are followed from the source

params, output = snakemake.params, snakemake.output
strips, ways = [], []
for model, path in zip(params.models, snakemake.input.panels, strict=True):
    with np.load(path, allow_pickle=False) as stored:
        panel = dict(stored)
    known, levels = panel["known"], int(panel["levels"])
    if not strips:
        strips.append(generated("data,\nheld out", None, panel["real"], ROWS))
    sources = None if model == "affine" else panel["sources"][known]
    strips.append(generated(LEARNED[model].replace(", ", ",\n"), sources, panel["images"][known], ROWS))
    if sources is not None and len(panel["paths"]):
        ways.append(Strip(LEARNED[model].replace(", ", ",\n"), panel["paths"][:FOLLOWED]))
comment = line(provenance(params.fingerprint, seeds=params.seeds))
figure = plot_strips(strips, levels=levels)
save(figure, pdf=output.images_pdf, png=output.images_png, dpi=params.dpi, comment=comment)
share = np.linspace(0, 1, ways[0].images.shape[1]) if ways else ()
heads = ["source", *(f"{part:.2g}" for part in share[1:-1]), "image"] if ways else []
figure = plot_strips(ways or strips[:1], levels=levels, heads=heads)
save(figure, pdf=output.paths_pdf, png=output.paths_png, dpi=params.dpi, comment=comment)

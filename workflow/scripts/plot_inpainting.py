"""Figure of images with a part missing, and of what completes them."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments.figures.images import Strip, plot_strips, veiled
from conjugate_moments.figures.style import save
from conjugate_moments.metrics.tables import LEARNED
from conjugate_moments.provenance import line, provenance

params, panels = snakemake.params, {}
for restorer, path in zip(params.restorers, snakemake.input.panels, strict=True):
    with np.load(path, allow_pickle=False) as stored:
        panels[restorer] = dict(stored)
# Of the baselines the widest head first: beside a network it would run into the other.
widest = ["gaussian", "nearest", "mean"]
panels = {name: panels[name] for name in [*widest, *(name for name in panels if name not in widest)]}
first = next(iter(panels.values()))
real, levels = first["real"], int(first["levels"])


def picture(rows):
    """Rows of levels `[..., d]` as images from 0 to 1."""
    shade = np.clip(rows / levels, 0, 1).reshape(*rows.shape[:-1], *real.shape[1:])
    return np.repeat(shade, 3 // shade.shape[-1], axis=-1)


strips, heads = [], ["truth", "seen"]
for mask in [name.removesuffix("_seen") for name in first if name.endswith("_seen")]:
    seen = first[f"{mask}_seen"].reshape(real.shape[1:])
    columns = [picture(real.reshape(len(real), -1)), veiled(real, seen, levels)]
    for restorer, panel in panels.items():
        columns.append(picture(panel[f"{mask}_mean"]))
        if "_" in restorer:  # a fit
            columns += list(picture(panel[f"{mask}_draws"]))
    strips.append(Strip(mask, np.stack(columns, axis=1)))
for restorer, panel in panels.items():
    draws = len(next(rows for name, rows in panel.items() if name.endswith("_draws"))) if "_" in restorer else 0
    heads.append(LEARNED[restorer].replace(", ", "\n").replace(" ", "\n"))
    heads += ["draws" if place == draws // 2 else "" for place in range(draws)]
comment = line(provenance(params.fingerprint, seeds=params.seeds))
figure = plot_strips(strips, levels=levels, heads=heads)
save(figure, pdf=snakemake.output.pdf, png=snakemake.output.png, dpi=params.dpi, comment=comment)

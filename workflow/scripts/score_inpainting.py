"""Complete held-out images by one model under every mask, over seeds, and score what is restored."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments._files import write_arrays
from conjugate_moments._random import key_for
from conjugate_moments.fits.saved import load
from conjugate_moments.measures.masks import masks
from conjugate_moments.metrics.generation import LARGEST_UNCONVERGED
from conjugate_moments.metrics.records import over_fits, write_scores
from conjugate_moments.metrics.restoration import baseline, complete_images, restoration_scores
from conjugate_moments.provenance import line, provenance

SHOWN, SINGLE = 2, 3  # images of the first seed that are kept for figures under each mask, and single draws of each

name, restorer, params = snakemake.wildcards.images, snakemake.wildcards.restorer, snakemake.params
fits = snakemake.input.fits or [None] * len(params.seeds)
found, panel = {}, {}
for seed, path, images in zip(params.seeds, fits, snakemake.input.images, strict=True):
    with np.load(images, allow_pickle=False) as stored:
        train, levels = stored["train"], int(stored["levels"])
        real = stored["real"][: params.inpainting.images]
    fit = path and load(path)
    for mask in params.inpainting.masks:
        seen, key = masks(real.shape[1:])[mask], key_for(seed, "complete", name, restorer, mask)
        if fit is None:
            count = params.inpainting.chains * params.inpainting.draws
            restored = baseline(restorer, real, seen, train, draws=count, key=key)
        else:
            restored = complete_images(fit, real, seen, train, params.inpainting, key=key)
        found.setdefault(mask, []).append(restoration_scores(restored, real, seen, levels))
        if seed == params.seeds[0]:
            panel[f"{mask}_mean"] = restored.mean[:SHOWN]
            panel[f"{mask}_draws"] = restored.draws[:: max(1, len(restored.draws) // SINGLE)][:SINGLE, :SHOWN]
            panel |= {f"{mask}_seen": seen, "real": real[:SHOWN], "levels": levels}
record = line(provenance(params.fingerprint, seeds=params.seeds))
options = {"largest_unconverged": LARGEST_UNCONVERGED}
scores = [
    score
    for mask, numbers in found.items()
    for score in over_fits(f"{name}_{mask}", restorer, params.seeds, numbers, {}, **options)
]
write_scores(snakemake.output.scores, scores, comment=record)
write_arrays(snakemake.output.panel, {**panel, "provenance": record})

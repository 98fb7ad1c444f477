"""Generate images by one model, over seeds, and score them beside real ones."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments._files import write_arrays
from conjugate_moments._random import key_for
from conjugate_moments.fits.saved import load
from conjugate_moments.metrics.generation import (
    LARGEST_UNCONVERGED,
    gaussian_images,
    generate_images,
    held_out_nats,
    image_scores,
)
from conjugate_moments.metrics.images import COMPARED
from conjugate_moments.metrics.records import over_fits, read_columns, write_scores
from conjugate_moments.provenance import line, provenance

SHOWN = 64  # images of the first seed that are kept for figures

name, model, params = snakemake.wildcards.images, snakemake.wildcards.model, snakemake.params
fits = snakemake.input.fits or [None] * len(params.seeds)
found, panel = [], {}
for seed, path, images in zip(params.seeds, fits, snakemake.input.images, strict=True):
    with np.load(images, allow_pickle=False) as stored:
        train, real, levels = (stored[part] for part in ("train", "real", "levels"))
    options = {"levels": int(levels), "epsilon_share": params.epsilon_share, "seed": seed}
    options["key"] = key_for(seed, "directions", name)
    key, nats = key_for(seed, "generate", name, model), np.nan
    if path is None:
        drawn = gaussian_images(train, len(real), levels=int(levels), key=key)
    else:
        fit = load(path)
        drawn = generate_images(fit, len(real), key=key)
        nats = held_out_nats(fit, real, key=key_for(seed, "dequantise", name))
    found.append({**image_scores(drawn, real, train, **options), "log_likelihood": nats})
    if not panel:
        panel = {"images": drawn.images[:SHOWN], "sources": drawn.sources[:SHOWN], "known": drawn.known[:SHOWN]}
        panel |= {"paths": drawn.paths, "real": real[:SHOWN], "levels": levels}
record = line(provenance(params.fingerprint, seeds=params.seeds))
floors = dict(zip(COMPARED, read_columns(snakemake.input.floors, *COMPARED), strict=True))
scores = over_fits(name, model, params.seeds, found, floors, largest_unconverged=LARGEST_UNCONVERGED)
write_scores(snakemake.output.scores, scores, comment=record)
write_arrays(snakemake.output.panel, {**panel, "provenance": record})

"""What real images of a set score against as many other real ones, for each seed."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments._random import key_for
from conjugate_moments.metrics.images import generation_scores
from conjugate_moments.metrics.records import write_rows
from conjugate_moments.provenance import line, provenance

name, params, rows = snakemake.wildcards.images, snakemake.params, []
for seed, path in zip(params.seeds, snakemake.input.images, strict=True):
    with np.load(path, allow_pickle=False) as stored:
        sets = (stored[part].reshape(len(stored[part]), -1) for part in ("other", "real", "train"))
        options = {"levels": int(stored["levels"]), "epsilon_share": params.epsilon_share, "seed": seed}
        rows.append({"seed": seed} | generation_scores(*sets, **options, key=key_for(seed, "directions", name)))
record = line(provenance(params.fingerprint, seeds=params.seeds))
write_rows(snakemake.output.floors, list(rows[0]), [list(row.values()) for row in rows], comment=record)

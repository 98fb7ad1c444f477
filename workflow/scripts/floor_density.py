"""What two independent true samples of a law known by its density score against each other, for each seed."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from conjugate_moments.metrics.density import density_floors, read_truth
from conjugate_moments.metrics.records import write_rows
from conjugate_moments.provenance import line, provenance

rows = []
for seed, path in zip(snakemake.params.seeds, snakemake.input.draws, strict=True):
    floors = density_floors(read_truth(path), snakemake.params.epsilon_share)
    rows.append([seed, floors["sinkhorn"], floors["w2"]])
record = line(provenance(snakemake.params.fingerprint, seeds=snakemake.params.seeds))
write_rows(snakemake.output.floors, ["seed", "sinkhorn", "w2"], rows, comment=record)

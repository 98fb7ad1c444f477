"""What two independent true samples of a planar law score against each other, for each seed."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from conjugate_moments._random import key_for
from conjugate_moments.measures.planar import PLANAR
from conjugate_moments.metrics.records import write_rows
from conjugate_moments.metrics.transport import matched_w2, sinkhorn_divergence
from conjugate_moments.provenance import line, provenance

name, n, rows = snakemake.wildcards.planar, snakemake.params.points, []
for seed in snakemake.params.seeds:
    first, second = (PLANAR[name].sample(n, key=key_for(seed, role, name)) for role in ("truth", "noise floor"))
    divergence = sinkhorn_divergence(second, first, epsilon=snakemake.params.epsilon)
    rows.append([seed, divergence.value, matched_w2(second, first)])
record = line(provenance(snakemake.params.fingerprint, seeds=snakemake.params.seeds))
write_rows(snakemake.output.floors, ["seed", "sinkhorn", "w2"], rows, comment=record)

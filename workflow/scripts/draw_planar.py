"""Draw samples of a planar law, one file per seed."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import json

from conjugate_moments._files import write_arrays
from conjugate_moments._random import key_for
from conjugate_moments.measures.planar import PLANAR
from conjugate_moments.provenance import provenance

name, n = snakemake.wildcards.planar, snakemake.params.samples
for seed, path in zip(snakemake.params.seeds, snakemake.output, strict=True):
    draws = PLANAR[name].sample(n, key=key_for(seed, "data", name))
    record = provenance(snakemake.params.fingerprint, seeds=[seed])
    write_arrays(path, {"draws": draws, "provenance": json.dumps(record)})

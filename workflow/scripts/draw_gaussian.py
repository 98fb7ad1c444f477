"""Draw samples of a Gaussian law, one file per seed."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import json

from conjugate_moments._files import write_arrays
from conjugate_moments._random import key_for
from conjugate_moments.metrics.draws import draw_gaussian
from conjugate_moments.provenance import provenance

law = snakemake.params.law
for seed, path in zip(snakemake.params.seeds, snakemake.output, strict=True):
    key = key_for(seed, "data", "gaussian", snakemake.wildcards.law)
    draws = draw_gaussian(law.mean, law.covariance, snakemake.params.samples, key=key)
    record = provenance(snakemake.params.fingerprint, seeds=[seed])
    write_arrays(path, {"draws": draws, "provenance": json.dumps(record)})

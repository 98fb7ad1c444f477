"""Draw samples of a law of known potential, and of its Gibbs measure, one file per seed."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import json

from conjugate_moments._files import write_arrays
from conjugate_moments._random import key_for
from conjugate_moments.fits.truths import truth
from conjugate_moments.provenance import provenance

name, n, law = snakemake.wildcards.truth, snakemake.params.samples, truth(*snakemake.params.truth)
for seed, path in zip(snakemake.params.seeds, snakemake.output, strict=True):
    draws = law.sample(n, key=key_for(seed, "data", name))
    source = law.sample_gibbs(n, key=key_for(seed, "source", name))
    record = provenance(snakemake.params.fingerprint, seeds=[seed])
    write_arrays(path, {"draws": draws, "source": source, "provenance": json.dumps(record)})

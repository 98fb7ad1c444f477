"""Draw samples of a law whose potential is to be learned, one file per seed."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import json

from conjugate_moments._files import write_arrays
from conjugate_moments._random import key_for
from conjugate_moments.fits.truths import truth
from conjugate_moments.measures.planar import PLANAR
from conjugate_moments.provenance import provenance

name, n = snakemake.wildcards.learned, snakemake.params.samples
# A planar law by name, or a law of known potential by family and dimension.
law = truth(*snakemake.params.truth) if snakemake.params.truth else PLANAR[name]
for seed, path in zip(snakemake.params.seeds, snakemake.output, strict=True):
    arrays = {"draws": law.sample(n, key=key_for(seed, "data", name))}
    if snakemake.params.truth:
        arrays["source"] = law.sample_gibbs(n, key=key_for(seed, "source", name))
    record = provenance(snakemake.params.fingerprint, seeds=[seed])
    write_arrays(path, {**arrays, "provenance": json.dumps(record)})

"""Draw two independent samples of a univariate law, one file per seed."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import json

from conjugate_moments._files import write_arrays
from conjugate_moments._random import key_for
from conjugate_moments.measures.named import law_from_entry
from conjugate_moments.metrics.draws import draw_univariate
from conjugate_moments.provenance import provenance

law = law_from_entry(snakemake.params.law)
for seed, path in zip(snakemake.params.seeds, snakemake.output, strict=True):
    keys = [key_for(seed, role, "univariate", snakemake.wildcards.law) for role in ("data", "noise floor")]
    draws, second = (draw_univariate(law, snakemake.params.samples, key=key) for key in keys)
    record = provenance(snakemake.params.fingerprint, seeds=[seed])
    write_arrays(path, {"draws": draws, "second": second, "provenance": json.dumps(record)})

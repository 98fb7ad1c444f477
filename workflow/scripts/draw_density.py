"""Draw true samples of a law known by its density: one to compare with, and one for the noise floor."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import json

import numpy as np

from conjugate_moments._files import write_arrays
from conjugate_moments._random import key_for, uniform
from conjugate_moments.measures.energies import energy
from conjugate_moments.provenance import provenance

(name, dim), seed = snakemake.params.law, int(snakemake.wildcards.repetition)
case, n, key = energy(name, dim), 2 * snakemake.params.points, key_for(seed, "truth", snakemake.wildcards.energy)
if snakemake.input.chains:
    with np.load(snakemake.input.chains[0], allow_pickle=False) as stored:
        draws, log_normaliser = stored["draws"], float(stored["log_normaliser"])
    # Without replacement, so that the two halves have no draw in common.
    draws = draws[np.argsort(uniform(key, (len(draws),)))[:n]]
else:
    draws, log_normaliser = case.sample(n, key=key), case.log_normaliser
record = json.dumps(provenance(snakemake.params.fingerprint, seeds=[seed]))
halves = draws.reshape(2, -1, dim)
write_arrays(snakemake.output.draws, {"draws": halves, "log_normaliser": log_normaliser, "provenance": record})

"""Draw the posterior of the logistic regression by long chains, which stand for exact draws."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import json

from conjugate_moments._files import write_arrays
from conjugate_moments._random import key_for
from conjugate_moments.provenance import provenance
from conjugate_moments.samplers.peers import logistic_truth

SEED = 0  # of the one truth that every run is compared with

found = logistic_truth(key=key_for(SEED, "posterior", "logistic"))
chains = found.diagnostics
print(f"split R̂ {float(chains.r_hat.max()):.4f}, effective sample size {float(chains.ess.min()):.0f} of {chains.draws}")
print(f"{found.divergences} divergences, log Z {found.log_normaliser:.4f} ± {found.log_normaliser_error:.4f}")
if not chains.converged:
    raise RuntimeError("logistic_truth: found chains that have not mixed, allowed: split R̂ near 1")
record = json.dumps(provenance(snakemake.params.fingerprint, seeds=[SEED]))
arrays = {"draws": found.draws, "log_normaliser": found.log_normaliser, "provenance": record}
write_arrays(snakemake.output.chains, arrays)

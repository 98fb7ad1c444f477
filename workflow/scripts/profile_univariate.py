"""Evaluate both factorisations of a univariate law on grids, for the figure."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from conjugate_moments._files import write_arrays
from conjugate_moments.fits.univariate import load_univariate
from conjugate_moments.measures.named import law_from_entry
from conjugate_moments.metrics.profiles import profile

fits = [load_univariate(path)[0] for path in snakemake.input.fits]
write_arrays(snakemake.output.profile, profile(law_from_entry(snakemake.params.law), fits))

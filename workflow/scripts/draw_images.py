"""Draw or read images: to fit, to compare with, and as many more for what real images score."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import json

from conjugate_moments._files import write_arrays
from conjugate_moments.measures.images import image_set
from conjugate_moments.provenance import provenance

seed, held_out = int(snakemake.wildcards.repeat), snakemake.params.held_out
drawn = image_set(snakemake.wildcards.images, samples=snakemake.params.samples, held_out=2 * held_out, seed=seed)
record = json.dumps(provenance(snakemake.params.fingerprint, seeds=[seed]))
arrays = {"train": drawn.train, "real": drawn.test[:held_out], "other": drawn.test[held_out:], "levels": drawn.levels}
write_arrays(snakemake.output.images, {**arrays, "provenance": record})

"""Table of claims in words, with the verdict of this run on each."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from conjugate_moments._files import write_text
from conjugate_moments.metrics.claims import claims, claims_latex, claims_markdown, claims_table
from conjugate_moments.metrics.records import read_scores
from conjugate_moments.provenance import line, provenance

paths = {name: snakemake.input[name] for name in ("spread", "planar", "truth", "density")}
found = claims({name: [score for path in each for score in read_scores(path)] for name, each in paths.items()})
record = line(provenance(snakemake.params.fingerprint, seeds=snakemake.params.seeds))
write_text(snakemake.output.csv, f"# {record}\n{claims_table(found).to_csv(index=False)}")
write_text(snakemake.output.md, f"{claims_markdown(found).rstrip()}\n\n<!-- {record} -->\n")
write_text(snakemake.output.tex, f"% {record}\n{claims_latex(found)}")

"""Table of an experiment in three forms."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from conjugate_moments._files import write_text
from conjugate_moments.metrics.records import read_scores
from conjugate_moments.metrics.tables import latex_table, markdown_table, number_table
from conjugate_moments.provenance import line, provenance

experiment, labels = snakemake.params.experiment, snakemake.params.labels
scores = [score for path in snakemake.input.scores for score in read_scores(path)]
record = line(provenance(snakemake.params.fingerprint, seeds=snakemake.params.seeds))
write_text(snakemake.output.csv, f"# {record}\n{number_table(experiment, scores).to_csv(index=False)}")
write_text(snakemake.output.md, f"{markdown_table(experiment, scores, labels).rstrip()}\n\n<!-- {record} -->\n")
write_text(snakemake.output.tex, f"% {record}\n{latex_table(experiment, scores, labels)}")

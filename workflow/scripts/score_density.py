"""Score what one method made of one law that is known by its density, over seeds."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

from conjugate_moments._files import write_arrays
from conjugate_moments._random import key_for
from conjugate_moments.config.density import SAMPLERS
from conjugate_moments.measures.energies import energy
from conjugate_moments.metrics.density import over_runs, read_truth, score_run, with_effort
from conjugate_moments.metrics.records import read_columns, write_scores
from conjugate_moments.provenance import line, provenance

law, method, params = snakemake.wildcards.energy, snakemake.wildcards.approach, snakemake.params
files = zip(snakemake.input.runs, snakemake.input.draws, snakemake.input.efforts, strict=True)
options = {"n": params.points, "epsilon_share": params.epsilon_share, "sampled": method in SAMPLERS}
found, panels = [], []
for seed, (run, draws, effort) in zip(params.seeds, files, strict=True):
    key = key_for(seed, "score", law, method)
    scores, panel = score_run(run, energy(*params.law), read_truth(draws), key=key, **options)
    costs = (float(column[0]) for column in read_columns(effort, "evaluations", "seconds"))
    found.append(with_effort(scores, *costs))
    panels.append(panel)
names = ("sinkhorn", "w2")
floors = dict(zip(names, read_columns(snakemake.input.floors, *names), strict=True))
record = line(provenance(params.fingerprint, seeds=params.seeds))
write_scores(snakemake.output.scores, over_runs(law, method, params.seeds, found, floors), comment=record)
write_arrays(snakemake.output.panel, {**panels[0], "provenance": record})

"""Figure of planar laws that are known by their density, and of what CMFMA makes of them."""

import sys

sys.stderr = sys.stdout = open(snakemake.log[0], "w", buffering=1)

import numpy as np

from conjugate_moments.figures.density import MOST, DensityPanel, FitPanel, Surface, plot_density
from conjugate_moments.figures.style import save
from conjugate_moments.metrics.records import CONVERGED, read_scores
from conjugate_moments.provenance import line, provenance

FIT_ARRAYS = ("source", "images", "log_weights")


def panel(label, seed, path, scores):
    """The panel of one law; one whose fit has not converged shows the law alone."""
    found = {score.metric: score for score in read_scores(scores) if score.seed == str(seed)}
    with np.load(path, allow_pickle=False) as stored:
        law = Surface(stored["law_axes"], stored["law_density"])
        if found["converged"].value != 1:
            return DensityPanel(label, law)
        ess = found["ess"]
        note = f"ESS {ess.value:.3f}" if ess.status == CONVERGED else "weights collapsed"
        gibbs = Surface(stored["gibbs_axes"], stored["gibbs_density"])
        return DensityPanel(label, law, FitPanel(gibbs, *(stored[name] for name in FIT_ARRAYS), note))


params, inputs = snakemake.params, snakemake.input
panels = [panel(*row) for row in zip(params.labels, params.seeds, inputs.panels, inputs.scores, strict=True)][:MOST]
comment = line(provenance(params.fingerprint, seeds=sorted(set(params.seeds))))
save(plot_density(panels), pdf=snakemake.output.pdf, png=snakemake.output.png, dpi=params.dpi, comment=comment)

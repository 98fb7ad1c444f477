"""Tables of scores: numbers as CSV, and the same rounded for reading, as Markdown and LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conjugate_moments.metrics.records import ALL, UNCONVERGED, Score

if TYPE_CHECKING:
    import pandas as pd

SOURCES = {"moment": "P_u", "conjugate": "P_w"}
LEARNED = {"affine": "affine", "cmfgen": "CMFGen", "monge": "Monge", "moment": "moment", "w2dual": "W2 dual"}
LEARNED |= {"cmfma": "CMFMA", "affine_kl": "affine KL", "reverse_kl": "reverse KL"}
LEARNED |= {"mala": "MALA", "nuts": "NUTS", "smc": "SMC"}
LEARNED |= {"mean": "mean image", "nearest": "nearest image", "gaussian": "Gaussian"}
LEARNED |= {
    f"{method}_{network}": f"{LEARNED[method]}, {network}"
    for method in ("cmfgen", "monge")
    for network in ("patches", "whole", "quadratics")
}
FITTED = (
    "planar",
    "truth",
    "density",
    "images",
    "inpainting",
)  # experiments that compare methods rather than factorisations
REFUSED = "not converged"
ABSENT = "–"


@dataclass(frozen=True)
class Column:
    """A metric with its heading as plain text and in LaTeX, and whether it is a whole number."""

    metric: str
    plain: str
    latex: str
    whole: bool = False


def _std(of: str) -> str:
    return rf"$\mathrm{{std}}({of})$"


_STDS = (
    Column("law_std", "std(ρ)", _std(r"\rho")),
    Column("gibbs_std", "std(P)", _std("P")),
)
_SPREAD = (
    ("ratio", "std(P)/std(ρ)", r"$\mathrm{std}(P)/\mathrm{std}(\rho)$"),
    ("w2", "W2(P, ρ)/std(ρ)", r"$W_2(P,\rho)/\mathrm{std}(\rho)$"),
)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "gaussian": (
        Column("dimension", "d", "$d$", whole=True),
        *_STDS,
        Column("residual", "residual", "residual"),
        Column("mean_error", "error of the mean", "error of the mean"),
        Column("cov_error", "error of the covariance", "error of the covariance"),
    ),
    "univariate": (
        *_STDS,
        Column("iterations", "iterations", "iterations", whole=True),
        Column("residual_over_std", "residual/std(ρ)", r"$\mathrm{residual}/\mathrm{std}(\rho)$"),
        Column("w2_over_std", "sample W2/std(ρ)", r"sample $W_2/\mathrm{std}(\rho)$"),
    ),
    "spread": (
        Column("slope", "d log std(P)/d log std(ρ)", r"$\Delta\log\mathrm{std}(P)/\Delta\log\mathrm{std}(\rho)$"),
        *(
            Column(f"{metric}_{where}", f"{plain}, {where} scale", f"{latex}, {where} scale")
            for metric, plain, latex in _SPREAD
            for where in ("smallest", "middle", "largest")
        ),
    ),
    "planar": (
        Column("sinkhorn", "Sinkhorn divergence", "Sinkhorn divergence"),
        Column("w2", "W2", "$W_2$"),
        Column("off_support", "off support", "off support"),
        Column("log_likelihood", "log-likelihood, nats", "log-likelihood, nats"),
        Column("unconverged", "unconverged", "unconverged"),
        Column("mixed", "mixed", "mixed"),
    ),
    "truth": (
        Column("uvp", "L²-UVP of the map, %", r"$L^2$-UVP of the map, \\%"),
        Column("uvp_inverse", "L²-UVP of its inverse, %", r"$L^2$-UVP of its inverse, \\%"),
        Column("gibbs", "sliced W2 of P_w", "sliced $W_2$ of $P_w$"),
        Column("gibbs_mean", "error of the mean of P_w", "error of the mean of $P_w$"),
        Column("gibbs_cov", "error of its covariance", "error of its covariance"),
        Column("log_likelihood", "log-likelihood, nats", "log-likelihood, nats"),
        Column("log_likelihood_gap", "gap to the truth, nats/d", "gap to the truth, nats$/d$"),
        Column("unconverged", "unconverged", "unconverged"),
        Column("mixed", "mixed", "mixed"),
    ),
    "images": (
        Column("sinkhorn", "Sinkhorn divergence", "Sinkhorn divergence"),
        Column("sliced", "sliced W2", "sliced $W_2$"),
        Column("frechet", "Fréchet", r"Fr\'echet"),
        Column("two_sample", "two-sample accuracy", "two-sample accuracy"),
        Column("precision", "precision", "precision"),
        Column("recall", "recall", "recall"),
        Column("density", "density", "density"),
        Column("coverage", "coverage", "coverage"),
        Column("nearest", "nearest, ratio", "nearest, ratio"),
        Column("log_likelihood", "log-likelihood, nats/pixel", "log-likelihood, nats/pixel"),
        Column("unconverged", "unconverged", "unconverged"),
        Column("mixed", "mixed", "mixed"),
    ),
    "inpainting": (
        Column("psnr", "PSNR of the mean, dB", "PSNR of the mean, dB"),
        Column("psnr_draw", "PSNR of a draw, dB", "PSNR of a draw, dB"),
        Column("ssim", "SSIM", "SSIM"),
        Column("coverage", "coverage of 90 %", r"coverage of 90 \%"),
        Column("spread", "spread over error", "spread over error"),
        Column("unconverged", "unconverged", "unconverged"),
        Column("mixed", "mixed", "mixed"),
    ),
    "density": (
        Column("ess", "ESS of the weights", "ESS of the weights"),
        Column("log_z_error", "error of log Z", r"error of $\log Z$"),
        Column("sinkhorn", "Sinkhorn divergence", "Sinkhorn divergence"),
        Column("w2", "W2", "$W_2$"),
        Column("modes", "modes found", "modes found"),
        Column("pareto_shape", "k̂", r"$\hat k$"),
        Column("evaluations", "evaluations", "evaluations", whole=True),
        Column("seconds", "seconds", "seconds"),
        Column("converged", "converged", "converged"),
    ),
}


def number_table(experiment: str, scores: Sequence[Score]) -> pd.DataFrame:
    """One row per law and factorisation, all digits; a metric over seeds has its standard error and noise floor.

    Args:
      experiment: a key of `COLUMNS`.
      scores: of all laws; those of single seeds are left out, as their mean is there.
    """
    import pandas as pd

    rows = []
    for (dataset, method), found in _grouped(scores).items():
        row: dict[str, object] = {"law": dataset, "factorization": method}
        row["status"] = next(iter(found.values())).status
        for column in COLUMNS[experiment]:
            score = found[column.metric]
            row[column.metric] = score.value
            if _sampled(scores, column.metric):
                row[f"{column.metric}_standard_error"] = score.standard_error
                row[f"{column.metric}_noise_floor"] = score.noise_floor
        rows.append(row)
    return pd.DataFrame(rows)


def markdown_table(experiment: str, scores: Sequence[Score], labels: Mapping[str, str]) -> str:
    """The table rounded, as Markdown: mean ± standard error (noise floor)."""
    import pandas as pd

    headings = ["law", _heading(experiment, "source P"), *(column.plain for column in COLUMNS[experiment])]
    rows = [
        [
            labels[dataset].replace("|", r"\|"),
            LEARNED[method] if experiment in FITTED else SOURCES[method],
            *(_plain(found[c.metric], c) for c in COLUMNS[experiment]),
        ]
        for (dataset, method), found in _grouped(scores).items()
    ]
    return f"{pd.DataFrame(rows, columns=headings).to_markdown(index=False, disable_numparse=True)}\n"


def latex_table(experiment: str, scores: Sequence[Score], labels: Mapping[str, str]) -> str:
    """The table rounded, as LaTeX for the booktabs package."""
    import pandas as pd

    headings = ["law", _heading(experiment, "source $P$"), *(column.latex for column in COLUMNS[experiment])]
    rows = [
        [
            escape(labels[dataset]),
            LEARNED[method] if experiment in FITTED else f"${SOURCES[method]}$",
            *(_latex(found[c.metric], c) for c in COLUMNS[experiment]),
        ]
        for (dataset, method), found in _grouped(scores).items()
    ]
    form = "ll" + "r" * len(COLUMNS[experiment])
    return pd.DataFrame(rows, columns=headings).to_latex(index=False, escape=False, column_format=form)


def _heading(experiment: str, otherwise: str) -> str:
    return "method" if experiment in FITTED else otherwise


def _grouped(scores: Sequence[Score]) -> dict[tuple[str, str], dict[str, Score]]:
    """Scores that are not of a single seed, by law and factorisation, then by metric."""
    groups: dict[tuple[str, str], dict[str, Score]] = {}
    for score in scores:
        if not score.seed.isdigit():
            groups.setdefault((score.dataset, score.method), {})[score.metric] = score
    return groups


def _sampled(scores: Sequence[Score], metric: str) -> bool:
    return any(score.metric == metric and score.seed == ALL and score.status != UNCONVERGED for score in scores)


def _plain(score: Score, column: Column) -> str:
    if score.status == UNCONVERGED:
        return REFUSED
    if math.isnan(score.value):
        return ABSENT
    if math.isnan(score.standard_error):
        return _rounded(score.value, column)
    floor = "" if math.isnan(score.noise_floor) else f" ({score.noise_floor:.3g})"
    return f"{score.value:.3g} ± {score.standard_error:.1g}{floor}"


def _latex(score: Score, column: Column) -> str:
    if score.status == UNCONVERGED or math.isnan(score.value):
        return _plain(score, column)
    text = re.sub(r"e([+-])0?([0-9]+)", _power, _plain(score, column)).replace("±", r"\pm")
    return f"${text}$"


def _power(match: re.Match[str]) -> str:
    sign = "-" if match[1] == "-" else ""
    return rf"\times 10^{{{sign}{match[2]}}}"


def _rounded(value: float, column: Column) -> str:
    return f"{value:.0f}" if column.whole else f"{value:.3g}"


def escape(text: str) -> str:
    """Plain text for LaTeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%#_{}" else letter) for letter in text)

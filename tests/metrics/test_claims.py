"""Verdicts on claims: each follows the scores, and turns when they do."""

import math

import pytest

from conjugate_moments.measures.planar import PLANAR
from conjugate_moments.metrics.claims import (
    FAILED,
    HELD,
    NOT_RUN,
    UNDECIDED,
    claims,
    claims_latex,
    claims_markdown,
    claims_table,
)
from conjugate_moments.metrics.records import ALL, UNCONVERGED, Score, exact, over_seeds, refuse

LAWS = ("circles", "moons", "s_curve", "checkerboard")
TRUTHS = ("product_d2", "product_d8", "gaussian_d2")
WIDENS, NARROWS, AS_GOOD, FLOOR, RECOVERED, MOMENT, GAPS, DENSITIES, REVERSE = range(9)


def mean(law, method, metric, value, error=0.001):
    return Score(law, method, ALL, metric, value, math.nan if math.isnan(value) else error)


def planar(method, sinkhorn, off=0.05):
    """Scores of one method on every law; None for a fit that did not converge."""
    if sinkhorn is None:
        return [score for law in LAWS for score in refuse(law, method, ["sinkhorn", "off_support"])]
    values = sinkhorn if isinstance(sinkhorn, tuple) else (sinkhorn,) * len(LAWS)
    pairs = zip(LAWS, values, strict=True)
    return [
        score
        for law, value in pairs
        for score in (mean(law, method, "sinkhorn", value), mean(law, method, "off_support", off))
    ]


def truth(method, *uvp):
    return [mean(law, method, "uvp", value, 0.01) for law, value in zip(TRUTHS, uvp, strict=True)]


ENERGIES = ("banana_d2", "funnel_d2")


def density(method, *shares):
    """Effective shares of one method on every energy; None for weights that are no estimates."""
    return [
        score
        for law, share in zip(ENERGIES, shares, strict=True)
        for score in (
            [mean(law, method, metric, value) for metric, value in (("ess", share), ("log_z_error", 0.01))]
            if share is not None
            else refuse(law, method, ["ess", "log_z_error"])
        )
    ] + [mean(law, method, "sinkhorn", 0.01) for law in ENERGIES]


GOOD = {
    "spread": [
        *exact("uniform", "conjugate", {"slope": 0.9}),
        *exact("laplace", "conjugate", {"slope": 0.3}),
        *exact("uniform", "moment", {"slope": -1.0}),
        *exact("laplace", "moment", {"slope": -0.5}),
    ],
    "planar": [
        *planar("affine", 0.14),
        *planar("cmfgen", 0.02),
        *planar("monge", (0.02, 0.02, 0.03, 0.021)),
        *planar("moment", 0.5),
    ],
    "truth": [*truth("affine", 5.4, 5.4, 0.0), *truth("cmfgen", 0.1, 2.0, 0.3), *truth("monge", 0.1, 1.0, 0.1)],
    "density": [*density("cmfma", 0.99, 0.9), *density("reverse_kl", 0.8, 0.7)],
}


def changed(experiment, *scores):
    """The good scores with some replaced."""
    new = {(score.dataset, score.method, score.metric): score for score in scores}
    kept = [score for score in GOOD[experiment] if (score.dataset, score.method, score.metric) not in new]
    return {**GOOD, experiment: [*kept, *scores]}


def without(method):
    return {name: [score for score in scores if score.method != method] for name, scores in GOOD.items()}


def verdict(scores, place):
    return claims(scores)[place].verdict


def test_every_claim_holds_where_every_score_says_so():
    assert [claim.verdict for claim in claims(GOOD)] == [HELD] * 9


@pytest.mark.parametrize(
    ("place", "scores", "expected"),
    [
        (WIDENS, changed("spread", *exact("laplace", "conjugate", {"slope": -0.1})), FAILED),
        (WIDENS, changed("spread", *refuse("laplace", "conjugate", ["slope"])), UNDECIDED),
        (NARROWS, changed("spread", *exact("laplace", "moment", {"slope": 0.5})), FAILED),
        (NARROWS, changed("spread", *refuse("laplace", "moment", ["slope"])), UNDECIDED),
        (AS_GOOD, changed("planar", *planar("monge", 0.01)), FAILED),
        (AS_GOOD, changed("planar", *planar("monge", 0.0195)), UNDECIDED),  # within the errors on every law
        (AS_GOOD, changed("planar", *planar("monge", (0.01, 0.02, 0.03, 0.02))), UNDECIDED),
        (AS_GOOD, changed("planar", *planar("monge", (0.01, 0.03, 0.03, 0.02))), UNDECIDED),  # worse on a quarter
        (AS_GOOD, changed("planar", *planar("monge", (0.01, 0.02, 0.02, 0.02))), FAILED),
        (AS_GOOD, changed("planar", *planar("cmfgen", None)), FAILED),
        (AS_GOOD, changed("planar", *planar("monge", None)), HELD),
        (AS_GOOD, without("monge"), NOT_RUN),
        (FLOOR, changed("planar", *planar("cmfgen", 0.2)), FAILED),
        (FLOOR, changed("planar", *planar("monge", 0.2)), FAILED),
        (FLOOR, changed("planar", *planar("monge", (0.14, 0.02, 0.02, 0.02))), UNDECIDED),
        (FLOOR, without("affine"), NOT_RUN),
        (RECOVERED, changed("truth", *truth("cmfgen", 5.4, 5.4, 0.0)), FAILED),
        (RECOVERED, without("affine"), NOT_RUN),
        (MOMENT, changed("planar", *planar("moment", 0.02)), FAILED),
        (MOMENT, changed("planar", *planar("moment", (0.5, 0.5, 0.5, 0.01))), UNDECIDED),
        (MOMENT, changed("planar", *planar("moment", None)), HELD),
        (MOMENT, without("moment"), NOT_RUN),
        (GAPS, changed("planar", *planar("cmfgen", 0.02, off=0.001)), FAILED),
        (GAPS, changed("planar", *refuse("moons", "cmfgen", ["off_support"])), UNDECIDED),
        (GAPS, without("cmfgen"), NOT_RUN),
        (DENSITIES, changed("density", *density("cmfma", 0.7, 0.5)), FAILED),
        (DENSITIES, changed("density", *density("cmfma", None, None)), FAILED),
        (DENSITIES, changed("density", *density("cmfma", 0.9, None)), FAILED),  # collapsed weights on half of them
        (DENSITIES, without("cmfma"), NOT_RUN),
        (REVERSE, changed("density", *density("reverse_kl", None, None)), HELD),
        (REVERSE, changed("density", *density("reverse_kl", 0.8, 0.95)), FAILED),
        (REVERSE, changed("density", *density("reverse_kl", 0.99, 0.9)), FAILED),  # within the errors on both
        (REVERSE, without("reverse_kl"), NOT_RUN),
    ],
)
def test_verdicts_turn_with_the_scores(place, scores, expected):
    found = claims(scores)
    assert found[place].verdict == expected
    assert found[place].claim == claims(GOOD)[place].claim


def test_a_gaussian_law_does_not_count_for_recovery():
    """The affine map is exact there: no method can beat it."""
    only = {**GOOD, "truth": [score for score in GOOD["truth"] if score.dataset == "gaussian_d2"]}
    assert verdict(only, RECOVERED) == NOT_RUN


def test_differences_are_judged_by_their_joint_standard_errors():
    close = changed("planar", *(mean(law, "monge", "sinkhorn", 0.018, 0.001) for law in LAWS))
    assert verdict(close, AS_GOOD) == UNDECIDED  # by 0.002, within twice 0.0014
    sharp = changed("planar", *(mean(law, "monge", "sinkhorn", 0.018, 0.0) for law in LAWS))
    sharp = {**sharp, "planar": [s for s in sharp["planar"] if (s.method, s.metric) != ("cmfgen", "sinkhorn")]}
    sharp["planar"] += [mean(law, "cmfgen", "sinkhorn", 0.02, 0.0009) for law in LAWS]
    assert verdict(sharp, AS_GOOD) == FAILED  # by 0.002, beyond twice 0.0009


NINE = tuple(f"law{i}" for i in range(9))


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [
        (0, 0, UNDECIDED),
        (1, 0, HELD),
        (3, 2, HELD),
        (2, 2, UNDECIDED),
        (0, 2, UNDECIDED),  # no worse on seven of nine, but better on none
        (6, 3, UNDECIDED),  # worse on a third
        (2, 3, FAILED),
    ],
)
def test_at_least_as_good_is_no_worse_on_seven_of_nine_and_better_more_often_than_worse(better, worse, expected):
    others = [0.03] * better + [0.01] * worse + [0.02] * (9 - better - worse)
    scores = [mean(law, "monge", "sinkhorn", value) for law, value in zip(NINE, others, strict=True)]
    scores += [mean(law, "cmfgen", metric, 0.02) for law in NINE for metric in ("sinkhorn", "off_support")]
    found = claims({**GOOD, "planar": scores})[AS_GOOD]
    assert found.verdict == expected
    assert f"no worse on {9 - worse} of 9, {9 - better - worse} of which" in found.evidence


def test_scores_of_single_seeds_count_as_seeds_alone():
    seeds = over_seeds("circles", "monge", "sinkhorn", [0, 1, 5], [0.0] * 3, [math.nan] * 3)
    others = over_seeds("circles", "affine", "sinkhorn", [7, 8], [0.0] * 2, [math.nan] * 2)
    found = claims({**GOOD, "planar": [*GOOD["planar"], *seeds[:3], *others[:2]]})[AS_GOOD]
    assert found.verdict == HELD
    assert "no worse on 4 of 4, 3 of which 3 seeds cannot tell apart" in found.evidence


def test_evidence_counts_and_quotes_the_scores():
    found = claims(changed("planar", *planar("monge", (0.01, 0.0205, 0.03, None or math.nan))))
    assert "better on 2, within 2 joint standard errors on 1, worse on 1 of 4 laws" in found[AS_GOOD].evidence
    assert "mean 0.02 against 0.0202; 1 did not converge" in found[AS_GOOD].evidence
    assert "d = 2: 0.1 against 5.4, Monge 0.1. d = 8: 2 against 5.4, Monge 1" in found[RECOVERED].evidence
    assert "0.30 to 0.90 over 2 laws, 2 of them positive" in found[WIDENS].evidence
    bound = 100 * PLANAR["circles"].off_support_bound
    assert f"circles 5 ± 0.1 % (true draws at most {bound:.1g} %)" in found[GAPS].evidence


def test_evidence_of_densities_counts_what_was_refused():
    found = claims(changed("density", *density("cmfma", 0.9, None)))
    assert "at least 0.8 on 1 of 2 laws, 0.90 to 0.90; 1 did not converge; log Z is off by 0.01 to 0.01" in (
        found[DENSITIES].evidence
    )
    assert "better on 1, within 2 joint standard errors on 0, worse on 1 of 2 laws" in found[REVERSE].evidence


def test_refused_fits_are_said():
    found = claims(changed("planar", *planar("moment", None)))
    assert "did not converge on 4" in found[MOMENT].evidence
    assert UNCONVERGED not in found[MOMENT].verdict


def test_tables_hold_every_claim():
    found = claims(GOOD)
    assert claims_table(found).to_dict("list")["verdict"] == [HELD] * 9
    assert claims_markdown(found).count("\n") == 11
    latex = claims_latex(found)
    assert r"conjugate source $P_w$ widens" in latex
    assert r"5 $\pm$ 0.1 \%" in latex
    assert "²" not in latex

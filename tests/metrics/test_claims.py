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
WIDENS, NARROWS, AS_GOOD, FLOOR, RECOVERED, MOMENT, GAPS = range(7)


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
    assert [claim.verdict for claim in claims(GOOD)] == [HELD] * 7


@pytest.mark.parametrize(
    ("place", "scores", "expected"),
    [
        (WIDENS, changed("spread", *exact("laplace", "conjugate", {"slope": -0.1})), FAILED),
        (WIDENS, changed("spread", *refuse("laplace", "conjugate", ["slope"])), UNDECIDED),
        (NARROWS, changed("spread", *exact("laplace", "moment", {"slope": 0.5})), FAILED),
        (NARROWS, changed("spread", *refuse("laplace", "moment", ["slope"])), UNDECIDED),
        (AS_GOOD, changed("planar", *planar("monge", 0.01)), FAILED),
        (AS_GOOD, changed("planar", *planar("monge", 0.0195)), HELD),
        (AS_GOOD, changed("planar", *planar("monge", (0.01, 0.02, 0.03, 0.02))), UNDECIDED),
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
    assert verdict(close, AS_GOOD) == HELD  # by 0.002, within twice 0.0014
    sharp = changed("planar", *(mean(law, "monge", "sinkhorn", 0.018, 0.0) for law in LAWS))
    sharp = {**sharp, "planar": [s for s in sharp["planar"] if (s.method, s.metric) != ("cmfgen", "sinkhorn")]}
    sharp["planar"] += [mean(law, "cmfgen", "sinkhorn", 0.02, 0.0009) for law in LAWS]
    assert verdict(sharp, AS_GOOD) == FAILED  # by 0.002, beyond twice 0.0009


def test_scores_of_single_seeds_do_not_count():
    seeds = over_seeds("circles", "monge", "sinkhorn", [0, 1], [0.0, 0.0], [math.nan] * 2)
    assert verdict({**GOOD, "planar": [*GOOD["planar"], *seeds[:2]]}, AS_GOOD) == HELD


def test_evidence_counts_and_quotes_the_scores():
    found = claims(changed("planar", *planar("monge", (0.01, 0.0205, 0.03, None or math.nan))))
    assert "better on 2, within 2 joint standard errors on 1, worse on 1 of 4 laws" in found[AS_GOOD].evidence
    assert "mean 0.02 against 0.0202; 1 did not converge" in found[AS_GOOD].evidence
    assert "d = 2: 0.1 against 5.4, Monge 0.1. d = 8: 2 against 5.4, Monge 1" in found[RECOVERED].evidence
    assert "0.30 to 0.90 over 2 laws, 2 of them positive" in found[WIDENS].evidence
    bound = 100 * PLANAR["circles"].off_support_bound
    assert f"circles 5 ± 0.1 % (true draws at most {bound:.1g} %)" in found[GAPS].evidence


def test_refused_fits_are_said():
    found = claims(changed("planar", *planar("moment", None)))
    assert "did not converge on 4" in found[MOMENT].evidence
    assert UNCONVERGED not in found[MOMENT].verdict


def test_tables_hold_every_claim():
    found = claims(GOOD)
    assert claims_table(found).to_dict("list")["verdict"] == [HELD] * 7
    assert claims_markdown(found).count("\n") == 9
    latex = claims_latex(found)
    assert r"conjugate source $P_w$ widens" in latex
    assert r"5 $\pm$ 0.1 \%" in latex
    assert "²" not in latex

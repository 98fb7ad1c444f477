"""What is said of conjugate moment measures in words, held against the scores of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from conjugate_moments.measures.planar import PLANAR
from conjugate_moments.metrics.records import UNCONVERGED, Score
from conjugate_moments.metrics.tables import escape

if TYPE_CHECKING:
    import pandas as pd

HELD, FAILED, UNDECIDED, NOT_RUN = "held", "did not hold", "undecided", "not run"
ERRORS = 2.0  # joint standard errors within which two numbers count as equal
# Laws whose support has parts that do not touch; squares of a checkerboard do, at their corners.
DISCONNECTED = ("circles", "moons", "eight_gaussians")
GAUSSIAN = "gaussian"  # the family of known potentials on which an affine map is exact
FITTED_ESS = 0.8  # effective share of a fit's weights from which it counts as a fit of the density
MOST_WORSE = Fraction(2, 9)  # share of the laws on which a method that is at least as good as another may be worse


@dataclass(frozen=True)
class Claim:
    """One claim.

    Args:
      claim: in words.
      verdict: `HELD`, `FAILED`, `UNDECIDED` or `NOT_RUN`.
      evidence: the numbers that it rests on, in words.
    """

    claim: str
    verdict: str
    evidence: str


Found = Mapping[tuple[str, str, str], Score]  # by law, method and metric


def claims(scores: Mapping[str, Sequence[Score]]) -> list[Claim]:
    """Every claim with its verdict.

    Numbers over seeds are told apart beyond `ERRORS` joint standard errors. A fit that did not converge counts as worse
    than any that did.

    Args:
      scores: of the experiments "spread", "planar", "truth" and "density".
    """
    spread, planar, truth, density = (
        {(s.dataset, s.method, s.metric): s for s in scores[name] if not s.seed.isdigit()}
        for name in ("spread", "planar", "truth", "density")
    )
    return [
        _slope(spread, "conjugate", "The conjugate source P_w widens as the law widens", 1),
        _slope(spread, "moment", "The moment source P_u does the opposite", -1),
        _at_least_as_good(planar, _seeds(scores["planar"], "cmfgen", "monge")),
        _above_the_floor(planar),
        _recovered(truth),
        _moment_fails(planar),
        _gaps(planar),
        _fits_densities(density),
        _better_than_reverse_kl(density),
    ]


def _seeds(scores: Iterable[Score], *methods: str) -> int:
    """How many seeds the scores of these methods rest on."""
    return len({score.seed for score in scores if score.method in methods and score.seed.isdigit()})


def _slope(found: Found, method: str, claim: str, sign: int) -> Claim:
    slopes = [score for (_, name, metric), score in found.items() if (name, metric) == (method, "slope")]
    known = [score.value for score in slopes if score.status != UNCONVERGED]
    if not known:
        return Claim(claim, NOT_RUN if not slopes else UNDECIDED, "no sweep converged")
    right = sum(sign * value > 0 for value in known)
    evidence = (
        f"slope of log std of the source against log std of the law: {min(known):.2f} to {max(known):.2f} over "
        f"{len(known)} laws, {right} of them {'positive' if sign > 0 else 'negative'}"
        f"{_left_out(len(slopes), len(known))}"
    )
    return Claim(claim, _all_or_none(right, len(known), len(slopes)), evidence)


def _all_or_none(right: int, known: int, total: int) -> str:
    """Held if right everywhere, failed if wrong in half of the places or more."""
    if right == total:
        return HELD
    return FAILED if 2 * right <= known else UNDECIDED


def _left_out(total: int, known: int) -> str:
    return f"; {total - known} did not converge" if total > known else ""


@dataclass(frozen=True)
class _Comparison:
    """On how many laws one method has a smaller, an equal or a larger score than another."""

    better: int
    equal: int
    worse: int

    @property
    def total(self) -> int:
        return self.better + self.equal + self.worse

    def __str__(self) -> str:
        equal = f"within {ERRORS:g} joint standard errors on {self.equal}"
        return f"better on {self.better}, {equal}, worse on {self.worse}"


def _compare(found: Found, metric: str, method: str, other: str, laws: Iterable[str]) -> _Comparison:
    signs = [_sign(found[law, method, metric], found[law, other, metric]) for law in laws]
    return _Comparison(signs.count(-1), signs.count(0), signs.count(1))


def _sign(one: Score, other: Score) -> int:
    """-1 if `one` is smaller than `other` beyond the standard errors, 1 if larger, 0 if they cannot be told apart."""
    lost = [score.status == UNCONVERGED or math.isnan(score.value) for score in (one, other)]
    if any(lost):
        return lost[0] - lost[1]
    difference = one.value - other.value
    allowed = ERRORS * math.hypot(*(e for e in (one.standard_error, other.standard_error) if not math.isnan(e)))
    return 0 if abs(difference) <= allowed else int(math.copysign(1, difference))


def _laws(found: Found, *methods: str) -> list[str]:
    """Laws that all of the methods were fitted to; none if one method was not run."""
    every = [{law for law, name, _ in found if name == method} for method in methods]
    return sorted(set.intersection(*every))


def _at_least_as_good(found: Found, seeds: int) -> Claim:
    claim = "At the same budget CMFGen generates planar laws at least as well as the Monge map from a Gaussian"
    laws = _laws(found, "cmfgen", "monge")
    if not laws:
        return Claim(claim, NOT_RUN, "needs cmfgen and monge among the methods")
    counts = _compare(found, "sinkhorn", "cmfgen", "monge", laws)
    means = " against ".join(_mean(found, "sinkhorn", method, laws) for method in ("cmfgen", "monge"))
    evidence = (
        f"Sinkhorn divergence {counts} of {counts.total} laws: no worse on {counts.total - counts.worse} of "
        f"{counts.total}, {counts.equal} of which {seeds} seeds cannot tell apart; mean {means}"
    )
    return Claim(claim, _no_worse(counts), evidence)


def _no_worse(counts: _Comparison) -> str:
    """Held if better more often than worse, and worse on few laws; undecided if nothing can be told apart."""
    few = counts.worse <= MOST_WORSE * counts.total
    if few and counts.better > counts.worse:
        return HELD
    return FAILED if not few and counts.worse > counts.better else UNDECIDED


def _mean(found: Found, metric: str, method: str, laws: Iterable[str]) -> str:
    values = [found[law, method, metric].value for law in laws]
    known = [value for value in values if not math.isnan(value)]
    return f"{sum(known) / len(known):.3g}{_left_out(len(values), len(known))}" if known else "no number"


def _above_the_floor(found: Found) -> Claim:
    claim = "Both generate planar laws better than the affine map of their Gaussian"
    laws = _laws(found, "affine", "cmfgen", "monge")
    if not laws:
        return Claim(claim, NOT_RUN, "needs affine, cmfgen and monge among the methods")
    counts = {name: _compare(found, "sinkhorn", name, "affine", laws) for name in ("cmfgen", "monge")}
    verdict = UNDECIDED
    if all(count.better == count.total for count in counts.values()):
        verdict = HELD
    elif any(2 * count.better <= count.total for count in counts.values()):
        verdict = FAILED
    evidence = "; ".join(
        f"{name}: {counts[key]} of {len(laws)} laws" for key, name in (("cmfgen", "CMFGen"), ("monge", "Monge"))
    )
    return Claim(claim, verdict, f"Sinkhorn divergence. {evidence}")


def _recovered(found: Found) -> Claim:
    claim = "CMFGen recovers the potential from samples, where the affine map does not"
    laws = [law for law in _laws(found, "affine", "cmfgen") if _split(law)[0] != GAUSSIAN]
    if not laws:
        return Claim(claim, NOT_RUN, "needs affine and cmfgen among the methods, and a law that is not Gaussian")
    counts = _compare(found, "uvp", "cmfgen", "affine", laws)
    parts = []
    for dimension in sorted({_split(law)[1] for law in laws}):
        mine = [law for law in laws if _split(law)[1] == dimension]
        part = f"d = {dimension}: {_mean(found, 'uvp', 'cmfgen', mine)} against {_mean(found, 'uvp', 'affine', mine)}"
        if _laws(found, "monge"):
            part += f", Monge {_mean(found, 'uvp', 'monge', mine)}"
        parts.append(part)
    evidence = f"L²-UVP in per cent {counts} of {counts.total} laws. {'. '.join(parts)}. Monge is given the true P_w"
    return Claim(claim, _all_or_none(counts.better, counts.total, counts.total), evidence)


def _split(law: str) -> tuple[str, int]:
    """Family and dimension of a law of known potential, from its name."""
    family, _, dimension = law.rpartition("_d")
    return family, int(dimension)


def _moment_fails(found: Found) -> Claim:
    claim = "The network of the moment measure fails where that of the conjugate one does not"
    laws = _laws(found, "cmfgen", "moment")
    if not laws:
        return Claim(claim, NOT_RUN, "moment is not among the methods at this scale")
    counts = _compare(found, "sinkhorn", "cmfgen", "moment", laws)
    refused = [law for law in laws if found[law, "moment", "sinkhorn"].status == UNCONVERGED]
    means = " against ".join(_mean(found, "sinkhorn", method, laws) for method in ("cmfgen", "moment"))
    evidence = (
        f"Sinkhorn divergence of CMFGen {counts} of {counts.total} laws; mean {means}; the moment measure did not "
        f"converge on {len(refused)}"
    )
    return Claim(claim, _all_or_none(counts.better, counts.total, counts.total), evidence)


def _gaps(found: Found) -> Claim:
    claim = "Laws in parts that do not touch are left with mass in the gaps"
    laws = [law for law in _laws(found, "cmfgen") if law in DISCONNECTED]
    if not laws:
        return Claim(claim, NOT_RUN, f"needs cmfgen, and one of {', '.join(DISCONNECTED)}")
    shares = {law: found[law, "cmfgen", "off_support"] for law in laws}
    known = {law: share for law, share in shares.items() if not math.isnan(share.value)}
    if not known:
        return Claim(claim, UNDECIDED, "no fit converged")
    beyond = sum(
        share.value - PLANAR[law].off_support_bound > ERRORS * share.standard_error for law, share in known.items()
    )
    parts = ", ".join(
        f"{law.replace('_', ' ')} {100 * share.value:.2g} ± {100 * share.standard_error:.1g} % (true draws at most "
        f"{100 * PLANAR[law].off_support_bound:.1g} %)"
        for law, share in known.items()
    )
    evidence = f"share of CMFGen's points off the support: {parts}{_left_out(len(shares), len(known))}"
    return Claim(claim, _all_or_none(beyond, len(known), len(shares)), evidence)


def _fits_densities(found: Found) -> Claim:
    claim = "CMFMA fits unnormalised densities: draws, and the normalising constant, come from the density alone"
    laws = _laws(found, "cmfma")
    if not laws:
        return Claim(claim, NOT_RUN, "needs cmfma among the methods")
    shares = {law: found[law, "cmfma", "ess"] for law in laws}
    known = [share.value for share in shares.values() if not math.isnan(share.value)]
    if not known:
        return Claim(claim, FAILED, "no fit has weights that can be trusted")
    fitted = sum(value >= FITTED_ESS for value in known)
    errors = [found[law, "cmfma", "log_z_error"].value for law in laws]
    errors = [error for error in errors if not math.isnan(error)]
    constant = f"; log Z is off by {min(errors):.2g} to {max(errors):.2g}" if errors else ""
    evidence = (
        f"effective share of the importance weights at least {FITTED_ESS:g} on {fitted} of {len(laws)} laws, "
        f"{min(known):.2f} to {max(known):.2f}{_left_out(len(laws), len(known))}{constant}"
    )
    return Claim(claim, _all_or_none(fitted, len(laws), len(laws)), evidence)


def _better_than_reverse_kl(found: Found) -> Claim:
    claim = "At the same budget CMFMA fits densities better than the Gaussian-source map trained by reverse KL"
    laws = _laws(found, "cmfma", "reverse_kl")
    if not laws:
        return Claim(claim, NOT_RUN, "needs cmfma and reverse_kl among the methods")
    # More is better of the effective share, less is of a distance.
    lost = {
        (law, name, metric): replace(score, value=-score.value) if metric == "ess" else score
        for (law, name, metric), score in found.items()
    }
    counts = {metric: _compare(lost, metric, "cmfma", "reverse_kl", laws) for metric in ("ess", "sinkhorn")}
    means = " against ".join(_mean(found, "ess", method, laws) for method in ("cmfma", "reverse_kl"))
    evidence = (
        f"effective share of the importance weights {counts['ess']} of {len(laws)} laws, mean {means}; Sinkhorn "
        f"divergence {counts['sinkhorn']}"
    )
    return Claim(claim, _all_or_none(counts["ess"].better, len(laws), len(laws)), evidence)


def claims_table(found: Sequence[Claim]) -> pd.DataFrame:
    """One row per claim."""
    import pandas as pd

    return pd.DataFrame([astuple(claim) for claim in found], columns=[field.name for field in fields(Claim)])


def claims_markdown(found: Sequence[Claim]) -> str:
    """The table as Markdown."""
    return f"{claims_table(found).to_markdown(index=False, disable_numparse=True)}\n"


def claims_latex(found: Sequence[Claim]) -> str:
    """The table as LaTeX for the booktabs package, with columns of text."""
    symbols = {"±": r"$\pm$", "²": "$^2$", "P_w": "$P_w$", "P_u": "$P_u$"}

    def cell(text: str) -> str:
        text = escape(text)
        for symbol, latex in symbols.items():
            text = text.replace(escape(symbol), latex)
        return text

    form = r"p{0.3\linewidth}p{0.1\linewidth}p{0.5\linewidth}"
    return claims_table(found).map(cell).to_latex(index=False, escape=False, column_format=form)

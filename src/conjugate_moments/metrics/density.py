"""Scores of what is made of an unnormalised density: by fits, which have densities of their own, and by samplers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conjugate_moments import _random
from conjugate_moments._files import write_arrays
from conjugate_moments.measures.energies import Energy, Modes
from conjugate_moments.metrics.learned import LARGEST_UNCONVERGED
from conjugate_moments.metrics.modes import FEWEST_HITS, modes_found
from conjugate_moments.metrics.records import UNCONVERGED, Score, over_seeds
from conjugate_moments.metrics.transport import matched_w2, sinkhorn_divergence
from conjugate_moments.samplers.weights import log_mean_weight, shares, summarise_weights

if TYPE_CHECKING:
    import jax

    from conjugate_moments.samplers.peers import PeerSample

Array = NDArray[np.floating]

WEIGHED = 4096  # draws of a fit, at least, by whose weights it is judged
LOG_Z_ERROR = 0.005  # standard error of log Z from which on a fit is judged by more draws
MOST_WEIGHED = 32768
OF_WEIGHTS = ("ess", "log_z_error")  # no estimates where the weights have collapsed
OF_DRAWS = ("sinkhorn", "w2", "modes")
NODES = 200  # of the grids that densities are drawn on, along each axis


@dataclass(frozen=True, eq=False)
class Truth:
    """What a run is compared with.

    Args:
      draws: of the true law, `[n, d]`.
      others: as many independent of them, for the noise floor.
      log_normaliser: log ∫ρ; NaN where unknown.
    """

    draws: Array
    others: Array
    log_normaliser: float

    def epsilon(self, share: float) -> float:
        """That share of the total variance of the draws, as the Sinkhorn divergence takes it."""
        return share * float(self.draws.var(axis=0).sum())


@dataclass(frozen=True, eq=False)
class FitDraws:
    """Draws of a fit, with their images and importance weights.

    Args:
      source: draws of the source measure, `[n, d]`.
      images: under the transport map, `[n, d]`; rows that did not converge are NaN.
      log_weights: log ρ − log q there, `[n]`, ρ up to its constant; NaN as `images`.
      converged: whether the source draws have mixed, log Z has converged, and nearly all images have.
    """

    source: Array
    images: Array
    log_weights: Array
    converged: bool

    @property
    def known(self) -> NDArray[np.bool_]:
        """Rows that converged, `[n]`."""
        return ~np.isnan(self.log_weights)


@dataclass(frozen=True)
class RunScores:
    """Scores of one run: every metric, and which of them are refused."""

    values: Mapping[str, float]
    refused: frozenset[str]


def draw_fit(fit: Any, case: Energy, n: int, *, key: jax.Array) -> FitDraws:
    """`n` draws of a fit, with their importance weights."""
    import jax

    source, status = fit.draw(n, key=key)
    images = np.asarray(fit.transport(source))
    known = ~np.isnan(images).any(axis=1)
    weights = np.full(n, np.nan)
    found = fit.log_density(images[known])
    target = np.asarray(jax.vmap(case.log_density)(jax.numpy.asarray(images[known])), dtype=np.float64)
    weights[known] = target - found.value
    lost = float(np.mean(np.isnan(weights)))
    converged = status.converged and found.normaliser.converged and lost <= LARGEST_UNCONVERGED
    return FitDraws(source, images, weights, bool(converged))


def draws_needed(modes: Modes | None, n: int) -> int:
    """At least `n`, and enough for the weights and to tell which modes a fit has found."""
    return max(n, WEIGHED, int(np.ceil(FEWEST_HITS / modes.masses.min())) if modes is not None else 0)


def draws_for_log_z(drawn: FitDraws) -> int:
    """How many draws would bring the standard error of log Z to `LOG_Z_ERROR`, `MOST_WEIGHED` at most.

    0 where these do already, or are no draws to go by: such weights are refused, however many there are.
    """
    if not drawn.converged:
        return 0
    summary = summarise_weights(drawn.log_weights[drawn.known])
    if summary.collapsed or summary.standard_error <= LOG_Z_ERROR:
        return 0
    return min(MOST_WEIGHED, int(np.ceil(len(drawn.source) * (summary.standard_error / LOG_Z_ERROR) ** 2)))


def fit_scores(
    drawn: FitDraws, modes: Modes | None, truth: Truth, n: int, epsilon_share: float, *, seen: bool, trusted: bool
) -> RunScores:
    """Scores of a fit.

    `ess` is that of the weights as a fraction of the draws, `log_z_error` the distance of the log of their mean from
    the truth, and `pareto_shape` is k̂. All but the last and `converged` are refused where the draws are not to be
    trusted; the first two also where k̂, or the largest weight, says that they are no estimates.

    Args:
      drawn: draws of it, at least `n`.
      modes: of the true law.
      truth: to compare with.
      n: of the draws, that distances are taken of.
      epsilon_share: of the Sinkhorn divergence, as a share of the total variance of the true draws.
      seen: of the status of the fit.
      trusted: whether that status is converged.
    """
    if not (seen and drawn.converged):
        return failed_scores()
    images, weights = (part[drawn.known] for part in (np.asarray(drawn.images, np.float64), drawn.log_weights))
    summary = summarise_weights(weights)
    values = {
        "ess": summary.ess_fraction,
        "log_z_error": abs(summary.log_normaliser - truth.log_normaliser),
        "pareto_shape": summary.pareto_shape if np.isfinite(summary.pareto_shape) else np.nan,
        "modes": _mode_share(images, modes, None),
        "converged": 1.0,
        **_distances(images[:n], truth, epsilon_share),
    }
    return RunScores(values, frozenset(() if trusted and not summary.collapsed else OF_WEIGHTS))


def sample_scores(
    sample: PeerSample, modes: Modes | None, truth: Truth, epsilon_share: float, *, key: jax.Array
) -> RunScores:
    """Scores of a sampler, which has no density: `ess` and `pareto_shape` are NaN, `log_z_error` unless it has one.

    Args:
      sample: as `read_sample` gives it.
      modes: of the true law.
      truth: to compare with, as many draws as there are, at most.
      epsilon_share: as for `fit_scores`.
      key: decides which of the draws distances are taken of.
    """
    if not sample.converged:
        return failed_scores()
    found = np.nan if sample.log_normaliser is None else sample.log_normaliser
    values = {
        "ess": np.nan,
        "log_z_error": abs(found - truth.log_normaliser),
        "pareto_shape": np.nan,
        "modes": _mode_share(sample.draws, modes, sample.log_weights),
        "converged": 1.0,
        **_distances(_some(sample, len(truth.draws), key), truth, epsilon_share),
    }
    return RunScores(values, frozenset())


def failed_scores() -> RunScores:
    """Those of a run that diverged, or has not converged: none."""
    values = {**dict.fromkeys((*OF_WEIGHTS, *OF_DRAWS, "pareto_shape"), np.nan), "converged": 0.0}
    return RunScores(values, frozenset((*OF_WEIGHTS, *OF_DRAWS)))


def _some(sample: PeerSample, n: int, key: jax.Array) -> Array:
    """At most `n` of the draws: without replacement, or by their weights."""
    levels = _random.uniform(key, (len(sample.draws),))
    if sample.log_weights is None:
        return sample.draws[np.argsort(levels)[:n]]
    edges = np.cumsum(shares(sample.log_weights))
    return sample.draws[np.minimum(np.searchsorted(edges, levels[:n]), len(edges) - 1)]


def _mode_share(draws: Array, modes: Modes | None, log_weights: Array | None) -> float:
    """Share of the modes that are found; NaN where there are none, or too few draws to tell."""
    if modes is None or len(draws) * modes.masses.min() < FEWEST_HITS:
        return np.nan
    return modes_found(draws, modes, log_weights) / len(modes.masses)


def _distances(draws: Array, truth: Truth, share: float) -> dict[str, float]:
    """To the true draws; NaN for a Sinkhorn divergence whose iterations did not converge, as with points far off."""
    try:
        divergence = sinkhorn_divergence(draws, truth.draws, epsilon=truth.epsilon(share)).value
    except ArithmeticError as error:
        print(error)
        divergence = np.nan
    return {"sinkhorn": divergence, "w2": matched_w2(draws, truth.draws[: len(draws)])}


def density_floors(truth: Truth, share: float) -> dict[str, float]:
    """What other draws of the true law score in the place of those of a method."""
    return _distances(truth.others, truth, share)


def over_runs(
    dataset: str,
    method: str,
    seeds: Sequence[int],
    found: Sequence[RunScores],
    floors: Mapping[str, Sequence[float]],
) -> list[Score]:
    """One score per run and metric, and their mean; a metric that one run is refused has no mean.

    Args:
      dataset: name of the law.
      method: name of the method.
      seeds: of the runs.
      found: their scores, all of the same metrics.
      floors: for the metrics that have one, its noise floor for each seed.
    """
    scores = []
    for metric in found[0].values:
        values = [run.values[metric] for run in found]
        floor = floors.get(metric, [np.nan] * len(seeds))
        refused = [metric in run.refused for run in found]
        each = over_seeds(dataset, method, metric, seeds, values, floor)
        scores += [_refused(score) if no else score for score, no in zip(each, [*refused, any(refused)], strict=True)]
    return scores


def _refused(score: Score) -> Score:
    return Score(score.dataset, score.method, score.seed, score.metric, np.nan, status=UNCONVERGED)


def with_effort(scores: RunScores, evaluations: float, seconds: float) -> RunScores:
    """The scores, with the evaluations of the density and the wall time of the run."""
    return RunScores({**scores.values, "evaluations": evaluations, "seconds": seconds}, scores.refused)


def read_fit(path: str | Path) -> Any:
    """Read the fit of an unnormalised density; None where its training has diverged."""
    from conjugate_moments.fits.saved import load

    with np.load(path, allow_pickle=False) as stored:
        if "diverged" in stored:
            return None
    return load(path)


def write_sample(path: str | Path, sample: PeerSample, *, provenance: str) -> None:
    """Write the draws of a sampler.

    Chains are judged by R̂ alone here: NUTS calls a run with a single divergent trajectory unconverged, of some hundred
    thousand, and would hardly ever be compared. The number of such trajectories is written as well.
    """
    mixed = sample.converged if sample.diagnostics is None else bool(sample.diagnostics.converged)
    arrays = {"draws": sample.draws, "method": sample.method, "converged": mixed, "provenance": provenance}
    for name in ("density_evaluations", "gradient_evaluations"):
        arrays[name] = getattr(sample, name)
    for name in ("log_weights", "log_normaliser", "log_normaliser_error", "divergences"):
        if getattr(sample, name) is not None:
            arrays[name] = getattr(sample, name)
    write_arrays(path, arrays)


def read_sample(path: str | Path) -> PeerSample:
    """Read what `write_sample` wrote; `converged` is whether the chains have mixed, `diagnostics` are gone."""
    from conjugate_moments.samplers.peers import PeerSample

    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: array if array.ndim else array.item() for name, array in stored.items()}
    del arrays["provenance"]
    optional = dict.fromkeys(("log_weights", "log_normaliser", "log_normaliser_error", "divergences"))
    return PeerSample(**{**optional, **arrays, "diagnostics": None})


def read_truth(path: str | Path) -> Truth:
    """Read true draws, in two halves, and log ∫ρ."""
    with np.load(path, allow_pickle=False) as stored:
        first, second = stored["draws"]
        return Truth(first, second, float(stored["log_normaliser"]))


def score_run(
    path: str | Path,
    case: Energy,
    truth: Truth,
    *,
    n: int,
    epsilon_share: float,
    sampled: bool,
    key: jax.Array,
) -> tuple[RunScores, dict[str, Array]]:
    """Scores of one run, and what the figure shows of it: nothing but for a fit in the plane.

    Args:
      path: file of a fit, or of the draws of a sampler.
      case: the law.
      truth: true draws of it.
      n: draws that distances are taken of.
      epsilon_share: as for `fit_scores`.
      sampled: whether the file is one of draws.
      key: of the draws.
    """
    import jax

    if sampled:
        return sample_scores(read_sample(path), case.modes, truth, epsilon_share, key=key), {}
    arrays = law_arrays(case, truth) if case.dim == 2 else {}
    fit = read_fit(path)
    if fit is None:
        return failed_scores(), arrays
    drawn = draw_fit(fit, case, draws_needed(case.modes, n), key=key)
    if more := draws_for_log_z(drawn):
        drawn = draw_fit(fit, case, more, key=jax.random.fold_in(key, 1))
    arrays |= fit_arrays(fit, drawn, n) if case.dim == 2 else {}
    status = fit.status
    options = {"seen": status.seen, "trusted": status.converged}
    return fit_scores(drawn, case.modes, truth, n, epsilon_share, **options), arrays


def law_arrays(case: Energy, truth: Truth) -> dict[str, Array]:
    """The density of a planar law on a grid, for the figure."""
    import jax

    axes, points = _grid(truth.draws)
    values = jax.vmap(case.log_density)(jax.numpy.asarray(points, jax.numpy.float32))
    return {"law_axes": axes, "law_density": _relative(values)}


def fit_arrays(fit: Any, drawn: FitDraws, n: int) -> dict[str, Array]:
    """The density of P_w of a planar fit on a grid, draws of it, their images, and the weights over the mean weight."""
    axes, points = _grid(drawn.source)
    rows = np.flatnonzero(drawn.known)[:n]
    weights = drawn.log_weights[rows]
    arrays = {"gibbs_axes": axes, "gibbs_density": _relative(-fit.potential(points))}
    arrays |= {"source": drawn.source[rows], "images": drawn.images[rows]}
    return {**arrays, "log_weights": weights - log_mean_weight(weights)[0]}


def _grid(points: Array) -> tuple[Array, Array]:
    """Nodes along both axes, `[2, k]`, of a square around the bulk of the points, and the grid `[k², 2]`.

    The two squares are one for a Gaussian; of a law with heavy tails the first would show a dot.
    """
    squares = []
    for level, share in ((0.002, 0.6), (0.05, 1.05)):
        low, high = np.quantile(points, [level, 1 - level], axis=0)
        squares.append((share * float(np.max(high - low)), (low + high) / 2))
    half, middle = min(squares, key=lambda square: square[0])
    axes = np.linspace(middle - half, middle + half, NODES).T
    return axes, np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)


def _relative(log_values: Any) -> Array:
    """A density over its largest value, on the grid."""
    values = np.asarray(log_values, dtype=np.float64).reshape(NODES, NODES)
    return np.exp(values - values.max())

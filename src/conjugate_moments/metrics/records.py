"""Tidy records of scores: one row per data set, method, seed and metric."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conjugate_moments._files import write_text

EXACT = "exact"  # in the place of a seed: a number without Monte Carlo error
ALL = "all"  # in the place of a seed: the mean over seeds
CONVERGED, UNCONVERGED = "converged", "unconverged"
ALWAYS_SHOWN = ("unconverged", "mixed")  # metrics that say why a fit is refused


@dataclass(frozen=True)
class Score:
    """One number, or the refusal to give one.

    Args:
      dataset: name of the law.
      method: name of the factorisation.
      seed: of the draws it was computed from; `EXACT` or `ALL`.
      metric: its name.
      value: NaN for a fit that did not converge.
      standard_error: of a mean over seeds; NaN otherwise.
      noise_floor: what two independent true samples score; NaN where there is no such thing.
      status: of the fit that was scored.
    """

    dataset: str
    method: str
    seed: str
    metric: str
    value: float
    standard_error: float = math.nan
    noise_floor: float = math.nan
    status: str = CONVERGED


def refuse(dataset: str, method: str, metrics: Iterable[str]) -> list[Score]:
    """The scores of a fit that did not converge: no number for any metric."""
    return [Score(dataset, method, ALL, metric, math.nan, status=UNCONVERGED) for metric in metrics]


def exact(dataset: str, method: str, values: dict[str, float]) -> list[Score]:
    """Scores without Monte Carlo error."""
    return [Score(dataset, method, EXACT, metric, value) for metric, value in values.items()]


def over_seeds(
    dataset: str, method: str, metric: str, seeds: Sequence[int], values: Sequence[float], floors: Sequence[float]
) -> list[Score]:
    """One score per seed and their mean, with its standard error over the seeds.

    Raises:
      ValueError: if there are fewer than two seeds, or not one value and one floor for each.
    """
    if len(seeds) < 2 or not len(seeds) == len(values) == len(floors):
        raise ValueError(
            f"seeds, values, floors: found {len(seeds)}, {len(values)}, {len(floors)}, expected as many, >= 2"
        )
    each = [
        Score(dataset, method, str(seed), metric, value, noise_floor=floor)
        for seed, value, floor in zip(seeds, values, floors, strict=True)
    ]
    error = float(np.std(values, ddof=1) / math.sqrt(len(values)))
    return [*each, Score(dataset, method, ALL, metric, float(np.mean(values)), error, float(np.mean(floors)))]


def over_fits(
    dataset: str,
    method: str,
    seeds: Sequence[int],
    found: Sequence[Mapping[str, float]],
    floors: Mapping[str, Sequence[float]],
    *,
    largest_unconverged: float,
) -> list[Score]:
    """Scores of fits that differ from seed to seed; only `ALWAYS_SHOWN` if one of them is refused.

    Args:
      dataset: name of the law.
      method: name of the method.
      seeds: of the data sets and fits.
      found: the metrics of each seed, "unconverged" among them; NaN where one does not apply.
      floors: for the metrics that have one, its noise floor for each seed.
      largest_unconverged: share of conjugates not solved, beyond which a fit is refused.
    """
    scores = []
    refused = any(numbers["unconverged"] > largest_unconverged for numbers in found)
    for metric in found[0]:
        if refused and metric not in ALWAYS_SHOWN:
            scores += refuse(dataset, method, [metric])
        else:
            floor = floors.get(metric, [np.nan] * len(seeds))
            scores += over_seeds(dataset, method, metric, seeds, [numbers[metric] for numbers in found], floor)
    return scores


def write_scores(path: str | Path, scores: Iterable[Score], *, comment: str) -> None:
    """Write scores as `write_rows` does."""
    header = [field.name for field in fields(Score)]
    write_rows(path, header, (astuple(score) for score in scores), comment=comment)


def write_rows(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[object]], *, comment: str) -> None:
    """Write CSV under a comment line: floats with all their digits, NaN as an empty cell."""
    text = io.StringIO()
    text.write(f"# {comment}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    write_text(path, text.getvalue())


def write_trace(path: str | Path, trace: Mapping[str, Sequence[float] | NDArray], *, comment: str) -> None:
    """Write the scalars of a training, `[steps]` each, as CSV with one row per step; no row for an empty trace."""
    steps = range(1, 1 + len(next(iter(trace.values()), ())))
    write_rows(path, ["step", *trace], zip(steps, *trace.values(), strict=True), comment=comment)


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """Read CSV as one dictionary of texts per row; comment lines are left out."""
    with Path(path).open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(row for row in handle if not row.startswith("#")))


def read_columns(path: str | Path, *names: str) -> list[NDArray[np.float64]]:
    """Read columns of numbers from CSV, one array `[rows]` each; an empty cell is NaN."""
    rows = read_rows(path)
    return [np.asarray([number(row[name]) for row in rows]) for name in names]


def read_scores(path: str | Path) -> list[Score]:
    """Read what `write_scores` wrote."""
    return [_score(**row) for row in read_rows(path)]


def _score(
    *, value: str, standard_error: str, noise_floor: str, dataset: str, method: str, seed: str, metric: str, status: str
) -> Score:
    return Score(dataset, method, seed, metric, number(value), number(standard_error), number(noise_floor), status)


def number(cell: str) -> float:
    """The number in a cell, NaN if it is empty."""
    return float(cell) if cell else math.nan


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(float(value))
    return str(value)

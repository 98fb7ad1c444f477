"""The cost of one CMFGen training step over the dimension and the batch, and its exponents in both.

Whole stretches of the compiled loop are timed, after it was compiled and has run for a while: start-up is left out, the
conjugate and the moves of the chains are in. The network has the same widths in every dimension. A cell whose cost,
predicted from cells before, is beyond the limit is skipped and said so.

Usage: scaling.py [--smoke] OUTPUT.csv. Writes the cells to OUTPUT.csv and the exponents to OUTPUT_exponents.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import _shared
import jax
import numpy as np

from conjugate_moments._random import normal, uniform
from conjugate_moments.fits.stepwise import Stepwise
from conjugate_moments.fits.truths import MODES, WIDTH
from conjugate_moments.metrics.learned import LARGEST_UNCONVERGED
from conjugate_moments.settings import TrainingSettings

SEED = 0
MEASURED, SKIPPED = "measured", "skipped"


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Args:
      dims: d, ascending.
      batches: ascending.
      training: of every cell, but for its batch.
      burn_in: steps before the first measured one.
      stretch: steps that are timed together, at most.
      repeats: stretches.
      limit: seconds that the steps of one cell may take by prediction.
      samples: data points, at least.
    """

    dims: tuple[int, ...]
    batches: tuple[int, ...]
    training: TrainingSettings
    burn_in: int
    stretch: int
    repeats: int
    limit: float
    samples: int


TRAINING = TrainingSettings(steps=10_000, widths=(128, 128), learning_rate=3e-3, smoothing=0.1, slope=1.5)
FULL = Scale((2, 8, 32, 128, 512, 1024), (128, 512, 2048, 8192), TRAINING, 20, 10, 5, 120.0, 10_000)
SMOKE = Scale((2, 4), (16,), replace(TRAINING, widths=(4,)), 2, 2, 3, 60.0, 100)


@dataclass(frozen=True)
class Cell:
    """The cost of a step.

    Args:
      dim: d.
      batch: data points, and source points, per step.
      widths: of the hidden layers.
      status: "measured" or "skipped".
      seconds: of one step, median over stretches; the prediction for a cell that was skipped.
      seconds_low: lower quartile.
      seconds_high: upper quartile.
      conjugate_steps: mean over the rows of a batch and the steps measured.
      unconverged: share of conjugates not solved.
      compile_seconds: of the loop.
      stretch: steps that were timed together.
      repeats: stretches.
    """

    dim: int
    batch: int
    widths: str
    status: str
    seconds: float
    seconds_low: float = np.nan
    seconds_high: float = np.nan
    conjugate_steps: float = np.nan
    unconverged: float = np.nan
    compile_seconds: float = np.nan
    stretch: int = 0
    repeats: int = 0


@dataclass(frozen=True)
class Exponent:
    """Of seconds ∝ d^a · batch^b, by least squares on logarithms.

    Args:
      cells: which were used.
      of: "dim" or "batch".
      value: the exponent.
      standard_error: from the residuals of the fit, which include what a power law misses.
      count: of the cells used.
    """

    cells: str
    of: str
    value: float
    standard_error: float
    count: int


def law(dim: int, count: int) -> np.ndarray:
    """Draws of a randomly rotated product of two-mode laws, `truth("product", dim)` without its potential."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(SEED), dim), 3)
    rotation, _ = np.linalg.qr(normal(keys[0], (dim, dim)))
    modes = np.where(uniform(keys[1], (count, dim)) < 0.5, *MODES)
    return (modes + WIDTH * normal(keys[2], (count, dim))) @ rotation.T


def measure(dim: int, batch: int, scale: Scale, data: np.ndarray) -> Cell:
    """One cell; its stretches are shortened where steps are slow, so that the cell keeps to the limit."""
    training = replace(scale.training, batch=batch)
    loop = Stepwise.cmfgen(data, key=jax.random.fold_in(jax.random.key(SEED), batch), settings=training)
    compiling = _shared.seconds(lambda: loop.advance(0))
    one = _shared.seconds(lambda: loop.advance(1))
    allowed = int(scale.limit / one) - 1
    stretch = max(1, min(scale.stretch, allowed // (2 * scale.repeats)))
    loop.advance(max(1, min(scale.burn_in, allowed // 2)))
    times = np.asarray([_shared.seconds(lambda: loop.advance(stretch)) / stretch for _ in range(scale.repeats)])
    spent, last = _shared.spread(times), slice(loop.done - stretch * scale.repeats, loop.done)
    means = (float(np.mean(loop.trace[name][last])) for name in ("conjugate_steps", "unconverged"))
    return Cell(
        dim,
        batch,
        widths(training),
        MEASURED,
        spent.median,
        spent.low,
        spent.high,
        *means,
        compiling,
        stretch,
        scale.repeats,
    )


def widths(training: TrainingSettings) -> str:
    """The hidden layers as a text."""
    return " ".join(map(str, training.widths))


def predicted(dim: int, batch: int, cells: Sequence[Cell]) -> float:
    """Seconds of a step: as the nearest cell before, linear in the batch and quadratic in d; 0 for the first."""
    nearest = max(cells, key=lambda cell: (cell.dim, cell.batch if cell.dim == dim else -cell.batch), default=None)
    return 0.0 if nearest is None else nearest.seconds * (batch / nearest.batch) * (dim / nearest.dim) ** 2


def sweep(scale: Scale) -> list[Cell]:
    """Every cell, measured or skipped."""
    cells: list[Cell] = []
    for dim in scale.dims:
        data = law(dim, max(scale.samples, 10 * dim))
        for batch in scale.batches:
            expected = predicted(dim, batch, cells)
            # One step before the stretches, one in the burn-in, and one in each of the stretches, is the least.
            if expected * (scale.repeats + 2) > scale.limit:
                cells.append(Cell(dim, batch, widths(scale.training), SKIPPED, expected))
            else:
                cells.append(measure(dim, batch, scale, data))
            report(cells[-1])
    return cells


def exponents(cells: Sequence[Cell], name: str) -> list[Exponent]:
    """Of measured cells whose conjugates were solved; none where they are too few for a standard error.

    Where the conjugate ran into the limit on its steps, the time is that of the limit, and does not grow as it should.
    """
    used = [cell for cell in cells if cell.status == MEASURED and cell.unconverged <= LARGEST_UNCONVERGED]
    design = np.asarray([[1.0, np.log(cell.dim), np.log(cell.batch)] for cell in used])
    if len(used) < 4 or np.linalg.matrix_rank(design) < 3:
        return []
    target = np.log([cell.seconds for cell in used])
    found, _, _, _ = np.linalg.lstsq(design, target)
    variance = np.sum((target - design @ found) ** 2) / (len(used) - 3)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    of = zip(("dim", "batch"), found[1:], errors[1:], strict=True)
    return [Exponent(name, which, float(value), float(error), len(used)) for which, value, error in of]


def report(cell: Cell) -> None:
    """Print a cell."""
    print(
        f"d={cell.dim:4} batch={cell.batch:4} {cell.status:8} {1e3 * cell.seconds:9.2f} ms "
        f"({1e3 * cell.seconds_low:.4g} to {1e3 * cell.seconds_high:.4g}), {cell.conjugate_steps:.3g} conjugate steps, "
        f"{100 * cell.unconverged:.3g} % unconverged",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one row for each cell, and one for each exponent."""
    given, scale = _shared.parse("scaling.py", arguments, FULL, SMOKE)
    cells = sweep(scale)
    middle = scale.dims[len(scale.dims) // 2], scale.batches[len(scale.batches) // 2]
    large = [cell for cell in cells if cell.dim >= middle[0] and cell.batch >= middle[1]]
    found = exponents(cells, "all") + exponents(large, f"d >= {middle[0]}, batch >= {middle[1]}")
    for row in found:
        print(f"{row.cells}: seconds ~ {row.of}^{row.value:.3f} ± {row.standard_error:.3f} ({row.count} cells)")
    settings = asdict(scale)
    _shared.write(given.output, Cell, cells, settings=settings, seeds=(SEED,))
    beside = given.output.with_name(f"{given.output.stem}_exponents.csv")
    _shared.write(beside, Exponent, found, settings=settings, seeds=(SEED,))


if __name__ == "__main__":
    main()

"""The conjugate of fitted potentials: this package's solvers against OTT's L-BFGS and the Adam of w2ot.

For draws x of P_w each solves ∇w(y) = x to the same ‖∇w(y) − x‖_∞, in turn, in one process, after compilation. OTT's
solver stops by the Euclidean norm, which is the larger one. Precisions: float32 to the tolerance of training, and
float64 to 1e-5, because float32 does not know the gradient of a steep potential much better than that.

Usage: conjugate.py [--smoke] [--fits FOLDER] OUTPUT.csv. FOLDER keeps the fits for another run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import _shared
import jax
import jax.numpy as jnp
import numpy as np
import optax

from conjugate_moments._matrices import symmetric_power
from conjugate_moments._ott import importing_ott
from conjugate_moments.config import fingerprint
from conjugate_moments.conjugates import LBFGS, Conjugate, Newton, NewtonCG, conjugate_solver, mean_preconditioner
from conjugate_moments.fits.kinds import ConjugateFit
from conjugate_moments.fits.result import ANCHORS
from conjugate_moments.fits.saved import load
from conjugate_moments.fits.stepwise import Stepwise
from conjugate_moments.fits.truths import truth
from conjugate_moments.measures.planar import PLANAR
from conjugate_moments.potentials.base import Potential, gradients, values_and_gradients
from conjugate_moments.provenance import commit
from conjugate_moments.samplers.mala import initial_state, mala_step, warm_up
from conjugate_moments.settings import TrainingSettings

Solve = Callable[[Potential, jax.Array, jax.Array], jax.Array]

SEED = 0
OLDER = 10  # training steps before the end at which the older potential stood
ADAPTATION = 200  # moves in which the chains find their step size, as they have in training
MODELLED = 64  # points whose Hessians the preconditioner averages
PEER_STEPS = 300  # of OTT's solver, whose default of 20 is meant for training
# Of OTT: its default, and one that took half the time in d = 2, but 9 to 100 times as long in d = 16 and 64.
SEARCHES = ("backtracking", "zoom")
LARGEST_ZOOM = 8
BUDGETS = (100, 300, 1000)  # of Adam: its rate decays to the end of the budget, so a longer one need not be slower
PRECISIONS = {"float32": 1e-3, "float64": 1e-5}
ROUNDING = 1.01  # the judge sums in another order than the solvers: residuals this little above the tolerance count


@dataclass(frozen=True)
class Case:
    """A law and how its potential is fitted."""

    law: str
    dim: int
    samples: int
    training: TrainingSettings


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Args:
      cases: fitted potentials.
      batch: draws of P_w.
      repeats: rounds, at most.
      precisions: keys of `PRECISIONS`.
      solvers: of this package, names of `solvers`.
      searches: of OTT, among which the fastest is taken.
      budgets: of Adam, likewise.
    """

    cases: tuple[Case, ...]
    batch: int
    repeats: int
    precisions: tuple[str, ...] = tuple(PRECISIONS)
    solvers: tuple[str, ...] = ("newton", "newton_cg", "newton_cg_mean", "lbfgs", "lbfgs_mean")
    searches: tuple[str, ...] = SEARCHES
    budgets: tuple[int, ...] = BUDGETS


STEEP = TrainingSettings(smoothing=0.1, slope=1.5, learning_rate=1e-2)
FULL = Scale(
    (
        Case("circles", 2, 30_000, TrainingSettings(steps=1500)),
        Case("product", 16, 30_000, replace(STEEP, steps=1000, widths=(128,))),
        Case("product", 64, 30_000, replace(STEEP, steps=1000, widths=(128,))),
    ),
    batch=1024,
    repeats=11,
)
SMOKE = Scale(
    (Case("circles", 2, 500, TrainingSettings(steps=20, batch=32, widths=(8,))),),
    batch=32,
    repeats=3,
    precisions=("float32",),
    solvers=("newton",),
    searches=("backtracking",),
    budgets=(100,),
)


@dataclass(frozen=True)
class Row:
    """One solver on one batch.

    Args:
      law: name.
      dim: d.
      precision: of weights and points.
      tolerance: on ‖∇w(y) − x‖_∞.
      start: "target" (y = x), or "persistent" as in training: the solution for the older potential, at the points
        from which the chains have since moved to the targets.
      method: of the conjugate.
      setting: of a peer, the one among several that served it best in a trial.
      chosen: whether `conjugate_solver` chooses this method.
      reached: share of rows that met the tolerance, judged in float64.
      worst: largest residual.
      seconds: of one call, median; with `reached` below 1 it is the time to give up.
      seconds_low: lower quartile.
      seconds_high: upper quartile.
      evaluations: `seconds` over those of one w and ∇w of the whole batch.
      ratio: `seconds` over those of the chosen method in the same round, median; none unless both met the tolerance
        in every row.
      ratio_low: lower quartile.
      ratio_high: upper quartile.
      repeats: rounds.
    """

    law: str
    dim: int
    precision: str
    tolerance: float
    start: str
    method: str
    setting: str
    chosen: bool
    reached: float
    worst: float
    seconds: float
    seconds_low: float
    seconds_high: float
    evaluations: float
    ratio: float
    ratio_low: float
    ratio_high: float
    repeats: int


@dataclass(frozen=True, eq=False)
class Batch:
    """A problem in one precision: potential, targets x `[n, d]`, starts `[n, d]` by name."""

    potential: Potential
    targets: jax.Array
    starts: dict[str, jax.Array]


@dataclass(frozen=True, eq=False)
class Method:
    """A compiled solver."""

    solve: Solve
    setting: str = ""
    chosen: bool = False


def fitted(case: Case, folder: Path) -> tuple[ConjugateFit, ConjugateFit]:
    """The fit of a case, and the one of `OLDER` steps before; read from `folder` where they were made before."""
    # The commit too: a fit of other code may have another network, or be another fit.
    origin = {**asdict(case), "seed": SEED, "older": OLDER, "commit": commit()}
    name = f"{case.law}_d{case.dim}_{fingerprint(origin)}"
    paths = [folder / f"{name}{suffix}.npz" for suffix in ("", "_older")]
    if not all(path.exists() for path in paths):
        for path, fit in zip(paths, fit_case(case), strict=True):
            fit.save(path)
    last, older = map(load, paths)
    if not (isinstance(last, ConjugateFit) and isinstance(older, ConjugateFit)):
        raise ValueError(f"fits: {folder} holds fits of another method")
    return last, older


def fit_case(case: Case) -> tuple[ConjugateFit, ConjugateFit]:
    """What `fit_samples` does, halted once on the way to keep the older potential."""
    key = jax.random.fold_in(jax.random.key(SEED), case.dim)
    law = PLANAR[case.law] if case.law in PLANAR else truth(case.law, case.dim)
    data = law.sample(case.samples, key=jax.random.fold_in(key, 0))
    loop = Stepwise.cmfgen(data, key=jax.random.fold_in(key, 1), settings=case.training)
    moments = data.mean(axis=0), np.cov(data, rowvar=False)
    found = []
    for count in (loop.steps - OLDER, OLDER):
        loop.advance(count)
        anchors = data[:ANCHORS].astype(np.float32)
        found.append(ConjugateFit(loop.network, case.training, *moments, anchors, loop.trace))
    return found[1], found[0]


def problem(last: ConjugateFit, older: ConjugateFit, count: int, precision: str) -> Batch:
    """Draws of P_w that a training step's moves have taken elsewhere, as targets, with both starts."""
    before, after = (jnp.asarray(points, precision) for points in chains(last, count))
    potential, past = (jax.tree.map(lambda leaf: jnp.asarray(leaf, precision), fit.network) for fit in (last, older))
    images = solver_for(last.dim, PRECISIONS[precision]).solve(past, before, before).point
    return Batch(potential, after, {"target": after, "persistent": images})


def chains(fit: ConjugateFit, count: int) -> tuple[jax.Array, jax.Array]:
    """Draws of P_w, and where the moves of one training step take them, `[count, d]` each; float32.

    Raises:
      RuntimeError: if the draws are not from P_w.
    """
    keys = jax.random.split(jax.random.fold_in(jax.random.key(SEED), 99), 3)
    root = jnp.asarray(symmetric_power(fit.cov, 1 / 6), jnp.float32)
    with jax.enable_x64(False):
        points, status = fit.draw(count, key=keys[0])
        if not status.converged:
            raise RuntimeError(f"draws of P_w: split R̂ {status.r_hat:.3g}, effective sample size {status.ess:.0f}")
        state = initial_state(fit.network, points, step=0.5)
        state = before = warm_up(fit.network, state, ADAPTATION, key=keys[1], root=root)
        for move in range(fit.settings.moves):
            state, _ = mala_step(fit.network, state, key=jax.random.fold_in(keys[2], move), root=root)
    return before.position, state.position


def solver_for(dim: int, tolerance: float) -> Conjugate:
    """What the package chooses."""
    return conjugate_solver(dim, tolerance=tolerance)


def ours(solver: Conjugate) -> Solve:
    """A solver of this package as one compiled function."""
    return jax.jit(lambda potential, targets, start: solver.solve(potential, targets, start).point)


@cache
def _peer() -> Any:
    with importing_ott():
        from ott.neural.networks.layers.conjugate import FenchelConjugateLBFGS
    return FenchelConjugateLBFGS


def ott(tolerance: float, line_search: str) -> Solve:
    """OTT's L-BFGS (Cuturi et al. 2022), vmapped over the rows as its neural dual does."""
    solver = _peer()(gtol=tolerance, max_iter=PEER_STEPS, linesearch_type=line_search)

    def solve(potential: Potential, targets: jax.Array, start: jax.Array) -> jax.Array:
        return jax.vmap(lambda x, y: solver.solve(potential.value, x, x_init=y).grad)(targets, start)

    return jax.jit(solve)


def adam(tolerance: float, budget: int) -> Solve:
    """Adam as in w2ot (Amos 2023): rate 0.1 with cosine decay to 1e-5 over the budget, b1 = 0.9, b2 = 0.999.

    Every row keeps its own moments and stops by itself, as under a vmap of one row's loop.
    """
    rule = optax.adam(optax.cosine_decay_schedule(0.1, budget, alpha=1e-4), b1=0.9, b2=0.999)

    def solve(potential: Potential, targets: jax.Array, start: jax.Array) -> jax.Array:
        def slope(y: jax.Array) -> jax.Array:
            return gradients(potential, y) - targets

        def more(state: tuple) -> jax.Array:
            return (state[0] < budget) & jnp.any(jnp.max(jnp.abs(state[2]), axis=1) > tolerance)

        def step(state: tuple) -> tuple:
            count, y, now, memory = state
            move, memory = rule.update(now, memory)
            y = jnp.where(jnp.max(jnp.abs(now), axis=1, keepdims=True) > tolerance, y + move, y)
            return count + 1, y, slope(y), memory

        return jax.lax.while_loop(more, step, (0, start, slope(start), rule.init(start)))[1]

    return jax.jit(solve)


def solvers(batch: Batch, tolerance: float) -> dict[str, Conjugate]:
    """Those of this package."""
    model = mean_preconditioner(batch.potential, batch.starts["persistent"][:MODELLED])
    return {
        "newton": Newton(tolerance=tolerance),
        "newton_cg": NewtonCG(tolerance=tolerance),
        "newton_cg_mean": NewtonCG(tolerance=tolerance, preconditioner=model),
        "lbfgs": LBFGS(tolerance=tolerance),
        "lbfgs_mean": LBFGS(tolerance=tolerance, preconditioner=model),
    }


def own_methods(batch: Batch, tolerance: float, names: Sequence[str]) -> dict[str, Method]:
    """The solvers of this package that `names` lists."""
    chosen = type(solver_for(batch.potential.dim, tolerance)).__name__.lower()
    return {
        name: Method(ours(solver), chosen=name == chosen)
        for name, solver in solvers(batch, tolerance).items()
        if name in names
    }


def peers(dim: int, tolerance: float, scale: Scale) -> dict[str, dict[str, Solve]]:
    """The other implementations, each with the settings among which it takes its fastest."""
    searches = [search for search in scale.searches if search != "zoom" or dim <= LARGEST_ZOOM]
    return {
        "ott_lbfgs": {search: ott(tolerance, search) for search in searches},
        "adam": {f"{budget} steps": adam(tolerance, budget) for budget in scale.budgets},
    }


def residuals(batch: Batch, points: jax.Array) -> np.ndarray:
    """‖∇w(y) − x‖_∞ for each row, in float64, `[n]`."""
    with jax.enable_x64(True):
        potential, x, y = jax.tree.map(
            lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), (batch.potential, batch.targets, points)
        )
        return np.asarray(jnp.max(jnp.abs(gradients(potential, y) - x), axis=1))


def share(found: np.ndarray, tolerance: float) -> float:
    """Of residuals `[n]` that met the tolerance."""
    return float(np.mean(found <= ROUNDING * tolerance))


def fastest(batch: Batch, start: jax.Array, tolerance: float, settings: dict[str, Solve]) -> Method:
    """The setting that serves a peer best: most rows, then least time, in one trial after compilation."""
    if len(settings) == 1:
        [(setting, solve)] = settings.items()
        return Method(solve, setting)
    trials = []
    for setting, solve in settings.items():
        points = solve(batch.potential, batch.targets, start)
        taken = _shared.seconds(lambda solve=solve: solve(batch.potential, batch.targets, start))
        trials.append((-share(residuals(batch, points), tolerance), taken, setting))
    best = min(trials)[2]
    return Method(settings[best], best)


def compare(case: Case, batch: Batch, start: str, precision: str, found: dict[str, Method], repeats: int) -> list[Row]:
    """One row for each method."""
    arguments, tolerance = (batch.potential, batch.targets, batch.starts[start]), PRECISIONS[precision]
    points = {name: method.solve(*arguments) for name, method in found.items()}
    errors = {name: residuals(batch, y) for name, y in points.items()}
    evaluate = jax.jit(values_and_gradients)
    jax.block_until_ready(evaluate(batch.potential, batch.targets))
    calls = {name: lambda method=method: method.solve(*arguments) for name, method in found.items()}
    times = _shared.in_turn({**calls, "": lambda: evaluate(batch.potential, batch.targets)}, repeats)
    reference = next(name for name, method in found.items() if method.chosen)
    met = {name: share(error, tolerance) for name, error in errors.items()}
    rows = []
    for name, method in found.items():
        spent = _shared.spread(times[name])
        fair = met[name] == met[reference] == 1
        ratio = _shared.spread(times[name] / times[reference]) if fair else _shared.UNKNOWN
        of_one = float(np.median(times[name] / times[""]))
        where = (case.law, case.dim, precision, tolerance, start, name, method.setting, method.chosen)
        measured = (met[name], float(np.max(errors[name])), spent.median, spent.low, spent.high, of_one)
        rows.append(Row(*where, *measured, ratio.median, ratio.low, ratio.high, len(times[name])))
    return rows


def measure(case: Case, scale: Scale, folder: Path) -> list[Row]:
    """Every precision and start of a case."""
    last, older = fitted(case, folder)
    rows = []
    for precision in scale.precisions:
        tolerance = PRECISIONS[precision]
        with jax.enable_x64(precision == "float64"):
            batch = problem(last, older, scale.batch, precision)
            own, others = own_methods(batch, tolerance, scale.solvers), peers(case.dim, tolerance, scale)
            for start, points in batch.starts.items():
                chosen = {name: fastest(batch, points, tolerance, settings) for name, settings in others.items()}
                found = compare(case, batch, start, precision, {**own, **chosen}, scale.repeats)
                report(found)
                rows += found
    return rows


def report(rows: Sequence[Row]) -> None:
    """Print what was measured."""
    for row in rows:
        print(
            f"{row.law} d={row.dim} {row.precision} {row.start:10} {row.method:14} {row.setting:12} "
            f"{100 * row.reached:6.2f} %  {1e3 * row.seconds:9.2f} ms  {row.evaluations:7.1f} evaluations  "
            f"× {row.ratio:.3g} ({row.ratio_low:.3g} to {row.ratio_high:.3g})",
            flush=True,
        )


FITS = _shared.Option("--fits", Path, "FOLDER", "where fits are kept for another run")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one row for each case, precision, start and method."""
    given, scale = _shared.parse("conjugate.py", arguments, FULL, SMOKE, FITS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.fits or Path(temporary)
        rows = [row for case in scale.cases for row in measure(case, scale, folder)]
    settings = {"scale": asdict(scale), "precisions": PRECISIONS, "older": OLDER, "peer_steps": PEER_STEPS}
    _shared.write(given.output, Row, rows, settings=settings, seeds=(SEED,))


if __name__ == "__main__":
    main()

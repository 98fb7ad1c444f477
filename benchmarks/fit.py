"""Wall time to an L²-UVP of 1 % in d = 2: CMFGen, which learns map and source, against OTT's `W2NeuralDual`.

The law is the rotated product, whose potential is known. CMFGen is given draws of it; `W2NeuralDual` is given draws of
the true source P_w as well, an easier problem: only the map is left to learn. Both are scored on the same draws of the
true P_w, at checkpoints outside the timed stretches, until the first that meets the goal. The peer runs in OTT's own
loop at the settings of its tutorial, and at smaller ones, and as "w2dual_tuned" in the loop of this package, at what
was found to be fast there on this very law.

Usage: fit.py [--smoke] [--limit SECONDS] OUTPUT.csv. A fit is halted SECONDS after its start, compilation included and
scoring not, wherever it stands then; the default keeps the whole run within twelve minutes on two idle cores.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import _shared
import jax
import jax.numpy as jnp
import numpy as np
import optax

from conjugate_moments._ott import importing_ott
from conjugate_moments.conjugates import conjugate_solver
from conjugate_moments.fits.stepwise import Stepwise
from conjugate_moments.fits.truths import truth
from conjugate_moments.metrics.uvp import l2_uvp
from conjugate_moments.potentials.base import Potential, gradients
from conjugate_moments.settings import PeerSettings, TrainingSettings

LAW, DIM = "product", 2
REACHED, NOT_REACHED, ENDED = "reached", "not reached", "ended"
LIMIT = _shared.Option("--limit", _shared.duration, "SECONDS", "after which a fit is halted", 55.0)


@dataclass(frozen=True)
class Peer:
    """How `W2NeuralDual` is run: an ICNN with positive weights for f, an MLP for the gradient of g.

    Args:
      steps: over which the rate decays to a hundredth along a cosine.
      batch: source points, and data points, per step.
      learning_rate: at the start.
      widths: of both networks.
    """

    steps: int
    batch: int
    learning_rate: float
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Args:
      seeds: of data and fits, one fit of each method for each.
      samples: draws of ρ, and of P_w for the peer.
      points: draws of the true P_w for the score.
      every: steps between two checkpoints of this package's fit.
      every_peer: of the peer's.
      goal: L²-UVP, per cent.
      training: of CMFGen.
      tuned: of OTT's networks in `fit_w2dual`.
      peers: of OTT's own loop, by name.
    """

    seeds: tuple[int, ...]
    samples: int
    points: int
    every: int
    every_peer: int
    goal: float
    training: TrainingSettings
    tuned: PeerSettings
    peers: dict[str, Peer]


FULL = Scale(
    (0, 1, 2),
    30_000,
    4096,
    25,
    50,
    1.0,
    TrainingSettings(steps=1000, smoothing=0.25, slope=2.5),
    PeerSettings(steps=350, batch=512, learning_rate=3e-2, widths=(64,)),
    {
        # Of the ICNN in OTT's tutorial on neural dual solvers, with the batch of its data loaders.
        "w2dual_recommended": Peer(5001, 2048, 1e-3, (64, 64, 64, 64)),
        # A smaller and faster one.
        "w2dual_alike": Peer(1000, 512, 1e-2, (64, 64)),
    },
)
SMOKE = Scale(
    (0,),
    500,
    64,
    2,
    2,
    1.0,
    TrainingSettings(steps=4, batch=16, widths=(4,)),
    PeerSettings(steps=4, batch=16, widths=(4,)),
    {"w2dual": Peer(4, 16, 1e-3, (4,))},
)


@dataclass(frozen=True)
class Row:
    """One fit.

    Args:
      method: name.
      seed: of data and fit.
      status: "reached" the goal, "not reached" within the limit, or "ended" with its last step.
      goal: L²-UVP, per cent.
      limit: on `seconds_with_compile`; the step, or stretch between checkpoints, that crosses it is still counted.
      uvp: L²-UVP at the end, per cent.
      best: least L²-UVP at any checkpoint, the end included, per cent.
      steps: up to the end.
      seconds: of these steps, without compilation.
      seconds_with_compile: from the data to the end: set-up, compilation and steps.
      ratio: `seconds` over those of CMFGen with the same seed; a lower bound where this method did not reach the goal,
        none where CMFGen did not.
      ratio_with_compile: the same with compilation.
      bound: what the ratios are: "exact", "lower", or "none".
    """

    method: str
    seed: int
    status: str
    goal: float
    limit: float
    uvp: float
    best: float
    steps: int
    seconds: float
    seconds_with_compile: float
    ratio: float
    ratio_with_compile: float
    bound: str


@dataclass(frozen=True)
class Run:
    """A fit up to its end; units as in `Row`."""

    status: str
    uvp: float
    best: float
    steps: int
    seconds: float
    seconds_with_compile: float


class Clock:
    """Adds up the stretches between `start` and `stop`; runs from the beginning, for the set-up."""

    def __init__(self) -> None:
        self.seconds, self.set_up, self._since = 0.0, 0.0, time.perf_counter()

    def start(self) -> None:
        """Begin a stretch."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """End it."""
        self.seconds += time.perf_counter() - self._since

    def end_set_up(self) -> None:
        """Count what there is so far as set-up, and stop."""
        self.stop()
        self.set_up, self.seconds = self.seconds, 0.0

    @property
    def all(self) -> float:
        """Seconds with the set-up."""
        return self.set_up + self.seconds


@dataclass(frozen=True, eq=False)
class Problem:
    """What both methods are given and scored on, `[n, 2]` each."""

    data: np.ndarray
    source: np.ndarray
    points: np.ndarray
    images: np.ndarray
    variance: float

    def score(self, found: Any) -> float:
        """L²-UVP of the images of `points`; rows that are NaN count as infinitely wrong."""
        found = np.asarray(found, np.float64)
        return l2_uvp(found, self.images, self.variance).value if np.all(np.isfinite(found)) else np.inf


def problem(seed: int, scale: Scale) -> Problem:
    """Draws for one seed."""
    key, law = jax.random.fold_in(jax.random.key(seed), 1), truth(LAW, DIM)
    keys = jax.random.split(key, 3)
    points = law.sample_gibbs(scale.points, key=keys[2])
    data, source = law.sample(scale.samples, key=keys[0]), law.sample_gibbs(scale.samples, key=keys[1])
    return Problem(data, source, points, law.transport(points), law.variance)


def run_cmfgen(given: Problem, seed: int, scale: Scale, limit: float) -> Run:
    """`fit_samples`, halted at checkpoints."""
    clock, settings = Clock(), scale.training
    loop = Stepwise.cmfgen(given.data, key=jax.random.key(seed), settings=settings)
    solver, x = conjugate_solver(DIM, tolerance=settings.tolerance), jnp.asarray(given.points, jnp.float32)

    def images(network: Potential) -> jax.Array:
        found = solver.solve(network, x, x)
        return jnp.where(found.converged[:, None], found.point, jnp.nan)

    return _halted(loop, clock, lambda network: given.score(images(network)), scale, limit)


def run_tuned(given: Problem, seed: int, scale: Scale, limit: float) -> Run:
    """`fit_w2dual`, OTT's step, networks and conjugate in the loop of this package, at what was found fast there."""
    clock = Clock()
    loop = Stepwise.w2dual(given.data, given.source, key=jax.random.key(seed), settings=scale.tuned)
    x = jnp.asarray(given.points, jnp.float32)
    return _halted(loop, clock, lambda network: given.score(gradients(network, x)), scale, limit)


def _halted(loop: Stepwise, clock: Clock, score: Callable[[Potential], float], scale: Scale, limit: float) -> Run:
    """A compiled loop, scored every so many steps while the clock, running since set-up, stands."""
    loop.advance(0)
    clock.end_set_up()
    scores, status = [], ENDED
    while loop.done < loop.steps and status == ENDED:
        clock.start()
        loop.advance(min(scale.every, loop.steps - loop.done))
        clock.stop()
        scores.append(score(loop.network))
        status = verdict(scores, clock.all, scale.goal, limit)
    return Run(status, scores[-1], min(scores), loop.done, clock.seconds, clock.all)


def verdict(scores: Sequence[float], spent: float, goal: float, limit: float) -> str:
    """Whether a fit is done; `ENDED` if it is not, unless it has no step left."""
    return REACHED if scores[-1] <= goal else NOT_REACHED if spent > limit else ENDED


class _Halt(Exception):  # noqa: N818 - not an error: how a callback leaves OTT's loop
    """The fit is done."""


@cache
def _ott() -> tuple[Any, Any, Any]:
    # OTT's loop shows a progress bar that cannot be switched off otherwise.
    os.environ["TQDM_DISABLE"] = "1"
    with importing_ott():
        from ott.neural.methods import neuraldual
        from ott.neural.networks import icnn, potentials
    return neuraldual, icnn, potentials


def batches(rows: np.ndarray, size: int, seed: int) -> Iterator[jax.Array]:
    """Endless batches, with replacement."""
    array, random = np.asarray(rows, np.float32), np.random.default_rng(seed)
    while True:
        yield jnp.asarray(array[random.integers(len(array), size=size)])


def run_peer(given: Problem, seed: int, scale: Scale, limit: float, *, peer: Peer) -> Run:
    """OTT's own loop, left by its callback; ∇f sends the source to the data."""
    method, icnn, potentials = _ott()
    clock, scores, steps, found = Clock(), [], [], [ENDED]
    first, second = (next(batches(rows, 1024, seed)) for rows in (given.source, given.data))
    f = icnn.ICNN(dim_data=DIM, dim_hidden=peer.widths, pos_weights=True, gaussian_map_samples=(first, second))
    g = potentials.PotentialMLP(dim_hidden=peer.widths, is_potential=False)
    rate = optax.cosine_decay_schedule(peer.learning_rate, peer.steps, alpha=1e-2)
    dual = method.W2NeuralDual(
        DIM,
        f,
        g,
        optax.adam(rate, b1=0.5, b2=0.5),
        optax.adam(rate, b1=0.9, b2=0.999),
        num_train_iters=peer.steps,
        valid_freq=peer.steps + 1,
        rng=jax.random.key(seed),
        pos_weights=True,
    )
    x = jnp.asarray(given.points, jnp.float32)
    score = jax.jit(lambda params: jax.vmap(jax.grad(lambda y: dual.state_f.apply_fn({"params": params}, y)))(x))

    def check(step: int, _: Any) -> None:
        # At every step, because one can take seconds; waiting for the device costs microseconds.
        jax.block_until_ready(dual.state_f.params)
        steps[:] = [step + 1]
        if step == 0:
            clock.end_set_up()  # the first step compiles, and is counted with that
        else:
            clock.stop()
        if clock.all > limit or steps[0] % scale.every_peer == 0 or steps[0] == peer.steps:
            scores.append(given.score(score(dual.state_f.params)))
            found[:] = [verdict(scores, clock.all, scale.goal, limit)]
            if found[0] != ENDED:
                raise _Halt
        clock.start()

    streams = [batches(rows, peer.batch, seed + i) for i, rows in enumerate((given.source, given.data))]
    with contextlib.suppress(_Halt):
        dual(*streams, *streams, callback=check)
    return Run(found[0], scores[-1], min(scores), steps[0], clock.seconds, clock.all)


def rows_of(seed: int, scale: Scale, limit: float) -> list[Row]:
    """Every method on one seed, this package's first."""
    given, runners = problem(seed, scale), methods(scale)
    runs = {}
    for name, run in runners.items():
        jax.clear_caches()  # what an earlier fit compiled would be free
        runs[name] = run(given, seed, scale, limit)
    ours = runs["cmfgen"]
    rows = []
    for name, run in runs.items():
        bound = "none" if ours.status != REACHED else "exact" if run.status == REACHED else "lower"
        ratios = np.nan, np.nan
        if ours.status == REACHED:
            ratios = run.seconds / ours.seconds, run.seconds_with_compile / ours.seconds_with_compile
        scores, times = (run.uvp, run.best), (run.steps, run.seconds, run.seconds_with_compile)
        rows.append(Row(name, seed, run.status, scale.goal, limit, *scores, *times, *ratios, bound))
    return rows


def methods(scale: Scale) -> dict[str, Callable[..., Run]]:
    """By name."""

    def runner(peer: Peer) -> Callable[..., Run]:
        return lambda *arguments: run_peer(*arguments, peer=peer)

    return {
        "cmfgen": run_cmfgen,
        "w2dual_tuned": run_tuned,
        **{name: runner(peer) for name, peer in scale.peers.items()},
    }


def report(rows: Sequence[Row]) -> None:
    """Print what was measured."""
    for row in rows:
        said = {
            REACHED: f"{row.goal:g} % reached (UVP {row.uvp:.3g} %)",
            NOT_REACHED: f"{row.goal:g} % not reached within {row.limit:g} s (UVP at the end {row.uvp:.3g} %)",
            ENDED: f"{row.goal:g} % not reached in all its steps (UVP at the end {row.uvp:.3g} %)",
        }[row.status]
        sign = "at least " if row.bound == "lower" else ""
        print(
            f"seed {row.seed} {row.method:18} {said}: {row.steps} steps, {row.seconds:.2f} s, with compilation "
            f"{row.seconds_with_compile:.2f} s, {sign}× {row.ratio:.3g} ({row.ratio_with_compile:.3g})",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one row for each seed and method."""
    given, scale = _shared.parse("fit.py", arguments, FULL, SMOKE, LIMIT)
    rows = []
    for seed in scale.seeds:
        found = rows_of(seed, scale, given.limit)
        report(found)
        rows += found
    _shared.write(given.output, Row, rows, settings={"scale": asdict(scale), "limit": given.limit}, seeds=scale.seeds)


if __name__ == "__main__":
    main()

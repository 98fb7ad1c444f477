"""Wall time to an L²-UVP of 1 % in d = 2: CMFGen, which learns map and source, against OTT's `W2NeuralDual`.

The law is the rotated product, whose potential is known. CMFGen is given draws of it; `W2NeuralDual` is given draws of
the true source P_w as well, an easier problem: only the map is left to learn. Both are scored on the same draws of the
true P_w, at checkpoints outside the timed stretches, until the first that meets the goal. The peer runs in OTT's own
loop at the settings of its tutorial, and at smaller ones, and as "w2dual_tuned" in the loop of this package, at what
was found to be fast there on this very law.

Usage: fit.py [--smoke] [--limit SECONDS] OUTPUT.csv. A fit that is not there after SECONDS is given up.
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

from conjugate_moments._matrices import symmetric_power
from conjugate_moments._ott import importing_ott
from conjugate_moments.conjugates import conjugate_solver
from conjugate_moments.fits import w2dual
from conjugate_moments.fits._check import mean_and_cov
from conjugate_moments.fits._training import _advance
from conjugate_moments.fits.samples import _start, single
from conjugate_moments.fits.truths import truth
from conjugate_moments.metrics.uvp import l2_uvp
from conjugate_moments.potentials.base import gradients
from conjugate_moments.potentials.ott_icnn import OttPotential
from conjugate_moments.settings import PeerSettings, TrainingSettings

LAW, DIM = "product", 2
REACHED, GIVEN_UP, ENDED = "reached", "given up", "ended"


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
      status: "reached" the goal, "given up" at the limit, or "ended" with its last step.
      goal: L²-UVP, per cent.
      uvp: L²-UVP at the last checkpoint, per cent.
      best: least L²-UVP at any checkpoint, per cent.
      steps: up to the last checkpoint.
      seconds: of these steps, without compilation.
      seconds_with_compile: from the data to the last checkpoint: set-up, compilation and steps.
      ratio: `seconds` over those of CMFGen with the same seed; a lower bound where this method did not reach the goal,
        none where CMFGen did not.
      ratio_with_compile: the same with compilation.
      bound: what the ratios are: "exact", "lower", or "none".
    """

    method: str
    seed: int
    status: str
    goal: float
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
    """A fit up to its last checkpoint; units as in `Row`."""

    status: str
    uvp: float
    best: float
    steps: int
    seconds: float
    seconds_with_compile: float


class Clock:
    """Adds up the stretches between `start` and `stop`."""

    def __init__(self) -> None:
        self.seconds, self._since = 0.0, time.perf_counter()

    def start(self) -> None:
        """Begin a stretch."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """End it."""
        self.seconds += time.perf_counter() - self._since


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
    """The loop of `fit_samples`, halted at checkpoints."""
    key, settings, clock = jax.random.key(seed), scale.training, Clock()
    begin = _start("cmfgen", given.data, None, settings, jax.random.fold_in(key, 0))
    solver, x = conjugate_solver(DIM, tolerance=settings.tolerance), jnp.asarray(given.points, jnp.float32)

    def images(carry: Any) -> jax.Array:
        found = solver.solve(carry.network, x, x)
        return jnp.where(found.converged[:, None], found.point, jnp.nan)

    loop = begin.step, begin.carry, begin.given, settings.steps, scale.every
    return _halted(*loop, clock, lambda carry: given.score(images(carry)), key, scale.goal, limit)


def run_tuned(given: Problem, seed: int, scale: Scale, limit: float) -> Run:
    """OTT's step, networks and conjugate in the loop of `fit_w2dual`, at the settings that were found fast there."""
    key, settings, clock = jax.random.key(seed), scale.tuned, Clock()
    step = w2dual._Step(w2dual._solver(DIM, settings), settings.batch)
    (mean, cov), arrays = mean_and_cov(given.data), [single(rows) for rows in (given.data, given.source)]
    inputs = w2dual._Given(*arrays, single(mean), single(symmetric_power(cov, 1 / 2)))
    network, x = w2dual._network(DIM, settings.widths), jnp.asarray(given.points, jnp.float32)
    loop = step, step.start(inputs, key=jax.random.fold_in(key, 0)), inputs, settings.steps, scale.every

    def score(carry: Any) -> float:
        return given.score(gradients(OttPotential(carry[0].params, network), x))

    return _halted(*loop, clock, score, key, scale.goal, limit)


def _halted(
    step: Any,
    carry: Any,
    given: Any,
    steps: int,
    every: int,
    clock: Clock,
    score: Callable[[Any], float],
    key: jax.Array,
    goal: float,
    limit: float,
) -> Run:
    """The compiled loop of this package, scored every so many steps while the clock, running since set-up, stands."""
    shapes = jax.eval_shape(step, carry, given, key)[1]
    trace = {name: jnp.zeros(steps, shape.dtype) for name, shape in shapes.items()}

    def advance(carry: Any, trace: Any, done: int, until: int) -> Any:
        return jax.block_until_ready(_advance(step, carry, trace, given, done, until, jax.random.fold_in(key, 1)))

    carry, trace = advance(carry, trace, 0, 0)
    clock.stop()
    start_up, clock.seconds = clock.seconds, 0.0
    scores, done, status = [], 0, ENDED
    while done < steps and status == ENDED:
        until = min(steps, done + every)
        clock.start()
        carry, trace = advance(carry, trace, done, until)
        clock.stop()
        done = until
        scores.append(score(carry))
        status = verdict(scores, clock.seconds, goal, limit)
    return Run(status, scores[-1], min(scores), done, clock.seconds, start_up + clock.seconds)


def verdict(scores: Sequence[float], spent: float, goal: float, limit: float) -> str:
    """Whether a fit is done; `ENDED` if it is not, unless it has no step left."""
    return REACHED if scores[-1] <= goal else GIVEN_UP if spent > limit else ENDED


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
    clock, start_up, scores, steps = Clock(), [], [], []
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
        steps[:] = [step + 1]
        if not start_up:
            # The first step compiles, and is counted with that.
            jax.block_until_ready(dual.state_f.params)
            clock.stop()
            start_up.append(clock.seconds)
            clock.seconds = 0.0
        elif (step + 1) % scale.every_peer == 0:
            jax.block_until_ready(dual.state_f.params)
            clock.stop()
            scores.append(given.score(score(dual.state_f.params)))
            if verdict(scores, clock.seconds, scale.goal, limit) != ENDED:
                raise _Halt
        else:
            return
        clock.start()

    streams = [batches(rows, peer.batch, seed + i) for i, rows in enumerate((given.source, given.data))]
    with contextlib.suppress(_Halt):
        dual(*streams, *streams, callback=check)
    status = verdict(scores, clock.seconds, scale.goal, limit)
    return Run(status, scores[-1], min(scores), steps[0], clock.seconds, start_up[0] + clock.seconds)


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
        ratios = run.seconds / ours.seconds, run.seconds_with_compile / ours.seconds_with_compile
        ratios = ratios if ours.status == REACHED else (np.nan, np.nan)
        times = run.steps, run.seconds, run.seconds_with_compile
        rows.append(Row(name, seed, run.status, scale.goal, run.uvp, run.best, *times, *ratios, bound))
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
        sign = "at least " if row.bound == "lower" else ""
        print(
            f"seed {row.seed} {row.method:18} {row.status:8} {row.uvp:8.3f} % after {row.steps:5} steps, "
            f"{row.seconds:7.2f} s, {row.seconds_with_compile:7.2f} s with compilation, "
            f"{sign}× {row.ratio:.3g} ({row.ratio_with_compile:.3g})",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one row for each seed and method."""
    made = _shared.parser("fit.py", options="[--limit SECONDS] ")
    made.add_argument("--limit", type=float, default=600.0, metavar="SECONDS", help="after which a fit is given up")
    given = made.parse_args(arguments)
    scale = SMOKE if given.smoke else FULL
    rows = []
    for seed in scale.seeds:
        rows += rows_of(seed, scale, given.limit)
        report(rows[-2 - len(scale.peers) :])
    _shared.write(given.output, Row, rows, settings={"scale": asdict(scale), "limit": given.limit}, seeds=scale.seeds)


if __name__ == "__main__":
    main()

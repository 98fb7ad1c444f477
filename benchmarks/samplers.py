"""MALA on a small softplus network: this package's batched move against blackjax's, vmapped over the chains.

Both are timed in turn, in one process, from the same start and with the same step size.

Usage: samplers.py [--smoke] OUTPUT.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import _shared
import blackjax
import jax
import jax.numpy as jnp

from conjugate_moments.samplers.mala import MalaState, initial_state, mala_step, warm_up

CHAINS, UNITS, MOVES = 512, 64, 200
SEED = 0


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Args:
      dims: d.
      repeats: rounds.
    """

    dims: tuple[int, ...]
    repeats: int


FULL = Scale((2, 8, 32), 25)
SMOKE = Scale((2,), 3)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class SoftplusPotential:
    """|y|²/4 plus a non-negative combination of softplus units.

    Args:
      weights: positive, `[units]`.
      directions: `[units, d]`.
      offsets: `[units]`.
    """

    weights: jax.Array
    directions: jax.Array
    offsets: jax.Array

    def value(self, y: jax.Array) -> jax.Array:
        """w at one point `[d]`."""
        return y @ y / 4 + self.weights @ jax.nn.softplus(self.directions @ y + self.offsets)


def softplus_potential(dim: int, *, key: jax.Array) -> SoftplusPotential:
    """A random one with `UNITS` units."""
    keys = jax.random.split(key, 3)
    weights = jax.random.exponential(keys[0], (UNITS,)) * dim / UNITS
    return SoftplusPotential(weights, jax.random.normal(keys[1], (UNITS, dim)), jax.random.normal(keys[2], (UNITS,)))


@jax.jit
def move_ours(potential: SoftplusPotential, state: MalaState, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Last positions and mean acceptance after `MOVES` moves."""

    def move(state: MalaState, key: jax.Array) -> tuple[MalaState, jax.Array]:
        state, info = mala_step(potential, state, key=key)
        return state, jnp.mean(info.probability)

    state, acceptance = jax.lax.scan(move, state, jax.random.split(key, MOVES))
    return state.position, jnp.mean(acceptance)


@jax.jit
def move_blackjax(potential: SoftplusPotential, state: MalaState, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same with blackjax's kernel."""
    kernel = blackjax.mala.build_kernel()

    def log_density(y: jax.Array) -> jax.Array:
        return -potential.value(y)

    def one(key: jax.Array, chain: Any) -> Any:
        return kernel(key, chain, log_density, jnp.exp(state.log_step))

    def move(chains: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        chains, info = jax.vmap(one)(jax.random.split(key, CHAINS), chains)
        return chains, jnp.mean(info.acceptance_rate)

    chains = jax.vmap(lambda y: blackjax.mala.init(y, log_density))(state.position)
    chains, acceptance = jax.lax.scan(move, chains, jax.random.split(key, MOVES))
    return chains.position, jnp.mean(acceptance)


@dataclass(frozen=True)
class Row:
    """One dimension.

    Args:
      dim: d.
      chains: moved at once.
      moves: in a timed call.
      ours: seconds of a move of all chains, median.
      blackjax: the same.
      ratio: blackjax's over ours in the same round, median.
      ratio_low: lower quartile.
      ratio_high: upper quartile.
      ours_acceptance: mean.
      blackjax_acceptance: mean; the two differ by Monte Carlo error.
      repeats: rounds.
    """

    dim: int
    chains: int
    moves: int
    ours: float
    blackjax: float
    ratio: float
    ratio_low: float
    ratio_high: float
    ours_acceptance: float
    blackjax_acceptance: float
    repeats: int


def compare(dim: int, repeats: int, *, key: jax.Array) -> Row:
    """Both samplers on one random potential."""
    keys = jax.random.split(key, 4)
    potential = softplus_potential(dim, key=keys[0])
    state = initial_state(potential, jax.random.normal(keys[1], (CHAINS, dim)), step=0.1)
    arguments = potential, warm_up(potential, state, MOVES, key=keys[2]), keys[3]
    functions = {"ours": move_ours, "blackjax": move_blackjax}
    acceptance = {name: float(function(*arguments)[1]) for name, function in functions.items()}
    calls = {name: lambda function=function: function(*arguments) for name, function in functions.items()}
    times = _shared.in_turn(calls, repeats)
    medians = (_shared.spread(times[name] / MOVES).median for name in functions)
    ratio = _shared.spread(times["blackjax"] / times["ours"])
    return Row(
        dim, CHAINS, MOVES, *medians, ratio.median, ratio.low, ratio.high, *acceptance.values(), len(times["ours"])
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one row for each dimension."""
    given, scale = _shared.parse("samplers.py", arguments, FULL, SMOKE)
    rows = [compare(dim, scale.repeats, key=jax.random.fold_in(jax.random.key(SEED), dim)) for dim in scale.dims]
    settings = {"scale": asdict(scale), "chains": CHAINS, "units": UNITS, "moves": MOVES}
    _shared.write(given.output, Row, rows, settings=settings, seeds=(SEED,))


if __name__ == "__main__":
    main()

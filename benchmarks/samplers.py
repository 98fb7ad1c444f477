"""MALA on a small softplus network: this package's batched move against blackjax's, vmapped over the chains.

Both are timed in turn, in one process, from the same start and with the same step size. Usage: samplers.py OUTPUT.csv
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np

from conjugate_moments.samplers.mala import MalaState, initial_state, mala_step, warm_up

CHAINS, UNITS, MOVES, REPEATS = 512, 64, 200, 25
DIMENSIONS = (2, 8, 32)


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


def seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def compare(dim: int, *, key: jax.Array) -> dict[str, float]:
    """Median times of a move of all chains, in microseconds, their median ratio, and the acceptance of both."""
    keys = jax.random.split(key, 4)
    potential = softplus_potential(dim, key=keys[0])
    state = initial_state(potential, jax.random.normal(keys[1], (CHAINS, dim)), step=0.1)
    arguments = potential, warm_up(potential, state, MOVES, key=keys[2]), keys[3]
    acceptance = [float(function(*arguments)[1]) for function in (move_ours, move_blackjax)]
    times = np.asarray(
        [[seconds(function, *arguments) for function in (move_ours, move_blackjax)] for _ in range(REPEATS)]
    )
    ours, theirs = np.median(times, axis=0) / MOVES * 1e6
    return {
        "dim": dim,
        "chains": CHAINS,
        "ours_us": round(ours, 1),
        "blackjax_us": round(theirs, 1),
        "blackjax_over_ours": round(float(np.median(times[:, 1] / times[:, 0])), 3),
        "ours_acceptance": round(acceptance[0], 4),
        "blackjax_acceptance": round(acceptance[1], 4),
    }


def main(output: str) -> None:
    """Write one row for each dimension."""
    rows = [compare(dim, key=jax.random.fold_in(jax.random.key(0), dim)) for dim in DIMENSIONS]
    with Path(output).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])

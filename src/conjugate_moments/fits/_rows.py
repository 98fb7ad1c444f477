"""What the steps of a training draw their batches from: rows on the device, or on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

BLOCK = 2**26  # bytes that are read for some steps at once, unless one step takes more; two blocks are held, and a copy


class Rows(Protocol):
    """Data that are stored in another form than points of R^d."""

    def draw(self, size: int, key: jax.Array) -> jax.Array:
        """`size` points, with replacement, `[size, d]`."""
        ...


def draw_rows(data: jax.Array | Rows, size: int, key: jax.Array) -> jax.Array:
    """`size` rows of `data`, with replacement, `[size, d]`."""
    if isinstance(data, jax.Array):
        return data[jax.random.randint(key, (size,), 0, len(data))]
    return data.draw(size, key)


def step_keys(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The key of a step's batch, which a `Stream` has to know beforehand, and that of the rest of the step."""
    key_data, key_rest = jax.random.split(key)
    return key_data, key_rest


class Stream(ABC):
    """Data on disk: what a step will draw follows from its key, and is read for a block of steps at once.

    No pytree, so a leaf of what a training is given, which `blocks` replaces.
    """

    @property
    @abstractmethod
    def step_bytes(self) -> int:
        """Read for one step."""

    @abstractmethod
    def places(self, key: jax.Array) -> jax.Array:
        """Where the rows are which are drawn with the key of a batch, `[batch]`; pure."""

    @abstractmethod
    def read(self, places: np.ndarray, steps: int) -> Rows:
        """What these rows are to each step, leaves `[steps, ...]`; `places` `[at most steps, batch]`, then padding."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Block:
    """What a `Stream` is to some steps.

    Args:
      first: of the steps.
      rows: leaves `[steps, ...]`.
    """

    first: jax.Array
    rows: Any


def of_step(data: Any, i: int | jax.Array) -> Any:
    """The data with what their blocks are to step i in the place of them."""

    def chosen(leaf: Any) -> Any:
        return jax.tree.map(lambda rows: rows[i - leaf.first], leaf.rows) if isinstance(leaf, Block) else leaf

    return jax.tree.map(chosen, data, is_leaf=lambda leaf: isinstance(leaf, Block))


def blocks(data: Any, first: int, last: int, longest: int, *, key: jax.Array) -> Iterator[tuple[int, int, Any]]:
    """Stretches of steps that are `first` to `last` together, each with its data; one, with no `Stream` in the data.

    All blocks are of one size, at most `longest` steps, so that the loop is compiled once.

    Args:
      data: a pytree of arrays, and at most one `Stream`.
      first: step.
      last: step, which is not run any more.
      longest: `last` less `first`, over all calls for a training.
      key: of the whole run; of step i it is `fold_in(key, i)`.
    """
    stream = next((leaf for leaf in jax.tree.leaves(data) if isinstance(leaf, Stream)), None)
    if stream is None:
        yield first, last, data
        return
    steps = min(longest, max(1, BLOCK // stream.step_bytes))
    places = _places(stream, key, first + jnp.arange(steps))
    while first < last:
        until = min(last, first + steps)
        rows = stream.read(np.asarray(places)[: until - first], steps)
        # Asked for before the device is busy with this block, so that the next can be read meanwhile.
        places = _places(stream, key, until + jnp.arange(steps))
        yield first, until, _with_block(data, Block(jnp.asarray(first), rows))
        first = until


def _with_block(data: Any, block: Block) -> Any:
    return jax.tree.map(lambda leaf: block if isinstance(leaf, Stream) else leaf, data)


def _places(stream: Stream, key: jax.Array, steps: jax.Array) -> jax.Array:
    return jax.vmap(lambda i: stream.places(step_keys(jax.random.fold_in(key, i))[0]))(steps)

"""Limited-memory BFGS, for large d."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from conjugate_moments.conjugates.base import Conjugate, Rows, select
from conjugate_moments.conjugates.line_search import line_search
from conjugate_moments.conjugates.preconditioner import check_preconditioner, precondition
from conjugate_moments.potentials.base import Potential

LEAST_COSINE = 1e-6  # between a move and its change of slope: pairs below it are rounding


class _Pairs(NamedTuple):
    """Last moves s and changes of slope y, newest first, `[n, history, d]`; 1/s·y, 0 for no pair, `[n, history]`."""

    moves: Array
    changes: Array
    inverses: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class LBFGS(Conjugate):
    """L-BFGS (Liu & Nocedal 1989) with a history for each row and a line search.

    Args:
      history: number of pairs kept.
      preconditioner: positive definite model of (∇²w)⁻¹, `[d, d]` or its diagonal `[d]`; None for the identity. See
        `mean_preconditioner`.

    Raises:
      ValueError: if a setting is not positive; on use, if the preconditioner has another shape.
    """

    max_steps: int = field(default=500, metadata={"static": True})
    history: int = field(default=8, metadata={"static": True})
    preconditioner: Array | None = None

    def __post_init__(self) -> None:
        """Validate the numbers."""
        super().__post_init__()
        if self.history < 1:
            raise ValueError(f"history: expected an integer > 0, found {self.history}")

    def _memory(self, start: Array) -> _Pairs:
        n, d = start.shape
        pairs = jnp.zeros((n, self.history, d), start.dtype)
        return _Pairs(pairs, pairs, jnp.zeros((n, self.history), start.dtype))

    def _step(self, potential: Potential, rows: Rows) -> Rows:
        check_preconditioner(self.preconditioner, potential.dim)
        move = self._direction(rows)
        moved, length = line_search(potential, rows, move, self._active(rows))
        pairs = _remember(rows.memory, length[:, None] * move, moved.slope - rows.slope)
        # No length helped: the model is wrong there, so forget it.
        pairs = jax.tree.map(lambda new: select(length > 0, new, jnp.zeros_like(new)), pairs)
        return replace(moved, memory=pairs)

    def _direction(self, rows: Rows) -> Array:
        """−(inverse Hessian model)(slope), by the two-loop recursion.

        The loops are scans: unrolled, the compiler fuses the chain of sums and takes minutes.
        """
        pairs = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), rows.memory)

        def down(vector: Array, pair: _Pairs) -> tuple[Array, Array]:
            weight = pair.inverses * jnp.sum(pair.moves * vector, axis=1)
            return vector - weight[:, None] * pair.changes, weight

        def up(vector: Array, pair_weight: tuple[_Pairs, Array]) -> tuple[Array, None]:
            pair, weight = pair_weight
            rest = weight - pair.inverses * jnp.sum(pair.changes * vector, axis=1)
            return vector + rest[:, None] * pair.moves, None

        vector, weights = jax.lax.scan(down, rows.slope, pairs)
        vector = self._scale(rows)[:, None] * precondition(self.preconditioner, vector)
        return -jax.lax.scan(up, vector, (pairs, weights), reverse=True)[0]

    def _scale(self, rows: Rows) -> Array:
        """Factor of the first model, `[n]`: s·y/y·M⁻¹y of the newest pair.

        Without a pair, that of a preconditioner, which knows the unit of moves, is 1; the identity's first move is at
        most 1.
        """
        change, inverse = rows.memory.changes[:, 0], rows.memory.inverses[:, 0]
        fitted = 1 / (inverse * jnp.sum(change * precondition(self.preconditioner, change), axis=1))
        if self.preconditioner is None:
            first = 1 / jnp.maximum(1, jnp.linalg.norm(rows.slope, axis=1))
        else:
            first = jnp.ones_like(inverse)
        return jnp.where(inverse > 0, fitted, first)


def _remember(pairs: _Pairs, move: Array, change: Array) -> _Pairs:
    inner = jnp.sum(move * change, axis=1)
    norms = jnp.linalg.norm(move, axis=1) * jnp.linalg.norm(change, axis=1)
    kept = inner > LEAST_COSINE * norms
    new = (move, change, 1 / jnp.where(kept, inner, 1))
    pushed = [jnp.concatenate([leaf[:, None], old[:, :-1]], axis=1) for leaf, old in zip(new, pairs, strict=True)]
    return jax.tree.map(lambda after, before: select(kept, after, before), _Pairs(*pushed), pairs)

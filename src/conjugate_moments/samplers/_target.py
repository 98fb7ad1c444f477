"""What every sampler needs to know of a potential."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import jax

from conjugate_moments.potentials.base import Potential


class Target(Protocol):
    """The negative logarithm of a density that need not be normalised, registered as a jax pytree.

    Every `Potential` is one; so is the energy of a posterior, which need not be convex.
    """

    def value(self, x: jax.Array, /) -> jax.Array:
        """w at one point `[d]`, a scalar; +inf outside the support."""
        ...


@runtime_checkable
class SolvedTarget(Target, Protocol):
    """A target whose gradient is the solution of an equation, which a guess makes cheaper."""

    def from_guess(self, positions: jax.Array, guess: jax.Array, /) -> tuple[jax.Array, jax.Array]:
        """w and ∇w at positions `[n, d]`, from a guess of ∇w `[n, d]`: `[n]` and `[n, d]`."""
        ...


def values_and_gradients(target: Target, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """w and ∇w at positions `[n, d]`: `[n]` and `[n, d]`; a potential may know a faster way than differentiation."""
    both = target.value_and_gradient if isinstance(target, Potential) else jax.value_and_grad(target.value)
    return jax.vmap(both)(positions)

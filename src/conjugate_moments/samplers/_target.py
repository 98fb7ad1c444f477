"""What every sampler needs to know of a potential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import jax


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

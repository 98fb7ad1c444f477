"""Trainings over all devices that JAX sees: each has a share of every batch, and a copy of everything else.

The rows of a batch meet only in means: of the loss's gradient and of the acceptance of chains. Conjugates are solved by
each device for its own rows, without a word to the others: neither the rows that are still active nor the number of
steps is theirs together. With one device nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from conjugate_moments.conjugates.base import ConjugateSolution
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.fits._rows import Stream, draw_rows
from conjugate_moments.fits._steps import Carry
from conjugate_moments.potentials.base import Potential

AXIS = "batch"
COPIES, SHARES = PartitionSpec(), PartitionSpec(AXIS)


def over_devices(step: Any, carry: Carry, given: Any, batch: int) -> tuple[Any, Carry, Any]:
    """The same training, over as many devices as a batch can be divided among equally.

    The numbers are those of one device but for rounding; so are random numbers, which JAX draws by place in the batch.

    Args:
      step: of the training.
      carry: where it starts.
      given: of every step, a named tuple with `data` to draw from and, among its fields, solvers.
      batch: rows of every array `[n, ...]` of chains and images.
    """
    devices = jax.devices()
    count = max(k for k in range(1, len(devices) + 1) if batch % k == 0)
    if count == 1:
        return step, carry, given
    mesh = Mesh(np.asarray(devices[:count]), AXIS)
    copies = NamedSharding(mesh, COPIES)
    given = jax.tree.map(lambda leaf: leaf if isinstance(leaf, Stream) else jax.device_put(leaf, copies), given)
    solvers = {name: _SharedSolver(part, mesh) for name, part in given._asdict().items() if hasattr(part, "solve")}
    return _SharedStep(step, mesh), _placed(carry, mesh), given._replace(**solvers)


def on_one_device(carry: Any) -> Any:
    """The carry of a training that has ended, where everything else is."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)) if _mesh(leaf) else leaf, carry)


def placed_as(tree: Any, like: Any) -> Any:
    """The arrays of a tree where those of another are."""
    return jax.tree.map(lambda leaf, other: jax.device_put(leaf, other.sharding) if _mesh(other) else leaf, tree, like)


def beside(carry: Any, arrays: Any) -> Any:
    """A copy of the arrays on every device that has a part of the carry."""
    mesh = next((mesh for leaf in jax.tree.leaves(carry) if (mesh := _mesh(leaf))), None)
    return arrays if mesh is None else jax.device_put(arrays, NamedSharding(mesh, COPIES))


def _mesh(leaf: Any) -> Mesh | None:
    sharding = getattr(leaf, "sharding", None)
    return sharding.mesh if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, Mesh) else None


def _placed(carry: Carry, mesh: Mesh) -> Carry:
    def constrained(leaf: jax.Array, spec: PartitionSpec) -> jax.Array:
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, spec))

    copied = jax.tree.map(lambda leaf: constrained(leaf, COPIES), (carry.network, carry.optimiser))
    rows = carry.chains, carry.images
    return Carry(*copied, *jax.tree.map(lambda leaf: constrained(leaf, SHARES if leaf.ndim else COPIES), rows))


@dataclass(frozen=True)
class _SharedStep:
    """A step that leaves everything where it was."""

    step: Any
    mesh: Mesh

    def __call__(self, carry: Carry, given: Any, key: jax.Array) -> tuple[Carry, dict[str, jax.Array]]:
        carry, scalars = self.step(carry, given._replace(data=_SharedRows(given.data, self.mesh)), key)
        return _placed(carry, self.mesh), scalars


@dataclass(frozen=True, eq=False)
class _SharedRows:
    """Rows that are drawn by the devices they are for."""

    data: Any
    mesh: Mesh

    def draw(self, size: int, key: jax.Array) -> jax.Array:
        drawn = draw_rows(self.data, size, key)
        return jax.lax.with_sharding_constraint(drawn, NamedSharding(self.mesh, SHARES))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _SharedSolver:
    """A solver of the conjugate, run by each device for its rows."""

    solver: RelativeConjugate
    mesh: Mesh = field(metadata={"static": True})

    def solve(self, potential: Potential, targets: ArrayLike, start: ArrayLike) -> ConjugateSolution:
        # What a loop carries may come from all devices or from one: the check would want that said in the solver.
        specs = {"in_specs": (COPIES, COPIES, SHARES, SHARES), "out_specs": SHARES}
        solve = jax.shard_map(type(self.solver).solve, mesh=self.mesh, check_vma=False, **specs)
        return solve(self.solver, potential, targets, start)

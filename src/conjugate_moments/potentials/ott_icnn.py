"""The input convex network of ott-jax behind the contract of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
from jax import Array

from conjugate_moments.potentials.base import Potential


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class OttPotential(Potential):
    """`ott.neural.networks.icnn.ICNN` as a convex potential (Cuturi et al. 2022; Vesseron & Cuturi 2024).

    Convex for every value of its leaves, but strongly convex only while the diagonal of its quadratic part is
    positive, as it is at the start: ∇w* may cease to exist at some points, which the solvers flag as not converged.

    Args:
      params: the network's parameters.
      module: the network; static. It must have positive weights and a convex increasing activation; the second
        cannot be checked.

    Raises:
      ValueError: if the module does not keep its weights positive.
    """

    params: Any
    module: Any = field(metadata={"static": True})

    def __post_init__(self) -> None:
        """Refuse a network that need not be convex."""
        if not self.module.pos_weights:
            raise ValueError("module: found an ICNN with pos_weights=False, which is not convex; use pos_weights=True")

    @classmethod
    def initial(cls, dim: int, *, widths: Sequence[int] = (64, 64), rank: int = 1, key: Array) -> OttPotential:
        """A network near ½‖y‖², with squareplus units, which are smooth, and weights kept positive by softplus.

        Args:
          dim: d.
          widths: of the hidden layers.
          rank: of each unit's quadratic form.
          key: of the initial parameters.

        Raises:
          ValueError: if `dim` or a width is not positive.
        """
        if dim < 1:
            raise ValueError(f"dim: expected a positive integer, found {dim}")
        if not len(widths) or min(widths) < 1:
            raise ValueError(f"widths: expected one or more positive integers, found {list(widths)}")
        from ott.neural.networks.icnn import ICNN  # takes seconds to import

        module = ICNN(
            dim_data=dim,
            dim_hidden=tuple(widths),
            ranks=rank,
            pos_weights=True,
            act_fn=jax.nn.squareplus,
            rectifier_fn=jax.nn.softplus,
        )
        return cls(module.init(key, jax.numpy.zeros(dim))["params"], module)

    @property
    def dim(self) -> int:
        """d."""
        return self.module.dim_data

    def value(self, x: Array) -> Array:
        """w at one point `[d]`."""
        return self.module.apply({"params": self.params}, x)

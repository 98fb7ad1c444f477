"""Trainings that are advanced by hand: to look at a fit on its way, or to time its steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from conjugate_moments._matrices import symmetric_power
from conjugate_moments.fits import w2dual
from conjugate_moments.fits._check import check_samples, mean_and_cov
from conjugate_moments.fits._training import _advance
from conjugate_moments.fits.samples import _start, single
from conjugate_moments.potentials.base import Potential
from conjugate_moments.potentials.ott_icnn import OttPotential
from conjugate_moments.settings import PeerSettings, TrainingSettings


class Stepwise:
    """A training between two of its steps; all its steps are those of the fit, bit for bit.

    Nothing is checked on the way: a training that diverges goes on, with a network that says so.
    """

    def __init__(
        self,
        step: Any,
        carry: Any,
        given: Any,
        steps: int,
        network: Callable[[Any], Potential],
        *,
        key: jax.Array,
    ) -> None:
        shapes = jax.eval_shape(step, carry, given, key)[1]
        trace = {name: jnp.zeros(steps, shape.dtype) for name, shape in shapes.items()}
        self._step, self._given, self._key, self._network = step, given, key, network
        self._state = carry, trace
        self.steps, self.done = steps, 0

    @classmethod
    def cmfgen(cls, data: ArrayLike, *, key: jax.Array, settings: TrainingSettings) -> Self:
        """That of `fit_samples` with the same arguments; raises as it does."""
        start = _start("cmfgen", check_samples("data", data), None, settings, jax.random.fold_in(key, 0))
        rest = start.given, settings.steps, lambda carry: carry.network
        return cls(start.step, start.carry, *rest, key=jax.random.fold_in(key, 1))

    @classmethod
    def w2dual(cls, data: ArrayLike, source: ArrayLike, *, key: jax.Array, settings: PeerSettings) -> Self:
        """That of `fit_w2dual` with the same arguments; raises as it does."""
        array, drawn = check_samples("data", data), check_samples("source", source)
        (mean, cov), dim = mean_and_cov(array), array.shape[1]
        given = w2dual._Given(single(array), single(drawn), single(mean), single(symmetric_power(cov, 1 / 2)))
        step = w2dual._Step(w2dual._solver(dim, settings), settings.batch)
        network = w2dual._network(dim, settings.widths)
        start = step.start(given, key=jax.random.fold_in(key, 0))
        rest = given, settings.steps, lambda carry: OttPotential(carry[0].params, network)
        return cls(step, start, *rest, key=jax.random.fold_in(key, 1))

    def advance(self, steps: int) -> None:
        """Run so many more steps, to the end of their work. The first call compiles: with 0 it does nothing else.

        Raises:
          ValueError: if the training has fewer steps left.
        """
        until = self.done + steps
        if not self.done <= until <= self.steps:
            raise ValueError(f"steps: found {steps}, allowed: 0 to {self.steps - self.done}, those that are left")
        state = _advance(self._step, *self._state, self._given, self.done, until, self._key)
        self._state, self.done = jax.block_until_ready(state), until

    @property
    def network(self) -> Potential:
        """The potential after the steps done, as a copy: the next steps take its memory over."""
        return jax.tree.map(np.array, self._network(self._state[0]))

    @property
    def trace(self) -> dict[str, np.ndarray]:
        """One array `[steps done]` per scalar."""
        return {name: np.array(values)[: self.done] for name, values in self._state[1].items()}

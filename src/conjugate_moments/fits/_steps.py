"""What training steps share: chains that follow the potential, their images, and a move of the optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from conjugate_moments._matrices import times
from conjugate_moments.conjugates.base import ConjugateSolution, discrete_start
from conjugate_moments.conjugates.relative import RelativeConjugate
from conjugate_moments.conjugates.selection import conjugate_solver
from conjugate_moments.potentials.base import gradients, values
from conjugate_moments.potentials.icnn import InputConvexNetwork
from conjugate_moments.potentials.image_network import ImageNetwork
from conjugate_moments.potentials.quadratic_maxima import QuadraticMaxima
from conjugate_moments.samplers._target import Target
from conjugate_moments.samplers.mala import TARGET_ACCEPTANCE, MalaState, initial_state, mala_step, refresh
from conjugate_moments.settings import QuadraticsSettings, TrainingSettings

CANDIDATES = 512  # points that a conjugate may start from, which bounds their product with a batch
GAIN = 0.05  # of the step size of the chains towards its acceptance, at every move

Network = InputConvexNetwork | ImageNetwork | QuadraticMaxima
Loss = Callable[[Any], jax.Array]  # of a network


class ClosedForm(NamedTuple):
    """The factorisation of the data's Gaussian, as arrays.

    Args:
      mean: of the data, `[d]`.
      source_mean: of the source measure, `[d]`.
      root: of its covariance, symmetric, `[d, d]` or a diagonal `[d]`.
      map: matrix of the affine map from the source to the data, symmetric, `[d, d]` or a diagonal `[d]`.
    """

    mean: jax.Array
    source_mean: jax.Array
    root: jax.Array
    map: jax.Array

    def image(self, x: jax.Array) -> jax.Array:
        """Of points of the source `[n, d]`, `[n, d]`."""
        return self.mean + times(x - self.source_mean, self.map)


class Carry(NamedTuple):
    """What a training step hands to the next: `chains` and `images` are None where a method has none."""

    network: Network
    optimiser: Any
    chains: Any
    images: Any


def optimiser(settings: TrainingSettings | QuadraticsSettings) -> optax.GradientTransformation:
    """Adam at a rate that decays to 0 along a cosine."""
    schedule = optax.cosine_decay_schedule(settings.learning_rate, settings.steps)
    # Of many parts each sees few points of a batch: what their gradients are like takes longer to know.
    b2 = 0.99 if isinstance(settings, QuadraticsSettings) else 0.9
    # Gradients are as large as w, σ^{4/3} at standard deviation σ: Adam's own eps would stop small ones.
    return optax.adam(schedule, b1=0.5, b2=b2, eps=1e-20)


def descend(
    settings: TrainingSettings | QuadraticsSettings, carry: Carry, loss: Loss
) -> tuple[Network, Any, jax.Array]:
    """The network after one step down the loss, the state of the optimiser, and the loss before."""
    value, slope = jax.value_and_grad(loss)(carry.network)
    moves, state = optimiser(settings).update(slope, carry.optimiser)  # pyright: ignore[reportArgumentType]
    return optax.apply_updates(carry.network, moves), state, value  # pyright: ignore


def danskin(up: jax.Array, down: jax.Array, used: jax.Array) -> Loss:
    """The loss that lowers the potential at `up` and raises it at the `used` rows of `down`, `[n, d]` and fixed."""
    share = used / jnp.maximum(jnp.sum(used), 1)
    # A row that failed may lie anywhere: its place is taken by one that cannot do harm, with no weight.
    down = jnp.where(used[:, None], down, up)
    return lambda network: jnp.mean(values(network, up)) - jnp.sum(share * values(network, down))


def follow(
    network: Target,
    chains: MalaState,
    moves: int,
    *,
    key: jax.Array,
    root: jax.Array,
    target: float = TARGET_ACCEPTANCE,
    leaps: int = 1,
) -> MalaState:
    """Chains on the Gibbs measure of the network as it is now, after some moves."""
    chains = refresh(network, chains)
    for move in range(moves):
        now = jax.random.fold_in(key, move)
        chains, _ = mala_step(network, chains, key=now, gain=GAIN, target=target, root=root, leaps=leaps)
    return chains


def images_at(
    carry: Carry, x: jax.Array, solver: RelativeConjugate, gaussian: ClosedForm
) -> tuple[ConjugateSolution, jax.Array]:
    """∇w* at points `[n, d]`, and the images to start from next time: old ones where a row was lost."""
    start = discrete_start(carry.network, x, carry.images[:CANDIDATES], gaussian.image(x))
    found = solver.solve(carry.network, x, start)
    return found, jnp.where(jnp.isfinite(found.residual)[:, None], found.point, carry.images)


def traced(loss: jax.Array, found: ConjugateSolution, chains: MalaState | None = None) -> dict[str, jax.Array]:
    """Scalars of one step, for the trace."""
    scalars = {
        "loss": loss,
        "unconverged": jnp.mean(~found.converged),
        "conjugate_steps": jnp.mean(found.steps.astype(jnp.float32)),
    }
    return scalars if chains is None else {**scalars, "acceptance": chains.acceptance}


def solver_for(network: Network, settings: TrainingSettings) -> RelativeConjugate:
    """The conjugate solver of a training, its tolerance in standard deviations of the source."""
    solver = conjugate_solver(network.dim, tolerance=settings.tolerance, max_steps=settings.conjugate_steps)
    return RelativeConjugate.of_spread(solver, network.frame.spread)


def started(network: Network, settings: TrainingSettings, y: jax.Array) -> Carry:
    """Where a training with chains on P_w starts, from a batch of ρ `[n, d]`.

    ∇w sends them to P_w as well as w does so far: chains start there, with their images known.
    """
    state = optimiser(settings).init(network)  # pyright: ignore[reportArgumentType]
    return Carry(network, state, initial_state(network, gradients(network, y), step=0.5), y)

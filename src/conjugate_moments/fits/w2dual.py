"""OTT's `W2NeuralDual`: the Monge map by another implementation (Makkuva et al. 2020; Amos 2023; Cuturi et al. 2022).

A convex f on the source and a network g for ∇f* descend E_source f(x) + E_ρ f*(y) and ‖∇f*(y) − g(y)‖², with ∇f*(y)
found by L-BFGS from g(y). ∇f sends the source to ρ. Networks, losses, optimisation step and conjugate are OTT's. Its
loop is not: it would leave the device at every step and keep few of the losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from conjugate_moments._matrices import symmetric_power
from conjugate_moments._ott import importing_ott
from conjugate_moments.fits._training import train
from conjugate_moments.fits.kinds import ForwardFit, MongeFit
from conjugate_moments.fits.result import ANCHORS
from conjugate_moments.fits.samples import check_samples, draw_rows, fingerprint, mean_and_cov, single
from conjugate_moments.potentials.ott_icnn import OttPotential
from conjugate_moments.settings import PeerSettings

Array = NDArray[np.floating]

# Where the tutorial is left, see `fit_w2dual`. Numbers are for the two-mode product in d = 2, one core, batch 512.
SMOOTHING = 0.05  # of the units, as in `TrainingSettings`; at the kinks of relu L-BFGS backtracks to its limit
SPREAD = 0.2  # standard deviation of the weights at the start; 0.01 left ∇f affine for 600 steps of 1e-3
GRADIENT, ITERATIONS = 1e-2, 5  # of the conjugate in a step; 1e-3 in 10 gave the same map for twice the time
FLOOR = 1e-2  # share of the learning rate that is left at the end


@dataclass(frozen=True, eq=False)
class W2DualFit(ForwardFit, MongeFit):
    """ρ as the image of a source measure under ∇f, the Monge map, learned by OTT. Here ∇f* is what is solved for."""

    method = "w2dual"
    settings_type: ClassVar = PeerSettings

    @staticmethod
    def blank(settings: Any, arrays: Mapping[str, NDArray]) -> OttPotential:
        """A network with the structure, but not the numbers, of the one of which these are the saved arrays."""
        dim = len(arrays["mean"])
        network = _network(dim, settings.widths)
        return OttPotential(network.init(jax.random.key(0), jnp.zeros(dim))["params"], network)

    @cached_property
    def _anchors(self) -> jax.Array:
        # Of the source: data have the moments of their Gaussian.
        return jnp.asarray(self.anchors if self.source is None else self.source[:ANCHORS], jnp.float32)


class _Given(NamedTuple):
    """What every step is given: data `[n, d]`, and the source as draws `[m, d]` or as a Gaussian (mean and root)."""

    data: jax.Array
    source: jax.Array | None
    mean: jax.Array
    root: jax.Array


@dataclass(frozen=True)
class _Step:
    """OTT's own step for both networks, on fresh batches; equal, and so compiled once, for all fits of one kind."""

    solver: Any
    size: int

    def start(self, given: _Given, *, key: jax.Array) -> tuple:
        """Networks and optimisers before the first step: ∇f near the Gaussian map, ∇f* near the identity."""
        key_f, key_g = jax.random.split(key)
        origin = jnp.zeros(given.data.shape[1])
        # The data's Gaussian has the moments of the data: from there the map is the identity.
        samples = given.data if given.source is None else given.source, given.data
        f, g = self.solver.neural_f, self.solver.neural_g
        # Not W2NeuralDual's own network: it would work out the Gaussian map whenever it is traced.
        near = f.clone(init_fn=_normal(SPREAD), gaussian_map_samples=samples)
        f_state = _restart(self.solver.state_f, near.init(key_f, origin)["params"])
        g_state = _restart(self.solver.state_g, g.init(key_g, origin)["params"])
        # A copy: steps as arrays, and no leaf shared, since the loop gives its memory away.
        return jax.tree.map(lambda leaf: jnp.array(np.asarray(leaf)), (f_state, g_state))

    def batch(self, given: _Given, key: jax.Array) -> dict[str, jax.Array]:
        """Draws of the source and of the data, under OTT's names."""
        key_data, key_source = jax.random.split(key)
        y = draw_rows(given.data, self.size, key_data)
        if given.source is not None:
            return {"source": draw_rows(given.source, self.size, key_source), "target": y}
        return {"source": given.mean + jax.random.normal(key_source, y.shape) @ given.root, "target": y}

    def __call__(self, carry: tuple, given: _Given, key: jax.Array) -> tuple[tuple, dict[str, jax.Array]]:
        f, g, _, loss, amortisation, distance = self.solver.train_step_parallel(*carry, self.batch(given, key))
        return (f, g), {"loss": loss, "amortisation": amortisation, "w2_squared": distance}


def fit_w2dual(
    data: ArrayLike,
    *,
    key: jax.Array,
    settings: PeerSettings | None = None,
    source: ArrayLike | None = None,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> W2DualFit:
    """Fit the Monge map from a source measure to a law known by samples, by OTT's `W2NeuralDual`.

    From OTT's tutorial "Neural Dual Solver": f is its `ICNN` with `pos_weights=True`, started at the Gaussian map; g is
    its `PotentialMLP` for the gradient of f*; Adam, with b1 = b2 = 0.5 for f, 0.9 and 0.999 for g, on a cosine down to
    a hundredth of the rate. From the defaults of `W2NeuralDual`: parallel updates, amortisation by regression, L-BFGS.
    The tutorial is left where it failed or could not be afforded on a CPU:

    - Four layers of 64, LeCun weights: rectified, they add up, and ∇f starts at an L²-UVP of 2e5 %. The default here is
      one layer, from the normal law that the docstring of `ICNN` names.
    - relu, conjugates to 1e-5 in 20 iterations: 3.4 s a step from that start. Here units are smooth, conjugates coarse.
    - 5,001 steps at 1e-3 on 2,048 draws: here as many as the settings say, by default fewer, faster and smaller.

    Args:
      data: independent draws of ρ, `[n, d]`, n at least ten times d.
      key: of the whole fit.
      settings: of the training; None for the defaults.
      source: draws of the source measure, `[m, d]`; None for N(mean, cov) of the data.
      progress: whether to show a progress bar.
      checkpoint: file that a fit which was interrupted is resumed from, bit for bit; None for none.

    Raises:
      ValueError: for data or a source that are not finite `[n, d]` of one dimension with n at least ten times d, or
        have a singular covariance.
    """
    settings = PeerSettings() if settings is None else settings
    array = check_samples("data", data)
    given_source = None if source is None else check_samples("source", source)
    if given_source is not None and given_source.shape[1] != array.shape[1]:
        raise ValueError(f"source: found shape {list(given_source.shape)}, allowed: [m, {array.shape[1]}]")
    mean, cov = mean_and_cov(array)
    drawn = None if given_source is None else single(given_source)
    given = _Given(single(array), drawn, single(mean), single(symmetric_power(cov, 1 / 2)))
    step = _Step(_solver(array.shape[1], settings), settings.batch)
    (f, _), trace = train(
        step,
        step.start(given, key=jax.random.fold_in(key, 0)),
        given,
        settings.steps,
        key=jax.random.fold_in(key, 1),
        name="w2dual",
        progress=progress,
        checkpoint=checkpoint,
        fingerprint=fingerprint(array, given_source, settings, "w2dual", key),
    )
    network = OttPotential(f.params, _network(array.shape[1], settings.widths))
    anchors = array[:ANCHORS].astype(np.float32)
    return W2DualFit(network, settings, mean, cov, anchors, trace, None if drawn is None else np.asarray(drawn))


def _restart(state: Any, params: Any) -> Any:
    return state.replace(step=0, params=params, opt_state=state.tx.init(params))


@cache
def _solver(dim: int, settings: PeerSettings) -> Any:
    """OTT's `W2NeuralDual`; what its networks start from is replaced."""
    with importing_ott():
        from ott.neural.methods.neuraldual import W2NeuralDual
        from ott.neural.networks.layers.conjugate import FenchelConjugateLBFGS
        from ott.neural.networks.potentials import PotentialMLP
    rate = optax.cosine_decay_schedule(settings.learning_rate, settings.steps, alpha=FLOOR)
    return W2NeuralDual(
        dim,
        _network(dim, settings.widths),
        PotentialMLP(dim_hidden=settings.widths, is_potential=False),
        optax.adam(rate, b1=0.5, b2=0.5),  # pyright: ignore[reportArgumentType]
        optax.adam(rate, b1=0.9, b2=0.999),  # pyright: ignore[reportArgumentType]
        num_train_iters=settings.steps,
        pos_weights=True,
        conjugate_solver=FenchelConjugateLBFGS(gtol=GRADIENT, max_iter=ITERATIONS),
    )


def _network(dim: int, widths: tuple[int, ...]) -> Any:
    """OTT's ICNN, convex for all its parameters."""
    with importing_ott():
        from ott.neural.networks.icnn import ICNN
    ranks = (1,) * (len(widths) + 1) + (dim,)  # the last is that of the Gaussian map
    return ICNN(dim_data=dim, dim_hidden=widths, ranks=ranks, pos_weights=True, act_fn=_unit)


def _normal(spread: float) -> Any:
    from flax.linen.initializers import normal

    return normal(spread)


def _unit(s: jax.Array) -> jax.Array:
    return jax.nn.squareplus(s, 4 * SMOOTHING**2)

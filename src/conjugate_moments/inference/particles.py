"""Draws of y = ∇φ(x) given a noisy linear part of y, for a smooth maximum of quadratics φ: by tempered particles.

Where the share of the k-th quadratic is 1, ∇φ is affine, and where x is Gaussian its posterior is so there too: a law
of y in K parts has a posterior in as many, which no chain crosses. Particles are drawn from the Gaussian first, many of
them, and weighted and resampled as the likelihood grows (sequential Monte Carlo: Del Moral, Doucet & Jasra 2006).
Between two temperatures each is given a part k with the probability of its share, and moves in the frame of that part's
Gaussian posterior, with the share in the density: a Gibbs sampler of (x, k). Its proposals keep that Gaussian (Neal
1999; Cotter et al. 2013), so that no gradient is needed: within a part all are accepted.

A source that is no Gaussian is bridged to in the end, from the Gaussian that is nearest to it, in the same way: there
every move asks for its energy, of P_w a conjugate. Populations that know nothing of each other play the role of chains.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from conjugate_moments.conjugates.base import select
from conjugate_moments.inference._completions import (
    PROJECTIONS,
    Completions,
    Observe,
    check_chains,
    check_entries,
    check_noise,
    check_observed,
    largest_r_hat,
    trusted,
)
from conjugate_moments.potentials.quadratic_maxima import QuadraticMaxima
from conjugate_moments.samplers._target import SolvedTarget
from conjugate_moments.samplers.diagnostics import FEWEST_DRAWS

DRAWN = 4096  # of each population from the Gaussian, of which the first particles are resampled
SURPLUS = 4  # times the particles under the Gaussian, where they are cheap
ESS_SHARE = 0.5  # of the particles, that each change of temperature leaves
MOST_ROUNDS = 200  # changes of temperature: digits take 4 to 22
SMALLEST_CHANGE = 1e-7  # of a temperature, on its way from 0 to 1
HALVINGS = 30  # of the logarithm of a change, when it is sought
MOVES = 10  # of every particle at each temperature
BRIDGING = 2  # times that many, each with one energy of the source, at each temperature of the bridge
FIRST_STEP, LARGEST_STEP = 0.5, 0.99  # of moves: 0 stays, 1 draws from the part's Gaussian
TARGET_ACCEPTANCE = 0.3
GAIN = 0.5  # of the logarithm of the step, on acceptance
OUTSIDE = 1e9  # energy of the source where it is not known


class Gaussian(NamedTuple):
    """A law of x, N(mean, root rootᵀ): `[d]`, and `[d, d]` or its diagonal `[d]`."""

    mean: ArrayLike
    root: ArrayLike


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Model:
    """What images share: the map, the source, and the posterior within each part k for white coordinates of x.

    Args:
      potential: φ.
      prior: energy of the source; None where it is the Gaussian.
      mean: of the Gaussian, `[d]`.
      root: of its covariance, `[d, d]`.
      noise: σ.
      axes: orthonormal columns, `[K, d, d]`, in whose coordinates z the posterior within a part is diagonal.
      sharpness: λ, `[K, d]`: precisions of z are 1 + λ.
      pull: `[K, d, k]`, with which a residual of the observations shifts z.
      offset: observations of the part's map at the mean of x, `[K, k]`.
      observe: M.
    """

    potential: QuadraticMaxima
    prior: SolvedTarget | None
    mean: Array
    root: Array
    noise: Array
    axes: Array
    sharpness: Array
    pull: Array
    offset: Array
    observe: Observe = field(metadata={"static": True})


class _Particles(NamedTuple):
    """Populations of particles: white x `[p, m, d]`, y, the misfit to the observations `[p, m]`, and of the source.

    `excess` `[p, m]` is the energy of the source over that of the Gaussian, `guess` `[p, m, d]` what is solved for it.
    """

    white: Array
    point: Array
    misfit: Array
    excess: Array
    guess: Array


class _Course(NamedTuple):
    """How far each population is on its way, `[p]`, with its step, and what the rounds so far have told.

    Args:
      level: from 0 to 1.
      log_step: of the moves.
      acceptance: of the last round.
      unsolved: energies of the source that were not known, so far, of all particles.
      asked: how many were asked for.
      rounds: so far.
    """

    level: Array
    log_step: Array
    acceptance: Array
    unsolved: Array
    asked: Array
    rounds: Array


def complete_in_parts(
    potential: QuadraticMaxima,
    source: Gaussian,
    prior: SolvedTarget | None,
    observe: Observe,
    observed: ArrayLike,
    *,
    noise: float,
    key: Array,
    populations: int,
    particles: int,
) -> Completions:
    """Draw y = ∇φ(x) from its posterior given `observed`, for n images, one after the other.

    Forms K matrices `[d, d]`, and as many as there are particles of an image: meant for d up to about 1,000.

    Args:
      potential: φ.
      source: the law of x, or where there is a `prior` a Gaussian close to it, from which particles are brought over.
      prior: energy of the source; None where it is the Gaussian itself.
      observe: M, of points `[r, d]` to observations `[r, k]`, row by row; linear, and traced by JAX.
      observed: b, `[n, k]`.
      noise: σ > 0, in the unit of the observations.
      key: of this call.
      populations: for each image, at least 4, independent of each other.
      particles: of each population, at least 4; all of them are draws.

    Raises:
      ValueError: naming the argument, for shapes that do not match or numbers out of range.
    """
    check_chains("populations", populations)
    if particles < FEWEST_DRAWS:
        raise ValueError(f"particles: found {particles}, allowed: at least {FEWEST_DRAWS}")
    check_noise(noise)
    mean, root = _check_source(source, potential)
    observed = check_observed(observe, observed, potential.dim, mean.dtype)
    key_first, key_run, key_summary = jax.random.split(key, 3)
    model = _model(potential, prior, mean, root, jnp.asarray(noise, mean.dtype), observe)
    white = jax.random.normal(key_first, (populations, max(DRAWN, SURPLUS * particles), potential.dim), mean.dtype)
    first = jax.lax.map(lambda rows: _mapped(model, rows)[0], white)
    found = [
        _anneal(model, white, first, row, jax.random.fold_in(key_run, place), particles)
        for place, row in enumerate(observed)
    ]
    states, courses = zip(*found, strict=True)
    state: _Particles = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    sources = model.mean + state.white @ model.root.T
    directions = jax.random.normal(key_summary, (potential.dim, PROJECTIONS), mean.dtype)
    energy = jnp.sum(state.white**2, axis=-1) / 2 + state.misfit + state.excess
    summaries = jnp.concatenate([energy[..., None], sources @ directions, state.point @ directions], axis=-1)
    r_hat = largest_r_hat(jnp.moveaxis(summaries, 2, 0))
    solved = np.array([1 - float(course.unsolved / course.asked) for course in courses])
    arrived = np.array([bool(jnp.all(course.level >= 1)) for course in courses])
    return Completions(
        points=_in_rows(state.point),
        sources=_in_rows(sources),
        acceptance=float(np.mean([course.acceptance.mean() for course in courses])),
        r_hat=r_hat,
        unconverged=float(1 - solved.mean()),
        converged=trusted(r_hat, solved) & arrived,
    )


@partial(jax.jit, static_argnames="observe")
def _model(
    potential: QuadraticMaxima, prior: SolvedTarget | None, mean: Array, root: Array, noise: Array, observe: Observe
) -> _Model:
    matrices, offsets = potential.affine_maps()
    # Rᵀ A Mᵀ/σ: observations of y = A(mean + R z) + c move by its transpose.
    seen = jax.vmap(lambda matrix: observe(root.T @ matrix))(matrices) / noise
    sharpness, axes = jnp.linalg.eigh(seen @ jnp.swapaxes(seen, 1, 2))
    pull = jnp.swapaxes(axes, 1, 2) @ seen
    offset = observe(offsets + matrices @ mean)
    return _Model(potential, prior, mean, root, noise, axes, jnp.maximum(sharpness, 0), pull, offset, observe)


def _mapped(model: _Model, white: Array) -> tuple[Array, Array]:
    """y and the logarithms of shares at white x `[r, d]`: `[r, d]` and `[r, K]`."""
    return jax.vmap(model.potential.gradient_and_log_shares)(model.mean + white @ model.root.T)


def _misfits(model: _Model, points: Array, observed: Array) -> Array:
    """‖M y − b‖²/2σ² of points `[..., d]`."""
    seen = model.observe(points.reshape(-1, points.shape[-1])).reshape(*points.shape[:-1], -1)
    return jnp.sum(((seen - observed) / model.noise) ** 2, axis=-1) / 2


@partial(jax.jit, static_argnames="particles")
def _anneal(
    model: _Model, white: Array, first: Array, observed: Array, key: Array, particles: int
) -> tuple[_Particles, _Course]:
    """Populations of the posterior given `observed` `[k]`, from draws of the Gaussian and their images `[p, m, d]`."""
    misfit = _misfits(model, first, observed)
    key_first, key_temper, key_bridge = jax.random.split(key, 3)
    nothing, zero = jnp.zeros(len(white), white.dtype), jnp.zeros((), white.dtype)
    many = SURPLUS * particles
    change = _change(misfit, nothing, many)
    state = _Particles(white, first, misfit, jnp.zeros_like(misfit), white)
    state = _resampled(state, change[:, None] * misfit, key_first, many)
    course = _Course(change, nothing + jnp.log(FIRST_STEP), nothing, zero, zero, jnp.zeros((), int))

    def temper(state: _Particles, course: _Course, key: Array) -> tuple[_Particles, _Course]:
        state, log_step, acceptance = _moved(model, state, observed, course.level, course.log_step, key)
        return state, course._replace(log_step=log_step, acceptance=acceptance)

    state, course = _rounds(temper, "misfit", state, course, key_temper)
    if model.prior is None:
        # They are in the order of their parents, so that those that are kept come from all of them.
        return jax.tree.map(lambda leaf: leaf[:, ::SURPLUS], state), course._replace(asked=course.asked + 1)
    arrived = course.level >= 1
    state, course = _valued(model, state, course)
    change = _change(state.excess, nothing, particles)
    key_first, key_bridge = jax.random.split(key_bridge)
    state = _resampled(state, change[:, None] * state.excess, key_first, particles)
    bridge = partial(_bridged, model, observed)
    state, course = _rounds(bridge, "excess", state, course._replace(level=change), key_bridge)
    return state, course._replace(level=jnp.where(arrived, course.level, 0))


def _rounds(move: Any, statistic: str, state: _Particles, course: _Course, key: Array) -> tuple[_Particles, _Course]:
    """Rounds of a change of temperature and of moves, one at least, until all are at 1 or the rounds too many."""

    def going(carry: tuple[_Particles, _Course]) -> Array:
        level, rounds = carry[1].level, carry[1].rounds
        return (jnp.any(level < 1) | (rounds == 0)) & (rounds < MOST_ROUNDS)

    def turn(carry: tuple[_Particles, _Course]) -> tuple[_Particles, _Course]:
        state, course = carry
        key_weights, key_moves = jax.random.split(jax.random.fold_in(key, course.rounds))
        energies = getattr(state, statistic)
        count = energies.shape[1]
        change = _change(energies, course.level, ESS_SHARE * count)
        state = _resampled(state, change[:, None] * energies, key_weights, count)
        level = jnp.where(change >= 1 - course.level, 1, course.level + change)
        return move(state, course._replace(level=level, rounds=course.rounds + 1), key_moves)

    return jax.lax.while_loop(going, turn, (state, course._replace(rounds=jnp.zeros((), int))))


def _change(energies: Array, level: Array, wanted: float) -> Array:
    """The largest change of the temperature, up to 1, that leaves so many effective particles of `[p, m]`: `[p]`."""
    most = 1 - level

    def enough(change: Array) -> Array:
        weights = jax.nn.softmax(-change[:, None] * energies, axis=1)
        return 1 / jnp.sum(weights**2, axis=1) >= wanted

    def halve(ends: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        middle = (ends[0] + ends[1]) / 2
        within = enough(jnp.exp(middle))
        return (jnp.where(within, middle, ends[0]), jnp.where(within, ends[1], middle)), None

    least = jnp.full_like(level, jnp.log(SMALLEST_CHANGE))
    found = jax.lax.scan(halve, (least, jnp.log(jnp.maximum(most, SMALLEST_CHANGE))), None, length=HALVINGS)[0][0]
    return jnp.where(enough(most), most, jnp.minimum(jnp.exp(found), most))


def _resampled(state: _Particles, energies: Array, key: Array, count: int) -> _Particles:
    """`count` particles of each population with weights e^{-energy}, systematically, in the order of their parents."""
    shares = jnp.cumsum(jax.nn.softmax(-energies, axis=1), axis=1)
    places = (jnp.arange(count) + jax.random.uniform(key, (len(energies), 1), energies.dtype)) / count
    parents = jax.vmap(jnp.searchsorted)(shares / shares[:, -1:], places)
    parents = jnp.minimum(parents, energies.shape[1] - 1)
    return jax.tree.map(lambda leaf: jax.vmap(lambda rows, chosen: rows[chosen])(leaf, parents), state)


def _moved(
    model: _Model, state: _Particles, observed: Array, level: Array, log_step: Array, key: Array
) -> tuple[_Particles, Array, Array]:
    """`MOVES` of every particle at a temperature, each in the frame of its part; with the step and the acceptance."""
    key_part, key_moves = jax.random.split(key)
    shape, dim = state.misfit.shape, model.potential.dim

    def mapped(white: Array) -> tuple[Array, Array]:
        point, log_shares = _mapped(model, white.reshape(-1, dim))
        return point.reshape(white.shape), log_shares.reshape(*shape, -1)

    log_shares = mapped(state.white)[1]
    part = jax.random.categorical(key_part, log_shares)
    axes, sharpness = model.axes[part], model.sharpness[part]
    residual = (observed - model.offset) / model.noise
    pull = jnp.einsum("kei,ki->ke", model.pull, residual)[part]
    heat = level[:, None, None]
    centre, deviation = heat * pull / (1 + heat * sharpness), jax.lax.rsqrt(1 + heat * sharpness)

    def share(log_shares: Array) -> Array:
        return jnp.take_along_axis(log_shares, part[..., None], axis=-1)[..., 0]

    def against(along: Array, misfit: Array, log_share: Array) -> Array:
        """Log of the density of (x, k) over the Gaussian posterior of the part, up to a constant."""
        affine = jnp.sum(along * (sharpness * along / 2 - pull), axis=-1)
        return log_share - level[:, None] * (misfit - affine)

    def move(carry: tuple, key: Array) -> tuple[tuple, Array]:
        rows, log_step = carry
        key_noise, key_accept = jax.random.split(key)
        step = jnp.exp(log_step)[:, None, None]
        fresh = deviation * jax.random.normal(key_noise, rows[0].shape, rows[0].dtype)
        along = centre + jnp.sqrt(1 - step**2) * (rows[0] - centre) + step * fresh
        white = jnp.einsum("pmde,pme->pmd", axes, along)
        point, log_shares = mapped(white)
        misfit, log_share = _misfits(model, point, observed), share(log_shares)
        log_ratio = against(along, misfit, log_share) - against(rows[0], rows[3], rows[4])
        accepted = jnp.log(jax.random.uniform(key_accept, shape, log_ratio.dtype)) < log_ratio
        rows = jax.tree.map(partial(_select_each, accepted), (along, white, point, misfit, log_share), rows)
        probability = jnp.mean(jnp.exp(jnp.minimum(log_ratio, 0)), axis=1)
        log_step = jnp.minimum(log_step + GAIN * (probability - TARGET_ACCEPTANCE), jnp.log(LARGEST_STEP))
        return (rows, log_step), probability

    along = jnp.einsum("pmde,pmd->pme", axes, state.white)
    rows = along, state.white, state.point, state.misfit, share(log_shares)
    (rows, log_step), acceptance = jax.lax.scan(move, (rows, log_step), jax.random.split(key_moves, MOVES))
    return state._replace(white=rows[1], point=rows[2], misfit=rows[3]), log_step, acceptance.mean(axis=0)


def _select_each(mask: Array, new: Array, old: Array) -> Array:
    """Particles of `new` where `mask` `[p, m]`, else of `old`, both `[p, m, ...]`."""
    flat = (leaf.reshape(-1, *leaf.shape[2:]) for leaf in (new, old))
    return select(mask.ravel(), *flat).reshape(new.shape)


def _valued(model: _Model, state: _Particles, course: _Course) -> tuple[_Particles, _Course]:
    """The particles with the energy of their source, solved from the guesses that they hold."""
    assert model.prior is not None
    dim = model.potential.dim
    white, guess = state.white.reshape(-1, dim), state.guess.reshape(-1, dim)
    energy, found = model.prior.from_guess(model.mean + white @ model.root.T, guess)
    known = jnp.isfinite(energy)
    excess = jnp.where(known, energy - jnp.sum(white**2, axis=1) / 2, OUTSIDE)
    state = state._replace(
        excess=excess.reshape(state.excess.shape), guess=select(known, found, guess).reshape(state.guess.shape)
    )
    return state, course._replace(unsolved=course.unsolved + jnp.sum(~known), asked=course.asked + known.size)


def _bridged(
    model: _Model, observed: Array, state: _Particles, course: _Course, key: Array
) -> tuple[_Particles, _Course]:
    """Moves under the Gaussian, that are accepted or not by what the source adds to its energy (Liu 2001)."""
    full = jnp.ones_like(course.level)

    def move(carry: tuple[_Particles, _Course], key: Array) -> tuple[tuple[_Particles, _Course], Array]:
        state, course = carry
        key_moves, key_accept = jax.random.split(key)
        ahead, log_step, _ = _moved(model, state, observed, full, course.log_step, key_moves)
        ahead, course = _valued(model, ahead, course._replace(log_step=log_step))
        log_ratio = course.level[:, None] * (state.excess - ahead.excess)
        accepted = jnp.log(jax.random.uniform(key_accept, log_ratio.shape, log_ratio.dtype)) < log_ratio
        state = jax.tree.map(partial(_select_each, accepted), ahead, state)
        return (state, course), jnp.mean(jnp.exp(jnp.minimum(log_ratio, 0)), axis=1)

    (state, course), acceptance = jax.lax.scan(move, (state, course), jax.random.split(key, BRIDGING))
    return state, course._replace(acceptance=acceptance.mean(axis=0))


def _in_rows(array: Array) -> np.ndarray:
    """Particles `[n, p, m, d]` as draws `[p · m, n, d]`."""
    return np.moveaxis(np.asarray(array).reshape(len(array), -1, array.shape[-1]), 0, 1)


def _check_source(source: Gaussian, potential: QuadraticMaxima) -> tuple[Array, Array]:
    """Mean `[d]` and root `[d, d]`, finite, in the dtype of the potential."""
    dim, dtype = potential.dim, potential.slopes.dtype
    mean, root = (jnp.asarray(leaf, dtype) for leaf in source)
    if mean.shape != (dim,):
        raise ValueError(f"source.mean: found shape {list(mean.shape)}, allowed: {[dim]}")
    if root.shape not in ((dim,), (dim, dim)):
        raise ValueError(f"source.root: found shape {list(root.shape)}, allowed: {[dim]} or {[dim, dim]}")
    for name, array in (("source.mean", mean), ("source.root", root)):
        check_entries(name, array)
    return mean, jnp.diag(root) if root.ndim == 1 else root

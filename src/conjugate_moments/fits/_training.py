"""The loop that every trained fit shares: one compiled function, a trace, progress, checkpoints."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np

from conjugate_moments._files import write_arrays
from conjugate_moments.fits._devices import beside, placed_as
from conjugate_moments.fits._rows import blocks, of_step
from conjugate_moments.fits.result import FORMAT

CHUNKS = 20  # stretches between two checkpoints; nothing leaves the device within one
FEWEST_ACCEPTED = 0.02  # mean acceptance over a stretch below which chains stand still
MOST_UNCONVERGED = 0.5  # mean share over a stretch beyond which there is nothing left to learn from
# What numpy raises for a checkpoint that is empty, cut off, changed, another archive, or no archive.
UNREADABLE = (EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError, BadZipFile, zlib.error)

Carry = TypeVar("Carry")
Step = Callable[[Carry, Any, jax.Array], tuple[Carry, dict[str, jax.Array]]]


class DivergedError(RuntimeError):
    """A training that went astray, stopped at the end of a stretch.

    Args:
      message: what was seen, and what to change.
      trace: up to there, one array `[steps done]` per scalar.
    """

    def __init__(self, message: str, trace: Mapping[str, np.ndarray]) -> None:
        super().__init__(message)
        self.trace = trace


def train(
    step: Step[Carry],
    carry: Carry,
    data: Any,
    steps: int,
    *,
    key: jax.Array,
    name: str,
    progress: bool = False,
    checkpoint: str | Path | None = None,
    fingerprint: str = "",
) -> tuple[Carry, dict[str, np.ndarray]]:
    """Run `step` for `steps` steps, from a checkpoint of the same fit where there is one.

    Step i gets the key `fold_in(key, i)`, so a resumed fit is that of an uninterrupted one, bit for bit.

    Args:
      step: from carry, data and key to the next carry and scalars to be traced; pure.
      carry: where to start, a pytree of arrays.
      data: passed to every step, a pytree of arrays; with a `Stream` in it, each step is given its part of that.
      steps: their number.
      key: of the whole run.
      name: shown beside the progress bar.
      progress: whether to show one.
      checkpoint: file to resume from and to write after each stretch; removed at the end. None for none.
      fingerprint: of everything that determines the fit; a checkpoint with another one, or of another `FORMAT`, is not
        resumed.

    Returns:
      The last carry, and the trace: one array `[steps]` per scalar.

    Raises:
      DivergedError: at the end of a stretch after which the loss or a leaf of the carry is not finite, in which the
        scalar "undefined" was not 0 or, but for the first, "acceptance" collapsed or "unconverged" is most of 1.
    """
    from tqdm import tqdm

    fingerprint = f"{FORMAT} {fingerprint}"
    stretch = -(-steps // CHUNKS)
    _, _, some = next(blocks(data, 0, 1, stretch, key=key))
    shapes = jax.eval_shape(partial(_run, step), carry, some, 0, key)[1]
    trace = beside(carry, {scalar: jnp.zeros(steps, shape.dtype) for scalar, shape in shapes.items()})
    done = 0
    if checkpoint is not None and (found := _read(Path(checkpoint), (carry, trace), fingerprint)):
        done, (carry, trace) = found[0], placed_as(found[1], (carry, trace))
    with tqdm(total=steps, initial=done, desc=name, disable=not progress, unit="step") as bar:
        while done < steps:
            until = min(steps, done + stretch)
            for first, last, given in blocks(data, done, until, stretch, key=key):
                # Blocks are large: one is read while the steps of another run, and no more.
                jax.block_until_ready(trace)
                carry, trace = _advance(step, carry, trace, given, first, last, key)
            bar.update(until - done)
            # Copies: the loop gives the trace's memory away.
            seen = {scalar: np.array(values)[:until] for scalar, values in trace.items()}
            bar.set_postfix({scalar: f"{values[-1]:.3g}" for scalar, values in seen.items()})
            _check(name, carry, seen, done)
            done = until
            if checkpoint is not None and done < steps:
                _write(Path(checkpoint), done, (carry, trace), fingerprint)
    if checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)
    return carry, {scalar: np.asarray(values) for scalar, values in trace.items()}


def _check(name: str, carry: Any, trace: Mapping[str, np.ndarray], first: int) -> None:
    """Raise if the stretch from step `first` to the end of the trace went astray."""
    done = len(next(iter(trace.values())))
    means = {scalar: float(np.mean(values[first:])) for scalar, values in trace.items()}
    found = remedy = ""
    if means.get("undefined", 0.0):
        found, remedy = "points where the log-density is NaN", "return -inf where the density is 0"
    elif not np.isfinite(means.get("loss", 0.0)):
        found, remedy = "a loss that is not finite", "lower learning_rate, raise smoothing"
    elif not _is_finite(carry):
        found, remedy = "parameters that are not finite", "lower learning_rate, raise smoothing"
    elif first and means.get("acceptance", 1.0) < FEWEST_ACCEPTED:
        found = f"chains that accept {means['acceptance']:.2g} of their moves"
        remedy = "lower learning_rate or slope, raise smoothing or moves"
    elif first and means.get("unconverged", 0.0) > MOST_UNCONVERGED:
        found = f"{means['unconverged']:.2g} of the conjugates not solved"
        remedy = "lower learning_rate, raise smoothing, tolerance or conjugate_steps"
    if found:
        raise DivergedError(f"{name}: found {found} by step {done}, allowed: a fit that converges ({remedy})", trace)


@jax.jit
def _finite(leaves: list[jax.Array]) -> jax.Array:
    return jnp.all(jnp.asarray([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def _is_finite(carry: Any) -> bool:
    leaves = [leaf for leaf in jax.tree.leaves(carry) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return bool(_finite(leaves))


def _run(
    step: Step[Carry], carry: Carry, data: Any, i: int | jax.Array, key: jax.Array
) -> tuple[Carry, dict[str, jax.Array]]:
    return step(carry, of_step(data, i), jax.random.fold_in(key, i))


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def _advance(
    step: Step[Carry],
    carry: Carry,
    trace: Mapping[str, jax.Array],
    data: Any,
    start: int,
    stop: int,
    key: jax.Array,
) -> tuple[Carry, Mapping[str, jax.Array]]:
    def body(i: jax.Array, state: tuple[Carry, Mapping[str, jax.Array]]) -> tuple[Carry, Mapping[str, jax.Array]]:
        carry, trace = state
        carry, scalars = _run(step, carry, data, i, key)
        return carry, {name: values.at[i].set(scalars[name]) for name, values in trace.items()}

    # Bounds that are not static: one compilation for stretches of any length.
    return jax.lax.fori_loop(start, stop, body, (carry, trace))


def _write(path: Path, done: int, state: Any, fingerprint: str) -> None:
    leaves = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    write_arrays(path, {**leaves, "done": np.asarray(done), "fingerprint": np.asarray(fingerprint)})


def _read(path: Path, state: Any, fingerprint: str) -> tuple[int, Any] | None:
    """Steps done and the state after them; None without a checkpoint of this fit, which then starts from step 0."""
    if not path.exists():
        return None
    like, structure = jax.tree.flatten(jax.eval_shape(lambda given: given, state))
    try:
        # Opened here: numpy leaves a file that it cannot read open.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            if str(stored["fingerprint"]) != fingerprint:
                return None
            leaves = [stored[f"leaf{i}"] for i in range(len(like))]
            done = int(stored["done"])
    except UNREADABLE as error:
        return _refused(path, f"a file that cannot be read ({error})")
    if [(leaf.shape, leaf.dtype) for leaf in leaves] != [(leaf.shape, leaf.dtype) for leaf in like]:
        return _refused(path, "arrays of another version of this fit")
    return done, jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in leaves])


def _refused(path: Path, found: str) -> None:
    print(f"checkpoint: found {found} at {path}, allowed: a checkpoint of this fit; it starts from step 0", flush=True)

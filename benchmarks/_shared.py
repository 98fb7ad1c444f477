"""What the benchmarks share: the command line, timing in turn, ratios with their spread, a table with provenance."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np
from numpy.typing import NDArray

from conjugate_moments.config import fingerprint
from conjugate_moments.metrics.records import write_rows
from conjugate_moments.provenance import line, provenance

Scale = TypeVar("Scale")


@dataclass(frozen=True)
class Spread:
    """Median and quartiles; NaN where there is no number to give."""

    median: float
    low: float
    high: float


LONGEST = 30.0  # seconds of rounds after which no further one begins: a peer can take a minute for one call
FEWEST = 3  # rounds, however long they take: quartiles of fewer say nothing
UNKNOWN = Spread(np.nan, np.nan, np.nan)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; {self.format_usage()}")


@dataclass(frozen=True)
class Option:
    """An option of one program, beside those of all.

    Args:
      name: with its dashes.
      kind: from text to value.
      metavar: how the value is shown.
      help: what it does.
      default: the value where it is not given.
    """

    name: str
    kind: Callable[[str], Any]
    metavar: str
    help: str
    default: Any = None


def parse(
    name: str, arguments: Sequence[str] | None, full: Scale, smoke: Scale, *options: Option
) -> tuple[argparse.Namespace, Scale]:
    """The arguments of `name [--smoke] [OPTIONS] OUTPUT.csv`, and the scale they choose; one line for bad ones.

    Args:
      name: of the program.
      arguments: None for those of the command line.
      full: the scale without `--smoke`.
      smoke: the scale with it.
      options: of this program alone.
    """
    shown = [f"[{option.name} {option.metavar}]" for option in options]
    made = _Parser(prog=name, usage=" ".join([name, "[--smoke]", *shown, "OUTPUT.csv"]), allow_abbrev=False)
    made.add_argument("--smoke", action="store_true", help="the smallest scale, to see that the program runs")
    for option in options:
        settings = {"type": option.kind, "metavar": option.metavar, "help": option.help, "default": option.default}
        made.add_argument(option.name, **settings)
    made.add_argument("output", type=_table, metavar="OUTPUT.csv")
    given = made.parse_args(arguments)
    return given, smoke if given.smoke else full


def duration(text: str) -> float:
    """Seconds, for an option."""
    try:
        found = float(text)
    except ValueError:
        found = np.nan
    if not 0 < found < np.inf:
        raise argparse.ArgumentTypeError(f"found {text!r}, allowed: a number of seconds > 0")
    return found


def _table(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".csv":
        raise argparse.ArgumentTypeError(f"found {text!r}, allowed: a name that ends in .csv")
    return path


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of one call, to the end of the work it has queued."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def in_turn(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, NDArray[np.float64]]:
    """Wall times of each call, one round after the other, so that what slows the machine slows them all.

    Args:
      calls: by name.
      repeats: rounds, at most: none is begun after `LONGEST`, but for the first `FEWEST`.
    """
    rounds: list[dict[str, float]] = []
    start = time.perf_counter()
    while len(rounds) < repeats and (len(rounds) < FEWEST or time.perf_counter() - start < LONGEST):
        rounds.append({name: seconds(call) for name, call in calls.items()})
    return {name: np.asarray([times[name] for times in rounds]) for name in calls}


def spread(values: NDArray[np.float64]) -> Spread:
    """Of repeated measurements `[repeats]`."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Spread(float(median), float(low), float(high))


def write(output: Path, kind: type, rows: Sequence[Any], *, settings: Mapping[str, Any], seeds: Sequence[int]) -> None:
    """Write records under a line of provenance.

    Args:
      output: the table.
      kind: of the records, a dataclass; its fields are the columns.
      rows: the records, any number of them.
      settings: everything that decides what was measured.
      seeds: of the random draws.
    """
    record = provenance(fingerprint(settings), seeds=seeds, device=device())
    write_rows(output, [field.name for field in fields(kind)], map(astuple, rows), comment=line(record))


def device() -> str:
    """What computed, with the number of cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{jax.devices()[0].device_kind}, {cores} cores, {_processor()}"


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    names = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
    return next(
        (name.partition(":")[2].strip() for name in names if name.startswith("model name")), "unknown processor"
    )

"""Tables held against recorded ones: what `make verify` does."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path

from conjugate_moments.metrics.records import number, read_rows

EXACT = 1e-6  # relative, for numbers without Monte Carlo error
ERRORS = 4.0  # joint standard errors, for the others
# How well and how fast a fit was solved; these differ with the rounding of another machine.
EFFORT = ("residual", "residual_over_std", "iterations", "evaluations", "seconds")
KEYS = ("law", "factorization", "status")


def differences(found: Path, reference: Path) -> list[str]:
    """What differs between two tables, one line for each number, row or status; nothing if they agree.

    A number with a standard error may differ by `ERRORS` joint ones, any other by `EXACT` of its size; `EFFORT` is not
    compared.

    Args:
      found: a table as `number_table` gives it, in CSV.
      reference: the recorded one.
    """
    tables = [{(row[KEYS[0]], row[KEYS[1]]): row for row in read_rows(path)} for path in (found, reference)]
    lines = []
    for key in tables[0].keys() | tables[1].keys():
        name = f"{reference.stem}: {' '.join(key)}"
        if any(key not in table for table in tables):
            lines.append(f"{name}: only in {'the new' if key in tables[0] else 'the recorded'} table")
            continue
        row, recorded = (table[key] for table in tables)
        if row["status"] != recorded["status"]:
            lines.append(f"{name}: status {row['status']}, recorded {recorded['status']}")
        lines += [f"{name}: {line}" for line in _rows(row, recorded)]
    return sorted(lines)


def _rows(row: Mapping[str, str], recorded: Mapping[str, str]) -> list[str]:
    columns = [name for name in recorded if name not in (*KEYS, *EFFORT)]
    lines = []
    for name in columns:
        if name.endswith(("_standard_error", "_noise_floor")):
            continue
        value, before = number(row.get(name, "")), number(recorded[name])
        errors = [number(r.get(f"{name}_standard_error", "")) for r in (row, recorded)]
        exact = any(math.isnan(error) for error in errors)
        allowed = EXACT * max(abs(before), 1e-3) if exact else ERRORS * math.hypot(*errors)
        if math.isnan(value) != math.isnan(before) or abs(value - before) > allowed:
            lines.append(f"{name} {value:.6g}, recorded {before:.6g}, allowed difference {allowed:.2g}")
    return lines


def main(found: str, reference: str) -> int:
    """Compare every recorded table of a folder with the one of the same name; the number of differences."""
    lines = []
    for recorded in sorted(Path(reference).glob("*.csv")):
        new = Path(found) / recorded.name
        lines += differences(new, recorded) if new.exists() else [f"{recorded.stem}: no table {new}"]
    print("\n".join(lines) or f"every number in {found} agrees with {reference}")
    return len(lines)


if __name__ == "__main__":
    sys.exit(bool(main(*sys.argv[1:])))

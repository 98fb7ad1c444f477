"""YAML as plain values, and a first look at them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from conjugate_moments.config._messages import KeyPath, one_line, quote, refuse

DEEPEST = 20  # levels of nesting; the schema has 8


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; a file that cannot be read is refused under its name."""
    import yaml

    place: KeyPath = (path.name,)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        refuse(place, (error.strerror or type(error).__name__).lower(), "a YAML file that can be read")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        refuse(place, f"{one_line(error.problem)}{where}", "a file in YAML")
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # characters, dates and nesting that YAML cannot read
        refuse(place, one_line(error), "a file in YAML, encoded as UTF-8")


def check_plain(node: Any, path: KeyPath) -> None:
    """Refuse what JSON cannot hold and what would not fit on a line, before anything else looks at it."""
    if len(path) > DEEPEST:
        refuse(path[:4], "endless nesting", f"at most {DEEPEST} levels")
    if isinstance(node, str) and not node.isprintable():
        refuse(path, quote(node), "printable text on one line")
    if isinstance(node, int) and abs(node) > sys.float_info.max:
        refuse(path, quote(node), "a finite number")
    if isinstance(node, dict):
        for key, value in node.items():
            if not isinstance(key, str) or not key.isprintable():
                refuse((*path, key), f"the key {quote(key)}", "keys of printable text (quote it if it is text)")
            check_plain(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            check_plain(value, (*path, index))

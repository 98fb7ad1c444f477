"""Refusals, each one line: `config: <key path>: found <value>, allowed: <what is>`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, NoReturn

KeyPath = tuple[Any, ...]

LONGEST = 60  # characters of a value quoted in a message


class ConfigError(ValueError):
    """A configuration that is refused, in one line: the key path, what was found, what is allowed."""


def refuse(path: KeyPath, found: str, allowed: str, hint: str = "") -> NoReturn:
    """Raise the one line; `path` holds keys and positions, `hint` follows as it is."""
    raise ConfigError(f"config: {_dotted(path)}: found {found}, allowed: {allowed}{hint}") from None


def _dotted(path: KeyPath) -> str:
    parts = (f"[{key}]" if type(key) is int else f".{_key(key)}" for key in path)
    return "".join(parts).removeprefix(".") or "(the whole file)"


def _key(key: object) -> str:
    return key if isinstance(key, str) and re.fullmatch(r"[\w-]{1,60}", key) else quote(key)


def quote(value: object) -> str:
    """`repr` on one line, cut short."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # an integer with thousands of digits, nesting without end
        text = f"a value of type {type(value).__name__} too large to show"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def closest(name: object, known: Iterable[str]) -> str:
    """A hint at the known name that `name` may have been meant for, empty if none is close."""
    match = difflib.get_close_matches(str(name)[:LONGEST], list(known), n=1)
    return f"; did you mean {match[0]}?" if match else ""


def listed(names: Iterable[str]) -> str:
    """Names in a row."""
    names = list(names)
    return ", ".join(names) if names else "no key"


def one_line(text: object) -> str:
    """Text of another library on one line, cut short."""
    return " ".join(str(text).split())[:120]

"""The whole configuration: from a file to the frozen record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from conjugate_moments.config._schema import check_schema
from conjugate_moments.config._yaml import check_plain, read_yaml
from conjugate_moments.config.density import Density, check_density
from conjugate_moments.config.gaussian import Gaussian, check_gaussian
from conjugate_moments.config.images import Images, check_images
from conjugate_moments.config.learning import Learning, check_learning
from conjugate_moments.config.spread import Spread, check_spread
from conjugate_moments.config.univariate import OWN_FAMILIES, ScipyEntry, Univariate, check_univariate


@dataclass(frozen=True)
class Figures:
    """How figures are drawn; `dpi` in dots per inch."""

    dpi: int


@dataclass(frozen=True)
class Config:
    """Everything the chain computes, validated."""

    output: str
    seeds: tuple[int, ...]
    samples: int
    gaussian: Gaussian
    univariate: Univariate
    spread: Spread
    learning: Learning
    density: Density
    images: Images
    figures: Figures


def load(path: Path | str, *, schema: Mapping[str, Any] | Path | str, root: Path | str) -> Config:
    """Read and validate a YAML file.

    Args:
      path: the file.
      schema: the schema, or the path of its file.
      root: folder that paths in the configuration are relative to.

    Raises:
      ConfigError: if the file cannot be read, is not YAML, or is refused by `validate`.
    """
    return validate(read_yaml(Path(path)), schema=schema, root=root)


def validate(config: object, *, schema: Mapping[str, Any] | Path | str, root: Path | str) -> Config:
    """The frozen record of a configuration, or one line on what is wrong with it.

    Args:
      config: the configuration as YAML gives it: dicts, lists, text and numbers.
      schema: the schema, or the path of its file.
      root: folder that paths in the configuration are relative to.

    Raises:
      ConfigError: if the configuration is refused; the shallowest fault is the one named.
    """
    check_plain(config, ())
    check_schema(config, schema if isinstance(schema, Mapping) else read_yaml(Path(schema)))
    record = _record(Config, config, Path(root))
    check_gaussian(record.gaussian)
    check_univariate(record.univariate, config)
    check_spread(record.spread, record.univariate.laws)
    check_learning(record.learning)
    check_density(record.density)
    check_images(record.images)
    return record


def fingerprint(config: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of the configuration as canonical JSON: the order of keys is free.

    Args:
      config: the whole configuration or a part of it, as YAML gives it. Files it names are not read.
    """
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def _record(kind: Any, value: Any, root: Path) -> Any:
    """`value`, which the schema has accepted, as the frozen type `kind`."""
    if value is None:  # which the schema allows for few keys
        return None
    if isinstance(kind, UnionType) and type(None) in get_args(kind):
        kind = get_args(kind)[0]
    elif isinstance(kind, UnionType):
        kind = OWN_FAMILIES.get(value["family"], ScipyEntry)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{field.name: _record(hints[field.name], value[field.name], root) for field in fields(kind)})
    if get_origin(kind) is tuple:
        return tuple(_record(get_args(kind)[0], item, root) for item in value)
    if get_origin(kind) is Mapping:
        return {key: _record(get_args(kind)[1], item, root) for key, item in value.items()}
    return root / value if kind is Path else kind(value)

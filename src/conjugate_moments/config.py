"""The configuration: closed schema, checks that a schema cannot express, and the frozen records that come out.

Every refusal is one line: `config: <key path>: found <value>, allowed: <what is>`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, NoReturn, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from conjugate_moments.settings import TrainingSettings

if TYPE_CHECKING:
    from jsonschema import ValidationError

KeyPath = tuple[Any, ...]

FEWEST_SAMPLES = 10
FEWEST_PER_DIMENSION = 10
DEEPEST = 20  # levels of nesting; the schema has 8
LONGEST = 60  # characters of a value quoted in a message
WEIGHT_TOLERANCE = 1e-12


class ConfigError(ValueError):
    """A configuration that is refused, in one line: the key path, what was found, what is allowed."""


@dataclass(frozen=True)
class Scales:
    """`count` values from `smallest` to `largest`, evenly spaced in the logarithm."""

    smallest: float
    largest: float
    count: int

    def values(self) -> NDArray[np.float64]:
        """The values, shape `[count]`, ascending."""
        return np.geomspace(self.smallest, self.largest, self.count)


@dataclass(frozen=True)
class GaussianLaw:
    """N(mean, covariance) in dimension `len(mean)`."""

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Gaussian:
    """Experiment 1: Gaussian laws, and the standard deviations swept for the spread panel."""

    laws: Mapping[str, GaussianLaw]
    scales: Scales


@dataclass(frozen=True)
class Component:
    """One component of a mixture: a family of `scipy.stats` and its parameters."""

    family: str
    parameters: Mapping[str, float]


@dataclass(frozen=True)
class ScipyEntry:
    """A law of `scipy.stats`."""

    label: str
    family: str
    parameters: Mapping[str, float]


@dataclass(frozen=True)
class MixtureEntry:
    """A finite mixture of laws of `scipy.stats`."""

    label: str
    family: str
    weights: tuple[float, ...]
    components: tuple[Component, ...]


@dataclass(frozen=True)
class PowerEntry:
    """The law whose conjugate potential is |y|^p/p, p the exponent."""

    label: str
    family: str
    exponent: float


@dataclass(frozen=True)
class SamplesEntry:
    """The empirical law of the numbers in `file`, which is already joined to the root it was relative to."""

    label: str
    family: str
    file: Path


UnivariateEntry = ScipyEntry | MixtureEntry | PowerEntry | SamplesEntry
OWN_FAMILIES: dict[str, type] = {"mixture": MixtureEntry, "power": PowerEntry, "samples": SamplesEntry}


@dataclass(frozen=True)
class Univariate:
    """Experiment 2: laws on the line, and when the iteration stops (tolerance in standard deviations of P_w)."""

    tolerance: float
    max_iterations: int
    laws: Mapping[str, UnivariateEntry]


@dataclass(frozen=True)
class Spread:
    """The spread study: names of univariate laws, and the factors by which each is stretched."""

    laws: tuple[str, ...]
    scales: Scales


@dataclass(frozen=True)
class Planar:
    """Experiment 3: names of the planar laws, and how a network is trained on each."""

    laws: tuple[str, ...]
    training: TrainingSettings


@dataclass(frozen=True)
class TruthDimension:
    """A dimension, and how the networks in it are trained."""

    dimension: int
    training: TrainingSettings


@dataclass(frozen=True)
class Truth:
    """Experiment 7: families of potentials that are known, and the dimensions in which they are learned."""

    families: tuple[str, ...]
    dimensions: tuple[TruthDimension, ...]


@dataclass(frozen=True)
class Learning:
    """Experiments 3 and 7: `samples` and `points` are per seed, `epsilon` in squared units of the data."""

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    samples: int
    points: int
    epsilon: float
    planar: Planar
    truth: Truth


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
    return validate(_read_yaml(Path(path)), schema=schema, root=root)


def validate(config: object, *, schema: Mapping[str, Any] | Path | str, root: Path | str) -> Config:
    """The frozen record of a configuration, or one line on what is wrong with it.

    Args:
      config: the configuration as YAML gives it: dicts, lists, text and numbers.
      schema: the schema, or the path of its file.
      root: folder that paths in the configuration are relative to.

    Raises:
      ConfigError: if the configuration is refused; the shallowest fault is the one named.
    """
    _check_plain(config, ())
    _check_schema(config, schema if isinstance(schema, Mapping) else _read_yaml(Path(schema)))
    record = _record(Config, config, Path(root))
    _check_gaussian(record.gaussian)
    _check_univariate(record.univariate, config)
    _check_spread(record)
    _check_learning(record.learning)
    return record


def fingerprint(config: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of the configuration as canonical JSON: the order of keys is free.

    Args:
      config: the whole configuration or a part of it, as YAML gives it. Files it names are not read.
    """
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def read_samples(path: Path | str) -> NDArray[np.float64]:
    """The numbers in a .npy, .txt or .csv file, shape `[n]`.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if it does not hold one column of at least 10 finite numbers that are not all equal.
    """
    path = Path(path)
    if path.suffix == ".npy":
        with path.open("rb") as handle:
            values = np.lib.format.read_array(handle, allow_pickle=False)
    else:
        values = np.asarray([float(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()])
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise ValueError(f"an array of shape {list(values.shape)} and type {values.dtype}")
    values = values.astype(np.float64)
    if len(values) < FEWEST_SAMPLES:
        raise ValueError(f"{len(values)} numbers")
    if not np.all(np.isfinite(values)):
        raise ValueError("numbers that are not finite")
    if np.all(values == values[0]):
        raise ValueError("numbers that are all equal")
    return values


# Messages


def _refuse(path: KeyPath, found: str, allowed: str, hint: str = "") -> NoReturn:
    raise ConfigError(f"config: {_dotted(path)}: found {found}, allowed: {allowed}{hint}") from None


def _dotted(path: KeyPath) -> str:
    parts = (f"[{key}]" if type(key) is int else f".{_key(key)}" for key in path)
    return "".join(parts).removeprefix(".") or "(the whole file)"


def _key(key: object) -> str:
    return key if isinstance(key, str) and re.fullmatch(r"[\w-]{1,60}", key) else _quote(key)


def _quote(value: object) -> str:
    """`repr` on one line, cut short."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # an integer with thousands of digits, nesting without end
        text = f"a value of type {type(value).__name__} too large to show"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _closest(name: object, known: Iterable[str]) -> str:
    match = difflib.get_close_matches(str(name)[:LONGEST], list(known), n=1)
    return f"; did you mean {match[0]}?" if match else ""


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names) if names else "no key"


# YAML


def _read_yaml(path: Path) -> Any:
    import yaml

    place: KeyPath = (path.name,)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        _refuse(place, (error.strerror or type(error).__name__).lower(), "a YAML file that can be read")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        _refuse(place, f"{_one_line(error.problem)}{where}", "a file in YAML")
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # characters, dates and nesting that YAML cannot read
        _refuse(place, _one_line(error), "a file in YAML, encoded as UTF-8")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:120]


def _check_plain(node: Any, path: KeyPath) -> None:
    """Refuse what JSON cannot hold and what would not fit on a line, before anything else looks at it."""
    if len(path) > DEEPEST:
        _refuse(path[:4], "endless nesting", f"at most {DEEPEST} levels")
    if isinstance(node, str) and not node.isprintable():
        _refuse(path, _quote(node), "printable text on one line")
    if isinstance(node, int) and abs(node) > sys.float_info.max:
        _refuse(path, _quote(node), "a finite number")
    if isinstance(node, dict):
        for key, value in node.items():
            if not isinstance(key, str) or not key.isprintable():
                _refuse((*path, key), f"the key {_quote(key)}", "keys of printable text (quote it if it is text)")
            _check_plain(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            _check_plain(value, (*path, index))


# Schema


def _check_schema(config: Any, schema: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator, FormatChecker, validators
    from jsonschema.exceptions import best_match

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "number": lambda _, value: _is_number(value),
            "integer": lambda _, value: _is_number(value) and value == int(value),
        }
    )
    formats = FormatChecker(formats=())
    formats.checks("law-family")(lambda value: not isinstance(value, str) or value in {*OWN_FAMILIES, *_families()})
    formats.checks("scipy-family")(lambda value: not isinstance(value, str) or value in _families())
    validator = validators.extend(Draft202012Validator, type_checker=types)
    error = best_match(validator(schema, format_checker=formats).iter_errors(config), key=_relevance)
    if error is not None:
        _refuse_schema(error, schema)


def _relevance(error: ValidationError) -> tuple[bool, int, bool]:
    """An unknown family first, as the rest follows from it; then shallow before deep, unknown before missing keys."""
    return error.validator == "format", -len(error.absolute_path), error.validator == "additionalProperties"


def _refuse_schema(error: ValidationError, schema: Mapping[str, Any]) -> NoReturn:
    path = tuple(error.absolute_path)
    rules, found = cast("dict[str, Any]", error.schema), cast("Any", error.instance)
    match error.validator:
        case "additionalProperties" if "properties" in rules:
            known = rules["properties"]
            # The one that looks like a slip, if any, else the first.
            unknown = max((key for key in found if key not in known), key=lambda key: bool(_closest(key, known)))
            _refuse((*path, unknown), f"the unknown key {_quote(unknown)}", _listed(known), _closest(unknown, known))
        case "additionalProperties":
            unknown = next(key for key in found if not any(re.search(p, key) for p in rules["patternProperties"]))
            _refuse((*path, unknown), f"the key {_quote(unknown)}", rules["title"])
        case "required":
            missing = next(key for key in rules["required"] if key not in found)
            _refuse((*path, missing), "nothing", _allowed(rules["properties"][missing], schema))
        case "format":
            _refuse_family(path, str(found), rules)
        case "enum":
            _refuse(path, _quote(found), _allowed(rules, schema), _closest(found, rules["enum"]))
        case _:
            _refuse(path, _quote(found), _allowed(rules, schema), _number_hint(found, rules))


def _refuse_family(path: KeyPath, found: str, rules: Mapping[str, Any]) -> NoReturn:
    from scipy import stats

    if isinstance(vars(stats).get(found), stats.rv_discrete):
        _refuse(path, f"{_quote(found)} (a discrete family)", rules["title"])
    own = OWN_FAMILIES if rules["format"] == "law-family" else ()
    _refuse(path, _quote(found), rules["title"], _closest(found, [*own, *_families()]))


def _allowed(rules: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a part of the schema allows, in words: its title if it has one."""
    if "$ref" in rules:
        rules = {**schema["$defs"][rules["$ref"].rpartition("/")[2]], **rules}
    if "title" in rules:
        return rules["title"]
    if "const" in rules:
        return str(rules["const"])
    if "enum" in rules:
        return f"one of {_listed(rules['enum'])}"
    match rules["type"]:
        case "array":
            different = "different " if rules.get("uniqueItems") else ""
            most = f" to {rules['maxItems']}" if "maxItems" in rules else " or more"
            return f"a list of {rules['minItems']}{most} {different}values, each {_allowed(rules['items'], schema)}"
        case "number" | "integer" as kind:
            signs = {"exclusiveMinimum": ">", "minimum": ">=", "maximum": "<="}
            bounds = " and ".join(f"{sign} {rules[key]:.10g}" for key, sign in signs.items() if key in rules)
            return f"{'an integer' if kind == 'integer' else 'a number'} {bounds}".strip()
        case _:
            return "text"


def _number_hint(found: object, rules: Mapping[str, Any]) -> str:
    """That a number must be finite, or how to write one that YAML reads as text, such as 1e-3."""
    if isinstance(found, float) and not math.isfinite(found):
        return ", finite"
    if not isinstance(found, str) or rules.get("type") not in ("number", "integer"):
        return ""
    try:
        value = float(found)
    except ValueError:
        return ""
    if not math.isfinite(value):
        return ""
    if rules["type"] == "integer" and value == int(value):
        return f"; write {int(value)}"
    mantissa, e, exponent = found.strip().lower().partition("e")
    if not e:
        return f"; write {mantissa} without quotes"
    return f"; write {mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+d}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# Records


def _record(kind: Any, value: Any, root: Path) -> Any:
    """`value`, which the schema has accepted, as the frozen type `kind`."""
    if isinstance(kind, UnionType):
        kind = OWN_FAMILIES.get(value["family"], ScipyEntry)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{field.name: _record(hints[field.name], value[field.name], root) for field in fields(kind)})
    if get_origin(kind) is tuple:
        return tuple(_record(get_args(kind)[0], item, root) for item in value)
    if get_origin(kind) is Mapping:
        return {key: _record(get_args(kind)[1], item, root) for key, item in value.items()}
    return root / value if kind is Path else kind(value)


# What a schema cannot say


def _check_scales(path: KeyPath, scales: Scales) -> None:
    if scales.smallest >= scales.largest:
        _refuse((*path, "smallest"), _quote(scales.smallest), f"a number below `largest`, which is {scales.largest}")


def _check_gaussian(gaussian: Gaussian) -> None:
    for name, law in gaussian.laws.items():
        _check_covariance(("gaussian", "laws", name, "covariance"), law)
    _check_scales(("gaussian", "scales"), gaussian.scales)


def _check_covariance(path: KeyPath, law: GaussianLaw) -> None:
    d = len(law.mean)
    columns = sorted({len(row) for row in law.covariance})
    if len(law.covariance) != d or columns != [d]:
        shape = f"{len(law.covariance)} rows of {' or '.join(map(str, columns))} numbers"
        _refuse(path, shape, f"{d} rows of {d} numbers, as the mean has {d}")
    matrix = np.asarray(law.covariance)
    if np.any(matrix != matrix.T):
        i, j = np.argwhere(matrix != matrix.T)[0]
        _refuse((*path, int(i), int(j)), _quote(float(matrix[i, j])), f"{matrix[j, i]}, as the matrix is symmetric")
    eigenvalues = np.linalg.eigvalsh(matrix)
    if eigenvalues[0] <= d * np.finfo(np.float64).eps * abs(eigenvalues[-1]):
        _refuse(path, f"the eigenvalue {eigenvalues[0]:.3g}", "a positive definite matrix")


def _check_univariate(univariate: Univariate, config: Any) -> None:
    for name, entry in univariate.laws.items():
        path = ("univariate", "laws", name)
        match entry:
            case ScipyEntry():
                _check_family(path, entry)
            case MixtureEntry():
                _check_mixture(path, entry)
            case SamplesEntry():
                _check_samples((*path, "file"), config["univariate"]["laws"][name]["file"], entry.file)
            case PowerEntry():
                pass  # the schema says it all


def _check_mixture(path: KeyPath, entry: MixtureEntry) -> None:
    if len(entry.weights) != len(entry.components):
        _refuse((*path, "weights"), f"{len(entry.weights)} weights", f"{len(entry.components)}, one per component")
    if abs(math.fsum(entry.weights) - 1) > WEIGHT_TOLERANCE:
        found = f"{_quote(list(entry.weights))} with sum {math.fsum(entry.weights):.15g}"
        _refuse((*path, "weights"), found, f"numbers that sum to 1 within {WEIGHT_TOLERANCE}")
    for index, component in enumerate(entry.components):
        _check_family((*path, "components", index), component)


def _check_family(path: KeyPath, law: ScipyEntry | Component) -> None:
    family, path = _families()[law.family], (*path, "parameters")
    shapes: Sequence[str] = family.shapes.split(", ") if family.shapes else ()
    known = [*shapes, "loc", "scale"]
    for name in law.parameters:
        if name not in known:
            _refuse((*path, name), f"the unknown key {_quote(name)}", _listed(known), _closest(name, known))
    for name in shapes:
        if name not in law.parameters:
            _refuse((*path, name), "nothing", f"a number, a shape of scipy.stats.{law.family}")
    if law.parameters.get("scale", 1.0) <= 0:
        _refuse((*path, "scale"), _quote(law.parameters["scale"]), "a number > 0")
    with np.errstate(all="ignore"):
        low, high = family(**law.parameters).support()
    if not low < high:  # scipy answers NaN for shapes that it does not accept
        _refuse(path, _quote(dict(law.parameters)), f"numbers that scipy.stats.{law.family} accepts")


def _check_samples(path: KeyPath, written: str, file: Path) -> None:
    allowed = f"one column of at least {FEWEST_SAMPLES} finite numbers, not all equal, no header"
    try:
        read_samples(file)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        _refuse(path, f"{_quote(written)} ({reason})", "a file that can be read")
    except (ValueError, MemoryError) as error:
        _refuse(path, f"{_quote(written)} ({_one_line(error)})", allowed)


def _check_spread(config: Config) -> None:
    known = config.univariate.laws
    for index, name in enumerate(config.spread.laws):
        if name not in known:
            allowed = f"a name in univariate.laws ({_listed(known)})"
            _refuse(("spread", "laws", index), _quote(name), allowed, _closest(name, known))
    _check_scales(("spread", "scales"), config.spread.scales)


def _check_learning(learning: Learning) -> None:
    dimensions = [entry.dimension for entry in learning.truth.dimensions]
    for index, d in enumerate(dimensions):
        if d in dimensions[:index]:
            path = ("learning", "truth", "dimensions", index, "dimension")
            _refuse(path, str(d), "a dimension that no entry before has")
    fewest = FEWEST_PER_DIMENSION * max(dimensions)
    if learning.samples < fewest:
        allowed = f"an integer >= {fewest}, {FEWEST_PER_DIMENSION} per dimension of the largest, {max(dimensions)}"
        _refuse(("learning", "samples"), str(learning.samples), allowed)


@cache
def _families() -> Mapping[str, Any]:
    # Here, because it takes most of a second and only validation needs it.
    from scipy import stats

    return {name: value for name, value in vars(stats).items() if isinstance(value, stats.rv_continuous)}

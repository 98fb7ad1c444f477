"""The check against the schema, and its faults in words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast

from conjugate_moments.config._messages import KeyPath, closest, listed, quote, refuse
from conjugate_moments.config.univariate import OWN_FAMILIES, families

if TYPE_CHECKING:
    from jsonschema import ValidationError


def check_schema(config: Any, schema: Mapping[str, Any]) -> None:
    """Refuse what the schema does not accept; of several faults the shallowest is named."""
    from jsonschema import Draft202012Validator, FormatChecker, validators
    from jsonschema.exceptions import best_match

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "number": lambda _, value: _is_number(value),
            "integer": lambda _, value: _is_number(value) and value == int(value),
        }
    )
    formats = FormatChecker(formats=())
    formats.checks("law-family")(lambda value: not isinstance(value, str) or value in {*OWN_FAMILIES, *families()})
    formats.checks("scipy-family")(lambda value: not isinstance(value, str) or value in families())
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
            unknown = max((key for key in found if key not in known), key=lambda key: bool(closest(key, known)))
            refuse((*path, unknown), f"the unknown key {quote(unknown)}", listed(known), closest(unknown, known))
        case "additionalProperties":
            unknown = next(key for key in found if not any(re.search(p, key) for p in rules["patternProperties"]))
            refuse((*path, unknown), f"the key {quote(unknown)}", rules["title"])
        case "required":
            missing = next(key for key in rules["required"] if key not in found)
            refuse((*path, missing), "nothing", _allowed(rules["properties"][missing], schema))
        case "format":
            _refuse_family(path, str(found), rules)
        case "enum":
            refuse(path, quote(found), _allowed(rules, schema), closest(found, rules["enum"]))
        case _:
            refuse(path, quote(found), _allowed(rules, schema), _number_hint(found, rules))


def _refuse_family(path: KeyPath, found: str, rules: Mapping[str, Any]) -> NoReturn:
    from scipy import stats

    if isinstance(vars(stats).get(found), stats.rv_discrete):
        refuse(path, f"{quote(found)} (a discrete family)", rules["title"])
    own = OWN_FAMILIES if rules["format"] == "law-family" else ()
    refuse(path, quote(found), rules["title"], closest(found, [*own, *families()]))


def _allowed(rules: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a part of the schema allows, in words: its title if it has one."""
    if "$ref" in rules:
        rules = {**schema["$defs"][rules["$ref"].rpartition("/")[2]], **rules}
    if "title" in rules:
        return rules["title"]
    if "const" in rules:
        return str(rules["const"])
    if "enum" in rules:
        return f"one of {listed(rules['enum'])}"
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

"""What people write as the value of a parameter, as its JSON Schema has it. All functions raise ValueError."""

import json
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from core.library import sweeping
from core.library.near import did_you_mean, meant_or_known

MOST = 10_000  # values of one parameter
TRUE, FALSE = ("true", "yes", "y", "on", "1"), ("false", "no", "n", "off", "0")
Schema = dict[str, Any]
Known = Callable[[str], list[str]]  # names of models by kind


def schema_of(path: str, params: Schema) -> Schema:
    """Of a parameter, also inside others: controlnets.0.weight."""
    found: Schema = params
    for place, name in enumerate(path.split(".")):
        found = _plain(found, params)
        if found.get("type") == "array" and name.isdecimal():
            found = found.get("items", {})
        elif name in found.get("properties", {}):
            found = found["properties"][name]
        elif found.get("type") == "object" and isinstance(found.get("additionalProperties"), dict):
            found = found["additionalProperties"]
        else:
            of = f" of {'.'.join(path.split('.')[:place])}" if place else ""
            raise ValueError(f"there is no parameter {name!r}{of}.{meant_or_known(name, found.get('properties', {}))}")
    return _plain(found, params)


def _plain(schema: Schema, root: Schema) -> Schema:
    """Without references; of `int | None` the int."""
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            schema = root.get("$defs", {}).get(schema["$ref"].rpartition("/")[2], {}) | _without(schema, "$ref")
        else:
            kinds = [each for each in schema["anyOf"] if each.get("type") != "null"]
            schema = _without(schema, "anyOf") | (kinds[0] if kinds else {})
    return schema


def _without(schema: Schema, key: str) -> Schema:
    return {name: value for name, value in schema.items() if name != key}


def put(params: dict[str, Any], path: str, value: Any) -> None:
    """Set a parameter, also inside others, which have to be there."""
    *outer, last = path.split(".")
    place: Any = params
    for name in outer:
        if isinstance(place, dict):
            place = place.setdefault(name, {})
        elif isinstance(place, list) and int(name) < len(place):
            place = place[int(name)]
        else:
            raise ValueError(f"{path}: there is no {name} yet. Give it in the parameters that stay the same")
    if isinstance(place, list):
        if int(last) >= len(place):
            raise ValueError(f"{path}: there are {len(place)} of them. Give it in the parameters that stay the same")
        place[int(last)] = value
    else:
        place[last] = value


def values_of(text: str, schema: Schema, known: Known) -> list[Any]:
    """All values that a text means for a parameter, MOST + 1 at most."""
    if text.strip() == "*":
        return _all(schema, known)
    if text.lstrip().startswith("["):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"this is no JSON list: {error}") from error
        return [_checked(value, schema) for value in values]
    items = sweeping.listed(text)
    if not items:
        raise ValueError("there are no values. Write some, with commas between")
    if schema.get("type") in ("integer", "number"):
        kind = int if schema["type"] == "integer" else float
        return [_checked(value, schema) for value in sweeping.numbers(items, kind, MOST)]
    return [value_of(item, schema, known) for item in items[: MOST + 1]]


def value_of(text: str, schema: Schema, known: Known) -> Any:
    """One value."""
    kind = schema.get("type")
    if kind in ("integer", "number"):
        found = sweeping.numbers([text.strip()], int if kind == "integer" else float, 1)
        if len(found) != 1:
            raise ValueError(f"{text[:100]!r} is more than one number")
        value = found[0]
    elif kind == "boolean":
        if text.strip().casefold() not in TRUE + FALSE:
            raise ValueError(f"{text[:100]!r} is neither true nor false")
        value = text.strip().casefold() in TRUE
    elif kind == "array" and schema.get("items", {}).get("type") == "string" and not text.lstrip().startswith("["):
        value = [value_of(item, schema["items"], known) for item in sweeping.listed(text)]
    elif kind in ("array", "object") or kind is None and "enum" not in schema:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{text[:100]!r} is no JSON: {error}") from error
    else:
        value = _named(text, schema, known)
    return _checked(value, schema)


def _all(schema: Schema, known: Known) -> list[Any]:
    if schema.get("type") == "boolean":
        return [False, True]
    found = schema.get("ui", {}).get("choices") or schema.get("enum") or _models(schema, known)
    if not found:
        raise ValueError("* stands for all choices, and this parameter has none. Write the values")
    return [*found][: MOST + 1]


def _models(schema: Schema, known: Known) -> list[str]:
    kind, _, name = schema.get("ui", {}).get("choices_from", "").partition("/")
    return known(name) if kind == "models" else []


def _named(text: str, schema: Schema, known: Known) -> str:
    """A choice or a model, written as people do: in small letters, without folder or suffix."""
    choices = schema.get("enum") or _models(schema, known)
    if not choices or text in choices:
        return text
    for spelling in (lambda name: name, lambda name: PurePosixPath(name).name, lambda name: PurePosixPath(name).stem):
        fitting = {each for each in choices if spelling(str(each)).casefold() == text.casefold()}
        if len(fitting) == 1:
            return fitting.pop()
    offered = schema.get("ui", {}).get("choices") or choices
    near = did_you_mean(text, map(str, choices)) or f" There are {', '.join(map(str, offered))[:500]}"
    raise ValueError(f"{text[:100]!r} is none of the choices.{near}")


def _checked(value: Any, schema: Schema) -> Any:
    """The value, if it is within the bounds that are told; the server checks the rest."""
    json.dumps(value, allow_nan=False)
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high, step = (schema.get(name) for name in ("minimum", "maximum", "multipleOf"))
        if low is not None and value < low or high is not None and value > high:
            bounds = f"{'' if low is None else f'at least {low:g}'}{'' if high is None else f', at most {high:g}'}"
            raise ValueError(f"{value:g} is out of bounds: {bounds.strip(', ')}")
        if step and abs(value / step - round(value / step)) > 1e-9:
            raise ValueError(f"{value:g} is no multiple of {step:g}")
    if "enum" in schema and value not in schema["enum"]:
        raise ValueError(f"{value!r} is none of the choices")
    if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
        raise ValueError(f"a text of {len(value):,} characters is longer than {schema['maxLength']:,}")
    return value


def counts(name: str, params: dict[str, Any], properties: dict[str, Schema]) -> bool:
    """Whether a parameter is of any consequence: whether its `visible_if` fits the others."""
    for other, wanted in properties[name].get("ui", {}).get("visible_if", {}).items():
        given = params.get(other, properties.get(other, {}).get("default"))
        fitting = wanted if isinstance(wanted, list) else [wanted]
        if not any(given == each or (each is True and given) for each in fitting):
            return False
    return True

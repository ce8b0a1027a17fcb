"""The parameters and inputs of a flow, as the classes and types that a job announces."""

import re
from typing import Annotated, Any, Literal

import pydantic

from core.plugin import Audio, Image, Json, Mask, Params, Text, Video, param

KINDS = {"image": Image, "mask": Mask, "text": Text, "json": Json, "audio": Audio, "video": Video}
TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "object": dict[str, Any]}
BOUNDS = {
    "minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt", "multipleOf": "multiple_of",
    "minLength": "min_length", "maxLength": "max_length", "minItems": "min_length", "maxItems": "max_length",
    "pattern": "pattern", "examples": "examples",
}  # fmt: skip
HINTS = {
    "widget", "group", "order", "advanced", "unit", "step", "visible_if", "choices", "choices_from", "counts",
    "pairs_with", "frame", "mask",
}  # fmt: skip
WORDS = {"type", "default", "help", "description", "title", "enum", "items", "ui", *BOUNDS, *HINTS}
TAKEN = {"self", "params", "ctx"}  # the other arguments of a job
NAME = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)


def wrong_name(name: str) -> str | None:
    """What is wrong with the name of a parameter or an input."""
    if not NAME.fullmatch(name):
        return "a name has letters, digits and _, up to 64, and begins with a letter"
    return f"{name} is taken" if name in TAKEN or hasattr(Params, name) else None


def params_class(params: dict[str, dict[str, Any]]) -> type[Params]:
    """Raises ValueError, TypeError or pydantic's errors for what makes no sense."""
    return pydantic.create_model("FlowParams", __base__=Params, **{name: field(name, params[name]) for name in params})


def field(name: str, schema: dict[str, Any]) -> tuple[Any, Any]:
    """The type and the declaration of one parameter, from its JSON Schema."""
    options = {BOUNDS[word]: schema[word] for word in schema.keys() & BOUNDS.keys()}
    options |= {word: schema[word] for word in schema.keys() & HINTS} | schema.get("ui", {})
    if is_seed(name, schema):
        options["widget"] = "seed"
    words = schema.get("help") or schema.get("description") or f"{name.replace('_', ' ').capitalize()}."
    kind, pattern = type_of(schema), options.pop("pattern", None)
    if pattern is not None:
        kind = Annotated[kind, _matching(pattern)]
    return kind, param(schema.get("default", ...), help=str(words), **options)


def _matching(pattern: str) -> pydantic.AfterValidator:
    """Checked here and not told to the server: on (a+)+ its regular expressions would take for ever, and all wait."""
    fits = pydantic.TypeAdapter(Annotated[str, pydantic.Field(pattern=pattern)]).validate_python

    def check(value: str) -> str:
        try:
            return fits(value)
        except pydantic.ValidationError as error:
            raise ValueError(f"it does not match {pattern}") from error

    return pydantic.AfterValidator(check)


def is_seed(name: str, schema: dict[str, Any]) -> bool:
    """Whether -1 stands for chance."""
    widget = schema.get("widget") or schema.get("ui", {}).get("widget") or (name == "seed" and "seed")
    return type_of(schema) is int and widget == "seed"


def type_of(schema: dict[str, Any]) -> Any:
    """Of a JSON Schema, the Python type; where it says none, that of the default."""
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    kind = schema.get("type") or _guessed(schema.get("default"))
    if kind == "array":
        each: Any = type_of(schema["items"]) if "items" in schema else Any
        return list[each]
    return TYPES[kind]


def _guessed(default: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return kinds.get(type(default), "string")


def input_type(kind: str, is_list: bool, optional: bool, words: str) -> Any:
    found = list[KINDS[kind]] if is_list else KINDS[kind]
    return Annotated[found | None if optional else found, words] if words else found | None if optional else found

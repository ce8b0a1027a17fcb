"""Values to try a job with, made from what it announces: parameters from their JSON Schema, inputs from their types.

They are the same each time, and few: the edges of what is allowed, one parameter at a time, then mixtures. A job may
take seconds, so this is no place for hundreds of random examples."""

import io
import itertools
import random
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import PIL.Image

Schema = dict[str, Any]
MIXTURES = 8
FAR = 8  # times the default
SEED = 1234  # in place of chance
LONGEST = 2_000  # characters of a generated text
TEXT = "a red circle, 日本語 é 🎨"
SIZE = (64, 48)
FILM = Path(__file__).with_name("sample.mp4")


class Parameters:
    """Of one job. `choices(list)` gives the entries of a list by reference; `given` are values that always hold."""

    def __init__(self, schema: Schema, choices: Callable[[str], list[str]], given: dict[str, Any]):
        self._known, self._choices, self._given = schema.get("properties", {}), choices, given
        self._definitions, self._required = schema.get("$defs", {}), schema.get("required", [])
        self._schema = schema

    def base(self) -> dict[str, Any]:
        """What to run it with first: what is given, seeds that are none of chance, and what is required."""
        seeds = {name: SEED for name, each in self._known.items() if _ui(each).get("widget") == "seed"}
        needed = {name: value for name in self._required for value in self._values(name)[:1]}
        return needed | {name: seed for name, seed in seeds.items() if self._fits(name, seed)} | self._given

    def valid(self) -> Iterator[dict[str, Any]]:
        """The base with one parameter at an edge: first one edge of each, then the next. Then mixtures, and at last the
        edges that are far from what is usual, which may take long."""
        free = {name: self._values(name) for name in self._known if name not in self._given}
        near = {name: [value for value in values if not self._far(name, value)] for name, values in free.items()}
        for row in itertools.zip_longest(*([(name, value) for value in values] for name, values in near.items())):
            yield from (self.base() | {name: value} for name, value in filter(None, row))
        chance = random.Random(SEED)
        for _ in range(MIXTURES if len(free) > 1 else 0):
            yield self.base() | {name: chance.choice(values) for name, values in near.items() if values}
        for name, values in free.items():
            yield from (self.base() | {name: value} for value in values if value not in near[name])

    def _far(self, name: str, value: Any) -> bool:
        usual = self._known[name].get("default")
        numbers = all(isinstance(each, int | float) for each in (value, usual))
        return numbers and abs(value) > FAR * max(abs(usual), 1)

    def invalid(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(parameter, values that are to be refused because of it)."""
        yield "no_such_parameter", self.base() | {"no_such_parameter": 1}
        for name in self._required:
            yield name, {other: value for other, value in self.base().items() if other != name}
        for name, schema in self._known.items():
            for value in [each for each in _odd(self._resolved(schema)) if not self._fits(name, each)][:3]:
                yield name, self.base() | {name: value}

    def kinds(self) -> dict[str, str]:
        """The parameters that name a model, by the kind of that."""
        sources = {_ui(schema).get("choices_from", ""): name for name, schema in self._known.items()}
        return {source[7:]: name for source, name in sources.items() if source.startswith("models/")}

    def with_model(self, parameter: str, name: str) -> dict[str, Any] | None:
        """The base with another model; None if nothing may be called that."""
        return self.base() | {parameter: name} if self._fits(parameter, name) else None

    def _values(self, name: str) -> list[Any]:
        schema = self._known[name]
        if source := _ui(schema).get("choices_from"):
            found = [schema["default"]] if "default" in schema else []
            return [value for value in found + self._choices(source)[:1] if self._fits(name, value)]
        found = [*schema.get("examples", []), *self._edges(schema)]
        return [value for at, value in enumerate(found) if value not in found[:at] and self._fits(name, value)]

    def _edges(self, schema: Schema, depth: int = 0) -> list[Any]:
        schema = self._resolved(schema)
        own = [schema["default"]] if "default" in schema else []
        if "enum" in schema or "const" in schema:
            return [*own, *schema.get("enum", []), *([schema["const"]] if "const" in schema else [])]
        if parts := [*schema.get("anyOf", []), *schema.get("oneOf", [])]:
            return own + [value for part in parts for value in self._edges(part, depth)]
        kind = schema.get("type")
        if kind in ("integer", "number"):
            return own + _numbers(schema, 1 if kind == "integer" else 0.5)
        if kind == "string":
            most, least = min(schema.get("maxLength", LONGEST), LONGEST), schema.get("minLength", 0)
            return own + [TEXT, "x" * max(least, 1), "x" * least, "x" * most]
        if kind == "array":
            items = self._edges(schema.get("items", {}), depth + 1)[:2] if depth < 3 else []
            return own + [items[:1], [], items]
        if kind == "object":
            known = schema.get("properties", {})
            needed = {name: self._edges(known[name], depth + 1)[:1] for name in schema.get("required", []) if depth < 3}
            return own + [{name: value for name, values in needed.items() for value in values}]
        return own + {"boolean": [True, False], "null": [None]}.get(kind, [])

    def _resolved(self, schema: Schema) -> Schema:
        return self._definitions.get(schema["$ref"].rpartition("/")[2], {}) | schema if "$ref" in schema else schema

    def _fits(self, name: str, value: Any) -> bool:
        one = {"$defs": self._definitions, **self._known[name]}
        return jsonschema.Draft202012Validator(one).is_valid(value)


def _numbers(schema: Schema, small: float) -> list[Any]:
    step = schema.get("multipleOf", small)
    low = schema.get("minimum", schema["exclusiveMinimum"] + step if "exclusiveMinimum" in schema else None)
    high = schema.get("maximum", schema["exclusiveMaximum"] - step if "exclusiveMaximum" in schema else None)
    if "multipleOf" in schema:
        low, high = low and -(-low // step) * step, high and high // step * step
    return [edge for edge in (low, high) if edge is not None] or [0, step]


def _odd(schema: Schema) -> list[Any]:
    """Values that are allowed nowhere, or hardly anywhere."""
    found = [schema["minimum"] - 1] if "minimum" in schema else []
    found += [schema["maximum"] + 1] if "maximum" in schema else []
    found += ["x" * (schema["maxLength"] + 1)] if schema.get("maxLength", LONGEST) < LONGEST else []
    return [*found, {"no": ["such", "thing"]}, "no such choice", [[]], 0.123456789, True, None]


def _ui(schema: Schema) -> dict[str, Any]:
    return schema.get("ui", {})


def inputs(kind: str) -> list[tuple[str, bytes | str]]:
    """(what it is, its content) of an input of that kind; the first is the one to begin with."""
    return {"image": _images, "mask": _masks, "text": _texts, "json": _jsons, "audio": _sounds, "video": _films}[kind]()


def _images() -> list[tuple[str, bytes | str]]:
    ramp = PIL.Image.linear_gradient("L").resize(SIZE)
    colour = PIL.Image.merge("RGB", (ramp, ramp.transpose(PIL.Image.Transpose.ROTATE_180), ramp))
    clear = colour.copy()
    clear.putalpha(ramp)
    others = (("a transparent one", clear), ("a grey one", ramp), ("one of a single pixel", colour.resize((1, 1))))
    return [("a picture", _png(colour))] + [(name, _png(picture)) for name, picture in others]


def _masks() -> list[tuple[str, bytes | str]]:
    half = PIL.Image.new("L", SIZE)
    half.paste(255, (16, 12, 48, 36))
    empty, full = PIL.Image.new("L", SIZE), PIL.Image.new("L", SIZE, 255)
    return [("a mask", _png(half)), ("an empty mask", _png(empty)), ("a mask of everything", _png(full))]


def _png(picture: PIL.Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _texts() -> list[tuple[str, bytes | str]]:
    return [("a text", "a red circle\non a blue background"), ("an empty text", ""), ("Unicode", TEXT)]


def _jsons() -> list[tuple[str, bytes | str]]:
    given = ('{"name": "circle", "values": [1, 2.5, null, true]}', "[]", "null", '"text"')
    return [("an object" if text[0] == "{" else text, text) for text in given]


def _sounds() -> list[tuple[str, bytes | str]]:
    ramp = b"".join((number * 300 % 20_000 - 10_000).to_bytes(2, "little", signed=True) for number in range(1600))
    return [("a sound", _wav(ramp)), ("a sound of no length", _wav(b""))]


def _wav(samples: bytes) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples)
    return out.getvalue()


def _films() -> list[tuple[str, bytes | str]]:
    return [("a film", FILM.read_bytes())]

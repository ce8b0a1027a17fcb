"""Makes the flags of a job from its announced schema (types, bounds, defaults, help); reads what is piped in."""

import argparse
import base64
import difflib
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clients.cli import show
from clients.python import InvalidParams
from clients.python.stable_core import ARTIFACT_ID

IMAGES = ("image", "mask")
BOUNDS = {
    "minimum": ("at least", lambda value, bound: value >= bound),
    "maximum": ("at most", lambda value, bound: value <= bound),
    "exclusiveMinimum": ("more than", lambda value, bound: value > bound),
    "exclusiveMaximum": ("less than", lambda value, bound: value < bound),
}


BOOLEANS = {"on": True, "off": False, "yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}


def resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without references, and without the `or null` of an optional one."""
    inner = schema
    if "$ref" in schema:
        inner = definitions[schema["$ref"].split("/")[-1]]
    for key in ("anyOf", "allOf"):
        choices = [each for each in schema.get(key, []) if each.get("type") != "null"]
        if len(choices) == 1:
            inner = choices[0]
    if inner is schema:
        return schema
    return resolve(
        {**inner, **{key: schema[key] for key in schema if key not in ("$ref", "anyOf", "allOf")}}, definitions
    )


def bounds(schema: dict[str, Any]) -> str:
    """ "1 to 150", "at least 1", "more than 0": what is allowed, in words."""
    if "minimum" in schema and "maximum" in schema:
        text = f"{show.value(schema['minimum'])} to {show.value(schema['maximum'])}"
    else:
        text = ", ".join(f"{words} {show.value(schema[key])}" for key, (words, _) in BOUNDS.items() if key in schema)
    if "multipleOf" in schema:
        text += f"{' ' if text else ''}in steps of {show.value(schema['multipleOf'])}"
    return text


def number(schema: dict[str, Any]) -> Callable[[str], int | float]:
    """Reads a number and refuses one that is out of bounds before the server has to."""

    def read(text: str) -> int | float:
        try:
            value = int(text) if schema["type"] == "integer" else float(text)
        except ValueError:
            kind = "a whole number" if schema["type"] == "integer" else "a number"
            raise argparse.ArgumentTypeError(f"must be {kind}, got {text!r}.") from None
        for key, (_, holds) in BOUNDS.items():
            if key in schema and not holds(value, schema[key]):
                raise argparse.ArgumentTypeError(f"must be {bounds(schema)}, got {text}.")
        return value

    return read


def from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be JSON: {error}.") from None


def input_of(kind: str, folder: Path = Path()) -> Callable[[str], Any]:
    """Reads an input: an artifact's id, a file (seen from `folder`), - for what is piped in (a list); for texts also
    the text itself."""

    def read(text: str) -> Any:
        if ARTIFACT_ID.fullmatch(text):
            return text
        if text == "-":
            return piped_in()
        if kind == "text" and not text.startswith("@"):
            return text.encode()  # never taken for an id or a file
        path = folder / Path(text.removeprefix("@") if kind == "text" else text).expanduser()
        if not path.is_file():
            raise argparse.ArgumentTypeError(f"there is no file {str(path)!r}, and it is no artifact's id.")
        return epub_as_text(path) if kind == "text" and path.suffix.lower() == ".epub" else path

    return read


def epub_as_text(path: Path) -> bytes:
    """A book is no text, but jobs that read books know it as a data: URL."""
    return b"data:application/epub+zip;base64," + base64.b64encode(path.read_bytes())


def piped_in() -> list[str] | list[bytes]:
    """What a pipe brings: artifacts, where each line begins with an id, as `run` and `artifacts` print them; else the
    bytes of one file, or a text without the last end of a line, which `echo` and `run` add; nothing if it is empty."""
    content = sys.stdin.buffer.read()
    try:
        return ids_in(content.decode())
    except UnicodeDecodeError:
        return [content]
    except InvalidParams:
        return [content[: -2 if content.endswith(b"\r\n") else -1] if content.endswith(b"\n") else content]


def ids_in(text: str) -> list[str]:
    """The ids that the lines begin with; a header may come first. Raises InvalidParams for any other word."""
    words = [line.split(maxsplit=1)[0] for line in text.splitlines() if line.strip()]
    words = words[1:] if words[:1] == ["id"] else words
    for word in words:
        if not ARTIFACT_ID.fullmatch(word):
            raise InvalidParams(f"what is piped in has to be ids, one a line, got {word[:100]!r}.")
    return words


def is_piped() -> bool:
    return sys.stdin is not None and not sys.stdin.isatty()


class JobParser(argparse.ArgumentParser):
    """The flags of one job. `read` gives (own options, params, inputs); only what was given is sent, so that the
    server's defaults count."""

    def __init__(
        self, about: dict[str, Any], own: argparse.ArgumentParser, call: Callable[[str, dict[str, Any]], dict[str, Any]]
    ):
        super().__init__(prog=f"clients.cli run {about['name']}", add_help=False, allow_abbrev=False)
        self._about, self._own, self._call = about, own, call
        self._taken = {string for action in own._actions for string in action.option_strings} | {"--help", "-h"}
        self._inputs: dict[str, str] = {}
        self._params: dict[str, str] = {}
        self._rows: dict[str, list[tuple[str, str, list[str]]]] = {}  # for the help: flag, help, what is allowed
        self.add_argument("-h", "--help", action="help")
        for name, port in about["inputs"].items():
            self._add_input(name, port)
        self._definitions = definitions = about["params"].get("$defs", {})
        required = about["params"].get("required", [])
        announced = {name: resolve(each, definitions) for name, each in about["params"].get("properties", {}).items()}
        for name in sorted(announced, key=lambda name: announced[name].get("ui", {}).get("order", math.inf)):
            self._add_param(name, announced[name], name in required)
        for action in own._actions:
            self._add_action(action)
            metavar = "CHOICE" if action.choices else action.metavar
            shown = ", ".join(action.option_strings) + (f" {metavar}" if metavar else "")
            allowed = [", ".join(action.choices)] if action.choices else []
            self._rows.setdefault(show.OURS, []).append((shown, action.help or "", allowed))

    def _flag(self, name: str, kind: str) -> str:
        """The flag of a parameter or input, another one where that is ours or taken already."""
        flag = "--" + name.replace("_", "-")
        flag = flag if flag not in self._taken else f"--{kind}-{flag[2:]}"
        self._taken.add(flag)
        return flag

    def _add_input(self, name: str, port: dict[str, Any]) -> None:
        flag, kind = self._flag(name, "input"), port["kind"]
        metavar = "TEXT" if kind == "text" else "FILE"
        self._inputs[f"input {name}"] = name
        action = self.add_argument(
            flag, dest=f"input {name}", type=input_of(kind), nargs="+", metavar=metavar, default=argparse.SUPPRESS
        )
        action.help = port.get("help", "")
        many = "several" if port["list"] else "for several, it runs once for each"
        what = "text, @FILE" if kind == "text" else f"{kind} file"
        need = [] if port["optional"] else ["needed"]
        how = f"{what}, artifact id, or - for what is piped in; {many}.".capitalize()
        row = (f"{flag} {metavar} ...", f"{port['help']} {how}" if "help" in port else how, need)
        self._rows.setdefault("Input", []).append(row)

    def _add_param(self, name: str, schema: dict[str, Any], required: bool) -> None:
        flag, type, dest = self._flag(name, "param"), schema.get("type"), f"param {name}"
        self._params[dest] = name
        common: dict[str, Any] = {"dest": dest, "default": argparse.SUPPRESS}
        metavar, allowed, offered = name.upper(), "", []
        if "enum" in schema or "const" in schema:
            values = {str(value): value for value in schema.get("enum", [schema.get("const")])}
            offered = [*schema.get("ui", {}).get("choices", values)]
            metavar, allowed = "CHOICE", ", ".join(map(str, offered))
            action = self.add_argument(flag, type=self._choice(values, allowed), **common)
        elif type == "boolean":
            metavar, allowed = "", f"or --no-{flag[2:]}"
            action = self.add_argument(flag, action=argparse.BooleanOptionalAction, **common)
        elif type in ("integer", "number"):
            metavar, allowed = "N" if type == "integer" else "X", bounds(schema)
            action = self.add_argument(flag, type=number(schema), **common)
        elif type == "string":
            metavar = "TEXT"
            action = self.add_argument(flag, type=str, **common)
        elif type == "array" and (items := schema.get("items", {})).get("type") == "string":
            metavar, allowed = "TEXT ...", ", ".join(items.get("enum", []))
            read = self._choice({each: each for each in items["enum"]}, allowed) if "enum" in items else str
            offered = items.get("enum", [])
            action = self.add_argument(flag, nargs="*", type=read, **common)
        else:
            metavar = "JSON"
            fields = resolve(schema.get("items", {}), self._definitions).get("properties", {})
            names = sorted(fields, key=lambda name: fields[name].get("ui", {}).get("order", math.inf))
            allowed = f"[{{{', '.join(names)}}}, ...]" if names else ""
            action = self.add_argument(flag, type=from_json, **common)
        ui = schema.get("ui", {})
        facts = [
            f"{allowed} {ui.get('unit', '')}".strip(),
            f"list:{ui['choices_from']}" if "choices_from" in ui else "",
        ]
        if required:
            facts.append("needed")
        elif (default := schema.get("default")) not in (None, "", [], {}):
            as_json = metavar == "JSON"
            words = json.dumps(default, ensure_ascii=False) if as_json else show.value(default)
            facts.append(f"default {' '.join(default) if metavar == 'TEXT ...' else words}")
        group = ui.get("group") or ("Advanced" if ui.get("advanced") else "Parameters")
        # For completion: what may be typed, and the list that the server keeps of it.
        action.help, action.offered, action.list = schema.get("description", ""), [*offered], ui.get("choices_from")
        row = (f"{flag} {metavar}".strip(), schema.get("description", ""), [fact for fact in facts if fact])
        self._rows.setdefault(group[:1].upper() + group[1:], []).append(row)

    def _choice(self, values: dict[str, Any], offered: str) -> Callable[[str], Any]:
        def read(text: str) -> Any:
            if text not in values:
                raise argparse.ArgumentTypeError(f"must be one of {offered}, got {text!r}.")
            return values[text]

        return read

    def format_help(self) -> str:
        return show.job_help(self._about, self._rows, self._listed)

    def _listed(self, fact: str) -> str:
        """A fact for the help; of a list that the server keeps, its first entries."""
        name = fact.removeprefix("list:")
        if name == fact:
            return fact
        answer = self._call("choices", {"list": name, "limit": 5})
        entries, offers, left = answer["choices"], answer.get("fetchable", []), answer["total"] - len(answer["choices"])
        more = f" and {left} more: choices {name}" if left else ""
        known = (", ".join(entries) + more) or ("none yet" + f" in {name}" * (not name.startswith("call/")))
        return known + f"; {len(offers)} to be fetched: choices {name}" * bool(offers)

    def error(self, message: str) -> None:
        self._own.error(f"{self._about['name']}: {self._readable(message)}")

    def _readable(self, message: str) -> str:
        """argparse says `argument --steps: must be 1 to 150`; we say `--steps must be 1 to 150`."""
        head, _, rest = message.removeprefix("argument ").partition(": ")
        return f"{head} {rest}" if message.startswith("argument ") else message.replace("arguments are", "flags are")

    def read(self, words: list[str]) -> tuple[argparse.Namespace, dict[str, Any], dict[str, Any]]:
        flags, unknown = self.parse_known_args(words)
        if unknown and not unknown[0].startswith("-"):
            self.error(f"{unknown[0]!r} belongs to no flag. Put quotes around a text with spaces.")
        if unknown:
            near = difflib.get_close_matches(unknown[0].split("=")[0], self._taken, n=1)
            self.error(f"there is no flag {unknown[0]}." + (f" Did you mean {near[0]}?" if near else ""))
        given = vars(flags)
        params = {name: given[dest] for dest, name in self._params.items() if dest in given}
        inputs = {name: flat(given[dest]) for dest, name in self._inputs.items() if dest in given}
        return flags, params, inputs

    def complete(self, params: dict[str, Any], inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """The inputs, with what is piped in as the one that is missing. Raises InvalidParams if more is missing."""
        ports = self._about["inputs"]
        missing = [name for name, port in ports.items() if not port["optional"] and name not in inputs]
        if len(missing) == 1 and is_piped() and (found := piped_in()) and found != [b""]:
            inputs, missing = inputs | {missing[0]: found}, []
        missing += [name for name in self._about["params"].get("required", []) if name not in params]
        if missing:
            self.error(f"the following flags are required: {', '.join(map(self.flag_of, missing))}")
        return inputs

    def read_cell(self, name: str, text: str) -> Any:
        """A parameter as a table writes it. Raises ArgumentTypeError."""
        action = next(each for each in self._actions if each.dest == f"param {name}")
        if isinstance(action, argparse.BooleanOptionalAction):
            if (word := text.strip().lower()) not in BOOLEANS:
                raise argparse.ArgumentTypeError(f"must be one of {', '.join(BOOLEANS)}, got {text!r}.")
            return BOOLEANS[word]
        if action.nargs == "*":
            return [action.type(each) for each in (from_json(text) if text.lstrip().startswith("[") else [text])]
        return action.type(text if action.type is str else text.strip())

    def flag_of(self, name: str) -> str:
        """The flag of a parameter or input."""
        return next(action.option_strings[0] for action in self._actions if action.dest.partition(" ")[2] == name)


def flat(values: list[Any]) -> list[Any]:
    """Without the lists that pipes give."""
    return [each for value in values for each in (value if isinstance(value, list) else [value])]


def ready(about: dict[str, Any], inputs: dict[str, list[Any]]) -> dict[str, Any]:
    """Inputs as the SDK takes them: one thing alone where the port takes one."""
    ports = about["inputs"]
    return {name: each if ports[name]["list"] or len(each) != 1 else each[0] for name, each in inputs.items()}

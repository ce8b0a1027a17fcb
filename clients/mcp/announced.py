"""How announced jobs become tools: a name that every client allows, and one JSON Schema of parameters and inputs."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from mcp import types

MAX_NAME = 64  # the models' function names: letters, digits, _ and -
WORDS = {
    "image": "A picture", "mask": "A mask, white where something is to happen", "text": "A text",
    "json": "A JSON value", "audio": "A WAV sound", "video": "An MP4 film",
}  # fmt: skip
STORED = "an artifact's id, as results have it, or its URI"
FORMS = {"text": f"the text itself, or {STORED}", "json": f"the value itself, or {STORED}"}
FILE = f"{STORED}; or the file itself, as a data: URL or base64"
ARTIFACT = {  # short, for it is in every tool, and models pay for each word
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "For inputs of other tools."},
        "url": {"type": "string", "description": "For a person: opens in any browser for a day."},
        "kind": {"type": "string"},
        "seed": {"description": "Makes the same again."},
        "value": {"description": "Of kind json."},
    },
    "required": ["id", "url", "kind"],
}


@dataclass(frozen=True)
class Announced:
    """A job, as the server describes it with its name in full (plugin.job), and the tool that it is."""

    about: dict[str, Any]
    tool: types.Tool


def tools(plugins: list[dict[str, Any]]) -> dict[str, Announced]:
    """All announced jobs by the names of their tools."""
    found = {}
    for plugin in plugins:
        for each in plugin["jobs"]:
            about = each | {"name": f"{plugin['name']}.{each['name']}"}
            name = name_of(plugin["name"], each["name"])
            found[name] = Announced(about, tool(name, f"{each['name']} ({plugin['name']})", about))
    return found


def name_of(plugin: str, job: str) -> str:
    """The tool's name, always the same and never another job's: plugin-job, or part of it and a hash."""
    if re.fullmatch(r"\w+", job, re.ASCII) and len(plugin) + 1 + len(job) <= MAX_NAME:
        return f"{plugin}-{job}"
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", f"{plugin}-{job}")
    return f"{plain[: MAX_NAME - 9]}-{hashlib.sha256(f'{plugin}.{job}'.encode()).hexdigest()[:8]}"


def tool(name: str, title: str, about: dict[str, Any]) -> types.Tool:
    light, output = about["light"], about["output"]
    gives = f"Gives {'several of kind' if output['list'] else 'one'} {output['kind']}."
    return types.Tool(
        name=name,
        title=title,
        description=f"{about['help']}\n\n{gives}{' Answers at once, without the queue.' if light else ''}".strip(),
        input_schema=input_schema(about),
        output_schema=output_schema(light),
        # A queued job only adds results. A light one may do anything, delete a saved style for example: then apps ask.
        annotations=types.ToolAnnotations(
            title=title, read_only_hint=False, destructive_hint=None if light else False, open_world_hint=False
        ),
    )


def input_schema(about: dict[str, Any]) -> dict[str, Any]:
    """The parameters' schema as the job announces it, without what is for forms, and the inputs beside them."""
    params = about["params"]
    properties = {name: parameter(each) for name, each in params.get("properties", {}).items()}
    properties |= {name: port(each) for name, each in about["inputs"].items()}
    required = [name for name, each in about["inputs"].items() if not each["optional"]] + params.get("required", [])
    definitions = {"$defs": params["$defs"]} if "$defs" in params else {}
    return {
        "type": "object", "properties": properties, "required": required, "additionalProperties": False,
    } | definitions  # fmt: skip


def parameter(schema: dict[str, Any]) -> dict[str, Any]:
    """What one more parameter is to a model; of an advanced one, the first sentence has to do."""
    kept, hints = {key: value for key, value in schema.items() if key not in ("ui", "title")}, schema.get("ui", {})
    if "description" in kept and hints.get("advanced"):
        kept["description"] = f"{kept['description'].partition('. ')[0].rstrip('.')}."
    if choices := hints.get("choices_from"):
        text = f'Values: `choices` of "{choices}".'
        kept["description"] = f"{kept.get('description', '')} {text}".strip()
    return kept


def port(about: dict[str, Any]) -> dict[str, Any]:
    """The schema of an input: {"kind", "list", "optional", "help"}."""
    kind = about["kind"]
    words = about.get("help") or WORDS.get(kind, f"Something of kind {kind}")
    text = {"description": f"{words.rstrip('.')}: {FORMS.get(kind, FILE)}."}
    one = {} if kind == "json" else {"type": "string"}
    return {"type": "array", "items": one} | text if about["list"] else one | text


def output_schema(light: bool) -> dict[str, Any]:
    """What structuredContent holds. Nothing is required: an error has but `error`, and clients check that, too."""
    answer: dict[str, Any] = {"outputs": {"type": "array"}}
    if not light:
        answer = {"job": {"type": "string"}, "artifacts": {"type": "array", "items": ARTIFACT}}
    return {"type": "object", "properties": answer | {"error": {"type": "object"}}}

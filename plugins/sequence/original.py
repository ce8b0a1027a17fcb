"""Settings in files: as JSON by our names, or as run_interleave.py has them, whose script itself can be read."""

import ast
import difflib
import json
import warnings
from collections.abc import Iterable
from typing import Any

import pydantic

from core.library.models import Models
from core.plugin import InvalidParams

from .options import SequenceParams, Style

TABLES = ("prompt_config", "generation_config", "style_configs")
OURS = {
    "source": "book", "progresive": "progressive", "guidance_scale": "cfg_scale", "num_inference_steps": "steps",
    "style_configs": "styles",
}  # fmt: skip
UNUSED = {"preview_stop", "preview_max_windows"}  # of windows, which nobody opens here
UNUSED_OF_STYLES = {"last_image", "images"}
FIELDS = SequenceParams.model_fields.keys() - {"config", "settings", "story"}


def configured(params: SequenceParams, models: Models) -> SequenceParams:
    """With what the settings file and then `config` say, where a parameter has its default. Raises InvalidParams."""
    said: dict[str, Any] = {}
    if params.settings:
        path = models.path("sequence", params.settings)
        said |= translated(path.read_text("utf-8-sig", "replace"), "settings")
    if params.config.strip():
        said |= translated(params.config, "config")
    default = SequenceParams()
    ours = {name: getattr(params, name) for name in SequenceParams.model_fields}
    changed = {name: each for name, each in said.items() if ours[name] == getattr(default, name)}
    try:
        return SequenceParams(**(params.model_dump() | changed))
    except pydantic.ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise InvalidParams(f"the settings are not allowed: {'; '.join(wrong)}.", field="config") from error


def translated(text: str, field: str) -> dict[str, Any]:
    """The parameters that a text sets."""
    tables = _tables(text, field)
    given: dict[str, Any] = {}
    for name, value in tables.items():
        if name in TABLES[:2] and not isinstance(value, dict):
            raise InvalidParams(f"{field}: {name} has to be a table, got {type(value).__name__}.", field=field)
        given |= value if name in TABLES[:2] else {name: value}
    ours = {OURS.get(name, name): value for name, value in given.items() if name not in UNUSED and value is not None}
    styles = ours["styles"] if isinstance(ours.get("styles"), list) else []
    for style in styles:
        if isinstance(style, dict):
            for name in UNUSED_OF_STYLES:
                style.pop(name, None)
    problems = [_unknown(name, FIELDS | OURS.keys()) for name in ours if name not in FIELDS]
    names = {name: None for style in styles if isinstance(style, dict) for name in style}
    problems += [_unknown(name, Style.model_fields.keys()) for name in names if name not in Style.model_fields]
    if problems:
        raise InvalidParams(f"{field}: {' '.join(problems)}", field=field)
    return ours


def _unknown(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), known, 1)
    return f"there is no setting {name!r}." + (f" Did you mean {near[0]!r}?" if near else "")


def _tables(text: str, field: str) -> dict[str, Any]:
    """What stands in JSON, or is set at the outermost level of a Python script, which is read and not run."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as no_json:
        found = _of_script(text, field, no_json)
    if not isinstance(found, dict):
        raise InvalidParams(f"{field} has to be a table of settings, got {type(found).__name__}.", field=field)
    return found


def _of_script(text: str, field: str, no_json: Exception) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of 'Season\d+', which a person wrote without r
            parsed = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidParams(f"{field} is neither JSON ({no_json}) nor Python ({error}).", field=field) from error
    found = {}
    for line in parsed.body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and line.targets[0].id in TABLES:
            name = line.targets[0].id
            try:
                found[name] = ast.literal_eval(line.value)
            except (ValueError, TypeError, RecursionError, MemoryError) as error:
                text = f"{field}: {name} in line {line.lineno} has to be written out, not computed: {error}."
                raise InvalidParams(text, field=field) from error
    if not found:
        raise InvalidParams(f"{field} is no JSON ({no_json}), and sets none of {', '.join(TABLES)}.", field=field)
    return found

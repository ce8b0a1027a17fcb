"""What can be asked for: the announced jobs, and the check of a request's parameters and inputs against them."""

import difflib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema

from core.auth import OWNER
from core.errors import InvalidParams, PluginError, TooLarge, UnknownJob
from core.library.declared import fetchable
from core.library.near import did_you_mean
from core.library.plain import json_size

MAX_PARAMS = 1_000_000  # bytes of JSON
SMALL_PARAMS = 10_000  # are checked in less than a few milliseconds
MAX_ITEMS = 1_000  # of one input
MAX_ERRORS = 50  # told at once
MEND = "Once its files are mended, it is there again."


@dataclass
class PluginInfo:
    """A plugin folder. `status`: installing, ready, disabled, refused (then `error` says why), or removed."""

    name: str
    folder: Path
    manifest: dict[str, Any] = field(default_factory=dict)
    status: str = "installing"
    error: str | None = None
    broken: bool = False  # refused while it ran: its queued jobs fail instead of waiting
    python: Path | None = None
    stamp: str = ""  # changes with every file in its folder
    code: str = ""  # a hash of its code and environment
    content: str = ""  # a hash of these and of what its jobs are made from
    jobs: list[dict[str, Any]] = field(default_factory=list)
    declared: dict[str, dict[str, Any]] = field(default_factory=dict)  # own defaults and bounds, by job and parameter
    settings_schema: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)  # what the admin has set, and the defaults of the rest
    notes: list[str] = field(default_factory=list)  # for people: what is not offered, and why
    made_from: str = ""  # a hash of the files that its jobs are made from, if they are
    renewing: bool = False  # while these are being read again
    sandbox: bool = False  # whether its processes run in one

    def wire(self) -> dict[str, Any]:
        keys = ("version", "title", "description", "author", "licence", "homepage")
        about = {key: self.manifest[key] for key in keys if key in self.manifest}
        jobs = [] if self.status in ("refused", "disabled") else self.jobs
        more = {"jobs": jobs, "settings": self.settings_schema, "notes": self.notes, "sandbox": self.sandbox}
        return {**self.brief(), **more, **about}

    def offered_to(self, owner: str) -> bool:
        """One that runs code which clients send is for the admin alone."""
        return owner == OWNER or not self.manifest.get("runs_code")

    def brief(self) -> dict[str, Any]:
        """What the event `plugins` tells."""
        return {"name": self.name, "status": self.status, "error": self.error}

    def models(self) -> list[dict[str, Any]]:
        """The [[models]] that the plugin ships, with absolute paths; and, without a name, which files of the user are
        models of a kind besides weights, its [data]."""
        shipped = [model for model in self.manifest.get("models", []) if "path" in model]
        data = [{"kind": kind, "suffixes": each} for kind, each in self.manifest.get("data", {}).items()]
        return [{**model, "path": str(self.folder / model.get("path", "plugin.toml"))} for model in [*shipped, *data]]


class Fields:
    """Values by name, as a JSON Schema has them: a job's parameters, a plugin's settings.

    In messages, `of` says whose they are and `what` what one is called."""

    def __init__(self, of: str, what: str, schema: dict[str, Any], run_blocking: Callable[..., Any]):
        self._of, self._what, self._schema, self._run_blocking = of, what, schema, run_blocking
        self._validator = jsonschema.Draft202012Validator(schema)

    def check(self, values: dict[str, Any]) -> dict[str, Any]:
        """`values` with the defaults filled in; raises InvalidParams with all bad fields, or TooLarge."""
        whats = f"{self._what}s"
        try:
            size = json_size(values, MAX_PARAMS)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidParams(f"{self._of}: {whats} must be JSON without NaN or infinity: {error}.") from error
        if size > MAX_PARAMS:
            raise TooLarge(f"{self._of}: {whats} take too many bytes, the limit is {MAX_PARAMS:,}. Upload large data.")
        known, errors = self._schema.get("properties", {}), []
        for name in [name[:100] for name in sorted(values.keys() - known.keys())[:MAX_ERRORS]]:
            allowed = did_you_mean(name, known) or f" Known are {', '.join(known) or 'none'}."
            errors.append({"field": name, "message": f"{name} is not a {self._what}.{allowed}"})
        complete = {name: schema["default"] for name, schema in known.items() if "default" in schema} | values
        given = {name: complete[name] for name in known if name in complete}
        found = (_innermost(error) for error in itertools.islice(self._validator.iter_errors(given), MAX_ERRORS))
        for error in self._run_blocking(list, found) if size > SMALL_PARAMS else found:
            where = ".".join(map(str, error.absolute_path))
            missing = error.message.split("'")[1] if error.validator == "required" else ""
            text = f"{where}: {_said(error)}" if where else _said(error)
            errors.append({"field": where or missing, "message": f"{text}."})
        if errors:
            errors = errors[:MAX_ERRORS]
            text = " ".join(error["message"] for error in errors)
            raise InvalidParams(f"{self._of}: {text}", field=errors[0]["field"], errors=errors)
        return complete


@dataclass
class JobType:
    """One announced job: `name` is plugin.job, `about` its description."""

    name: str
    plugin: PluginInfo
    about: dict[str, Any]
    run_blocking: Callable[..., Any]

    def __post_init__(self) -> None:
        self._params = Fields(self.name, "parameter", self.about["params"], self.run_blocking)

    def check(self, params: dict[str, Any]) -> dict[str, Any]:
        """`params` with the defaults filled in; raises InvalidParams with all bad fields, or TooLarge."""
        return self._params.check(params)

    def reuse(self, params: dict[str, Any], fresh: bool) -> str | None:
        """What core/library/reuse.py has to do with such a job: "look" for an equal one; note what it is if it shall be
        made "fresh"; nothing if it is never equal to another."""
        schema = self.about["params"]
        if not self.about["reuse"] or _is_random(schema, params, schema.get("$defs", {})):
            return None
        return "fresh" if fresh else "look"

    def warmth(self, params: dict[str, Any]) -> Any:
        """What is warm on a worker that runs it: the value of its `affinity`, or itself, where each model is a job."""
        return self.name if "jobs_from" in self.plugin.manifest else params.get(self.about["affinity"])

    def check_inputs(self, inputs: dict[str, Any]) -> dict[str, list[Any]]:
        """`inputs` as a list of references for each announced input, kinds not checked yet; raises InvalidParams."""
        ports = self.about["inputs"]
        if unknown := inputs.keys() - ports.keys():
            allowed = ", ".join(ports) or "none"
            raise InvalidParams(
                f"{self.name} has no input {', '.join(unknown)[:100]}. It has {allowed}.", field="inputs"
            )
        checked, errors = {}, []
        for name, port in ports.items():
            given = inputs.get(name)
            checked[name] = given if isinstance(given, list) else [] if given is None else [given]
            if len(checked[name]) > MAX_ITEMS:
                text = f"{self.name}: {name} has {len(checked[name]):,} items, the limit is {MAX_ITEMS:,}."
                raise TooLarge(text, field=name)
            if not checked[name] and not port["optional"]:
                text = f"{self.name} needs the input {name}: {port['kind']}. Send an artifact's id."
                errors.append({"field": name, "message": text})
        if errors:
            text = " ".join(error["message"] for error in errors)
            raise InvalidParams(text, field=errors[0]["field"], errors=errors)
        return checked


class Catalogue:
    """The plugins found and the jobs of those that are ready. core/ops/plugins.py fills it."""

    def __init__(self, run_blocking: Callable[..., Any]) -> None:
        self._run_blocking = run_blocking
        self.plugins: dict[str, PluginInfo] = {}  # by name; replaced whole, as the jobs are
        self.jobs: dict[str, JobType] = {}  # by plugin.job; replaced whole
        self.extra_models: list[dict[str, Any]] = []  # folders of other apps
        self.fetches: dict[str, dict[str, Any]] = {}  # models that are or were fetched, by kind/name
        self.renew: Callable[[], None] = lambda: None  # look for models that make jobs; set by core/ops/plugins.py

    def shipped_models(self) -> list[dict[str, Any]]:
        """What core/library/models.py has to know of models that are not in the user's own folder."""
        return [model for info in self.plugins.values() for model in info.models()] + self.extra_models

    def fetchable_models(self) -> list[dict[str, Any]]:
        """What core/library/models.py has to know of models that plugins name to be fetched."""
        found = [model for info in self.plugins.values() for model in fetchable(info.manifest)]
        return [model.model_dump(include={"kind", "name", "size_bytes", "licence"}) for model in found]

    def announce(self, plugin: PluginInfo) -> None:
        """Replace what a plugin announces by its `jobs`, all at once."""
        others = {name: job for name, job in self.jobs.items() if job.plugin.name != plugin.name}
        mine = [JobType(f"{plugin.name}.{about['name']}", plugin, about, self._run_blocking) for about in plugin.jobs]
        self.jobs = others | {job.name: job for job in mine}

    def withdraw(self, plugin: PluginInfo) -> None:
        """It is not there any more."""
        plugin.status = "removed"
        self.plugins = {name: info for name, info in self.plugins.items() if info is not plugin}
        self.jobs = {name: job for name, job in self.jobs.items() if job.plugin is not plugin}

    def wanted(self, name: str) -> JobType:
        """As `find`; a job that nobody has announced yet may come from files that were just put there."""
        try:
            return self.find(name)
        except UnknownJob:
            self.renew()
            return self.find(name)

    def find(self, name: str) -> JobType:
        """The announced job `plugin.job`, or `job` where only one plugin has it; those that are made of the user's
        files take nobody's short name. Raises UnknownJob, PluginError."""
        name = name[:100]
        matches = [name] if name in self.jobs else [full for full in self.jobs if full.split(".")[1] == name]
        if len(matches) > 1:
            matches = [each for each in matches if "jobs_from" not in self.jobs[each].plugin.manifest] or matches
        if len(matches) == 1:
            job = self.jobs[matches[0]]
            if job.plugin.status == "refused":
                raise PluginError(f"{job.plugin.name} is refused: {job.plugin.error}", hint=MEND)
            if job.plugin.status == "disabled":
                command = f"python3 server.py plugins enable {job.plugin.name}"
                raise PluginError(f"{job.plugin.name} is disabled.", hint=f"The admin enables it: {command}")
            return job
        if matches:
            raise UnknownJob(f"{name!r} is announced by several plugins: say {' or '.join(matches)}.", field="job")
        near = difflib.get_close_matches(name, {full.split(".")[1] for full in self.jobs} | self.jobs.keys(), n=3)
        coming = [each for each in self.plugins.values() if each.status == "installing" or each.renewing]
        raise UnknownJob(
            f"no plugin announces a job {name!r}." + (f" Did you mean {' or '.join(near)}?" if near else ""),
            field="job",
            hint=f"{', '.join(each.name for each in coming)} may have it in a moment: ask again." if coming else None,
        )


def _is_random(schema: Any, value: Any, definitions: dict[str, Any]) -> bool:
    """Whether a parameter with the widget "seed" is -1, at any depth, where it counts (`visible_if`)."""
    if not isinstance(schema, dict):
        return False
    if "$ref" in schema:
        schema = definitions.get(schema["$ref"].rpartition("/")[2], {}) | schema
    if schema.get("ui", {}).get("widget") == "seed" and value == -1:
        return True
    inner = [(each, value) for key in ("anyOf", "oneOf", "allOf") for each in schema.get(key, [])]
    if isinstance(value, list):
        inner += [(schema.get("items"), each) for each in value]
    if isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties")
        value = {name: each["default"] for name, each in known.items() if "default" in each} | value
        inner += [(known.get(name, rest), each) for name, each in value.items() if _counts(known.get(name), value)]
    return any(_is_random(each, part, definitions) for each, part in inner)


def _counts(schema: Any, params: dict[str, Any]) -> bool:
    """Whether a parameter is of any consequence: whether its `visible_if` fits the others."""
    conditions = schema.get("ui", {}).get("visible_if", {}) if isinstance(schema, dict) else {}
    for name, wanted in conditions.items():
        fitting, given = wanted if isinstance(wanted, list) else [wanted], params.get(name)
        if not any(given == each or (each is True and given) for each in fitting):
            return False
    return True


def _choices(error: jsonschema.ValidationError) -> str:
    """That a value is none of those allowed: with the one that was meant, or else with those that forms offer."""
    allowed = {str(each).casefold(): each for each in reversed(error.validator_value)}
    near = difflib.get_close_matches(str(error.instance)[:100].casefold(), allowed, n=1)
    offered = ", ".join(map(str, error.schema.get("ui", {}).get("choices", error.validator_value)))
    rest = f"did you mean {allowed[near[0]]}" if near else f"allowed are {offered[:500]}"
    return f"{repr(error.instance)[:100]} is not allowed, {rest}"


def _innermost(error: jsonschema.ValidationError) -> jsonschema.ValidationError:
    """For `int | None` and the like: what is wrong with the alternative that comes nearest."""
    return jsonschema.exceptions.best_match([error])


def _said(error: jsonschema.ValidationError) -> str:
    """What is wrong; jsonschema repeats the whole value first, so of a long one the reason is at the end."""
    if error.validator == "maxLength":
        return f"it has {len(error.instance):,} characters, the limit is {error.validator_value:,}"
    if error.validator == "enum":
        return _choices(error)
    return error.message if len(error.message) <= 300 else f"{error.message[:150]} ... {error.message[-150:]}"

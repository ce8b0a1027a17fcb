"""What can be asked for: the plugins found, the jobs they announce, and the check of a request against them.

A plugin describes itself in a child process under its own Python, with a time limit; the server only reads JSON."""

import difflib
import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema

from core.config import ROOT, Config, tomllib
from core.errors import CoreError, InvalidParams, TooLarge, UnknownJob
from core.plugin import API_VERSION
from core.types import KINDS

MAX_PARAMS = 1_000_000  # bytes of JSON
DESCRIBE_SECONDS = 30


@dataclass
class PluginInfo:
    """A plugin folder. `status`: installing, ready or refused (then `error` says why)."""

    name: str
    folder: Path
    manifest: dict[str, Any] = field(default_factory=dict)
    status: str = "installing"
    error: str | None = None
    python: Path | None = None
    jobs: list[dict[str, Any]] = field(default_factory=list)

    def wire(self) -> dict[str, Any]:
        about = {
            key: self.manifest.get(key) for key in ("version", "title", "description", "author", "licence", "homepage")
        }
        return {"name": self.name, "status": self.status, "error": self.error, "jobs": self.jobs, **about}


@dataclass
class JobType:
    """One announced job: `name` is plugin.job, `about` its description, `validator` checks its parameters."""

    name: str
    plugin: PluginInfo
    about: dict[str, Any]
    validator: Any

    @property
    def output_kind(self) -> str:
        return self.about["output"]["kind"]


class Catalogue:
    def __init__(self, config: Config):
        self._config = config
        self.plugins: dict[str, PluginInfo] = {}
        self._jobs: dict[str, JobType] = {}

    def discover(self) -> list[PluginInfo]:
        """All folders with a plugin.toml. Unreadable ones are refused, the others wait to be described."""
        for root in self._config.plugins:
            for path in sorted(root.glob("*/plugin.toml")):
                info = PluginInfo(path.parent.name, path.parent)
                try:
                    info.manifest = tomllib.loads(path.read_text("utf-8"))
                    if info.manifest.get("api") != API_VERSION:
                        raise InvalidParams(
                            f"it asks for api = {info.manifest.get('api')}, this server has {API_VERSION}."
                        )
                    if info.manifest.get("name") != info.name:
                        raise InvalidParams(f"its name is {info.manifest.get('name')!r}, its folder {info.name!r}.")
                except (CoreError, OSError, ValueError) as error:
                    info.status, info.error = "refused", f"plugin.toml: {error}"
                self.plugins.setdefault(info.name, info)
        return list(self.plugins.values())

    def describe(self, info: PluginInfo, python: Path, run_blocking: Callable[..., Any]) -> None:
        """Ask the plugin what it announces (or read the cache), then announce it, or refuse it with the reason."""
        info.python = python
        cache = self._config.data / "descriptions" / f"{_content_hash(info.folder, python)}.json"
        try:
            if not cache.exists():
                cache.parent.mkdir(parents=True, exist_ok=True)
                run_blocking(_describe_in_child, info.folder, python, cache)
            jobs = [_checked(job) for job in json.loads(cache.read_text("utf-8"))]
            types = [self._type(info, job) for job in jobs]
        except CoreError as error:
            info.status, info.error = "refused", str(error)
        else:
            info.jobs, info.status, info.error = jobs, "ready", None
            self._jobs = {name: each for name, each in self._jobs.items() if each.plugin is not info} | {
                each.name: each for each in types
            }

    def _type(self, info: PluginInfo, job: dict[str, Any]) -> JobType:
        name = f"{info.name}.{job['name']}"
        for param, changes in self._config.overrides.get(name, {}).items():
            schema = job["params"]["properties"].get(param)
            if schema is None:
                raise InvalidParams(f"config.toml overrides {name} {param}, which does not exist.")
            schema |= {{"min": "minimum", "max": "maximum"}.get(key, key): value for key, value in changes.items()}
        return JobType(name, info, job, jsonschema.Draft202012Validator(job["params"]))

    def shipped_models(self) -> list[dict[str, Any]]:
        """The [[models]] tables of all plugins, with absolute paths."""
        return [
            {**model, "path": str(info.folder / model["path"])}
            for info in self.plugins.values()
            for model in info.manifest.get("models", [])
            if "path" in model
        ]

    def find(self, name: str) -> JobType:
        """The announced job `plugin.job`, or `job` where only one plugin has it. Raises UnknownJob."""
        if name in self._jobs:
            return self._jobs[name]
        matches = [full for full in self._jobs if full.split(".")[1] == name]
        if len(matches) == 1:
            return self._jobs[matches[0]]
        if matches:
            raise UnknownJob(f"{name!r} is announced by several plugins: say {' or '.join(matches)}.", field="job")
        known = {full.split(".")[1] for full in self._jobs} | self._jobs.keys()
        near = difflib.get_close_matches(name, known, n=3)
        installing = [info.name for info in self.plugins.values() if info.status == "installing"]
        raise UnknownJob(
            f"no plugin announces a job {name[:100]!r}." + (f" Did you mean {' or '.join(near)}?" if near else ""),
            field="job",
            hint=f"Still being installed: {', '.join(installing)}." if installing else None,
        )

    def check(self, job: JobType, params: dict[str, Any]) -> dict[str, Any]:
        """`params` with the defaults filled in; raises InvalidParams with all bad fields, or TooLarge."""
        try:
            size = len(json.dumps(params, allow_nan=False))
        except (ValueError, RecursionError) as error:
            raise InvalidParams(f"{job.name}: params must be JSON without NaN or infinity: {error}.") from error
        if size > MAX_PARAMS:
            raise TooLarge(
                f"{job.name}: params take {size:,} bytes, the limit is {MAX_PARAMS:,}. Upload large data instead."
            )
        known = job.about["params"].get("properties", {})
        errors = []
        for name in params.keys() - known.keys():
            near = difflib.get_close_matches(name, known, n=1)
            allowed = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(known)}."
            errors.append({"field": name[:100], "message": f"{name[:100]} is not a parameter. {allowed}"})
        complete = {name: schema["default"] for name, schema in known.items() if "default" in schema} | params
        for error in job.validator.iter_errors({name: complete[name] for name in known if name in complete}):
            where = ".".join(map(str, error.absolute_path))
            field = where or (error.validator == "required" and error.message.split("'")[1]) or ""
            errors.append({"field": field, "message": f"{where + ': ' if where else ''}{error.message[:300]}."})
        if errors:
            text = " ".join(error["message"] for error in errors)
            raise InvalidParams(f"{job.name}: {text}", field=errors[0]["field"], errors=errors)
        return complete


def _content_hash(folder: Path, python: Path) -> str:
    digest = hashlib.sha256(str(python).encode())
    for path in sorted((*folder.rglob("*.py"), *folder.glob("*.toml"), *(ROOT / "core").glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _describe_in_child(folder: Path, python: Path, target: Path) -> None:
    answer, log = target.with_suffix(".new"), target.with_suffix(".log")
    command = [str(python), "-m", "core.worker", "--describe", str(folder), str(answer)]
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT, start_new_session=True
        )
        try:
            child.wait(DESCRIBE_SECONDS)
        except subprocess.TimeoutExpired as error:
            child.kill()
            raise InvalidParams(f"it did not describe itself within {DESCRIBE_SECONDS} s; see {log}.") from error
    if not answer.exists():
        last = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or ["it printed nothing"]
        raise InvalidParams(f"importing it failed (exit code {child.returncode}): {last[0][:500]}")
    answer.replace(target)


def _checked(job: Any) -> dict[str, Any]:
    """The description of one job as the server needs it; a plugin may have announced nonsense."""
    try:
        ports = [*job["inputs"].values(), job["output"]]
        if not (
            job["name"].isidentifier() and all(each["kind"] in KINDS for each in ports) and job["concurrency"] >= 1
        ):
            raise ValueError(f"{job['name']!r} has a bad name, type or concurrency")
        jsonschema.Draft202012Validator.check_schema(job["params"])
    except (KeyError, TypeError, ValueError, AttributeError, jsonschema.SchemaError) as error:
        raise InvalidParams(f"it announces a job that makes no sense: {error}.") from error
    return job

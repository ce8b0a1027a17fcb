"""Learns what a plugin announces: its code runs in a child process, the server only reads JSON."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pydantic

from core.errors import CoreError, InvalidParams
from core.library.catalogue import Catalogue, Fields, PluginInfo
from core.library.converting import unfit
from core.library.declared import DeclaredModel
from core.library.models import Models
from core.ops import environments, sandbox
from core.ops.config import ROOT, Config, tomllib
from core.types import KINDS

API_VERSION = 1  # of core/plugin.py
DESCRIBE_SECONDS, OF_MODELS_SECONDS = 30, 180  # that a plugin has to describe itself; and the jobs of its models
DESCRIPTION_BYTES = 50_000_000  # the most that it may write in a sandbox
BOUNDS = ("minimum", "maximum")
OVERRIDABLE = ("default", *BOUNDS, "step")  # of a parameter, in config.toml
KindName = Annotated[str, pydantic.Field(pattern=r"^\w[\w-]*$")]
Suffix = Annotated[str, pydantic.Field(pattern=r"^\.[a-z0-9]+$")]
SAY_WHAT_THEY_ARE = {".json", ".py"}  # files of a model; the others are its weights, long in coming


class Manifest(pydantic.BaseModel):
    """What of a plugin.toml the server reads; there may be more."""

    name: str
    version: str
    api: int
    environment: dict[str, Any] = {}
    sandbox: bool = False  # whether it asks for one
    runs_code: bool = False  # that clients send: it is there with allow_code only, for the admin, in a sandbox
    writes: list[KindName] = []  # kinds of models that it changes
    jobs_from: list[str] = []
    data: dict[KindName, list[Suffix]] = {}  # kinds of models that are files of its own, for programs
    models: list[DeclaredModel] = []


def stamps(roots: list[Path], packages: dict[str, Path], allow_code: bool) -> tuple[dict[Path, str], float]:
    """All packages in plugin folders and the installed ones, with a hash of what is in each that changes whenever a
    file comes, goes or is written; and how many seconds of a processor it took to look. Names that begin with a dot do
    not count."""
    started = time.thread_time()
    found = sorted(path.parent for root in roots for path in root.glob("[!.]*/__init__.py"))
    found += [folder for folder in packages.values() if (folder / "__init__.py").is_file()]
    found = [folder for folder in found if allow_code or not _runs_code(folder)]
    return {folder: stamp(folder) for folder in found}, time.thread_time() - started


def _runs_code(folder: Path) -> bool:
    """Whether its plugin.toml says so. It is asked often, so that file is not parsed: the word alone will do."""
    file = folder / "plugin.toml"
    with contextlib.suppress(OSError):
        return file.is_file() and b"runs_code" in file.read_bytes()
    return False


def stamp(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in _files(folder):
        with contextlib.suppress(OSError):  # it goes just now
            about = path.stat()
            digest.update(f"{path} {about.st_size} {about.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for inside, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        yield from (Path(inside, name) for name in sorted(names) if not name.startswith("."))


def printable(text: str) -> str:
    """Without what could steer a terminal, or is no text at all, as names of files may be."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def read_manifest(info: PluginInfo) -> None:
    """Take what plugin.toml says. Afterwards the plugin waits for `load`, or is refused."""
    info.status, info.error, info.broken, info.notes = "installing", None, False, []
    try:
        path = info.folder / "plugin.toml"
        if not path.is_file():  # a pipe would keep whoever reads it waiting
            raise InvalidParams("there is no such file.")
        manifest = tomllib.loads(path.read_text("utf-8"))
        if not re.fullmatch(r"[A-Za-z0-9_-]+", info.name):
            raise InvalidParams("a plugin's name has letters, digits, _ and - only.")
        if manifest.get("api") != API_VERSION:
            raise InvalidParams(f"it asks for api = {manifest.get('api')}, this server has {API_VERSION}.")
        if manifest.get("name") != info.name:
            raise InvalidParams(f"its name is {manifest.get('name')!r}, its folder {info.name!r}.")
        Manifest.model_validate(manifest)
        info.manifest = manifest
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        info.status, info.error = "refused", f"plugin.toml: {'.'.join(map(str, problem['loc']))}: {problem['msg']}."
    except (CoreError, OSError, ValueError, RecursionError) as error:
        info.status, info.error = "refused", f"plugin.toml: {error}"


def load(
    info: PluginInfo,
    config: Config,
    catalogue: Catalogue,
    say: Callable[[str], None],
    run_blocking: Callable[..., Any],
    install: bool = True,
) -> None:
    """Install the plugin's environment if need be, ask what it announces (or read the cache), and announce that.

    Afterwards its status is ready, or refused with the reason. Without `install`, only what is there is used."""
    if info.status != "installing":
        return
    try:
        info.sandbox, missing = run_blocking(_sandbox, info, config)
        if install and not python_of(info, config):
            own = (info.folder, config.environments, say, config.torch_backend, not info.sandbox)
            run_blocking(environments.ensure, *own)
        info.python = python_of(info, config)
        announce(info, config, catalogue, run_blocking, install)
        info.notes += [f"It runs without the sandbox that it asks for: {missing}."] * bool(missing)
    except (CoreError, environments.InstallError, OSError, ValueError, TypeError) as error:
        info.status, info.error = "refused", str(error).removeprefix(f"{info.name}: ")


def loaded(folder: Path, config: Config, say: Callable[[str], None], install: bool = True) -> PluginInfo:
    """As `load`, of a plugin by itself, for who has no server."""
    info, run = PluginInfo(folder.name, folder), lambda function, *values: function(*values)
    read_manifest(info)
    load(info, config, Catalogue(run), say, run, install)
    return info


def _sandbox(info: PluginInfo, config: Config) -> tuple[bool, str | None]:
    """Whether the plugin runs in a sandbox, and why it does not although it asks for one. Raises InvalidParams where it
    must not run without."""
    must = config.sandbox == "on" or info.manifest.get("runs_code", False)
    if not must and (config.sandbox == "off" or not info.manifest.get("sandbox", False)):
        return False, None
    missing = 'sandbox is "off" in config.toml' if config.sandbox == "off" else sandbox.problem()
    if must and missing:
        raise InvalidParams(f"it may run in a sandbox only, and there is none: {missing}.")
    return not missing, missing


def may_build(folder: Path, config: Config) -> bool:
    """Whether what a plugin requires may run code to be built: not where its own runs in a sandbox only."""
    info = PluginInfo(folder.name, folder)
    info.manifest = environments.manifest(folder)
    return not _sandbox(info, config)[0]


def python_of(info: PluginInfo, config: Config) -> Path | None:
    return environments.python_of(info.folder, config.environments, config.torch_backend)


def announce(
    info: PluginInfo, config: Config, catalogue: Catalogue, run_blocking: Callable[..., Any], run_it: bool
) -> None:
    """Announce what the plugin says of itself; without `run_it`, only if that is known already."""
    models = Models(config.models, catalogue.shipped_models())
    info.made_from = run_blocking(made_from, info, models)
    info.code = run_blocking(_code_hash, info.folder, info.python)
    info.content = hashlib.sha256(f"{info.code} {info.made_from}".encode()).hexdigest()[:32]
    cache = config.data / "descriptions" / f"{info.content}.json"
    if not cache.exists():
        if not run_it:
            return
        run_blocking(_describe_in_child, info, models, cache)
        if run_blocking(_code_hash, info.folder, info.python) != info.code:
            cache.unlink()  # it may be of the files before or after
            raise InvalidParams("its files are being changed; it is looked at again when they are.")
    info.jobs, info.settings_schema, info.notes = run_blocking(_read, cache)
    info.declared = {job["name"]: _declared(job) for job in info.jobs}
    for job in info.jobs:
        _override(job, config.overrides.get(f"{info.name}.{job['name']}", {}))
    fields = Fields(f"plugin_settings.{info.name} in config.toml", "setting", info.settings_schema, run_blocking)
    info.settings = fields.check(config.plugin_settings.get(info.name, {}))
    catalogue.announce(info)
    info.status, info.error = "ready", None


def made_from(info: PluginInfo, models: Models) -> str:
    """A hash of the models that the jobs are made from, `jobs_from` in plugin.toml: which files there are, and when
    those changed that say what they are."""
    found = []
    for kind in info.manifest.get("jobs_from", []):
        for entry in models.entries(kind).values():
            for path in sorted((entry, *entry.glob("*"), *entry.glob("*/*"))):
                with contextlib.suppress(FileNotFoundError):  # it goes just now
                    found.append((str(path), path.stat().st_mtime_ns if path.suffix in SAY_WHAT_THEY_ARE else 0))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def same_code(info: PluginInfo, config: Config) -> bool:
    """Whether the plugin's code and environment are what they were when it was loaded."""
    try:
        python = python_of(info, config)
        return python == info.python and _code_hash(info.folder, python) == info.code
    except (environments.InstallError, OSError, ValueError):
        return False


def _code_hash(folder: Path, python: Path | None) -> str:
    digest = hashlib.sha256(str(python).encode())
    named = [path for path in _files(folder) if path.suffix == ".py" or path == folder / "plugin.toml"]
    own = [path for path in named if path.is_file()]
    for path in (*own, *sorted((ROOT / "core").rglob("*.py"))):
        digest.update(f"{path.relative_to(folder if path in own else ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _describe_in_child(info: PluginInfo, models: Models, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    answer, log = target.with_suffix(".new"), target.with_suffix(".log")
    known = json.dumps([str(models.folder), models.shipped])
    seconds = OF_MODELS_SECONDS if "jobs_from" in info.manifest else DESCRIBE_SECONDS
    command = [str(info.python), "-m", "core.ops.describe", str(info.folder), str(answer), known]
    if info.sandbox:
        answer.touch()
        read, seen = [info.python.parents[1], info.folder], [models.folder, *(each["path"] for each in models.shipped)]
        command = sandbox.command(command, read, seen, [answer], file_bytes=DESCRIPTION_BYTES)
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT, start_new_session=True
        )
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired as error:
            os.killpg(child.pid, signal.SIGKILL) if os.name == "posix" else child.kill()
            child.wait()
            raise InvalidParams(f"it did not describe itself within {seconds} s; see {log}.") from error
    if child.returncode or not answer.exists() or not answer.stat().st_size:
        last = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or ["it printed nothing"]
        raise InvalidParams(f"importing it failed (exit code {child.returncode}): {printable(last[0][:500])}")
    answer.replace(target)


def _read(cache: Path) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    """The jobs, the JSON Schema of the settings, and the notes."""
    announced = json.loads(cache.read_text("utf-8"))
    return [_checked(job) for job in announced["jobs"]], announced["settings"], announced["notes"]


def _checked(job: Any) -> dict[str, Any]:
    """The description of one job as the server needs it; a plugin may have announced nonsense."""
    try:
        ports = [*job["inputs"].values(), job["output"]]
        kinds = {port["kind"] for port in ports}
        numbers = int(job["concurrency"]) >= 1 and int(job["memory"]) >= 0
        job.setdefault("converts", False)  # not known when it was described
        flags = {type(job[flag]) for flag in ("light", "program", "plans", "reuse", "converts")} == {bool}
        if not (job["name"].isidentifier() and kinds <= KINDS.keys() and numbers and flags):
            raise ValueError(f"{job['name']!r} has a bad name, type, concurrency or memory")
        jsonschema.Draft202012Validator.check_schema(job["params"])
        if job["converts"] and (problem := unfit(job)):
            raise ValueError(f"{job['name']} cannot be a converter: {problem}")
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, jsonschema.SchemaError) as error:
        raise InvalidParams(f"it announces a job that makes no sense: {error}.") from error
    return job


def numeric(schema: dict[str, Any]) -> dict[str, Any]:
    """The part of a parameter's schema that is about numbers, of `int | None` for example; {} if there is none."""
    parts = [schema, *schema.get("anyOf", [])]
    return next((part for part in parts if part.get("type") in ("integer", "number")), {})


def _declared(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The plugin's own defaults, bounds and steps, by parameter."""
    found = {}
    for name, schema in job["params"].get("properties", {}).items():
        about = {"step": schema.get("ui", {})} | {"default": schema} | dict.fromkeys(BOUNDS, numeric(schema))
        found[name] = {key: about[key][key] for key in OVERRIDABLE if key in about[key]}
    return found


def _override(job: dict[str, Any], changes: dict[str, dict[str, Any]]) -> None:
    """The user's own defaults, bounds and steps from config.toml."""
    for param, values in changes.items():
        schema = job["params"].get("properties", {}).get(param)
        if schema is None:
            raise InvalidParams(f"config.toml overrides {param} of {job['name']}, which does not exist.")
        if unknown := values.keys() - {*OVERRIDABLE}:
            raise InvalidParams(
                f"config.toml overrides {', '.join(unknown)} of {param}; only bounds, default and step can be."
            )
        schema |= {key: value for key, value in values.items() if key != "step"}
        if "step" in values:
            schema["ui"] = schema.get("ui", {}) | {"step": values["step"]}

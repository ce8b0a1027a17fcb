"""Finds plugins and learns what they announce: their code runs in a child process, the server only reads JSON."""

import contextlib
import difflib
import hashlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema

from core.errors import CoreError, InvalidParams
from core.jobs import Store
from core.library.catalogue import Catalogue, Fields, PluginInfo
from core.library.models import Models
from core.ops import environments
from core.ops.config import ROOT, Config, tomllib
from core.types import KINDS

API_VERSION = 1  # of core/plugin.py
DESCRIBE_SECONDS, OF_MODELS_SECONDS = 30, 180  # that a plugin has to describe itself; and the jobs of its models
SAY_WHAT_THEY_ARE = {".json", ".py"}  # files of a model; the others are its weights, long in coming


def discover(config: Config, catalogue: Catalogue) -> None:
    """All packages in plugin folders. Those without a good plugin.toml are refused, the others wait for `load`."""
    for path in sorted(path.with_name("plugin.toml") for root in config.plugins for path in root.glob("*/__init__.py")):
        info = PluginInfo(path.parent.name, path.parent)
        try:
            info.manifest = tomllib.loads(path.read_text("utf-8"))
            if not re.fullmatch(r"[A-Za-z0-9_-]+", info.name):
                raise InvalidParams("a plugin's name has letters, digits, _ and - only.")
            if info.manifest.get("api") != API_VERSION:
                raise InvalidParams(f"it asks for api = {info.manifest.get('api')}, this server has {API_VERSION}.")
            if info.manifest.get("name") != info.name:
                raise InvalidParams(f"its name is {info.manifest.get('name')!r}, its folder {info.name!r}.")
        except (CoreError, OSError, ValueError) as error:
            info.status, info.error = "refused", f"plugin.toml: {error}"
        if info.name in catalogue.plugins:
            info.status, info.error = "refused", f"{catalogue.plugins[info.name].folder} has that name already."
        catalogue.plugins[str(info.folder) if info.name in catalogue.plugins else info.name] = info


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
        info.python = environments.python_of(info.folder, config.environments, config.torch_backend)
        if install and not info.python:
            info.python = run_blocking(environments.ensure, info.folder, config.environments, say, config.torch_backend)
        _announce(info, config, catalogue, run_blocking, install)
    except (CoreError, environments.InstallError, OSError, ValueError, TypeError) as error:
        info.status, info.error = "refused", str(error).removeprefix(f"{info.name}: ")


def _announce(
    info: PluginInfo, config: Config, catalogue: Catalogue, run_blocking: Callable[..., Any], run_it: bool
) -> None:
    """Announce what the plugin says of itself; without `run_it`, only if that is known already."""
    models = Models(config.models, catalogue.shipped_models())
    info.made_from = run_blocking(_made_from, info, models)
    info.content = _content_hash(info)
    cache = config.data / "descriptions" / f"{info.content}.json"
    if not cache.exists():
        if not run_it:
            return
        run_blocking(_describe_in_child, info, models, cache)
    info.jobs, info.settings_schema, info.notes = run_blocking(_read, cache)
    for job in info.jobs:
        _override(job, config.overrides.get(f"{info.name}.{job['name']}", {}))
    fields = Fields(f"plugin_settings.{info.name} in config.toml", "setting", info.settings_schema, run_blocking)
    info.settings = fields.check(config.plugin_settings.get(info.name, {}))
    catalogue.announce(info)
    info.status, info.error = "ready", None


def load_all(
    config: Config, catalogue: Catalogue, store: Store, say: Callable[[str], None], run_blocking: Callable[..., Any]
) -> None:
    """One plugin after the other; everybody is told about each."""
    for name in sorted(config.plugin_settings.keys() - catalogue.plugins.keys()):
        near = difflib.get_close_matches(name, catalogue.plugins, n=1)
        say(f"config.toml has settings for {name}, which is no plugin." + (f" Did you mean {near[0]}?" if near else ""))
    for info in list(catalogue.plugins.values()):
        load(info, config, catalogue, say, run_blocking)
        store.write(lambda tx, info=info: tx.event("plugins", info.brief(), {}))
    catalogue.renew = Looking(lambda: _renew(config, catalogue, store, run_blocking))


class Looking:
    """Calling it has `look` run once after the call, and never twice at a time. Who calls waits for it, but not for
    longer than `seconds`: a client whose request is not answered for long would be thought lost."""

    def __init__(self, look: Callable[[], None], seconds: float = 10):
        self._look, self._seconds = look, seconds
        self._guard, self._ended = threading.Lock(), threading.Event()
        self._ended.set()

    def __call__(self) -> None:
        deadline, mine = time.monotonic() + self._seconds, False
        while not mine and time.monotonic() < deadline:  # one that runs already may have looked a moment too early
            with self._guard:
                if mine := self._ended.is_set():
                    self._ended = threading.Event()
                    threading.Thread(target=self._run, args=(self._ended,), daemon=True).start()
                ended = self._ended
            ended.wait(max(0, deadline - time.monotonic()))

    def _run(self, ended: threading.Event) -> None:
        try:
            self._look()
        finally:
            ended.set()


def _renew(config: Config, catalogue: Catalogue, store: Store, run_blocking: Callable[..., Any]) -> None:
    """Announce anew what depends on models, where these have come, gone or changed since. Costs a look otherwise."""
    models = Models(config.models, catalogue.shipped_models())
    for info in list(catalogue.plugins.values()):
        if info.status != "ready" or "jobs_from" not in info.manifest:
            continue
        if run_blocking(_made_from, info, models) == info.made_from:
            continue
        info.renewing = True
        try:
            _announce(info, config, catalogue, run_blocking, run_it=True)
        except (CoreError, OSError, ValueError, TypeError) as error:  # the jobs that there were stay
            info.notes = [f"What has changed in {config.models} is not announced: {error}"]
        finally:
            info.renewing = False
        store.write(lambda tx, info=info: tx.event("plugins", info.brief(), {}))


def _made_from(info: PluginInfo, models: Models) -> str:
    """A hash of the models that the jobs are made from, `jobs_from` in plugin.toml: which files there are, and when
    those changed that say what they are."""
    found = []
    for kind in info.manifest.get("jobs_from", []):
        for entry in models.entries(kind).values():
            for path in sorted((entry, *entry.glob("*"), *entry.glob("*/*"))):
                with contextlib.suppress(FileNotFoundError):  # it goes just now
                    found.append((str(path), path.stat().st_mtime_ns if path.suffix in SAY_WHAT_THEY_ARE else 0))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _content_hash(info: PluginInfo) -> str:
    digest = hashlib.sha256(f"{info.python} {info.made_from}".encode())
    for path in sorted((*info.folder.rglob("*.py"), *info.folder.glob("*.toml"), *(ROOT / "core").rglob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _describe_in_child(info: PluginInfo, models: Models, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    answer, log = target.with_suffix(".new"), target.with_suffix(".log")
    known = json.dumps([str(models.folder), models.shipped])
    seconds = OF_MODELS_SECONDS if "jobs_from" in info.manifest else DESCRIBE_SECONDS
    command = [str(info.python), "-m", "core.ops.describe", str(info.folder), str(answer), known]
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
    if child.returncode or not answer.exists():
        last = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or ["it printed nothing"]
        raise InvalidParams(f"importing it failed (exit code {child.returncode}): {last[0][:500]}")
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
        flags = {type(job[flag]) for flag in ("light", "program", "plans", "reuse")} == {bool}
        if not (job["name"].isidentifier() and kinds <= KINDS.keys() and numbers and flags):
            raise ValueError(f"{job['name']!r} has a bad name, type, concurrency or memory")
        jsonschema.Draft202012Validator.check_schema(job["params"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, jsonschema.SchemaError) as error:
        raise InvalidParams(f"it announces a job that makes no sense: {error}.") from error
    return job


def _override(job: dict[str, Any], changes: dict[str, dict[str, Any]]) -> None:
    """The user's own defaults, bounds and steps from config.toml."""
    for param, values in changes.items():
        schema = job["params"].get("properties", {}).get(param)
        if schema is None:
            raise InvalidParams(f"config.toml overrides {param} of {job['name']}, which does not exist.")
        if unknown := values.keys() - {"default", "minimum", "maximum", "step"}:
            raise InvalidParams(
                f"config.toml overrides {', '.join(unknown)} of {param}; only bounds, default and step can be."
            )
        schema |= {key: value for key, value in values.items() if key != "step"}
        if "step" in values:
            schema["ui"] = schema.get("ui", {}) | {"step": values["step"]}

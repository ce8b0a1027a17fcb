"""Saved flows: files models/flow/NAME.json, and those that come with the plugin; each is a job."""

import difflib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from core.plugin import InvalidParams

from . import reading

KIND, SUFFIX = "flow", ".json"
NAME = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)
MAX_BYTES = 1_000_000
SHIPPED = Path(__file__).parent / "library"


def files(models: Any) -> dict[str, Path]:
    """By name; of one that is the user's and the plugin's, the user's."""
    found = models.entries(KIND).items()
    return {name.removesuffix(SUFFIX): path for name, path in found if name.endswith(SUFFIX) and path.is_file()}


def load(path: Path) -> Any:
    """What is in a file; raises InvalidParams."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidParams(f"it has more than {MAX_BYTES:,} bytes.")
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidParams(f"it cannot be read: {str(error)[:200]}.") from error


def find(models: Any, name: str) -> dict[str, Any]:
    """A saved flow as the light job `flow` tells it."""
    path = file(models, name)
    return {"name": name, "flow": load(path), "shipped": path.is_relative_to(SHIPPED)}


def file(models: Any, name: str) -> Path:
    """Of a saved flow. Raises InvalidParams if there is none of that name."""
    found = files(models)
    if name not in found:
        near = difflib.get_close_matches(name, found, n=3, cutoff=0.4)
        text = f"there is no flow {name[:100]!r}." + (f" Did you mean {', '.join(near)}?" if near else "")
        raise InvalidParams(text, field="name", hint="Flows are the files models/flow/NAME.json.")
    return found[name]


def save(folder: Path, name: str, flow: Any, taken: Iterable[str]) -> reading.Flow:
    """Write a flow that can be run, in place of one of that name. Raises InvalidParams, and nothing has changed."""
    if not NAME.fullmatch(name) or name in taken:
        hint = "A name has letters, digits and _, up to 64, and begins with a letter: it is the name of the job, too."
        why = "is a job of the plugin itself" if name in taken else "is no name"
        raise InvalidParams(f"a flow cannot be called {name[:100]!r}: that {why}.", field="name", hint=hint)
    checked = reading.read(flow)
    if f"flows.{name}" in jobs_of(flow):
        raise InvalidParams(f"the flow {name} would run itself, again and again.", field="flow")
    text = json.dumps(flow, ensure_ascii=False, indent=2) + "\n"
    if len(text.encode()) > MAX_BYTES:
        raise InvalidParams(f"a flow has at most {MAX_BYTES:,} bytes.", field="flow")
    target = folder / KIND / f"{name}{SUFFIX}"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{uuid.uuid4().hex}")
    try:
        part.write_text(text, "utf-8")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return checked


def delete(models: Any, name: str) -> None:
    """Raises InvalidParams if there is none of that name, or it is not the user's."""
    if file(models, name).is_relative_to(SHIPPED):
        hint = "One that you save under its name takes its place."
        raise InvalidParams(f"the flow {name} comes with the plugin and cannot be deleted.", field="name", hint=hint)
    (models.folder / KIND / f"{name}{SUFFIX}").unlink(missing_ok=True)


def jobs_of(flow: Any) -> set[str]:
    """The names of the jobs in a flow, at any depth."""
    if isinstance(flow, list):
        return {name for each in flow for name in jobs_of(each)}
    if not isinstance(flow, dict):
        return set()
    own = {flow["job"]} if isinstance(flow.get("job"), str) else set()
    return own | jobs_of(flow.get("jobs"))


class Announced:
    """The jobs of the saved flows; what has not changed is not read again. `make(name, data)` makes one."""

    def __init__(self, make: Callable[[str, Any], Callable]):
        self._make = make
        self._known: dict[str, tuple[Any, Callable | None, set[str], str]] = {}  # stamp, job, the jobs in it, a note

    def jobs(self, models: Any, taken: Iterable[str]) -> tuple[dict[str, Callable], list[str]]:
        known = {name: self._look(name, path) for name, path in sorted(files(models).items())}
        jobs, notes = {}, []
        for name, (_, job, _, note) in known.items():
            circle = _circle(name, {each: found[2] for each, found in known.items()})
            if job and not NAME.fullmatch(name):
                note = "its name has to be letters, digits and _, and begin with a letter, to be that of a job."
            elif job and name in taken:
                note = "the plugin has a job of that name itself."
            elif job and circle:
                note = f"it would run itself again and again: {' runs '.join([name, *circle])}."
            elif job:
                jobs[name] = job
            if note:
                notes.append(f"models/{KIND}/{name}{SUFFIX} is no job: {note}")
        self._known = known
        return jobs, notes

    def _look(self, name: str, path: Path) -> tuple[Any, Callable | None, set[str], str]:
        try:
            about = path.stat()
            stamp = (str(path), about.st_mtime_ns, about.st_size)
        except OSError as error:
            return None, None, set(), f"{error}."
        if name in self._known and self._known[name][0] == stamp:
            return self._known[name]
        try:
            data = load(path)
            return stamp, self._make(name, data), jobs_of(data), ""
        except Exception as error:  # whatever a file says, it is to hide no other
            kind = "" if isinstance(error, InvalidParams) else f"{type(error).__name__}: "
            return stamp, None, set(), f"{kind}{error}"


def _circle(start: str, inside: dict[str, set[str]]) -> list[str]:
    """The way from a flow back to itself, if there is one."""
    ways, seen = [[start]], {start}
    for way in ways:
        for job in sorted(inside.get(way[-1], ())):
            name = job.removeprefix("flows.")
            if name == start and start in inside:
                return [*way[1:], start]
            if name in inside and name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []

"""The events of plugins as packages, for the admin: what is installed, what there is, and commands that change it.

Each command is the one of the command line, in a process of its own that ends with the server. Nobody else can have one
run: no job, no flow, no other person; and whatever brings in code needs `install_over_api` and the hash of what was
looked at before."""

import contextlib
import json
import os
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import psutil
import socketio
from pydantic import Field

from core.api import Handler, room_of
from core.auth import OWNER, admin_only
from core.errors import Conflict, CoreError, Forbidden, Internal, InvalidParams
from core.jobs import Row, Store
from core.ops import ending, processes
from core.ops.config import Config
from core.ops.packages import indexes
from core.ops.packages.indexes import Indexes
from core.ops.packages.registry import Registry

STEP_SECONDS = 0.2
KEPT_LINES = 500
ALWAYS = {"enable", "disable", "rollback", "refresh"}  # what brings in no code that was not there
Action = Literal["inspect", "install", "update", "rollback", "uninstall", "enable", "disable", "refresh"]
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # that an action needs, and that it may have
    "inspect": (("source",), ("ref",)),
    "install": (("source", "hash"), ("ref",)),
    "update": (("name", "hash"), ("ref",)),
    "rollback": (("name",), ("to",)),
    "uninstall": (("name",), ()),
    "enable": (("name",), ()),
    "disable": (("name",), ()),
    "refresh": ((), ()),
}
Plugin = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Word = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x20\x7f-][^\x00-\x1f\x7f]*$")]


@dataclass
class Run:
    """A command: `what` it is about, the last `lines` that it wrote, `report` what an `inspect` has found."""

    id: str
    action: str
    what: str
    state: str = "running"
    error: Row | None = None
    report: Row | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))

    def brief(self) -> Row:
        return {"id": self.id, "action": self.action, "what": self.what, "state": self.state, "error": self.error}


class Packages:
    """`note(plugin, line)` keeps what commands write, for who reads logs."""

    def __init__(
        self, config: Config, store: Store, sio: socketio.Server, run_blocking: Callable[..., Any],
        note: Callable[[str, str], None],
    ):  # fmt: skip
        self._config, self._store, self._sio = config, store, sio
        self._run_blocking, self._note = run_blocking, note
        self._registry, self._indexes = Registry(config.packages), Indexes(config)
        self._beginning, self._run = threading.Lock(), None
        self.handlers: list[Handler] = [self.packages, self.package]

    def packages(
        self,
        owner: str,
        search: Annotated[str, Field(max_length=200)] = "",
        limit: Annotated[int, Field(ge=0, le=500)] = 100,
    ) -> Row:
        """For the admin: the plugins that were installed, with their releases; what indexes have; the last command."""
        admin_only(owner, "see where plugins are from")
        run = self._run
        about = run and run.brief() | {"lines": list(run.lines), "report": run.report}
        return self._run_blocking(self._told, search, limit) | {"run": about}

    def _told(self, search: str, limit: int) -> Row:
        state, books = self._registry.read(), self._indexes.known()
        newest = {entry.name: entry for entry in indexes.search(books, [])}
        found = []
        for name, installed in sorted(state.plugins.items()):
            entry = newest.get(name) if installed.release.source == name else None
            newer = bool(entry and entry.version != installed.release.version and not entry.withdrawn)
            releases = [release.model_dump(mode="json", exclude_none=True) for release in installed.releases]
            about = {"name": name, "active": installed.active, "releases": releases}
            found.append(about | ({"newer": entry.version} if entry and newer else {}))
        available = indexes.search(books, search.split())
        return {
            "install_over_api": self._config.install_over_api,
            "packages": found,
            "disabled": state.disabled,
            "linked": sorted(state.links),
            "available": [entry.model_dump(mode="json") for entry in available[:limit]],
            "total": len(available),
            "indexes": [{"address": book.address, "title": book.title, "notes": book.notes} for book in books],
        }

    def package(
        self, owner: str, action: Action, name: Plugin | None = None, source: Word | None = None,
        ref: Word | None = None, hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None,
        to: Word | None = None,
    ) -> Row:  # fmt: skip
        """Begin a command about a plugin, for the admin: `inspect` a `source` (or what an update of `name` would
        bring), `install` or `update` what has the `hash` that it has shown, `rollback`, `uninstall`, `enable`,
        `disable`; `refresh` reads the indexes. Events `package` tell how it goes."""
        admin_only(owner, "install or change plugins")
        words = _words(action, {"name": name, "source": source, "ref": ref, "hash": hash, "to": to})
        if action not in ALWAYS and not self._config.install_over_api:
            raise Forbidden(
                f"this server does not let anybody {action} plugins over its API.",
                hint=f"Type it on the server's machine: python3 server.py plugins {' '.join(words)}; or set "
                "install_over_api = true in config.toml, so that whoever has the admin's token can run code there.",
            )
        with self._beginning:
            if self._run and self._run.state == "running":
                raise Conflict(f"{self._run.action} {self._run.what} is still running.", hint="Wait for its end.")
            run = self._run = Run(secrets.token_hex(8), action, (name or source or "").strip())
        self._say(run)
        self._sio.start_background_task(self._follow, run, words)
        return {"run": run.brief()}

    def _follow(self, run: Run, words: list[str]) -> None:
        """Have the command run; tell its lines, and how it ended."""
        folder = self._config.data / "logs"
        log, answer = folder / "package.log", folder / "package.json"
        error: Row | None = Internal("the command could not be followed; the server's log says more.").wire()
        try:
            for path in (log, answer):
                path.unlink(missing_ok=True)
            config = self._config.model_dump(mode="json", exclude={"tokens"})
            settings = {"words": words, "config": config, "file": str(self._config.file), "answer": str(answer)}
            process = processes.LocalProcess(Path(sys.executable), settings, log, "core.ops.packages.managing")
            place, code = 0, None
            while code is None:
                time.sleep(STEP_SECONDS)
                code = process.exit_code()
                place = self._tell_lines(run, log, place)
            process.ask_to_end()  # closes its stdin
            run.report, error = self._run_blocking(_answer, answer, code)
        except OSError as problem:
            error = Internal(f"the command could not be run: {problem}.").wire()
        finally:
            run.error, run.state = error, "failed" if error else "done"
            self._say(run)

    def _tell_lines(self, run: Run, log: Path, place: int) -> int:
        with log.open("rb") as file:
            file.seek(place)
            text = file.read(1_000_000)
        whole = text[: text.rfind(b"\n") + 1]
        for line in whole.decode("utf-8", "replace").splitlines():
            run.lines.append(line[:2000])
            self._note(run.what or run.action, line)
            self._sio.emit("log", {"id": run.id, "plugin": run.what, "text": line[:2000]}, to=room_of(OWNER))
        return place + len(whole)

    def _say(self, run: Run) -> None:
        about = run.brief()
        self._store.write(lambda tx: tx.event("package", about, {"owner": OWNER, "session": "", "job": run.id}))


def _words(action: str, given: dict[str, str | None]) -> list[str]:
    """The command line. Raises InvalidParams naming what is missing, or does not belong."""
    needs, may = FIELDS[action]
    if action == "inspect" and given["name"]:  # what an update would bring
        needs, may = ("name",), ("ref",)
    errors = [_bad(key, f"{action} takes no {key}.") for key in given if given[key] and key not in needs + may]
    for key in needs:
        if not given[key]:
            errors.append(_bad(key, f"{action} needs the {key}{' that inspect has shown' * (key == 'hash')}."))
    if errors:
        raise InvalidParams(" ".join(each["message"] for each in errors), field=errors[0]["field"], errors=errors)
    if action == "refresh":
        return ["index", "refresh"]
    flags = ["--yes"] if action in ("install", "update", "uninstall") else []
    flags += ["--update"] if action == "inspect" and given["name"] else []
    flags += [f"--{key}={given[key]}" for key in ("ref", "hash", "to") if given[key]]
    return [action, *flags, "--", str(given["source"] or given["name"])]


def _bad(field: str, message: str) -> dict[str, str]:
    return {"field": field, "message": message}


def _answer(path: Path, code: int) -> tuple[Row | None, Row | None]:
    """(report, error) of a command that has ended."""
    try:
        told = json.loads(path.read_bytes())
        return told.get("report"), told.get("error")
    except (OSError, ValueError):
        return None, Internal(f"the command was stopped (exit code {code}). Its log says more.").wire()


def main() -> None:
    """What the server starts: reads what to do from stdin, and writes what came of it into a file."""
    from core.ops import bootstrap
    from core.ops.packages import command

    settings = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    config = Config(**settings["config"])
    config._file = Path(settings["file"])
    told: Row = {}
    try:
        arguments = command.parser().parse_args(settings["words"])
        told["report"] = arguments.run(arguments, config, Registry(config.packages))
    except (CoreError, OSError, bootstrap.InstallError) as error:
        told["error"] = error.wire() if isinstance(error, CoreError) else Conflict(str(error)).wire()
    except SystemExit:  # of argparse, which has said what is wrong
        told["error"] = InvalidParams("the command line did not understand this.").wire()
    Path(settings["answer"]).write_text(json.dumps(told), "utf-8")
    sys.stdout.flush()
    os._exit(1 if "error" in told else 0)  # the thread holds stdin, at which an ordinary end would fail


def _end_with_stdin() -> None:
    """When the server is gone, so is the command, with what it has started: git is in a group of its own."""
    while sys.stdin.buffer.read1(65536):
        pass
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    ending.end([])


if __name__ == "__main__":
    main()

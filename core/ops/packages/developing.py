"""python3 server.py plugins dev: a folder as a plugin of the server while somebody works on it, and all it says."""

import argparse
import contextlib
import queue
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Conflict, InvalidParams
from core.library.catalogue import PluginInfo
from core.ops import child, discovery
from core.ops.config import Config
from core.ops.conformance.command import find
from core.ops.packages.registry import Registry

if TYPE_CHECKING:
    from clients.python import Client

LOOK_SECONDS = 0.2  # between two looks at what a worker has printed
SEEN_SECONDS = 15  # that a server has to notice the plugin
COLOURS = {"failed": 31, "refused": 31, "ready": 32, "done": 32}
LOADING = "loading"  # shorter than "installing"


def add_dev(actions: "argparse._SubParsersAction") -> None:
    action = actions.add_parser("dev", help="load a folder as a plugin while you work on it, and show what it says")
    action.add_argument("plugin", help="its folder, or its name")
    action.set_defaults(run=run_dev)


def run_dev(arguments: argparse.Namespace, config: Config, registry: Registry) -> None:
    """Until Ctrl-C. Raises InvalidParams, Conflict, or NotFound."""
    from clients.python import ServerError

    folder = find(arguments.plugin, config, registry)
    if folder.is_relative_to(registry.folder.resolve()):
        hint = "Work on a copy of that folder: it takes the place of the installed one meanwhile."
        raise Conflict(f"{folder} is an installed release, which never changes.", hint=hint)
    name = checked(folder, config)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with linked(folder, name, config, registry), connected(arguments, config, name) as client:
            with contextlib.suppress(KeyboardInterrupt):
                Watching(client, name, folder, config).until_interrupted()
    except ServerError as error:
        raise Conflict(f"there is no server to work with any more: {error}") from error


def checked(folder: Path, config: Config) -> str:
    """The plugin's name; raises InvalidParams, or Conflict if another plugin has it."""
    manifest = PluginInfo(folder.name, folder)
    discovery.read_manifest(manifest)
    if manifest.error:
        raise InvalidParams(f"{folder}: {manifest.error}")
    for root in config.plugins:
        other = root / folder.name
        if (other / "__init__.py").exists() and other.resolve() != folder.resolve():
            raise Conflict(f"{other} is a plugin of that name already.", hint="Rename yours, or move that one away.")
    return manifest.name


@contextlib.contextmanager
def linked(folder: Path, name: str, config: Config, registry: Registry) -> Iterator[None]:
    """Every server of these settings has the folder as a plugin, in place of an installed one of that name."""
    if any((root / name).resolve() == folder.resolve() for root in config.plugins):
        yield  # it is loaded in any case
        return
    with registry.change() as state:
        state.links[name] = folder
    show("link", f"{name} is {folder}")
    try:
        yield
    finally:
        with registry.change() as state:
            if state.links.get(name) == folder:
                del state.links[name]
        show("unlink", name)


@contextlib.contextmanager
def connected(arguments: argparse.Namespace, config: Config, name: str) -> Iterator["Client"]:
    """The server that runs with these settings, or one that we start and stop. Raises Conflict."""
    from clients.python import Client
    from core.ops import processes, start

    try:
        processes.lock(config.data).close()
    except Conflict:
        with Client((config.data / start.ADDRESS).read_text("utf-8").strip(), patience=5) as client:
            show("server", client.url)
            yield client
        return
    given = ["--config", str(arguments.config)] if arguments.config else []
    with child.server(given) as server:
        lines = (line for line in server.stdout if not re.match(rf"(plugin|refused) +{name}:", line))  # we say that
        address = next(filter(None, map(_passed_on, lines)), None)
        if address is None:
            raise Conflict("the server does not start; it says why.")
        threading.Thread(target=lambda: [*map(_passed_on, lines)], daemon=True).start()
        with Client(address[1]) as client:
            yield client


def _passed_on(line: str) -> re.Match | None:
    print(line, end="", flush=True)
    return child.GREETING.match(line)


class Watching:
    """Shows what a plugin, its workers and its jobs say."""

    def __init__(self, client: "Client", name: str, folder: Path, config: Config):
        self._client, self._name, self._folder, self._data = client, name, folder, config.data
        self._jobs: dict[str, str] = {}  # their names, by id
        self._read = {path: path.stat().st_size for path in self._logs()}
        self._news: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        client.on_event(lambda event, body: self._news.put((event, body)))

    def until_interrupted(self) -> None:
        show("watch", f"{self._folder}; what you save is loaded at once. Ctrl-C ends.")
        asked, seen = time.monotonic(), self._tell_state()
        while True:
            with contextlib.suppress(queue.Empty):
                seen = self._tell(*self._news.get(timeout=LOOK_SECONDS)) or seen
            self._show_printed()
            if not seen and time.monotonic() > asked + SEEN_SECONDS:
                seen = True
                show("failed", f"{self._client.url} does not know it. Has it another config.toml than this command?")

    def _tell_state(self) -> bool:
        """Whether the server knows the plugin."""
        plugins = self._client.call("plugins")["plugins"]
        plugin = next((each for each in plugins if each["name"] == self._name), None)
        if plugin:
            jobs = ", ".join(job["name"] for job in plugin["jobs"]) if plugin["status"] == "ready" else ""
            told = f"{self._name}: {plugin['error'] or jobs}" if plugin["error"] or jobs else self._name
            show(plugin["status"].replace("installing", LOADING), told)
        if plugin and plugin["status"] == "refused":
            self._show_import()
        return bool(plugin)

    def _tell(self, event: str, body: dict[str, Any]) -> bool:
        """Whether it was about the plugin itself."""
        if event == "plugins" and body["name"] == self._name:
            self._tell_state()
            return True
        if event == "job" and body["name"].startswith(f"{self._name}."):
            self._jobs[body["id"]] = body["name"].partition(".")[2]
            if body["state"] in ("running", "done", "failed", "cancelled"):
                error = body.get("error") or {}
                show(body["state"], f"{self._jobs[body['id']]}  {error.get('message', '')}".rstrip())
        elif event == "log" and body["id"] in self._jobs and not body["text"].startswith("Traceback "):
            show("log", body["text"])  # its worker prints tracebacks as well
        return False

    def _logs(self) -> list[Path]:
        return sorted((self._data / "logs").glob(f"{self._name}-*.log"))

    def _show_printed(self) -> None:
        """What workers have printed since: tracebacks, warnings, and what a plugin prints itself."""
        for path in self._logs():
            with contextlib.suppress(OSError), path.open("rb") as file:
                size = path.stat().st_size
                file.seek(min(self._read.get(path, 0), size))
                text = file.read()
                if text and not text.endswith(b"\n") and len(text) < 10_000:  # the rest of the line comes
                    text = text[: text.rfind(b"\n") + 1]
                self._read[path] = min(self._read.get(path, 0), size) + len(text)
                if text:
                    self._print(text)

    def _show_import(self) -> None:
        """Why it cannot be imported, with the lines of its code."""
        written = [(path.stat().st_mtime, path) for path in (self._data / "descriptions").glob("*.log")]
        if written and (newest := max(written))[0] > time.time() - SEEN_SECONDS:
            self._print(newest[1].read_bytes())

    def _print(self, text: bytes) -> None:
        """Of a traceback only what begins in the plugin: how it is called is no concern of who writes it."""
        own = rf'(?<=^Traceback \(most recent call last\):\n)(  .*\n)*?(?=  File "{re.escape(str(self._folder))}\W)'
        show("print", re.sub(own, "", text.decode("utf-8", "replace").rstrip(), flags=re.MULTILINE))


def show(verb: str, text: str) -> None:
    """Aligned; long texts below each other. Nothing in them can steer the terminal."""
    colour = f"\033[{COLOURS[verb]}m" if verb in COLOURS and sys.stdout.isatty() else ""
    for number, line in enumerate(text.splitlines() or [""]):
        head = f"{colour}{verb:<10}{chr(27) + '[0m' if colour else ''}" if number == 0 else " " * 10
        print(head + discovery.printable(line.expandtabs()), flush=True)

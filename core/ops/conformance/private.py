"""A real server for one plugin, with data, results and models of its own, which are gone afterwards."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import tomlkit

from clients.python import Client
from core.errors import PluginError
from core.library.children import SIDE
from core.library.models import WEIGHTS
from core.ops import bootstrap, environments
from core.ops.config import ROOT, Config

PREFIX, HELD = "stable-core-test-", "held"
COPIED_BYTES = 10_000_000
START_SECONDS, PATIENCE_SECONDS, END_SECONDS = 120, 20, 10
GREETING = re.compile(r"^stable-core \S+\s+(http://\S+?)/\?token=(\S+)$", re.MULTILINE)
READY = "Ctrl-C stops."


class Private:
    """`end` stops the server; `client` is the admin's."""

    def __init__(self, folder: Path, config: Path):
        self._log, self.scratch = folder / "server.log", folder
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "server.py", "--config", str(config), "--end-with-stdin"],
                stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=ROOT, start_new_session=True,
                env=os.environ | {"XDG_CONFIG_HOME": str(folder / "config")},
            )  # fmt: skip

    def wait(self) -> None:
        """Until the plugin is loaded or refused. Raises PluginError if the server does not start."""
        deadline = time.monotonic() + START_SECONDS
        while READY not in (log := self._log.read_text("utf-8", "replace")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise PluginError(f"a server with only this plugin does not start:\n{log[-2000:]}")
            time.sleep(0.02)
        self.client = Client(*GREETING.search(log).groups(), patience=PATIENCE_SECONDS)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def workers(self) -> list[psutil.Process]:
        """Those that run jobs now, not those that answer light ones."""
        pids = [worker["pid"] for worker in self.client.queue()["workers"] if worker["device"] != SIDE]
        return [psutil.Process(pid) for pid in pids if pid and psutil.pid_exists(pid)]

    def end(self) -> None:
        if hasattr(self, "client"):
            self.client.close()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def server(folder: Path, name: str, config: Config, own_models: bool) -> Iterator[Private]:
    """A server with the plugin in `folder` and the one whose environment it shares. With `own_models` it has links to
    the user's models; what is written beside them is not written there. Raises PluginError."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as made, _held(Path(made)):
        root = Path(made).resolve()
        share = environments.environment_settings(folder).get("share")
        for each, source in {name: folder, **({share: environments.beside(folder, share)} if share else {})}.items():
            _link(source, root / "plugins" / each)
        if own_models:
            _link_models(config.models, root / "models")
        file = root / "config.toml"
        file.write_text(tomlkit.dumps(_settings(root, name, config, own_models)), "utf-8")
        running = Private(root, file)
        try:
            running.wait()
            yield running
        finally:
            running.end()


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Others see that somebody is at it."""
    with (folder / HELD).open("a+") as file:
        bootstrap.try_lock(file)
        yield


def _sweep() -> None:
    """Remove what those have left that were killed."""
    for held in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{HELD}"):
        with contextlib.suppress(OSError), held.open("a+") as file:
            if bootstrap.try_lock(file):
                shutil.rmtree(held.parent, ignore_errors=True)


def _link_models(source: Path, target: Path) -> None:
    """Weights are linked; what else there is, lists of styles and the like, is copied: jobs may change that."""
    for inside, _, names in os.walk(source):
        for path in (Path(inside, name) for name in names if not name.startswith(".")):
            there = target / path.relative_to(source)
            if path.suffix.lower() in WEIGHTS:
                _link(path, there)
            elif path.is_file() and path.stat().st_size <= COPIED_BYTES:
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, there)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source.resolve(), target_is_directory=source.is_dir())
    except OSError:  # Windows lets few people make links
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(source, target)


def _settings(root: Path, name: str, config: Config, own_models: bool) -> dict[str, Any]:
    """The person's settings as far as they say how plugins run, and folders of our own."""
    kept = ("environments", "torch_backend", "devices", "async_mode", "max_message_bytes", "max_upload_bytes")
    kept += ("cancel_grace_seconds", "heartbeat_seconds", "stall_seconds", "reserve_bytes", "sandbox")
    kept += ("extra_model_paths",) if own_models else ()
    own = {key: str(root / key) for key in ("data", "outputs", "models", "packages")}
    settings = {key: value for key, value in config.model_dump(mode="json", exclude_none=True).items() if key in kept}
    settings |= own | {"plugins": [str(root / "plugins")], "port": 0, "web": "off", "bridges": "off"}
    settings["allow_code"] = True  # its own code runs in any case
    settings["environments"] = str(config.environments.resolve())
    if name in config.plugin_settings:
        settings["plugin_settings"] = {name: config.plugin_settings[name]}
    return settings

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
from core.ops import environments
from core.ops.config import ROOT, Config

START_SECONDS, END_SECONDS = 120, 10
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
        self.client = Client(*GREETING.search(log).groups())

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
    with tempfile.TemporaryDirectory(prefix="stable-core-test-", ignore_cleanup_errors=True) as made:
        root = Path(made).resolve()
        share = environments.environment_settings(folder).get("share")
        for each, source in {name: folder, **({share: environments.beside(folder, share)} if share else {})}.items():
            _link(source, root / "plugins" / each)
        for kind in config.models.glob("*/") if own_models else ():
            for path in kind.iterdir():
                _link(path, root / "models" / kind.name / path.name)
        file = root / "config.toml"
        places = config.model_dump(mode="json", exclude_none=True)["extra_model_paths"]
        extra = {"extra_model_paths": places} if own_models else {}  # read in place, never written to
        file.write_text(tomlkit.dumps(_settings(root, name, config) | extra), "utf-8")
        running = Private(root, file)
        try:
            running.wait()
            yield running
        finally:
            running.end()


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source.resolve(), target_is_directory=source.is_dir())
    except OSError:  # Windows lets few people make links
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(source, target)


def _settings(root: Path, name: str, config: Config) -> dict[str, Any]:
    """The person's settings as far as they say how plugins run, and folders of our own."""
    kept = ("environments", "torch_backend", "devices", "async_mode", "max_message_bytes", "max_upload_bytes")
    kept += ("cancel_grace_seconds", "heartbeat_seconds", "stall_seconds", "reserve_bytes", "sandbox")
    own = {key: str(root / key) for key in ("data", "outputs", "models", "packages")}
    settings = {key: value for key, value in config.model_dump(mode="json").items() if key in kept}
    settings |= own | {"plugins": [str(root / "plugins")], "port": 0, "web": "off", "bridges": "off"}
    settings["environments"] = str(config.environments.resolve())
    if name in config.plugin_settings:
        settings["plugin_settings"] = {name: config.plugin_settings[name]}
    return settings

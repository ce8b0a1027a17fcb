"""Real servers for tests: `with serve({"demo": "class Demo(Plugin): ..."}) as server:` starts one and ends it."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from tests import hub, warm

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120
LET_OFF = ["_execute_child", "start_warm"]  # it takes 2 ms, and as long as the new process waits for a processor
WATCH = ["-m", "tests.hub"]  # what looks out for a blocked hub; benchmarks do without
HEADER = "import time\nfrom core.plugin import *\n"
WEB = re.compile(r"^web       (?!building)", re.MULTILINE)  # how it went
GREETING = re.compile(r"^stable-core \S+\s+(http://\S+?)/\?token=(\S+)$", re.MULTILINE)


class Running:
    """A server process with its own data, outputs, models, plugins and token, all under `folder`.

    `restart` listens on the same port with the same data, as after a crash."""

    def __init__(self, folder, plugins, settings, before_start=lambda folder: None, wait_for_web=True):
        self.folder, self.log_file = folder, folder / "server.log"
        before_start(folder)
        for name, source in plugins.items():
            self.write_plugin(name, source)
        own = {name: folder / name for name in ("data", "outputs", "models", "packages")}
        mode = os.environ.get("STABLE_CORE_TEST_ASYNC_MODE", "eventlet")
        given = own | {"plugins": [folder / "plugins"], "environments": ROOT / ".envs", "async_mode": mode}
        given |= {"web": "off"} | settings  # no test has npm start that does not ask for it
        (folder / "config.toml").write_text("".join(f"{key} = {toml(value)}\n" for key, value in given.items()))
        self.port, self.wait_for_web = 0, wait_for_web and given["web"] != "off"
        self.warm = warm.allowed and given["async_mode"] == "eventlet"
        install([] if "environments" in settings else plugins.values(), self.wait_for_web)
        described = own["data"] / "descriptions"
        if self.warm:
            warm.copy_descriptions(warm.descriptions(), described)
        self.start()
        if self.warm:
            warm.copy_descriptions(described, warm.descriptions())

    def write_plugin(self, name, source):
        """A plugin from its source, which finds core.plugin's names and `time` imported, or from a folder."""
        target = self.folder / "plugins" / name
        if isinstance(source, Path):
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("tests", "training"))
            return
        target.mkdir(parents=True, exist_ok=True)
        (target / "plugin.toml").write_text(f'name = "{name}"\nversion = "1"\napi = 1\n')
        (target / "__init__.py").write_text(HEADER + textwrap.dedent(source))

    def start(self):
        """Returns when the plugins are loaded or refused, and the page is built if web is on."""
        already = len(self.log)
        ready = lambda log: "Ctrl-C stops." in log and (WEB.search(log) or not self.wait_for_web)  # noqa: E731
        arguments = ["--config", str(self.folder / "config.toml"), "--port", str(self.port)]
        environment = os.environ | {"XDG_CONFIG_HOME": str(self.folder / "config")}
        with self.log_file.open("ab") as log:
            if self.warm:
                self.process = warm.server(arguments, log, environment, "server" if WATCH else "unwatched")
            else:
                self.process = subprocess.Popen(
                    [sys.executable, *WATCH, "server.py", *arguments],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=environment,
                )  # fmt: skip
        wait_until(lambda: ready(self.log[already:]) or self.process.poll() is not None, START_SECONDS)
        greeting = GREETING.search(self.log, already)
        assert greeting and self.process.poll() is None, f"the server did not start:\n{self.log[already:]}"
        self.url, self.token = greeting.groups()
        self.port = int(self.url.rsplit(":", 1)[1])

    @property
    def log(self):
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def client(self, **options):
        from clients.python import Client

        return Client(self.url, self.token, **options)

    def kill(self):
        """kill -9 of the server process; its workers notice and end by themselves."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """As Ctrl-C does; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def restart(self):
        if self.process.poll() is None:
            self.kill()
        self.start()


def install(sources, web):
    """What plugins that are folders need, and the page: on a fresh clone that takes longer than a start may."""
    from core.ops import environments, webclient

    with contextlib.suppress(environments.InstallError):  # the server says so
        for source in sources:
            if isinstance(source, Path):
                environments.ensure(source, ROOT / ".envs")
        if web:
            webclient.build(ROOT, ROOT / ".envs", print)


@contextlib.contextmanager
def serve(plugins, before_start=lambda folder: None, may_block=(), wait_for_web=True, **settings):
    """A running server with `plugins`, {name: source or folder}. `settings` are keys of config.toml;
    `before_start(folder)` may put something into its folders. With web="auto" it has the full page, once that is there.

    Fails at the end if something has blocked the server's hub for more than 50 ms, see tests/hub.py; functions named in
    `may_block` are let off.

    STABLE_CORE_TEST_ASYNC_MODE (or async_mode=) chooses how it waits: eventlet or threading."""
    with tempfile.TemporaryDirectory(prefix="stable-core-") as folder:
        server = Running(Path(folder), plugins, settings, before_start, wait_for_web)
        try:
            yield server
        finally:
            server.stop()
        blocked = [
            line for line in hub.blocks(server.log) if not any(f" {name} " in line for name in [*LET_OFF, *may_block])
        ]
        assert not blocked, "\n".join(blocked)


def wait_until(condition, seconds=30):
    """What `condition()` returns once it is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return result


def toml(value):
    """A setting in TOML's notation: as JSON, but for tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)

"""The console on a real terminal: commands, completion, history, the queue at the bottom, and a server of its own."""

import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from tests.serving import ROOT, serve, wait_until
from tests.wire import alive

pexpect, pyte = pytest.importorskip("pexpect"), pytest.importorskip("pyte")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")

DEMO = """
from typing import Literal

class NapParams(Params):
    steps: int = param(400, ge=1, le=1000, help="How long it sleeps.")
    mood: Literal["deep", "very light"] = param("deep", help="How it sleeps.")

class Demo(Plugin):
    @job()
    def nap(self, params: NapParams, ctx: Context) -> Text:
        "Sleep for a while."
        for step in range(params.steps):
            ctx.raise_if_cancelled()
            ctx.progress(step, params.steps, "nap")
            time.sleep(0.05)
        return f"slept {params.mood}"
"""
TAB, CTRL_C, CTRL_D, UP, KILL_LINE = "\t", "\x03", "\x04", "\x1b[A", "\x15"


class Terminal:
    """A terminal of 30 lines on which `command` runs: `screen` is what a person sees."""

    def __init__(self, command, env):
        self._screen = pyte.Screen(110, 30)
        self._stream, self._lock = pyte.Stream(self._screen), threading.Lock()
        self.process = pexpect.spawn(
            command[0], command[1:], env=env, cwd=str(ROOT), dimensions=(30, 110), encoding="utf-8"
        )
        self._screen.write_process_input = self.process.send  # it answers where the cursor is
        threading.Thread(target=self._show, daemon=True).start()

    def _show(self):
        while True:
            try:
                data = self.process.read_nonblocking(4096, timeout=None)
            except (pexpect.EOF, OSError, ValueError):
                return
            with self._lock:
                self._stream.feed(data)

    @property
    def screen(self):
        with self._lock:
            return "\n".join(line.rstrip() for line in self._screen.display if line.strip())

    def type(self, text):
        self.process.send(text)

    def enter(self, line):
        self.type(line + "\r")

    def until(self, *texts):
        self._until(texts, lambda: all(text in self.screen for text in texts))

    def until_bottom(self, pattern):
        """The last line begins as the pattern says."""
        self._until(pattern, lambda: re.match(f" {pattern}", self.screen.rpartition("\n")[2]))

    def _until(self, what, condition):
        try:
            wait_until(condition, 20)
        except AssertionError as error:
            raise AssertionError(f"{what} not seen:\n{self.screen}") from error

    def ended(self):
        """The exit code."""
        wait_until(lambda: not self.process.isalive(), 30)
        return self.process.exitstatus


def environment(server, folder):
    own = {
        "STABLE_CORE_URL": server.url,
        "STABLE_CORE_TOKEN": server.token,
        "XDG_STATE_HOME": str(folder),
        "TERM": "xterm",
    }
    return os.environ | own


@pytest.fixture(scope="module")
def server():
    with serve({"demo": DEMO}) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def console(server, folder):
    terminal = Terminal([sys.executable, "-m", "clients.cli", "console"], environment(server, folder))
    terminal.until("Ctrl-D leaves", " idle │ 0 queued")
    yield terminal
    terminal.process.close(force=True)


@pytest.fixture(autouse=True)
def clean(request):
    if "console" in request.fixturenames:
        request.getfixturevalue("console").type("\x1b[F" + KILL_LINE + "\x0c")  # an empty line on an empty screen


def test_a_job_runs_as_on_the_command_line(console):
    console.enter("run nap --steps 3 --mood 'very light'")
    console.until("demo.nap done", "slept very light\n>")


def test_what_is_wrong_is_told_and_the_console_goes_on(console):
    console.enter("run napp")
    console.until("Did you mean nap")
    console.enter("jobs --limit 'x")
    console.until("the line cannot be read")
    console.enter("choices nowhere")
    console.until("there is no list 'nowhere'")


def test_tab_completes_commands_jobs_flags_with_their_help_and_values(console):
    console.type("pl" + TAB)
    console.until("> plugins")
    console.type(KILL_LINE + "run na" + TAB)
    console.until("> run nap")
    console.type(" --" + TAB)
    console.until("--steps", "How long it sleeps.", "--mood")
    console.type("moo" + TAB)
    console.until("> run nap  --mood")
    console.type(TAB)
    console.until("deep", "very light")
    console.type("v" + TAB)
    console.until("--mood 'very light'")


def test_tab_completes_ids_and_files(console, server):
    with server.client() as client:
        job = client.submit("nap", {"steps": 1})
        job.wait()
    console.type(f"job {job.id[:-6]}" + TAB)
    console.until(f"> job {job.id}")
    console.type(KILL_LINE + "run nap --out pyproj" + TAB)
    console.until("--out pyproject.toml")


def test_the_line_at_the_bottom_tells_what_runs_how_far_it_is_and_what_waits(console, server):
    with server.client() as client:
        jobs = [client.submit("nap"), client.submit("nap")]
        console.until_bottom(r"running │ nap \d+/400, .* left │ 1 queued.* │ demo@cpu")
        client.queue("pause")
        console.until_bottom("paused │ nap")
        client.queue("resume")
        for job in jobs:
            job.cancel()
    console.until_bottom("idle │ 0 queued")


def test_a_job_in_the_background_leaves_the_prompt_and_its_result_is_announced(console, tmp_path):
    console.enter(f"run nap --steps 40 --mood deep --out {tmp_path}/slept.txt &")
    console.until_bottom("running │ nap")
    console.enter("queue")
    console.until("demo@cpu  1 job")
    console.until("done  demo.nap", f"{tmp_path}/slept.txt")
    assert (tmp_path / "slept.txt").read_text() == "slept deep"


def test_what_ends_in_the_background_is_not_drawn_into_the_bar_of_another_job(console):
    console.enter("run nap --steps 10 &")
    console.until_bottom("running │ nap")
    console.enter("run nap --steps 30 --mood 'very light'")
    console.until("slept very light\n", "\ndone  demo.nap  ", "slept deep\n>")


def test_ctrl_c_cancels_the_job_and_not_the_console(console, server):
    console.enter("run nap")
    console.until("demo.nap nap")
    console.type(CTRL_C)
    console.until("Cancelling.", "\n>")
    with server.client() as client:
        assert client.jobs(limit=1)[0].state == "cancelled"
    console.enter("run nap --steps 2")
    console.until("slept deep")


def test_a_plugin_that_is_added_meanwhile_is_completed_and_runs(console, server):
    server.write_plugin(
        "late", "class Late(Plugin):\n    @job()\n    def latecomer(self) -> Text:\n        return 'here'"
    )
    wait_until(lambda: "plugin    late" in server.log)
    console.type("run late" + TAB)
    console.until("> run latecomer")
    console.type("\r")
    console.until("here\n>")


def test_the_history_is_there_in_the_next_console_but_no_token(server, folder, console):
    console.enter("choices from-another-day")
    console.enter("jobs --token secret")
    console.until("jobs --token secret")
    other = Terminal([sys.executable, "-m", "clients.cli", "console"], environment(server, folder))
    other.until("Ctrl-D leaves", "idle")
    other.type(UP)
    other.until("> choices from-another-day")
    other.type(KILL_LINE + CTRL_D)
    assert other.ended() == 0


def test_a_pipe_is_no_place_for_a_console(server, folder):
    command = [sys.executable, "-m", "clients.cli", "console"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(server, folder), stdin=subprocess.DEVNULL, capture_output=True, timeout=30
    )
    assert done.returncode == 2 and b"the console needs a terminal" in done.stderr


@pytest.fixture
def own(tmp_path):
    """own(flags) starts server.py --console."""
    (tmp_path / "config.toml").write_text(
        f'web = "off"\nenvironments = "{ROOT}/.envs"\nplugins = ["{tmp_path}/plugins"]\nport = 0\n'
    )
    folders = [f"--{name}={tmp_path / name}" for name in ("data", "outputs", "models")]
    started = []

    def start(*flags):
        command = [sys.executable, "server.py", "--console", f"--config={tmp_path / 'config.toml'}", *folders, *flags]
        env = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "TERM": "xterm"}
        started.append(Terminal(command, os.environ | env))
        return started[-1]

    yield start
    for terminal in started:
        terminal.process.close(force=True)


def server_of(terminal):
    children = f"/proc/{terminal.process.pid}/task/{terminal.process.pid}/children"
    with open(children) as file:
        return int(file.read().split()[0])


def test_the_server_prints_above_the_prompt_of_its_console_and_ends_with_it(own, tmp_path):
    terminal = own()
    terminal.until("idle │ 0 queued", "devices   ", "\n>")
    server = server_of(terminal)
    write(tmp_path / "plugins/late", DEMO)
    terminal.until("plugin    late: nap\n>")
    terminal.type("\x03\x03")  # which does not reach the server
    terminal.enter("run nap --steps 3")
    terminal.until("slept deep\n>")
    terminal.enter("exit")
    assert terminal.ended() == 0
    assert not alive(server)


def write(folder, source):
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("import time\nfrom core.plugin import *\n" + source)
    (folder / "plugin.toml").write_text(f'name = "{folder.name}"\nversion = "1"\napi = 1\n')


def test_the_server_ends_when_its_console_is_killed_and_the_console_when_its_server_is(own):
    terminal = own()
    terminal.until("idle │ 0 queued")
    server = server_of(terminal)
    os.kill(terminal.process.pid, signal.SIGKILL)
    wait_until(lambda: not alive(server), 20)
    terminal = own()
    terminal.until("idle │ 0 queued")
    os.kill(server_of(terminal), signal.SIGKILL)
    terminal.until("The server has ended")
    assert terminal.ended() == 1


def test_a_server_that_cannot_start_says_why_and_the_console_ends(own):
    terminal = own("--host", "256.0.0.1")
    terminal.until("stable-core cannot start: ")
    assert terminal.ended() == 1

"""The console: the commands line by line on one connection, with completion, history and the queue at the bottom.

`server.py --console` is this, with the server as its child: its output appears above the prompt, and it ends when the
console does, however that ends."""

import argparse
import os
import queue
import shlex
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import platformdirs

from clients.cli import commands, running, show
from clients.cli.base import Command
from clients.cli.candidates import Candidate, candidates
from clients.python import Client, InvalidParams, ServerError
from core.ops import child

LEAVE = ("exit", "quit")
REFRESH_SECONDS, REST_SECONDS = 5, 0.3  # how often the queue is looked at when nothing is heard of it; and at most
ENDED_KEPT = 10_000


def add(command: Command) -> None:
    command("console", run, "Type commands one after the other, with completion and the queue in sight.")


def run(client: Client, flags: argparse.Namespace) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidParams("the console needs a terminal.", hint="Scripts use the commands themselves.")
    with Noting(getattr(flags, "url", None), getattr(flags, "token", None)) as own:
        return Console(own).serve()


def with_server(flags: list[str]) -> int:
    """Start `server.py` with `flags` and be its console; returns the exit code, 1 if it cannot start or ends by itself.

    It has a session of its own, so Ctrl-C does not reach it, and ends when its stdin closes."""
    try:
        with child.server(flags) as server:
            address = next(filter(None, map(_passed_on, server.stdout)), None)
            if address is None:
                return server.wait() and 1
            with Noting(address) as client:
                console = Console(client)
                threading.Thread(target=_pass_on, args=(server, console), daemon=True).start()
                code = console.serve()
            if server.poll() is not None:
                print(f"The server has ended (exit code {server.returncode}).", file=sys.stderr)
                return 1
            return code
    except KeyboardInterrupt:
        return commands.INTERRUPTED
    except ServerError as error:
        commands.report(error, as_json=False)
        return 1


def _passed_on(line: str) -> str | None:
    """The address in a line of the server, which is printed."""
    if line.strip() != "Ctrl-C stops.":  # not here
        print(line, end="", flush=True)
    found = child.GREETING.match(line)
    return found[1] if found else None


def _pass_on(server: subprocess.Popen, console: "Console") -> None:
    for line in server.stdout:
        _passed_on(line)
    server.wait()
    console.leave()


class Noting(Client):
    """Notes the ids of the jobs that are submitted."""

    def __init__(self, *arguments: Any, **options: Any):
        self.noted: list[str] = []
        super().__init__(*arguments, **options)

    def call(self, event: str, data: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        answer = super().call(event, data, **options)
        if event in ("submit", "flow", "retry"):
            self.noted += [job["id"] for job in answer.get("jobs", [answer.get("job")])]
        return answer


class Console:
    def __init__(self, client: Noting):
        from prompt_toolkit import PromptSession
        from prompt_toolkit.auto_suggest import AutoSuggestFromHistory

        self._client, self._parser, self._over = client, commands.arguments(), False
        self._queue = QueueLine(client)
        self._announcing = Announcing(client)
        self._session: PromptSession[str] = PromptSession(
            history=_history(), completer=_completer(self._offered), complete_while_typing=False,
            complete_in_thread=True, auto_suggest=AutoSuggestFromHistory(), bottom_toolbar=self._queue.text,
        )  # fmt: skip

    def serve(self) -> int:
        """Carry out lines until somebody leaves."""
        self._queue.show(self._session.app.invalidate)
        print("Tab completes, Ctrl-C cancels, Ctrl-D leaves; & at the end of a line runs it in the background.")
        while not self._over:
            try:
                line = self._ask()
            except KeyboardInterrupt:
                continue
            except EOFError:
                break
            try:
                if line.strip() in LEAVE:
                    break
                self._carry_out(line)
            except KeyboardInterrupt:  # a second one, while the first was still at work
                continue
        return 0

    def leave(self) -> None:
        """From another thread: as Ctrl-D does."""
        self._over = True
        app = self._session.app
        if app.is_running and app.loop:
            app.loop.call_soon_threadsafe(lambda: app.is_running and app.exit(exception=EOFError))

    def _ask(self) -> str:
        from prompt_toolkit.patch_stdout import patch_stdout

        with patch_stdout(raw=True):
            return self._session.prompt("> ")

    def _carry_out(self, line: str) -> None:
        try:
            words = split(line)
        except ValueError as error:
            return commands.report(InvalidParams(f"the line cannot be read: {error}."), as_json=False)
        if not words:
            return None
        if words == ["help"]:
            return self._parser.print_help()
        if words[0] == "console":
            return commands.report(InvalidParams("this is the console already."), as_json=False)
        background = words[-1] == "&"
        if background and words[0] not in ("run", "flow"):
            return commands.report(InvalidParams("& at the end is for run and flow."), as_json=False)
        if background:
            words = [*words[:-1], "--no-wait"]
        self._client.noted.clear()
        with self._announcing.silence:
            commands.execute(self._client, words)
        waited = words[0] != "retry" and "--no-wait" not in words
        target = running.run_options().parse_known_args(words)[0] if not waited else None
        self._announcing.expect(self._client.noted, getattr(target, "out", None), shown=waited)
        return None

    def _offered(self, before: str) -> Iterator[tuple[Candidate, int]]:
        """What may come at the cursor, and how many characters before it that replaces."""
        start = start_of_word(before)
        try:
            words = split(before[:start])
            typed = before[start:].lstrip("'\"")
        except ValueError:
            return
        found = candidates(self._client, self._parser, words, typed)
        more = [Candidate(name, "Leave the console.") for name in LEAVE] if not words else []
        for each in [*found, *(each for each in more if each.text.startswith(typed))]:
            yield each, len(before) - start


def split(line: str) -> list[str]:
    """The words of a line, as a shell has them; on Windows, where paths have it, \\ is a letter. Raises ValueError."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    if os.name == "nt":
        lexer.escape = ""
    return list(lexer)


def start_of_word(text: str) -> int:
    """Where the last word of a line begins, which may be open: after the last space that is in no quotes."""
    start, quote, escaped = 0, "", False
    for place, letter in enumerate(text):
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'" and os.name != "nt":
            escaped = True
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter.isspace():
            start = place + 1
    return start


def _completer(offered: Any) -> Any:
    from prompt_toolkit.completion import Completer, Completion

    class Completing(Completer):
        def get_completions(self, document: Any, event: Any) -> Iterator[Completion]:
            for each, length in offered(document.text_before_cursor):
                text = shlex.quote(each.text) if each.text != each.text.strip() or " " in each.text else each.text
                end = "" if each.goes_on else " "
                yield Completion(
                    text + end, -length, display=show.plain(each.text), display_meta=show.plain(each.about)
                )

    return Completing()


def _history() -> Any:
    """Lines that were typed, also in other sessions; without those that hold a token."""
    from prompt_toolkit.history import FileHistory

    class Discreet(FileHistory):
        def store_string(self, string: str) -> None:
            if "--token" not in string and "token=" not in string:
                super().store_string(string)

    path = platformdirs.user_state_path("stable-core") / "console-history"
    path.parent.mkdir(parents=True, exist_ok=True)
    return Discreet(path)


class Announcing:
    """Tells of the ends of jobs that run in the background, and saves their results where that was asked for.

    Nothing is told while somebody holds `silence`, as a command does that draws on the terminal itself."""

    def __init__(self, client: Client):
        self.silence = threading.Lock()
        self._client, self._lock = client, threading.Lock()
        self._expected: dict[str, Path | None] = {}
        self._ended: deque[str] = deque(maxlen=ENDED_KEPT)
        self._to_tell: queue.SimpleQueue[tuple[str, Path | None]] = queue.SimpleQueue()
        client.on_event(self._hear)
        threading.Thread(target=self._tell_all, daemon=True).start()

    def expect(self, jobs: list[str], target: Path | None, shown: bool) -> None:
        """A command has submitted `jobs`; if `shown`, it has told of those that have ended."""
        with self._lock:
            for job in jobs:
                if job not in self._ended:
                    self._expected[job] = target
                elif not shown:
                    self._to_tell.put((job, target))

    def _hear(self, event: str, data: dict[str, Any]) -> None:
        if event == "job" and data["state"] in show.ENDED:
            with self._lock:
                self._ended.append(data["id"])
                if data["id"] in self._expected:
                    self._to_tell.put((data["id"], self._expected.pop(data["id"])))

    def _tell_all(self) -> None:
        while True:
            job, target = self._to_tell.get()
            try:
                with self.silence:
                    self._tell(job, target)
            except (ServerError, OSError) as error:
                show.err.print(show.text(f"{job}: {error}"), soft_wrap=True)

    def _tell(self, id: str, target: Path | None) -> None:
        job = self._client.job(id)
        said = show.text(job.state).append(show.text(f"  {job.record['name']}  {id}", "default"))
        if job.error:
            said.append(show.text(f"  {job.error}", "default"))
        show.out.print(said, soft_wrap=True)
        paths = running.save(job.outputs, target) if target and job.outputs else []
        for path in paths:
            print(path)
        if not paths and job.state == "done":
            running.print_outputs(job.outputs, as_pictures=False)


class QueueLine:
    """The line at the bottom: how the queue is, what runs and how far it is, how much waits, and who works.

    Events say when to ask the server."""

    def __init__(self, client: Client):
        self._client = client
        self._refresh: Callable[[], None]
        self._changed, self._state = threading.Event(), None
        self._running: dict[str, tuple[str, str]] = {}  # by id: the job, and how far it is
        self._eta: float | None = None

    def show(self, refresh: Callable[[], None]) -> None:
        """From now on; `refresh` has the line drawn again."""
        self._refresh = refresh
        self._client.on_event(self._hear)
        threading.Thread(target=self._look_often, daemon=True).start()

    def _hear(self, event: str, data: dict[str, Any]) -> None:
        if event == "job":
            self._running.pop(data["id"], None)
            if data["state"] == "running":
                self._running[data["id"]] = (data["name"], "")
        elif event == "progress" and data["id"] in self._running:
            left = f", {show.seconds(data['eta_seconds'])} left" if data.get("eta_seconds") else ""
            self._running[data["id"]] = (self._running[data["id"]][0], f" {data['step']:g}/{data['total']:g}{left}")
            return self._refresh()
        if event in ("job", "queue", "resync", "plugins"):
            self._changed.set()
        return None

    def _look_often(self) -> None:
        while True:
            try:
                self._look()
            except ServerError:
                self._state = None
            self._refresh()
            self._changed.wait(REFRESH_SECONDS)
            self._changed.clear()
            time.sleep(REST_SECONDS)

    def _look(self) -> None:
        if not self._client.online:
            self._state = None
            return
        state = self._client.queue()
        busy = {job for worker in state["workers"] for job in worker["jobs"]}
        for job in busy - self._running.keys():
            self._running[job] = (self._client.job(job).record["name"], "")
        for job in self._running.keys() - busy:
            self._running.pop(job, None)
        last = self._client.jobs(state="queued", limit=1)
        self._eta = self._client.job(last[0].id).record.get("eta_seconds") if last else None
        self._state = state

    def text(self) -> str:
        state = self._state
        if state is None or not self._client.online:
            return f" no connection to {self._client.url}: waiting"
        runs = [f"{name.partition('.')[2] or name}{far}" for name, far in list(self._running.values())]
        queued = f"{state['queued']} queued" + (f", about {show.seconds(self._eta)}" if self._eta else "")
        workers = [f"{each['plugin']}@{each['device']}" for each in state["workers"]]
        parts = ["paused" if state["paused"] else "running" if runs else "idle", " · ".join(runs[:3]), queued]
        more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
        parts[1] += more
        return " " + show.plain(" │ ".join(filter(None, [*parts, ", ".join(workers)])))

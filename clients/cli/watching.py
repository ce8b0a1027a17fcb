"""`watch`: what runs, what waits and what comes out, live, until Ctrl-C; through broken connections and restarts."""

import argparse
import json
import threading
import time
from collections import deque
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from clients.cli import show
from clients.cli.base import Command, wants_json
from clients.cli.listing import device_of
from clients.python import Client, ServerError
from clients.python.stable_core import TERMINAL

LOOK_SECONDS = 0.25  # between two pictures of it
ASK_SECONDS = 1  # between two questions to the server, where something has changed
DOUBT_SECONDS = 10  # and where nothing has
NEXT, NEWEST, RUNNING = 5, 8, 20  # jobs that wait, results, and jobs that run: so many are shown


def add(command: Command) -> None:
    watching = command("watch", watch, "Show live what runs, what waits and what comes out. Ctrl-C leaves.")
    watching.add_argument("--session", metavar="NAME", help="Of this session only.")


def watch(client: Client, flags: argparse.Namespace) -> int:
    board = Board(client, flags.session)
    stop = client.on_event(board.hear)
    try:
        if wants_json(flags):
            board.print_events(as_json=True)
        elif show.out.is_terminal:
            board.draw_on(show.out)
        else:
            board.print_events(as_json=False)
    except KeyboardInterrupt:
        return 0
    finally:
        stop()
    return 0


class Board:
    """What is known now. Events say that something has changed, and how far jobs are; the rest is asked for."""

    def __init__(self, client: Client, session: str | None):
        self._client, self._session = client, session
        self._events: deque[tuple[str, dict[str, Any]]] = deque(maxlen=10_000)
        self._came = threading.Event()
        self._progress: dict[str, dict[str, Any]] = {}
        self._running: list[dict[str, Any]] = []
        self._next: list[dict[str, Any]] = []
        self._newest: deque[tuple[str, str]] = deque(maxlen=NEWEST)  # state and line
        self._queue: dict[str, Any] = {"paused": False, "queued": 0}
        self._counts = {state: 0 for state in TERMINAL}

    def hear(self, type: str, body: dict[str, Any]) -> None:
        """Called in the thread that receives."""
        if type in ("job", "artifact") and self._session not in (None, body.get("session")):
            return
        if type != "preview":
            self._events.append((type, body))
            self._came.set()

    def print_events(self, as_json: bool) -> None:
        """A line for each event, for files and other programs."""
        while True:
            self._came.wait(LOOK_SECONDS)
            self._came.clear()
            while self._events:
                type, body = self._events.popleft()
                if as_json:
                    print(json.dumps({"event": type} | body, ensure_ascii=False), flush=True)
                elif line := self._line(type, body):
                    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)

    def _line(self, type: str, body: dict[str, Any]) -> str:
        """An event in words, "" for those that come too often or concern nobody who watches."""
        if type == "job":
            error = f"  {body['error']['message']}" if body.get("error") else ""
            return f"{body['state']:<9} {body['name']}  {body['id']}{error}"
        if type == "artifact" and body.get("job") and not body.get("deleted"):
            return f"{body.get('review', 'new'):<9} {body['id']}  {show.artifact(body)}"
        if type == "queue" and "moved" in body:
            return f"moved     {body['moved']}"
        if type == "queue":
            return "the queue is paused" if body["paused"] else "the queue runs"
        if type == "plugins":
            return f"{body['status']:<9} plugin {body['name']}" + (f"  {body['error']}" if body.get("error") else "")
        return ""

    def draw_on(self, console: Any) -> None:
        asked, changed = -DOUBT_SECONDS, True
        with Live(console=console, auto_refresh=False) as live:
            while True:
                changed = self._take_in() or changed
                waited = time.monotonic() - asked
                if self._client.online and (waited > DOUBT_SECONDS or (changed and waited > ASK_SECONDS)):
                    asked, changed = time.monotonic(), False
                    self._ask()
                live.update(self._drawn(console.width), refresh=True)
                self._came.wait(LOOK_SECONDS)
                self._came.clear()
                time.sleep(LOOK_SECONDS / 2)  # many events are one picture

    def _take_in(self) -> bool:
        """What events tell; returns whether the lists have changed."""
        changed = False
        while self._events:
            type, body = self._events.popleft()
            if type == "progress":
                self._progress[body["id"]] = body
                continue
            changed = changed or type in ("job", "queue", "resync")
            line = self._line(type, body)
            if type == "job" and body["state"] in TERMINAL:
                self._counts[body["state"]] += 1
                self._progress.pop(body["id"], None)
            if line and (type != "job" or body["state"] in ("failed", "cancelled")):
                self._newest.append((body.get("state", ""), f"{time.strftime('%H:%M')}  {line}"))
        return changed

    def _ask(self) -> None:
        try:
            self._queue = self._client.queue()
            known = {"session": self._session, "parent": "", "order": "queue"}
            top = [job.record for job in self._client.jobs(limit=100, **known)]
            programs = [row for row in top if row.get("children")]
            self._running = programs + [row for row in self._listed("running", RUNNING) if not row.get("children")]
            self._next = [row for row in top if row["state"] == "queued" and row not in programs][:NEXT]
        except ServerError:
            pass  # asked again when it is back

    def _listed(self, state: str, limit: int) -> list[dict[str, Any]]:
        return [job.record for job in self._client.jobs(state=state, session=self._session, limit=limit)]

    def _drawn(self, width: int) -> Group:
        head = show.Text("watch  ", "bold").append(self._client.url, "not bold")
        if not self._client.online:
            head.append("  waiting for the server", "yellow")
        elif self._queue["paused"]:
            head.append("  paused", "yellow")
        told = [f"{self._queue['queued']} queued"] + [f"{n} {state}" for state, n in self._counts.items() if n]
        head.append(f"  {', '.join(told)}" + (f"  in session {self._session}" if self._session else ""), "default")
        parts: list[Any] = [head, self._bars(width)]
        parts += [show.text(f"{row['name']} {said}", "yellow") for row in self._running if (said := asks(row))]
        parts += [show.text(f"next      {row['name']}  {prompt_of(row)}", "dim") for row in self._next]
        parts += [show.text(line, show.COLOURS.get(state, "")) for state, line in self._newest]
        parts.append(show.text("Ctrl-C leaves; jobs go on.", "dim"))
        for part in parts:
            if isinstance(part, show.Text):
                part.no_wrap, part.overflow = True, "ellipsis"
        return Group(*parts)

    def _bars(self, width: int) -> Table:
        grid = Table.grid(padding=(0, 2, 0, 0))
        for column in range(4):
            grid.add_column(no_wrap=True, overflow="ellipsis", width=max(10, width - 78) if column == 3 else None)
        for row in self._running:
            now, device = self._progress.get(row["id"], {}), device_of(row)
            step, total = now.get("step") or 0, now.get("total") or 0
            phase = now.get("phase") or "running"
            if row.get("children"):
                step, total, phase = row.get("children_ended") or 0, row["children"], "parts"
            left = f", {show.seconds(now['eta_seconds'])} left" if now.get("eta_seconds") else ""
            count = f"{step:g}/{total:g}" if total > 1 else ""
            grid.add_row(
                show.text(f"{row['name']}  {device}" if "/" in device else row["name"], "cyan"),
                ProgressBar(total=total or None, completed=step, width=20, complete_style="cyan"),
                show.text(f"{phase} {count}{left}"), show.text(prompt_of(row), "dim"),
            )  # fmt: skip
        return grid


def asks(row: dict[str, Any]) -> str:
    """What a program wants of a person."""
    if row["state"] == "held":
        return f"is held: release {row['id']}"
    wanted = sum("artifact" in wait for wait in row.get("waits_for") or [])
    return f"waits for you: review --follow {row['id']}" if wanted else ""


def prompt_of(row: dict[str, Any]) -> str:
    return " ".join(str(row["params"].get("prompt", "")).split())[:200]

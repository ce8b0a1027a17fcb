"""What the terminal shows of machines: a line for each thing done, and what goes on just now below the last one."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as Speed
from rich.status import Status
from rich.text import Text

from core.ops.bootstrap import size
from core.ops.discovery import printable
from core.remote.records import Remote, State
from core.remote.steps import Step

TOLD_SECONDS = 5  # how often it is told how far copying is, where no bar can be


class Show:
    """Lines, aligned; in a terminal also a bar while files are copied, and what is installed while it is."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._told, self._told_at = "", 0.0

    def __enter__(self) -> "Show":
        return self

    def __exit__(self, *_: object) -> None:
        self._rest()

    def say(self, verb: str, text: str) -> None:
        self._rest()
        self._line(verb, text)

    def step(self, step: Step) -> None:
        if step.total_bytes:
            return self._copying(step)
        if self._bar:
            self._rest()
        if step.text != self._told:
            self._told = step.text
            self._line("warning" if step.warning else step.name, step.text)
        if self._console.is_terminal and step.name in ("look", "install"):
            self._status = self._status or self._console.status("")
            self._status.update(f"[dim]{'looking' if step.name == 'look' else 'installing'} ...")
            self._status.start()

    def _line(self, verb: str, text: str) -> None:
        """In one piece, as there may be a line below it that changes."""
        style = {"warning": "yellow", "deployed": "green"}.get(verb, "")
        self._console.print(Text.assemble((f"{verb:<9} ", style), printable(text)))
        sys.stdout.flush()

    def _copying(self, step: Step) -> None:
        if not self._console.is_terminal:
            if time.monotonic() - self._told_at > TOLD_SECONDS:
                self._told_at = time.monotonic()
                done, share = size(step.done_bytes), 100 * step.done_bytes // step.total_bytes
                self._line("copy", f"{done} of {size(step.total_bytes)} ({share} %)")
            return
        if self._bar is None:
            self._rest()
            columns = TextColumn("copy      {task.description}"), BarColumn(30), DownloadColumn(), Speed()
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
            self._task = self._bar.add_task("", total=step.total_bytes)
            self._bar.start()
        name = printable(step.text).rpartition("/")[2]
        name = name if len(name) <= 30 else name[:29] + "…"
        self._bar.update(self._task, completed=step.done_bytes, description=f"{name:<30}")

    def _rest(self) -> None:
        if self._status:
            self._status.stop()
        if self._bar:
            self._bar.stop()
        self._status = self._bar = None


def ago(when: float) -> str:
    seconds = max(0, time.time() - when)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def state_of(record: Remote, state: State, server_runs: bool) -> str:
    """In a word or two: what the connection's process has written counts while there is one."""
    if record.rented and record.rented.ended:
        return "ended"
    if not record.folder:
        return "not deployed"
    if not record.on:
        return "off"
    return state.state if server_runs else "no server"

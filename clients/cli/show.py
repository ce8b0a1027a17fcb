"""How the command line looks: tables, help, and the progress of a job. Results to stdout, everything else to stderr."""

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import click
from rich.console import Console, Group
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Column, Table
from rich.text import Text

from clients.cli import pictures
from clients.python import Event, Job

PIPED_WIDTH = 10_000  # what is piped is never cut
out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Console(highlight=False, stderr=True)
COLOURS = {
    "done": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "ready": "green", "refused": "red",
}  # fmt: skip
REVIEWED = {"picked": "green", "rejected": "red", "new": ""}
OURS = "Result and queue"  # the flags that are not the job's
ENDED = ("done", "failed", "cancelled")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # a prompt must not be able to steer the terminal


def plain(content: Any) -> str:
    return CONTROL.sub(" ", str(content))


def text(content: Any, style: str = "") -> Text:
    return Text(plain(content), style or COLOURS.get(content if isinstance(content, str) else "", ""))


def value(content: Any) -> str:
    if isinstance(content, bool):
        return "on" if content else "off"
    return f"{content:g}" if isinstance(content, float) else repr(content) if content == "" else str(content)


def seconds(number: float) -> str:
    if number < 10:
        return f"{number:.1f} s"
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if number >= 2 * size:
            return f"{number / size:.0f} {name}"
    return f"{number:.0f} s"


def age(moment: float) -> str:
    return seconds(max(0, time.time() - moment))


def size(number: int) -> str:
    for factor, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= factor:
            return f"{number / factor:.1f} {name}"
    return f"{number} bytes"


def artifact(row: dict[str, Any]) -> str:
    """What it is, in a few words."""
    facts = row["facts"]
    dimensions = f"{facts['width']}x{facts['height']}" if "width" in facts else size(row["size_bytes"])
    return f"{row['kind']} {dimensions}" + (f", seed {facts['seed']}" if "seed" in facts else "")


def table(rows: Iterable[dict[str, Any]], flexible: Sequence[str], empty: str, to: Console = out) -> None:
    """Rows by header; without the columns in which nothing is. On a terminal, the `flexible` ones are cut to fit."""
    rows = [{name: "" if each is None else each for name, each in row.items()} for row in rows]
    if not rows:
        err.print(empty)
        return
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    for name in names:
        width = None if name in flexible else max(len(name), *(len(str(row[name])) for row in rows))
        grid.add_column(name, no_wrap=True, overflow="ellipsis", min_width=width)
    for row in rows:
        grid.add_row(*(text(row[name]) for name in names))
    to.print(grid)


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and values under each other."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, content in pairs:
        if content not in (None, ""):
            grid.add_row(text(name), content if isinstance(content, Text) else text(content))
    out.print(grid)


def job_help(
    about: dict[str, Any], rows: dict[str, list[tuple[str, str, list[str]]]], fact: Callable[[str], str]
) -> str:
    """All flags of a job, grouped; under each what it is for, and what is allowed, and the default."""
    parts: list[Any] = [Text(f"run {about['name']}  ", "bold").append(text(about["help"], "not bold"))]
    width = min(30, max(len(flag) for group in rows.values() for flag, _, _ in group))
    for title, group in sorted(rows.items(), key=lambda each: each[0] == OURS):
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="cyan", width=width, overflow="fold")
        grid.add_column(overflow="fold")
        for flag, help, allowed in group:
            line = text(help).append(" " if help and allowed else "").append(text("; ".join(map(fact, allowed)), "dim"))
            grid.add_row(text(flag), line)
        parts += [Text(), Text(title, "bold"), grid]
    with out.capture() as captured:
        out.print(Group(*parts), width=min(out.width, 110))
    return captured.get()


class _State(ProgressColumn):
    """What the job does now, or that the server is away and waited for."""

    def __init__(self, job: Job):
        super().__init__(Column(no_wrap=True))
        self._client = job._client

    def render(self, task: Any) -> Text:
        if not self._client.online and not task.finished:
            return Text("waiting for the server", "yellow")
        return text(task.description, COLOURS.get(task.description, "cyan"))


class _Time(ProgressColumn):
    """How long it has taken, and will take by the speed of its present phase."""

    def __init__(self, started: float):
        super().__init__(Column(no_wrap=True))
        self._started, self._ended = started, 0.0

    def render(self, task: Any) -> Text:
        if task.description in ENDED:
            self._ended = self._ended or time.monotonic()
            return text(seconds(self._ended - self._started))
        left = f", {seconds(task.time_remaining)} left" if task.time_remaining and task.completed else ""
        return text(seconds(time.monotonic() - self._started) + left)


class _Bar(Progress):
    picture: Any = None

    def get_renderables(self) -> Iterable[Any]:
        if self.picture and not self.finished:
            yield self.picture
        yield from super().get_renderables()


class Follower:
    """Shows the events of a job: a bar with what is left on a terminal, a few lines elsewhere, nothing if `quiet`.

    With `previews`, the latest preview is above the bar, as half blocks: what can be drawn over ten times a second in
    any terminal without flicker."""

    def __init__(self, job: Job, quiet: bool, previews: bool = False):
        self._pictures = previews and not quiet and err.is_terminal and pictures.ready(err)
        self._quiet, self._bar, self._previews, self._last = quiet, None, 0, ""
        self._name, self._started = job.record["name"], time.monotonic()
        self._told: set[tuple[str, int]] = set()
        if err.is_terminal and not quiet:
            self._bar = _Bar(
                TextColumn("{task.fields[name]}"), _State(job),
                BarColumn(28, complete_style="cyan", finished_style="green"), TextColumn("{task.fields[steps]}"),
                _Time(self._started), TextColumn("{task.fields[previews]}", style="dim"), console=err,
            )  # fmt: skip
            self._task = self._bar.add_task(job.state, total=None, name=self._name, steps="", previews="")

    def __enter__(self) -> "Follower":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar:
            self._bar.stop()

    def say(self, line: str) -> None:
        if not self._quiet:
            err.print(text(line), soft_wrap=True)

    def show(self, event: Event) -> None:
        if event.type == "preview":
            self._previews += 1
            if self._bar and self._pictures:
                self._bar.picture = pictures.blocks(event.data["image"])
        if self._quiet:
            return
        if event.type == "job":
            self._state(event.data["state"], event.data["attempt"])
        elif event.type == "log" and not event.data["text"].startswith("Traceback"):  # which the error sums up
            self.say(event.data["text"])
        elif event.type == "progress":
            self._progress(**{key: event.data.get(key) for key in ("step", "total", "phase")})
        if self._bar and self._previews:
            self._bar.update(self._task, previews=counted(self._previews, "preview"))

    def _state(self, state: str, attempt: int) -> None:
        if self._bar:
            total = self._bar.tasks[0].total or 1
            ended = {"completed": total, "total": total} if state == "done" else {}
            self._bar.update(self._task, description=state, **ended)
        elif state in ENDED:
            previews = f", {counted(self._previews, 'preview')}" if self._previews else ""
            self.say(f"{state}: {self._name} in {seconds(time.monotonic() - self._started)}{previews}")
        elif (state, attempt) not in self._told:  # a program runs and waits again after each of its parts
            self._told.add((state, attempt))
            self.say(f"{state}: {self._name}")

    def _progress(self, step: float, total: float, phase: str | None) -> None:
        phase = phase or "running"
        done = f"{int(step) if total > 1 else step:g}/{total:g}"  # several pictures on their way make parts of steps
        if self._bar:
            if phase != self._last:  # what is left is measured anew in each phase
                self._bar.reset(self._task, total=total, description=phase)
            self._bar.update(self._task, completed=step, total=total, description=phase, steps=done)
            self._last = phase
        elif (quarter := f"{phase} {int(4 * step / total) if total else 4}") != self._last:
            self._last = quarter
            self.say(f"{phase} {done}")


def keys(*quitting: type[BaseException]) -> Iterator[str]:
    """What is pressed, as small letters; Ctrl-D, and what raises one of `quitting`, is q."""
    while True:
        try:
            typed = click.getchar()
        except (EOFError, *quitting):
            typed = "q"
        if not typed.startswith("\x1b"):  # an arrow, for example, which has letters in it
            yield from typed.lower()


def counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"

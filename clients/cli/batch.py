"""`batch`: a job for each row of a table or each file of a folder; the same command again goes on where it was."""

import argparse
import hashlib
import json
import shlex
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from clients.cli import show
from clients.cli.base import FAILED, INTERRUPTED, Command, Parser, announced, connection_options, wants_json
from clients.cli.flags import JobParser, ready
from clients.cli.rows import Row, Source, mistakes, refuse
from clients.cli.running import tell_plans
from clients.python import Artifact, Client, InvalidParams, Job, QueueFull
from clients.python.stable_core import SUFFIXES, TERMINAL

USAGE = "clients.cli batch JOB FILE [flags]"
LOOK_SECONDS = 0.2  # between two looks at the jobs
WATCH_SECONDS = 1  # between two looks at the file or folder
QUIET_SECONDS = 2  # a file that was written to within them may still grow
DOUBT_SECONDS = 20  # without news, the server is asked
PATIENCE_SECONDS = 30 * 24 * 3600.0  # for a server that is away: a batch may take a night and more
EVERYTHING = 1_000_000
LISTED = 40  # rows that the table at the end may have; of more, only those that failed


def add(command: Command) -> None:
    text = "Run a job for each row of a .csv or .jsonl, or file of a folder. batch JOB FILE --help shows its flags."
    running = command("batch", batch, text, usage=USAGE)
    running.add_argument("job", help="What to run for each row.")
    running.add_argument("file", type=Path, help="Columns are parameters and inputs by name; or a folder of files.")
    running.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="Flags of the job, for all rows.")


def options() -> Parser:
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, help="Save results here as they come, named by their row."
    )
    parser.add_argument("--session", metavar="NAME", help="Default: the name of the file or folder.")
    choices = ("interactive", "normal", "batch")
    parser.add_argument("--priority", choices=choices, default="batch", help="Which jobs come first; default batch.")
    parser.add_argument("--watch", action="store_true", help="Go on with rows or files that come later, until Ctrl-C.")
    parser.add_argument("--fresh", action="store_true", help="Make all of them anew, also those that are done.")
    parser.add_argument("--plan", action="store_true", help="Tell what it would make, without making it.")
    for action in connection_options()._actions:
        parser._add_action(action)
    return parser


def batch(client: Client, flags: argparse.Namespace) -> int:
    about = announced(client, flags.job)
    if about["light"]:
        raise InvalidParams(f"{about['name']} is a light job, which is not queued.", hint="The command run calls it.")
    parser = JobParser(about, options(), client.call)
    given, *shared = parser.read(flags.words)
    given = argparse.Namespace(**vars(flags) | vars(given))
    client.session = getattr(given, "session", None) or flags.file.resolve().stem
    salt = [about["name"], client.session, uuid.uuid4().hex if hasattr(given, "fresh") else ""]
    source = Source(flags.file, about, parser, shared, salt)
    target = getattr(given, "out", None)
    if target and target.resolve() == flags.file.resolve():
        raise InvalidParams(f"--out {target}: results would be taken for new files.", hint="Choose another folder.")
    rows = source.rows(hasattr(given, "watch"))
    if not hasattr(given, "watch") or hasattr(given, "plan"):
        refuse(flags.file, rows)
    if hasattr(given, "plan"):
        plans = [client.plan(about["name"], row.params, ready(about, row.inputs)) for row in rows]
        return tell_plans(plans, wants_json(given))
    patience, client.patience = client.patience, PATIENCE_SECONDS
    try:
        return Batch(client, about, source, given).run(rows)
    finally:
        client.patience = patience


class Batch:
    """The rows on their way. What is known of earlier runs comes from the server: the references of its jobs."""

    def __init__(self, client: Client, about: dict[str, Any], source: Source, flags: argparse.Namespace):
        self._client, self._about, self._source, self._flags = client, about, source, flags
        self._json, self._watch = wants_json(flags), hasattr(flags, "watch")
        self._target: Path | None = getattr(flags, "out", None)
        self._taken: set[str] = set()  # references of rows that this run has seen
        self._told: set[str] = set()
        self._pending: list[tuple[Row, Job]] = []
        self._ended: list[dict[str, Any]] = []
        self._uploads: dict[str, str] = {}
        self._heard = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(28, complete_style="cyan", finished_style="green"),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"), TimeElapsedColumn(), console=show.err,
            disable=self._json or not show.err.is_terminal, redirect_stdout=sys.stdout.isatty(),
        )  # fmt: skip
        self._task = self._bar.add_task("batch", total=0)

    def run(self, rows: list[Row]) -> int:
        stopped, looked = False, time.monotonic()
        with self._bar:
            try:
                known = self._known()
                while True:
                    new = self._new(rows)
                    self._taken |= {row.ref for row in new}
                    for row in new:
                        self._submit(row, known.get(row.ref))
                        self._collect()
                    self._collect()
                    if not self._pending and not self._watch:
                        break
                    time.sleep(LOOK_SECONDS)
                    rows = []
                    if self._watch and time.monotonic() > looked + WATCH_SECONDS:
                        rows, looked = self._source.rows(growing=True), time.monotonic()
            except KeyboardInterrupt:
                stopped = True
        return self._summary(stopped)

    def _known(self) -> dict[str, Job]:
        """The newest job of each row that an earlier run has submitted."""
        found: dict[str, Job] = {}
        for job in self._client.jobs(session=self._client.session, limit=EVERYTHING):
            found.setdefault((job.record.get("client_ref") or "").partition(".")[0], job)
        return found

    def _new(self, rows: list[Row]) -> list[Row]:
        """Rows that were not there before, and are whole. Of those that are wrong, it is told once."""
        for line in mistakes(self._source.path, rows):
            if line not in self._told:
                self._told.add(line)
                show.err.print(show.text(f"left out  {line}", "red"), soft_wrap=True)
        return [row for row in rows if row.ref and row.ref not in self._taken and self._is_whole(row)]

    def _is_whole(self, row: Row) -> bool:
        """Whether nobody writes to the row's files any more: a camera or another program may be at it."""
        if not self._watch:
            return True
        paths = [each for given in row.inputs.values() for each in given if isinstance(each, Path)]
        return all(time.time() - path.stat().st_mtime > QUIET_SECONDS for path in paths)

    def _submit(self, row: Row, known: Job | None) -> None:
        """One that failed in an earlier run is tried once more; one that waits, runs or is done is taken as it is."""
        if known is None or known.state in ("failed", "cancelled"):
            ref = row.ref
            if known:
                attempt = int(known.record["client_ref"].partition(".")[2] or 0) + 1
                ref = f"{row.ref}.{attempt}"
            inputs = {name: [self._stored(name, each) for each in given] for name, given in row.inputs.items()}
            extra = {"client_ref": ref, "priority": self._flags.priority}
            if hasattr(self._flags, "fresh"):
                extra["fresh"] = True
            while True:
                try:
                    known = self._client.submit(self._about["name"], row.params, ready(self._about, inputs), **extra)
                    break
                except QueueFull:  # by others, perhaps: it empties
                    self._collect()
                    time.sleep(1)
        self._pending.append((row, known))
        self._draw()

    def _stored(self, name: str, given: Any) -> str:
        """The id of an input, uploaded once however many rows name it."""
        if isinstance(given, str):
            return given
        content = given.read_bytes() if isinstance(given, Path) else given
        kind = self._about["inputs"][name]["kind"]
        key = kind + hashlib.sha256(content).hexdigest()
        if key not in self._uploads:
            label = given.name if isinstance(given, Path) else None
            self._uploads[key] = self._client.upload(content, kind=kind, name=label).id
        return self._uploads[key]

    def _collect(self) -> None:
        """Take what has ended; ask about the oldest, should its event have been lost."""
        if self._pending and time.monotonic() > self._heard + DOUBT_SECONDS:
            self._heard = time.monotonic()
            self._pending[0][1].refresh()
        ended = [each for each in self._pending if each[1].state in TERMINAL]
        if ended:
            self._heard = time.monotonic()
            self._pending = [each for each in self._pending if each not in ended]
        for row, job in ended:
            self._take(row, job)
        self._draw()

    def _take(self, row: Row, job: Job) -> None:
        """Save and tell what a row has become."""
        if "finished" not in job.record:  # events do not tell the times
            job.refresh()
        about = job.record
        record: dict[str, Any] = {"row": row.name, "job": job.id, "state": job.state, "outputs": [], "paths": []}
        record["seconds"] = round(about["finished"] - about["started"], 3) if about.get("started") else 0
        if job.state == "done":
            outputs = job.outputs
            record["outputs"] = [output.id for output in outputs]
            record["paths"] = [str(path) for path in self._save(row, outputs)] if self._target else []
        elif job.error:
            record["error"] = {"code": job.error.code, "message": job.error.message}
        self._ended.append(record)
        if self._json:
            print(json.dumps(record, ensure_ascii=False), flush=True)
            return
        for line in record["paths"] or record["outputs"]:
            print(line, flush=True)
        if job.state != "done":
            self._say(f"{job.state}  row {row.name}  {record.get('error', {}).get('message', '')}", "red")

    def _save(self, row: Row, outputs: list[Artifact]) -> list[Path]:
        """Write what is not there yet, from an earlier run."""
        self._target.mkdir(parents=True, exist_ok=True)
        paths = []
        for number, output in enumerate(outputs, 1):
            several = f"-{number}" if len(outputs) > 1 else ""
            path = self._target / f"{row.label}{several}{SUFFIXES.get(output.kind, '')}"
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != output.record["sha256"]:
                output.save(path)
            paths.append(path)
        return paths

    def _draw(self) -> None:
        states = Counter(job.state for _, job in self._pending)
        failed = sum(each["state"] != "done" for each in self._ended)
        words = [f"{states[state]} {state}" for state in ("running", "queued", "waiting", "held") if states[state]]
        words += [f"{failed} failed"] if failed else []
        words += ["waiting for the server"] if not self._client.online else []
        words += ["watching"] if self._watch and not self._pending else []
        self._bar.update(
            self._task,
            completed=len(self._ended),
            total=max(1, len(self._taken)),
            description=", ".join(words) or "batch",
        )

    def _say(self, line: str, style: str = "") -> None:
        if not self._json:
            show.err.print(show.text(line, style), soft_wrap=True)

    def _summary(self, stopped: bool) -> int:
        failed = [each for each in self._ended if each["state"] != "done"]
        listed = self._ended if len(self._ended) <= LISTED else failed
        rows = [
            {
                "row": each["row"], "state": each["state"], "took": show.seconds(each["seconds"]), "job": each["job"],
                "result": " ".join(each["paths"] or each["outputs"]) or each.get("error", {}).get("message"),
            }
            for each in listed
        ]  # fmt: skip
        if not self._json and rows:
            show.table(rows, ["result"], "", to=show.out if sys.stdout.isatty() else show.err)
        self._say(f"{len(self._ended) - len(failed)} done, {len(failed)} failed, in session {self._client.session}.")
        if stopped and self._pending:
            self._say(
                f"{show.counted(len(self._pending), 'job')} go on without us. The same command goes on from here; "
                f"to stop them: stable-core jobs --session {shlex.quote(self._client.session)} --state queued | "
                "stable-core cancel"
            )
        return INTERRUPTED if stopped and (self._pending or not self._watch) else FAILED if failed else 0

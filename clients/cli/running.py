"""Running jobs: `run`, following them, and what becomes of their results."""

import argparse
import sys
from pathlib import Path
from typing import Any

from clients.cli import show
from clients.cli.base import Command, Parser, connection_options, dump, wants_json
from clients.cli.flags import IMAGES, JobParser
from clients.python import Artifact, Cancelled, Client, InvalidParams, Job

USAGE = "clients.cli run JOB [flags]"


def add(command: Command) -> None:
    running = command("run", run, "Run a job and wait for its result. run JOB --help shows its flags.", usage=USAGE)
    running.add_argument("job", help="What to run, for example txt2img. The command plugins lists all.")
    running.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="The job's flags.")
    saving = command("download", download, "Save artifacts.")
    saving.add_argument("id", nargs="+", metavar="ARTIFACT")
    saving.add_argument("--out", type=Path, default=Path(), metavar="PATH", help="File or folder; default: here.")


def run_options() -> Parser:
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--out", metavar="PATH", type=Path, help="Save the results as this file or into this folder.")
    parser.add_argument("--session", metavar="NAME", help="Session that the job belongs to.")
    parser.add_argument("--priority", metavar="CHOICE", help="Interactive, normal or batch.")
    parser.add_argument("--no-wait", action="store_true", help="Return once the job is in the queue.")
    parser.add_argument("--fresh", action="store_true", help="Run it even if the results of an equal job are there.")
    for action in connection_options()._actions:
        parser._add_action(action)
    return parser


def run(client: Client, flags: argparse.Namespace) -> int:
    own = run_options()
    early, _ = own.parse_known_args(flags.words)  # --json before and after the job
    flags = argparse.Namespace(**vars(flags) | vars(early))
    about = client.describe(flags.job, wait=False)
    if about is None:  # refused, in the server's words
        client.call("submit", {"job": flags.job})
    own = connection_options() if about["light"] else own  # it is not queued, nor is its result kept
    options, params, inputs = JobParser(about, own, client.choices).read(flags.words)
    if about["light"]:
        for value in client.light(about["name"], params, inputs):
            print(value) if isinstance(value, str) and not wants_json(flags) else dump(value)
        return 0
    target = getattr(options, "out", None)
    check_target(target, about)
    extra = {key: getattr(options, key) for key in ("session", "priority", "fresh") if hasattr(options, key)}
    job = client.submit(about["name"], params, inputs, **extra)
    if hasattr(options, "no_wait"):
        return dump({"job": job.record}) if wants_json(flags) else show.out.print(job.id) or 0
    if not wants_json(flags) and client.queue()["paused"]:
        show.err.print("The queue is paused. The command `queue resume` lets it go on.", style="yellow")
    interrupted = follow(job, quiet=wants_json(flags))
    if job.state != "done":
        error = job.error or Cancelled("the job was cancelled.", job=job.id)
        if isinstance(error, Cancelled) and not wants_json(flags):
            return 130 if interrupted else 1  # the progress has said so
        raise error
    paths = save(job.outputs, target) if target else []
    if wants_json(flags):
        saved = [{"path": str(path)} for path in paths] or [{}] * len(job.outputs)
        records = [output.record | path for output, path in zip(job.outputs, saved, strict=True)]
        return dump({"job": job.refresh().record, "outputs": records})
    for path in paths:
        print(path)
    if not paths:
        print_outputs(job.outputs)
    return 0


def follow(job: Job, quiet: bool) -> bool:
    """Show the job until its end; returns whether Ctrl-C cancelled it. A second Ctrl-C leaves at once."""
    interrupted = False
    with show.Follower(job, quiet) as follower:
        while True:
            try:
                if interrupted and job.state not in ("done", "failed", "cancelled"):
                    job.cancel()
                for event in job.events():
                    follower.show(event)
                return interrupted
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                follower.say("Cancelling. Ctrl-C again leaves at once.")


def check_target(target: Path | None, about: dict[str, Any]) -> None:
    if (
        target
        and about["output"]["kind"] in IMAGES
        and not target.is_dir()
        and target.suffix.lower() not in ("", ".png")
    ):
        raise InvalidParams(f"--out {target}: results of {about['name']} are PNG files.", hint="Use a name with .png.")


def save(outputs: list[Artifact], target: Path) -> list[Path]:
    """One result as the file `target`, several as numbered ones beside it; or into the folder `target`."""
    if target.is_dir() or target.suffix == "":
        target.mkdir(parents=True, exist_ok=True)
        return [output.save(target) for output in outputs]
    target.parent.mkdir(parents=True, exist_ok=True)
    if len(outputs) == 1:
        return [outputs[0].save(target)]
    return [output.save(target.with_stem(f"{target.stem}-{number}")) for number, output in enumerate(outputs, 1)]


def print_outputs(outputs: list[Artifact]) -> None:
    """Texts as they are; of what a terminal cannot show, a line each."""
    for output in outputs:
        if output.kind in ("text", "json"):
            print(output.text() if not sys.stdout.isatty() else show.text(output.text()))
        else:
            show.out.print(show.text(f"{output.id}  {show.artifact(output.record)}"), soft_wrap=True)
    if outputs and outputs[0].kind not in ("text", "json"):
        show.err.print("Save with: download ID, or run with --out FILE.", style="dim")


def download(client: Client, flags: argparse.Namespace) -> int:
    paths = save([Artifact(client, id) for id in flags.id], flags.out)
    if wants_json(flags):
        return dump([str(path) for path in paths])
    for path in paths:
        print(path)
    return 0

"""The commands: each asks the server through the SDK and shows the answer, to people or as JSON."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from clients.cli import show
from clients.cli.flags import IMAGES, JobParser
from clients.python import Artifact, Cancelled, Client, InvalidParams, Job, ServerError, UnknownJob

STATES = ("held", "waiting", "queued", "running", "done", "failed", "cancelled")
USAGE, INTERRUPTED = 2, 130


class Parser(argparse.ArgumentParser):
    """One that says what is wrong in a line, or as JSON where that is asked for."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, allow_abbrev=False, **options)

    def error(self, message: str) -> None:
        """argparse says `argument --limit: invalid int value`; we say `--limit: invalid int value`."""
        report(InvalidParams(message.removeprefix("argument "), hint="Add --help to see what is allowed."))
        sys.exit(USAGE)


def connection_options() -> Parser:
    """The options of every command; none has a default, so that they may stand before or after the command."""
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--url", metavar="URL", help="Where the server is; else STABLE_CORE_URL, else this machine.")
    parser.add_argument("--token", metavar="TOKEN", help="Else STABLE_CORE_TOKEN, else the one of this user here.")
    parser.add_argument("--json", action="store_true", help="Print JSON, for scripts.")
    return parser


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


def arguments() -> Parser:
    common = connection_options()
    parser = Parser(
        prog="clients.cli", parents=[common], description="Uses a stable-core server from the command line."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, function: Any, help: str, **options: Any) -> Parser:
        made = commands.add_parser(name, help=help, description=help, parents=[common], **options)
        made.set_defaults(function=function)
        return made

    running = command(
        "run", None, "Run a job and wait for its result. run JOB --help shows its flags.", usage=RUN_USAGE
    )
    running.add_argument("job", help="What to run, for example txt2img. The command plugins lists all.")
    running.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="The job's flags.")
    command("plugins", plugins, "List the plugins and the jobs they announce.")
    listing = command("choices", choices, "List the entries of a list, for example models/checkpoint.")
    listing.add_argument("list")
    listing = command("jobs", jobs, "List jobs, the newest first.")
    listing.add_argument("--state", choices=STATES)
    listing.add_argument("--session", metavar="NAME")
    listing.add_argument("--limit", type=int, default=20, metavar="N")
    command("job", job, "Show all about a job.").add_argument("id")
    cancelling = command("cancel", cancel, "Stop jobs.")
    cancelling.add_argument("id", nargs="+")
    cancelling.add_argument("--keep-partial", action="store_true", help="Keep the results so far.")
    command("skip", skip, "Let running jobs go on with their next picture.").add_argument("id", nargs="+")
    command("retry", retry, "Submit a job that has ended once more.").add_argument("id")
    queueing = command("queue", queue, "Show the queue, pause it, or let it go on.")
    queueing.add_argument("action", nargs="?", default="status", choices=("status", "pause", "resume"))
    listing = command("artifacts", artifacts, "List results and uploads, the newest first.")
    listing.add_argument("--job", metavar="ID")
    listing.add_argument("--session", metavar="NAME")
    listing.add_argument("--limit", type=int, default=20, metavar="N")
    saving = command("download", download, "Save artifacts.")
    saving.add_argument("id", nargs="+", metavar="ARTIFACT")
    saving.add_argument("--out", type=Path, default=Path(), metavar="PATH", help="File or folder; default: here.")
    return parser


RUN_USAGE = "clients.cli run JOB [flags]"


def main(words: list[str] | None = None) -> int:
    try:
        flags = arguments().parse_args(words)
        own = run_options()
        if flags.command == "run":
            early, _ = own.parse_known_args(flags.words)  # the server must be known before the job's flags can be
            flags = argparse.Namespace(**vars(flags) | vars(early))
        with Client(getattr(flags, "url", None), getattr(flags, "token", None)) as client:
            code = run(client, flags, own) if flags.command == "run" else flags.function(client, flags)
        sys.stdout.flush()
        return code
    except ServerError as error:
        report(error)
        return USAGE if isinstance(error, InvalidParams | UnknownJob) else 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        report(ServerError(f"{error.filename or 'a file'}: {error.strerror or error}.", code="os_error"))
        return 1


def report(error: ServerError) -> None:
    """A message and the way out, on stderr."""
    if "--json" in sys.argv:
        wire = {key: getattr(error, key) for key in ("code", "message", "field", "hint", "job", "errors")}
        print(json.dumps({"error": {key: value for key, value in wire.items() if value}}), file=sys.stderr)
        return
    show.err.print(show.Text("error  ", "red").append(show.text(error.message, "default")), soft_wrap=True)
    if error.hint:
        show.err.print(show.Text("       ").append(show.text(error.hint, "dim")), soft_wrap=True)


def dump(content: Any) -> int:
    print(json.dumps(content, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))
    return 0


def wants_json(flags: argparse.Namespace) -> bool:
    return getattr(flags, "json", False)


def run(client: Client, flags: argparse.Namespace, own: Parser) -> int:
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
            return INTERRUPTED if interrupted else 1  # the progress has said so
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
            show.out.print(show.text(f"{output.id}  {about_artifact(output.record)}"), soft_wrap=True)
    if outputs and outputs[0].kind not in ("text", "json"):
        show.err.print("Save with: download ID, or run with --out FILE.", style="dim")


def plugins(client: Client, flags: argparse.Namespace) -> int:
    found = client.plugins()
    if wants_json(flags):
        return dump(found)
    for plugin in found:
        title = show.Text(plugin["name"], "bold").append(f" {plugin.get('version') or ''}  ", "dim")
        show.out.print(title.append(show.text(plugin["status"])), soft_wrap=True)
        if plugin["error"]:
            show.out.print(show.text(f"  {plugin['error']}"), soft_wrap=True)
        for note in plugin["notes"]:
            show.out.print(show.text(f"  {note}"), soft_wrap=True)
    rows = [
        {
            "job": f"{plugin['name']}.{about['name']}",
            "takes → gives": f"{ports(about['inputs'].values())} → {ports([about['output']])}",
            "what it does": about["help"].partition("\n")[0],
        }
        for plugin in found
        for about in plugin["jobs"]
    ]
    show.out.print()
    show.table(rows, ["what it does"], "There are no jobs: no plugin is ready.")
    return 0


def ports(found: Any) -> str:
    words = [port["kind"] + ("s" if port["list"] else "") + ("?" if port["optional"] else "") for port in found]
    return ", ".join(words) or "nothing"


def choices(client: Client, flags: argparse.Namespace) -> int:
    found = client.choices(flags.list)
    if wants_json(flags):
        return dump(found)
    for entry in found:
        show.out.print(show.text(entry), soft_wrap=True)
    return 0


def jobs(client: Client, flags: argparse.Namespace) -> int:
    found = [job.record for job in client.jobs(state=flags.state, session=flags.session, limit=flags.limit)]
    if wants_json(flags):
        return dump(found)
    rows = [
        {
            "id": row["id"], "state": row["state"], "age": show.age(row["created"]),
            "session": unless_default(row["session"]), "job": row["name"], "prompt or error": summary(row),
        }
        for row in found
    ]  # fmt: skip
    show.table(rows, ["job", "prompt or error"], "There are no such jobs.")
    return 0


def unless_default(session: str) -> str:
    return "" if session == "default" else session


def took(row: dict[str, Any]) -> str:
    return show.seconds(row["finished"] - row["started"]) if row.get("finished") and row.get("started") else ""


def summary(row: dict[str, Any]) -> str:
    """What tells jobs apart: the error, else the prompt."""
    words = row["error"]["message"] if row.get("error") else row["params"].get("prompt", "")
    return str(words)[:60]


def job(client: Client, flags: argparse.Namespace) -> int:
    found = client.job(flags.id)
    row = found.record
    if wants_json(flags):
        return dump(row)
    place = f"{row['position']} before it" if row.get("position") else ""
    maker = (row.get("metrics") or {}).get("reused_from")
    time = f"made before, by {maker}" if maker else took(row) and f"took {took(row)}"
    times = ", ".join(filter(None, (f"{show.age(row['created'])} ago", time, place)))
    show.facts(
        [
            ("job", f"{row['name']}  {row['id']}"),
            ("state", show.text(row["state"])),
            ("error", (row.get("error") or {}).get("message")),
            ("hint", (row.get("error") or {}).get("hint")),
            ("submitted", times),
            ("session", row["session"]),
            ("priority", row["priority"]),
            *((f"  {name}", show.value(content)) for name, content in row["params"].items()),
            *((f"  {name}", json.dumps(content)) for name, content in row["inputs"].items()),
            *(("output", f"{output.id}  {about_artifact(output.record)}") for output in found.outputs),
        ]
    )
    return 0


def cancel(client: Client, flags: argparse.Namespace) -> int:
    found = [client.job(id) for id in flags.id]
    for each in found:
        each.cancel(flags.keep_partial)
    if wants_json(flags):
        return dump([each.record for each in found])
    for each in found:
        print(f"cancel  {each.id}")
    return 0


def skip(client: Client, flags: argparse.Namespace) -> int:
    found = [client.job(id) for id in flags.id]
    for each in found:
        each.skip()
    if wants_json(flags):
        return dump([each.record for each in found])
    for each in found:
        print(f"skip    {each.id}")
    return 0


def retry(client: Client, flags: argparse.Namespace) -> int:
    again = client.job(flags.id).retry()
    return dump(again.record) if wants_json(flags) else print(again.id) or 0


def queue(client: Client, flags: argparse.Namespace) -> int:
    answer = client.queue(flags.action)
    if wants_json(flags):
        return dump({key: value for key, value in answer.items() if key != "ok"})
    show.out.print(show.Text("paused", "yellow") if answer["paused"] else show.Text("running", "green"))
    rows = [
        {
            "worker": f"{each['plugin']}@{each['device']}",
            "does": show.counted(len(each["jobs"]), "job") if each["jobs"] else "nothing",
            "memory": show.size(each["memory_bytes"]),
        }
        for each in answer["workers"]
    ]
    if rows:
        show.table(rows, [], "")
    return 0


def artifacts(client: Client, flags: argparse.Namespace) -> int:
    found = [each.record for each in client.artifacts(job=flags.job, session=flags.session, limit=flags.limit)]
    if wants_json(flags):
        return dump(found)
    rows = [
        {
            "id": row["id"], "what": about_artifact(row), "age": show.age(row["created"]),
            "session": unless_default(row["session"]), "name": row.get("name"),
        }
        for row in found
    ]  # fmt: skip
    show.table(rows, ["name"], "There are no such artifacts.")
    return 0


def about_artifact(row: dict[str, Any]) -> str:
    facts = row["facts"]
    dimensions = f"{facts['width']}x{facts['height']}" if "width" in facts else show.size(row["size_bytes"])
    return f"{row['kind']} {dimensions}" + (f", seed {facts['seed']}" if "seed" in facts else "")


def download(client: Client, flags: argparse.Namespace) -> int:
    paths = save([Artifact(client, id) for id in flags.id], flags.out)
    if wants_json(flags):
        return dump([str(path) for path in paths])
    for path in paths:
        print(path)
    return 0

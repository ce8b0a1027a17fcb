"""Running jobs: `run`, what they would make (`--plan`), following them, and what becomes of the results."""

import argparse
import json
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any

from clients.cli import pictures, show
from clients.cli.base import (
    FAILED,
    INTERRUPTED,
    Command,
    Parser,
    announced,
    connection_options,
    dump,
    given_ids,
    session_of,
    takes_ids,
    wants_json,
)  # fmt: skip
from clients.cli.flags import IMAGES, JobParser, ready
from clients.cli.reviewing import wanted
from clients.python import Artifact, Cancelled, Client, InvalidParams, Job
from clients.python.stable_core import TERMINAL

USAGE = "clients.cli run JOB [flags]"
RETRY = "clients.cli retry ID ... [--extend] [flags]"
AGAIN = "Ids, then flags of the job; before these --extend, so that a program keeps what it has and is still wanted."
FORMS = 'a submission {"job": ..., "params": ..., "inputs": ...}, a list of them, or an answer with a "form" or "jobs"'


def add(command: Command) -> None:
    running = command("run", run, "Run a job and wait for its result. run JOB --help shows its flags.", usage=USAGE)
    running.add_argument(
        "job", help="For example txt2img; the command plugins lists all. Or FORM.json, or - for a pipe."
    )
    running.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="The job's flags.")
    again = command("retry", retry, "Submit jobs that have ended once more, with changes if you like.", usage=RETRY)
    again.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help=AGAIN)
    saving = command("download", download, "Save artifacts.")
    takes_ids(saving, "ARTIFACT")
    saving.add_argument("--out", type=Path, default=Path(), metavar="PATH", help="File or folder; default: here.")


def flow_options() -> Parser:
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--out", metavar="PATH", type=Path, help="Save the results as this file or into this folder.")
    parser.add_argument("--session", metavar="NAME", help="Session that the job belongs to.")
    parser.add_argument("--priority", choices=("interactive", "normal", "batch"), help="Which jobs come first.")
    parser.add_argument("--no-wait", action="store_true", help="Return once the job is in the queue.")
    parser.add_argument("--fresh", action="store_true", help="Run it even if the results of an equal job are there.")
    parser.add_argument("--plan", action="store_true", help="Tell what it would make, without making it.")
    return parser


def run_options() -> Parser:
    parser = flow_options()
    parser.add_argument("--show", action="store_true", help="Show previews and pictures in the terminal.")
    parser.add_argument("--memorised", action="store_true", help="Begin with what the session remembers of this job.")
    parser.add_argument("--memorise", action="store_true", help="Let the session remember the flags; run nothing.")
    for action in connection_options()._actions:
        parser._add_action(action)
    return parser


def run(client: Client, flags: argparse.Namespace) -> int:
    form = read_form(flags.job)
    about = announced(client, form["job"] if form else flags.job)
    own = connection_options() if about["light"] else run_options()  # it is not queued, nor is its result kept
    parser = JobParser(about, own, client.call)
    options, params, inputs = parser.read(flags.words)
    client.session = session = session_of(client, options)
    known = memorised(client, session, about) if hasattr(options, "memorised") else {}
    params = known | form.get("params", {}) | params
    if hasattr(options, "memorise"):
        return memorise(client, session, about, params, wants_json(flags))
    inputs = ready(about, parser.complete(params, of_form(form) | inputs))
    if about["light"]:
        for value in client.light(about["name"], params, inputs):
            print_text(value) if isinstance(value, str) and not wants_json(flags) else dump(value)
        return 0
    if hasattr(options, "plan"):
        return tell_plans([client.plan(about["name"], params, inputs)], wants_json(flags))
    check_target(getattr(options, "out", None), about)
    job = client.submit(about["name"], params, inputs, **queueing(options))
    return finish(client, [job], options, wants_json(flags))


def queueing(options: argparse.Namespace) -> dict[str, Any]:
    """What `submit` is told beside parameters and inputs."""
    return {key: getattr(options, key) for key in ("session", "priority", "fresh") if hasattr(options, key)}


def read_form(word: str) -> dict[str, Any]:
    """The submission in the file FORM.json, or in what is piped in for -; {} where `word` is the name of a job."""
    if word != "-" and not word.endswith(".json"):
        return {}
    forms = read_forms(word)
    if len(forms) != 1:
        raise InvalidParams(
            f"{word} holds {len(forms)} jobs, and run takes one.", hint="The command flow runs several."
        )
    return forms[0]


def read_forms(word: str) -> list[dict[str, Any]]:
    """All submissions in a file, or in what is piped in. Raises InvalidParams for what is none."""
    try:
        found = json.loads(sys.stdin.buffer.read() if word == "-" else Path(word).read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidParams(f"{word}: it is not JSON: {error}.") from error
    return forms_in(found, word)


def forms_in(found: Any, word: str) -> list[dict[str, Any]]:
    if isinstance(found, dict) and "form" in found:  # what a light job found out about a picture
        if not found["form"]:
            notes = " ".join(found.get("notes", []))
            raise InvalidParams(f"{word}: there is no form to submit. {notes}".strip())
        found = found["form"]
    found = found.get("jobs", [found]) if isinstance(found, dict) else found
    if not (isinstance(found, list) and found and all(isinstance(each, dict) and "job" in each for each in found)):
        raise InvalidParams(f"{word}: it has to hold {FORMS}.")
    return found


def of_form(form: dict[str, Any]) -> dict[str, list[Any]]:
    """The inputs of a form, each a list; without those that are empty."""
    given = {name: each if isinstance(each, list) else [each] for name, each in (form.get("inputs") or {}).items()}
    return {name: each for name, each in given.items() if each and each != [None]}


def memorised(client: Client, session: str, about: dict[str, Any]) -> dict[str, Any]:
    """The parameters that a session remembers of a job, without those that the job has no more."""
    known = client.call("session", {"id": session})["session"]["memorised"].get(about["name"], {})
    return {name: each for name, each in known.items() if name in about["params"].get("properties", {})}


def memorise(client: Client, session: str, about: dict[str, Any], params: dict[str, Any], as_json: bool) -> int:
    client.call("session", {"id": session, "memorised": {about["name"]: params}})
    if as_json:
        return dump({"session": session, "job": about["name"], "params": params})
    show.out.print(show.text(f"memorise  {about['name']} in session {session}"))
    show.facts((f"  {name}", show.value(each)) for name, each in params.items())
    return 0


def tell_plans(plans: list[dict[str, Any]], as_json: bool) -> int:
    """What would be made: a line for each picture, then the sum."""
    counts, etas = [plan["count"] for plan in plans], [plan["eta_seconds"] for plan in plans]
    total = {"count": total_of(counts), "eta_seconds": total_of(etas)}
    if as_json:
        return dump(plans[0] if len(plans) == 1 else total | {"plans": plans})
    rows, changing = [], changes([job for plan in plans for job in plan.get("jobs", [])])
    for number, plan in enumerate(plans, 1):
        made = plan.get("outputs") or plan.get("jobs") or [{}]
        for each in made:
            each = each.get("params", {}) | {"job": each["job"]} if "job" in each else plan["params"] | each
            size = f"{each['width']}x{each['height']}" if each.get("width") and each.get("height") else ""
            rows.append(
                {
                    "row": number if len(plans) > 1 else "", "job": each.get("job", plan["job"]),
                    "seed": each.get("seed"), "size": size, "prompt": str(each.get("prompt", ""))[:200],
                }
                | {name: show.value(each[name]) if name in each else "" for name in changing}
            )  # fmt: skip
    if len(rows) > 1 or any(rows[0][name] not in ("", None) for name in ("seed", "size", "prompt")):
        show.table(rows, ["job", "prompt"], "")
    known = None not in counts
    begun = sum(len(plan.get("jobs", [])) for plan in plans)
    does = [f"begin with {show.counted(begun, 'job')}"] * bool(begun)
    does += [f"give {show.counted(total['count'], 'result')}"] * known
    time = f", about {show.seconds(total['eta_seconds'])}" if None not in etas else ""
    open_questions = ["how many results come of it"] * (not known) + ["how long that takes"] * (not time)
    unknown = f" It is not known yet {' and '.join(open_questions)}." if open_questions else ""
    sum_of_all = f"{show.counted(len(plans), 'job')} would {' and '.join(does) or 'run'}{time}.{unknown}"
    show.out.print(show.text(f"{sum_of_all} Nothing was submitted."))
    return 0


def changes(jobs: list[dict[str, Any]]) -> list[str]:
    """In which parameters equal jobs that a program begins with differ, beside what is shown of each."""
    found: dict[str, set[str]] = {}
    for job in jobs:
        for name in job["params"].keys() - {"seed", "width", "height", "prompt"}:
            found.setdefault(f"{job['job']} {name}", set()).add(json.dumps(job["params"][name]))
    return sorted({place.split(" ")[1] for place, values in found.items() if len(values) > 1})[:5]


def total_of(numbers: list[Any]) -> Any:
    return None if None in numbers else sum(numbers)


def finish(client: Client, jobs: list[Job], options: argparse.Namespace, as_json: bool) -> int:
    """Follow jobs to their end, save or print what they made. Raises what made the only one fail."""
    if hasattr(options, "no_wait"):
        if as_json:
            return dump({"job": jobs[0].record} if len(jobs) == 1 else {"jobs": [job.record for job in jobs]})
        return show.out.print("\n".join(job.id for job in jobs)) or 0
    if not as_json and client.queue()["paused"]:
        show.err.print("The queue is paused. The command `queue resume` lets it go on.", style="yellow")
    interrupted = follow(jobs, as_json, hasattr(options, "show"))
    failed = [job for job in jobs if job.state != "done"]
    if len(jobs) == 1 and failed:
        error = jobs[0].error or Cancelled("the job was cancelled.", job=jobs[0].id)
        if isinstance(error, Cancelled) and not as_json:
            return INTERRUPTED if interrupted else FAILED  # the progress has said so
        raise error
    outputs = [output for job in jobs if job.state == "done" for output in job.outputs]
    target = getattr(options, "out", None)
    paths = save(outputs, target) if target else []
    if as_json:
        saved = [{"path": str(path)} for path in paths] or [{}] * len(outputs)
        records = [output.record | path for output, path in zip(outputs, saved, strict=True)]
        about = (
            {"job": jobs[0].refresh().record} if len(jobs) == 1 else {"jobs": [job.refresh().record for job in jobs]}
        )
        dump(about | {"outputs": records})
    for path, output in zip(paths, outputs, strict=False) if not as_json else ():
        if hasattr(options, "show") and output.kind in IMAGES:
            pictures.show(show.out, output.bytes())
        print(path)
    if not paths and not as_json:
        print_outputs(outputs, hasattr(options, "show"))
    for job in failed if not as_json else []:
        show.err.print(show.text(f"{job.state}  {job.record['name']}  {job.error.message if job.error else ''}", "red"))
    return INTERRUPTED if interrupted else FAILED if failed else 0


def follow(jobs: list[Job], quiet: bool, previews: bool = False) -> bool:
    """Show jobs until their end; returns whether Ctrl-C cancelled them. A second Ctrl-C leaves at once."""
    interrupted = False
    for job in jobs:
        with show.Follower(job, quiet, previews) as follower:
            while True:
                try:
                    for each in jobs if interrupted else []:
                        if each.state not in TERMINAL:
                            each.cancel()
                    for event in job.events():
                        follower.show(event)
                        if event.type == "job" and event.data["state"] == "waiting" and not quiet:
                            ask(job, follower)
                    break
                except KeyboardInterrupt:
                    if interrupted:
                        raise
                    interrupted = True
                    follower.say("Cancelling. Ctrl-C again leaves at once.")
    return interrupted


def ask(job: Job, follower: show.Follower) -> None:
    """Tell where the answer is given, if the job is a program that waits for a person."""
    if found := wanted(job._client, job.id):
        count = show.counted(len(found), "result")
        follower.say(f"It waits for you to look at {count}; in another terminal: review --follow {job.id}")


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


def print_text(text: str) -> None:
    """As it is, but on a terminal."""
    print(show.plain(text) if sys.stdout.isatty() else text)


def print_outputs(outputs: list[Artifact], as_pictures: bool) -> None:
    """Texts as they are; of others their id, which is all that the next command in a pipe needs."""
    terminal = sys.stdout.isatty()
    for output in outputs:
        if output.kind in ("text", "json"):
            print_text(output.text())
            continue
        if as_pictures and output.kind in IMAGES:
            pictures.show(show.out, output.bytes())
        show.out.print(
            show.text(f"{output.id}  {show.artifact(output.record)}" if terminal else output.id), soft_wrap=True
        )
    if outputs and outputs[0].kind not in ("text", "json") and terminal:
        show.err.print("Save with: download ID, or run with --out FILE.", style="dim")


def retry(client: Client, flags: argparse.Namespace) -> int:
    as_json = wants_json(flags)
    ids = list(takewhile(lambda word: not word.startswith("--"), flags.words))
    words, again = flags.words[len(ids) :], []
    extend = words[:1] == ["--extend"]  # the others are the job's
    words = words[extend:]
    for job in [client.job(id) for id in given_ids(flags, ids)]:
        about = announced(client, job.record["name"])
        _, params, inputs = JobParser(about, connection_options(), client.call).read(words)
        again.append(job.retry(params, ready(about, inputs), extend=extend).record)
    if as_json:
        return dump(again[0] if len(again) == 1 else again)
    for record in again:
        print(record["id"])
    return 0


def download(client: Client, flags: argparse.Namespace) -> int:
    paths = save([Artifact(client, id) for id in given_ids(flags)], flags.out)
    if wants_json(flags):
        return dump([str(path) for path in paths])
    for path in paths:
        print(path)
    return 0

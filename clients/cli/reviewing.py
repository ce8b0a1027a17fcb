"""`review`: look at results in the terminal and pick or reject them, with one key each; or by their ids. Of a program
that waits for that, round after round (`--follow`)."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from clients.cli import pictures, show
from clients.cli.base import Command, dump, given_ids, wants_json
from clients.cli.flags import IMAGES, is_piped
from clients.python import Artifact, Cancelled, Client, InvalidParams, Job, ServerError
from clients.python.stable_core import TERMINAL

STATES = {"p": "picked", "y": "picked", "r": "rejected", "n": "rejected"}
KEYS = "p pick, r reject, enter or s next, u undo, o open, q quit; y and n as p and r"
LAST = "That was the last: enter goes on, u undo, q quit"
LOOK_SECONDS = 0.5  # between two looks at a program
LIMIT = 100_000
TOLD = 100  # of the results that a job waits for


def add(command: Command) -> None:
    reviewing = command("review", review, "Look at results in the terminal; pick or reject them.")
    reviewing.add_argument("id", nargs="*", metavar="ARTIFACT", help="Or piped in, one a line; or use --session.")
    reviewing.add_argument("--session", metavar="NAME", help="All results of this session; else of the client's.")
    reviewing.add_argument("--state", choices=("new", "picked", "rejected"), help="Which ones; default: new.")
    help = "What this program waits for, and what it will wait for next, until it has ended."
    reviewing.add_argument("--follow", metavar="JOB", help=help)
    verdict = reviewing.add_mutually_exclusive_group()
    for word, state in (("pick", "picked"), ("reject", "rejected"), ("new", "new")):
        help = f"Do not look: all that are named become {state}."
        verdict.add_argument(f"--{word}", dest="verdict", action="store_const", const=state, help=help)


def review(client: Client, flags: argparse.Namespace) -> int:
    if flags.follow and (flags.id or flags.session or flags.state):
        raise InvalidParams("review --follow JOB: that says which ones; leave out ids, --session and --state.")
    if flags.verdict:
        asked = all_wanted(client, flags.follow) if flags.follow else [given_ids(flags)]
        return judge(client, asked, flags.verdict, wants_json(flags))
    if flags.follow and sys.stdout.isatty() and not wants_json(flags):
        return follow(client, client.job(flags.follow))
    found = wanted(client, flags.follow) if flags.follow else asked_for(client, flags)
    if wants_json(flags):
        return dump([each.record for each in found])
    if not found:
        show.err.print("There is nothing to review.")
        return 0
    if not sys.stdout.isatty():
        for each in found:
            print(f"{each.id}  {told(client, each)}")
        return 0
    look(client, found)
    return 0


def follow(client: Client, job: Job) -> int:
    """Whatever the program waits for, until it has ended or somebody leaves."""
    while True:
        with show.err.status("") as status:
            while not (found := wanted(client, job.id)) and job.refresh().state not in TERMINAL:
                status.update(show.text(f"{job.record['name']}  {standing(job)}"))
                time.sleep(LOOK_SECONDS)
        if not found:
            break
        count = show.counted(len(found), "result") + " and more" * (len(found) == TOLD)
        asks = f"{job.record['name']} asks about {count}; {standing(job.refresh())}"
        show.out.print(show.text(asks, "cyan"))
        if not look(client, found, last_waits=True):
            show.err.print(show.text(f"It goes on waiting. To go on: review --follow {job.id}", "dim"))
            return 0
    if job.state != "done":
        raise job.error or Cancelled("the job was cancelled.", job=job.id)
    show.out.print(show.text(f"done, {show.counted(len(job.outputs), 'result')}", "green"))
    for each in job.outputs:
        show.out.print(show.text(f"{each.id}  {told(client, each)}"), soft_wrap=True)
    return 0


def standing(job: Job) -> str:
    ended, count = (job.record.get(name) or 0 for name in ("children_ended", "children"))
    return f"{job.state}, {ended} of {show.counted(count, 'job')} ended"


def wanted(client: Client, id: str, deep: int = 5) -> list[Artifact]:
    """What a job waits for a person to look at; itself, or a program that it waits for."""
    waits = client.call("job", {"id": id})["job"].get("waits_for", [])
    found = [Artifact(client, each["artifact"]) for each in waits if "artifact" in each]
    for each in waits if deep and not found else []:
        if each.get("state") == "waiting":
            found += wanted(client, each["job"], deep - 1)
    return found


def all_wanted(client: Client, id: str) -> Iterator[list[str]]:
    """The ids of what a job waits for a person to look at, part by part: a job tells the next ones when these are
    judged. What it asks after that is another round."""
    before: list[str] = []
    while (ids := [each.id for each in wanted(client, id)]) and ids != before:
        yield ids
        if len(ids) < TOLD:
            break
        before = ids


def judge(client: Client, parts: Iterable[list[str]], state: str, as_json: bool) -> int:
    found = (client.call("review", {"ids": ids, "state": state})["artifacts"] for ids in parts if ids)
    changed = [each for part in found for each in part]
    if as_json:
        return dump(changed)
    for each in changed:
        print(f"{state:<10}{each['id']}")
    return 0


def asked_for(client: Client, flags: argparse.Namespace) -> list[Artifact]:
    """Those that are named; else the results of a session, the oldest first."""
    if flags.id or (is_piped() and not flags.session):
        found = [Artifact(client, id) for id in given_ids(flags)]
        return [each for each in found if flags.state in (None, each.record["review"])]
    listed = client.artifacts(
        session=flags.session or client.session, origin="first", review=flags.state or "new", limit=LIMIT
    )
    return listed[::-1]


def told(client: Client, artifact: Artifact) -> str:
    """What it is, its review, and the prompt that made it: on one line."""
    record = artifact.record
    facts = record["facts"]
    prompt = facts.get("prompt") or (str(facts["infotext"]).partition("\n")[0] if facts.get("infotext") else "")
    if not prompt and record.get("job"):
        prompt = client.job(record["job"]).record["params"].get("prompt", "")
    name = f"  {record['name']}" if record.get("name") else ""
    return f"{show.artifact(record)}, {record['review']}{name}  {prompt}".rstrip()


def look(client: Client, found: list[Artifact], last_waits: bool = False) -> bool:
    """One after the other, until a key says what becomes of it; returns whether all were seen. With `last_waits` the
    last answer is sent once another key is pressed, for then a program goes on and nothing can be undone."""
    at, before, keys, unsent = 0, [], pressed(), ""  # `before`: what undo takes back, as (place, former state)
    while at < len(found) or unsent:
        if unsent:
            show.out.print(show.text(LAST, "dim"))
            key = next(key for key in keys if key in "uq\r\n ")
            if key == "u":
                (at, _), unsent = before.pop(), ""
                continue
            if key != "q":
                say(client, found[-1], unsent)
                unsent = ""
            break
        each = found[at]
        try:
            if each.kind in IMAGES:
                pictures.show(show.out, each.bytes())
            elif each.kind in ("text", "json"):
                show.out.print(show.text(each.text()[:2000]))
            show.out.print(show.text(f"{at + 1}/{len(found)}  {each.id}  {told(client, each)}"), soft_wrap=True)
        except ServerError as error:  # deleted meanwhile, for example
            show.err.print(show.text(f"{each.id}  {error.message}", "red"))
        show.out.print(show.text(KEYS, "dim"))
        key = next(keys)
        if key == "q":
            break
        if key == "o":
            open_elsewhere(each)
        elif key == "u" and before:
            at, state = before.pop()
            say(client, found[at], state)
        elif key in STATES:
            before.append((at, each.record["review"]))
            at += 1
            if last_waits and at == len(found):
                unsent = STATES[key]
            else:
                say(client, each, STATES[key])
        elif key in "s\r\n ":
            before.append((at, each.record["review"]))
            at += 1
    counts = [sum(each.record["review"] == state for each in found) for state in ("picked", "rejected", "new")]
    show.out.print(show.text("{} picked, {} rejected, {} new".format(*counts)))
    return at == len(found) and not unsent


def pressed() -> Iterator[str]:
    """The keys that mean something; Ctrl-C raises KeyboardInterrupt, Ctrl-D is q."""
    return (key for key in show.keys() if key in "pyrnsuoq\r\n ")


def say(client: Client, artifact: Artifact, state: str) -> None:
    changed: dict[str, Any] = client.call("review", {"ids": [artifact.id], "state": state})["artifacts"][0]
    artifact.record.update(changed)
    show.out.print(show.text(state, show.REVIEWED[state]))


def open_elsewhere(artifact: Artifact) -> None:
    """In the program that this machine uses for such files."""
    click.launch(str(artifact.save(Path(tempfile.mkdtemp(prefix="stable-core-")))))

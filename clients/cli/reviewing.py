"""`review`: look at results in the terminal and pick or reject them, with one key each; or by their ids."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from clients.cli import pictures, show
from clients.cli.base import Command, dump, given_ids, wants_json
from clients.cli.flags import IMAGES, is_piped
from clients.python import Artifact, Client, ServerError

STATES = {"p": "picked", "r": "rejected"}
KEYS = "p pick, r reject, enter or s next, u undo, o open, q quit"
LIMIT = 100_000


def add(command: Command) -> None:
    reviewing = command("review", review, "Look at results in the terminal; pick or reject them.")
    reviewing.add_argument("id", nargs="*", metavar="ARTIFACT", help="Or piped in, one a line; or use --session.")
    reviewing.add_argument("--session", metavar="NAME", help="All results of this session; else of the client's.")
    reviewing.add_argument("--state", choices=("new", "picked", "rejected"), help="Which ones; default: new.")
    verdict = reviewing.add_mutually_exclusive_group()
    for word, state in (("pick", "picked"), ("reject", "rejected"), ("new", "new")):
        help = f"Do not look: all that are named become {state}."
        verdict.add_argument(f"--{word}", dest="verdict", action="store_const", const=state, help=help)


def review(client: Client, flags: argparse.Namespace) -> int:
    if flags.verdict:
        return judge(client, given_ids(flags), flags.verdict, wants_json(flags))
    found = asked_for(client, flags)
    if wants_json(flags):
        return dump([each.record for each in found])
    if not found:
        show.err.print("There is nothing to review.")
        return 0
    if not sys.stdout.isatty():
        for each in found:
            print(f"{each.id}  {told(client, each)}")
        return 0
    return look(client, found)


def judge(client: Client, ids: list[str], state: str, as_json: bool) -> int:
    changed = client.call("review", {"ids": ids, "state": state})["artifacts"] if ids else []
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
    listed = client.artifacts(session=flags.session or client.session, limit=LIMIT)
    return [
        each for each in reversed(listed) if each.record.get("job") and each.record["review"] == (flags.state or "new")
    ]


def told(client: Client, artifact: Artifact) -> str:
    """What it is, its review, and the prompt that made it: on one line."""
    record = artifact.record
    facts = record["facts"]
    prompt = facts.get("prompt") or (str(facts["infotext"]).partition("\n")[0] if facts.get("infotext") else "")
    if not prompt and record.get("job"):
        prompt = client.job(record["job"]).record["params"].get("prompt", "")
    return f"{show.artifact(record)}, {record['review']}  {prompt}".rstrip()


def look(client: Client, found: list[Artifact]) -> int:
    """One after the other, until a key says what becomes of it."""
    at, before, keys = 0, [], pressed()  # `before`: what undo takes back, as (place, artifact's former state)
    while at < len(found):
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
            say(client, each, STATES[key])
            at += 1
        elif key in "s\r\n ":
            before.append((at, each.record["review"]))
            at += 1
    counts = [sum(each.record["review"] == state for each in found) for state in ("picked", "rejected", "new")]
    show.out.print(show.text("{} picked, {} rejected, {} new".format(*counts)))
    return 0


def pressed() -> Iterator[str]:
    """The keys that mean something; Ctrl-C raises KeyboardInterrupt, Ctrl-D is q."""
    while True:
        try:
            typed = click.getchar()
        except EOFError:
            typed = "q"
        if not typed.startswith("\x1b"):  # an arrow, for example, which has letters in it
            yield from (key for key in typed.lower() if key in "prsuoq\r\n ")


def say(client: Client, artifact: Artifact, state: str) -> None:
    changed: dict[str, Any] = client.call("review", {"ids": [artifact.id], "state": state})["artifacts"][0]
    artifact.record.update(changed)
    show.out.print(show.text(state, show.REVIEWED[state]))


def open_elsewhere(artifact: Artifact) -> None:
    """In the program that this machine uses for such files."""
    click.launch(str(artifact.save(Path(tempfile.mkdtemp(prefix="stable-core-")))))

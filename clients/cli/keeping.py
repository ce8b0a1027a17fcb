"""What is kept: uploads, deletion, sessions, and what was made from what."""

import argparse
import sys
from pathlib import Path
from typing import Any

from clients.cli import show
from clients.cli.base import Command, dump, given_ids, session_of, takes_ids, wants_json
from clients.cli.flags import is_piped
from clients.python import Client, InvalidParams

KINDS = ("image", "mask", "text", "json", "audio", "video")


def add(command: Command) -> None:
    uploading = command("upload", upload, "Store files on the server; prints their ids.")
    uploading.add_argument("file", nargs="*", type=Path, help="Or piped in.")
    uploading.add_argument("--kind", choices=KINDS, help="Found out where it is not given.")
    uploading.add_argument("--name", help="Of what is piped in.")
    uploading.add_argument("--source", metavar="ARTIFACT", help="What they were made from, if they do not say so.")
    uploading.add_argument("--session", default=argparse.SUPPRESS, metavar="NAME", help="That they belong to.")
    deleting = command("delete", delete, "Delete artifacts for ever.")
    takes_ids(deleting, "ARTIFACT")
    deleting.add_argument("--yes", action="store_true", help="Do not ask.")
    tracing = command("lineage", lineage, "Show what an artifact was made from, or what was made of it.")
    takes_ids(tracing, "ARTIFACT")
    directions = ("ancestors", "descendants", "siblings")
    tracing.add_argument("--direction", choices=directions, default="ancestors", help="Default: ancestors.")
    asking = command("accepts", accepts, "Show which jobs take an artifact.")
    takes_ids(asking, "ARTIFACT")
    asking.add_argument("--why-not", action="store_true", help="Also show the other jobs, and why they do not.")
    comparing = command("compare", compare, "Show in what two artifacts differ.")
    takes_ids(comparing, "ARTIFACT")
    listing = command("sessions", sessions, "List sessions, the newest first.")
    listing.add_argument("--limit", type=int, default=20, metavar="N")
    opening = command("session", session, "Show what a session remembers; give it a name.")
    opening.add_argument("id", metavar="SESSION")
    opening.add_argument("--rename", metavar="NAME")


def upload(client: Client, flags: argparse.Namespace) -> int:
    if not flags.file and not is_piped():
        raise InvalidParams("upload: which? Give files, or pipe one in.")
    client.session = session_of(client, flags)
    given = flags.file or [sys.stdin.buffer.read()]
    found = [client.upload(each, kind=flags.kind, name=flags.name, source=flags.source) for each in given]
    if wants_json(flags):
        return dump([each.record for each in found])
    for each in found:
        print(each.id)
    return 0


def delete(client: Client, flags: argparse.Namespace) -> int:
    ids = given_ids(flags)
    if not flags.yes and is_piped():
        raise InvalidParams("delete: there is nobody to ask.", hint="Add --yes if it shall be deleted for ever.")
    if not flags.yes and input(f"Delete {show.counted(len(ids), 'artifact')} for ever? [y/N] ").lower() != "y":
        return 1
    gone = client.call("delete", {"ids": ids})["deleted"] if ids else []
    if wants_json(flags):
        return dump(gone)
    for id in gone:
        print(f"delete  {id}")
    return 0


def lineage(client: Client, flags: argparse.Namespace) -> int:
    (id,) = exactly(1, flags)
    found = client.call("lineage", {"id": id, "direction": flags.direction})
    if wants_json(flags):
        return dump({"artifacts": found["artifacts"], "more": found["more"]})
    rows = [
        {
            "id": row["id"], "depth": row.get("depth"), "what": show.artifact(row), "made by": row.get("job_name"),
            "from": " ".join(row["parents"]),
        }
        for row in found["artifacts"]
    ]  # fmt: skip
    show.table(rows, ["from"], f"It has no {flags.direction}.")
    return 0


def accepts(client: Client, flags: argparse.Namespace) -> int:
    (id,) = exactly(1, flags)
    found = client.accepts(id)
    if wants_json(flags):
        return dump({key: value for key, value in found.items() if key != "ok"})
    rows = [
        {
            "job": job["job"], "as": name, "through": port.get("converter"), "needs also": ", ".join(port["needs"]),
            "": "light" if job["light"] else "",
        }
        for job in found["jobs"]
        for name, port in job["inputs"].items()
    ]  # fmt: skip
    show.table(rows, [], f"No job takes {found['kind']}.")
    if flags.why_not:
        show.out.print()
        show.table([{"other job": each["job"], "why not": each["reason"]} for each in found["others"]], ["why not"], "")
    return 0


def exactly(count: int, flags: argparse.Namespace) -> list[str]:
    ids = given_ids(flags)
    if len(ids) != count:
        raise InvalidParams(f"{flags.command}: takes {show.counted(count, 'artifact')}, got {len(ids)}.")
    return ids


def compare(client: Client, flags: argparse.Namespace) -> int:
    a, b = exactly(2, flags)
    found = client.call("compare", {"a": a, "b": b})
    if wants_json(flags):
        return dump({key: value for key, value in found.items() if key != "ok"})
    rows = [{"": name, "a": show.value(a), "b": show.value(b)} for name, (a, b) in found["changed"].items()]
    rows += [{"": name, "a": "", "b": show.value(b)} for name, b in found["added"].items()]
    rows += [{"": name, "a": show.value(a), "b": ""} for name, a in found["removed"].items()]
    rows += [
        {"": name, "a": show.value(a), "b": show.value(b)}
        for name, (a, b) in found["facts"].items()
        if name not in found["changed"] and name != "infotext"  # which says it all once more
    ]
    if found["jobs"][0] != found["jobs"][1]:
        rows.insert(0, {"": "job", "a": found["jobs"][0], "b": found["jobs"][1]})
    show.table(rows, ["a", "b"], "They do not differ.")
    return 0


def sessions(client: Client, flags: argparse.Namespace) -> int:
    found: list[dict[str, Any]] = []
    while len(found) < flags.limit:
        before = {"before": found[-1]["id"]} if found else {}
        page = client.call("sessions", before | {"limit": min(1000, flags.limit - len(found))})["sessions"]
        found += page
        if not page:
            break
    if wants_json(flags):
        return dump(found)
    rows = [{"id": row["id"], "age": show.age(row["created"]), "name": row["name"]} for row in found]
    show.table(rows, ["name"], "There are no sessions.")
    return 0


def session(client: Client, flags: argparse.Namespace) -> int:
    found = client.call("session", {"id": flags.id} | ({"name": flags.rename} if flags.rename else {}))["session"]
    if wants_json(flags):
        return dump(found)
    show.facts([("session", f"{found['name']}  {found['id']}"), ("made", f"{show.age(found['created'])} ago")])
    for job, params in found["memorised"].items():
        show.facts([("memorised", job), *((f"  {name}", show.value(each)) for name, each in params.items())])
    return 0

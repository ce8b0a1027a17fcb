"""Looking: plugins, lists, jobs, artifacts, logs."""

import argparse
import json
import shlex
import time
from typing import Any

from clients.cli import show
from clients.cli.base import Command, dump, given_ids, takes_ids, wants_json
from clients.cli.flags import from_json
from clients.python import Client, Job

STATES = ("held", "waiting", "queued", "running", "done", "failed", "cancelled")


def add(command: Command) -> None:
    command("plugins", plugins, "List the plugins and the jobs they announce.")
    listing = command("choices", choices, "List the entries of a list, for example models/checkpoint.")
    listing.add_argument("list")
    listing = command("jobs", jobs, "List jobs, the newest first.")
    listing.add_argument("--state", choices=STATES)
    listing.add_argument("--session", metavar="NAME")
    listing.add_argument("--parent", metavar="JOB", help="The jobs of this program; else those are left out.")
    listing.add_argument("--limit", type=int, default=20, metavar="N")
    takes_ids(command("job", job, "Show all about jobs."), "JOB")
    listing = command("artifacts", artifacts, "List results and uploads, the newest first.")
    listing.add_argument("--job", metavar="ID")
    listing.add_argument("--session", metavar="NAME")
    listing.add_argument("--limit", type=int, default=20, metavar="N")
    listing = command("logs", logs, "Show what jobs have written, also before they failed, the newest last.")
    listing.add_argument("--job", metavar="ID", help="This job only; else all of yours, and for the admin the plugins.")
    listing.add_argument("--limit", type=int, default=200, metavar="N", help="Lines, 1 to 1000. Default: 200.")
    sending = command("send", send, "Send any event of the protocol and print the answer: send hello.")
    sending.add_argument("event")
    sending.add_argument("fields", nargs="?", type=from_json, default={}, metavar="JSON", help="Default: {}.")


def plugins(client: Client, flags: argparse.Namespace) -> int:
    found = client.plugins()
    if wants_json(flags):
        return dump(found)
    for plugin in found:
        title = show.Text(plugin["name"], "bold").append(f" {plugin.get('version') or ''}  ", "dim")
        status = plugin["status"] + (", in a sandbox" if plugin.get("sandbox") else "")
        show.out.print(title.append(show.text(status)), soft_wrap=True)
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
    for each in client.call("choices", {"list": flags.list, "limit": 1}).get("fetchable", []):
        large = show.size(each["size_bytes"]) if each["size_bytes"] else "size not told"
        line = f"{each['id'].partition('/')[2]} is not here: {large}, licence {each['licence'] or 'not told'}. "
        line += f"To fetch it: python3 server.py plugins fetch {shlex.quote(each['id'])}"
        show.err.print(show.text(line, "dim"), soft_wrap=True)
    return 0


def jobs(client: Client, flags: argparse.Namespace) -> int:
    given = {"state": flags.state, "session": flags.session, "parent": flags.parent or ""}
    found = [job.record for job in client.jobs(limit=flags.limit, **given)]
    if wants_json(flags):
        return dump(found)
    rows = [
        {
            "id": row["id"], "state": state(client, row), "age": show.age(row["created"]),
            "session": unless_default(row["session"]), "job": row["name"] + parts_of(row),
            "prompt or error": summary(row),
        }
        for row in found
    ]  # fmt: skip
    show.table(rows, ["job", "prompt or error"], "There are no such jobs.")
    return 0


def state(client: Client, row: dict[str, Any]) -> str:
    """Of a program that waits: whether it waits for a person, which only the whole record tells."""
    if row["state"] != "waiting" or not row.get("children"):
        return row["state"]
    return "waits for you" if looks(client.job(row["id"]).record) else row["state"]


def parts_of(row: dict[str, Any]) -> str:
    """How many jobs of a program have ended."""
    return f"  {row.get('children_ended') or 0}/{row['children']}" if row.get("children") else ""


def unless_default(session: str) -> str:
    return "" if session == "default" else session


def took(row: dict[str, Any]) -> str:
    began = row["created"] if row.get("children") else row.get("started")  # a program begins anew after each wait
    return show.seconds(row["finished"] - began) if row.get("finished") and began else ""


def summary(row: dict[str, Any]) -> str:
    """What tells jobs apart: the error, else the prompt."""
    words = row["error"]["message"] if row.get("error") else row["params"].get("prompt", "")
    return str(words)[:60]


def job(client: Client, flags: argparse.Namespace) -> int:
    found = [client.job(id) for id in given_ids(flags)]
    if wants_json(flags):
        return dump(found[0].record if len(found) == 1 else [each.record for each in found])
    for each in found:
        tell(each)
    return 0


def tell(found: Job) -> None:
    row = found.record
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
            ("waits for", waits_for(row)),
            (
                "parts",
                parts_of(row)
                and f"{row.get('children_ended') or 0} of {row['children']} ended: jobs --parent {row['id']}",
            ),
            ("submitted", times),
            ("on", device_of(row)),
            ("session", row["session"]),
            ("priority", row["priority"]),
            *((f"  {name}", show.value(content)) for name, content in row["params"].items()),
            *((f"  {name}", json.dumps(content)) for name, content in row["inputs"].items()),
            *(("output", f"{output.id}  {show.artifact(output.record)}") for output in found.outputs),
        ]
    )


def device_of(row: dict[str, Any]) -> str:
    """The device that runs a job or ran it last, gpu1/cuda:0 of the machine gpu1; "" of a program."""
    return (row.get("worker") or "").partition("@")[2].replace("side", "")


def waits_for(row: dict[str, Any]) -> str:
    """What keeps a job from running, and what to do about it."""
    waits = row.get("waits_for", [])
    jobs = sum("job" in each for each in waits)
    parts = [f"release {row['id']}"] if {"person": "release"} in waits else []
    parts += [show.counted(jobs, "job")] if jobs else []
    parts += ["its time"] if any("until" in each for each in waits) else []
    parts += [f"the machine {each['remote']} ({each['remote_state']})" for each in waits if "remote" in each]
    if wanted := looks(row):
        parts.append(f"a look at {show.counted(wanted, 'result')}: review --follow {row['id']}")
    return ", ".join(parts)


def looks(row: dict[str, Any]) -> int:
    """How many results a person has to say something of before a job goes on."""
    return sum("artifact" in each for each in row.get("waits_for", []))


def artifacts(client: Client, flags: argparse.Namespace) -> int:
    found = [each.record for each in client.artifacts(job=flags.job, session=flags.session, limit=flags.limit)]
    if wants_json(flags):
        return dump(found)
    rows = [
        {
            "id": row["id"], "what": show.artifact(row), "age": show.age(row["created"]),
            "session": unless_default(row["session"]), "name": row.get("name"),
        }
        for row in found
    ]  # fmt: skip
    show.table(rows, ["name"], "There are no such artifacts.")
    return 0


def logs(client: Client, flags: argparse.Namespace) -> int:
    found = client.logs(job=flags.job, limit=flags.limit)
    if wants_json(flags):
        return dump(found)
    for line in found:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line["time"]))
        maker = show.text(f"{moment}  {line['name']} {line.get('job', '')}".rstrip() + "  ", "dim")
        show.out.print(maker.append(show.text(line["text"], "not dim")), soft_wrap=True)
    if not found:
        show.err.print("There are no such lines.")
    return 0


def send(client: Client, flags: argparse.Namespace) -> int:
    return dump({key: value for key, value in client.call(flags.event, flags.fields).items() if key != "ok"})

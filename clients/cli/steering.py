"""Steering jobs and the queue: cancel, skip, retry, pause."""

import argparse

from clients.cli import show
from clients.cli.base import Command, dump, wants_json
from clients.python import Client


def add(command: Command) -> None:
    cancelling = command("cancel", cancel, "Stop jobs.")
    cancelling.add_argument("id", nargs="+")
    cancelling.add_argument("--keep-partial", action="store_true", help="Keep the results so far.")
    command("skip", skip, "Let running jobs go on with their next picture.").add_argument("id", nargs="+")
    command("retry", retry, "Submit a job that has ended once more.").add_argument("id")
    queueing = command("queue", queue, "Show the queue, pause it, or let it go on.")
    queueing.add_argument("action", nargs="?", default="status", choices=("status", "pause", "resume"))


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

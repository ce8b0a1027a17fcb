"""Steering jobs and the queue: cancel, skip, hold, release, move, pause."""

import argparse
from collections.abc import Callable

from clients.cli import show
from clients.cli.base import Command, dump, given_ids, takes_ids, wants_json
from clients.python import Client, Job


def add(command: Command) -> None:
    cancelling = command("cancel", cancel, "Stop jobs.")
    takes_ids(cancelling, "JOB")
    cancelling.add_argument("--keep-partial", action="store_true", help="Keep the results so far.")
    takes_ids(command("skip", skip, "Let running jobs go on with their next picture."), "JOB")
    takes_ids(command("hold", hold, "Keep jobs back that have not begun, and programs from going on."), "JOB")
    takes_ids(command("release", release, "Let jobs run that were held."), "JOB")
    moving = command(
        "move", move, "Move queued jobs to the front, to the back, or to another job; they keep their order."
    )
    takes_ids(moving, "JOB")
    places = moving.add_mutually_exclusive_group()
    places.add_argument("--to", choices=("front", "back"), default="front", help="Default: front.")
    places.add_argument("--before", metavar="ID", help="Right before this job, of the same plugin and priority.")
    places.add_argument("--after", metavar="ID", help="Right after it.")
    queueing = command("queue", queue, "Show the queue, pause it, or let it go on.")
    queueing.add_argument("action", nargs="?", default="status", choices=("status", "pause", "resume"))


def cancel(client: Client, flags: argparse.Namespace) -> int:
    return each_job(client, flags, lambda job: job.cancel(flags.keep_partial))


def skip(client: Client, flags: argparse.Namespace) -> int:
    return each_job(client, flags, Job.skip)


def hold(client: Client, flags: argparse.Namespace) -> int:
    return each_job(client, flags, lambda job: client.call("hold", {"id": job.id}))


def release(client: Client, flags: argparse.Namespace) -> int:
    return each_job(client, flags, lambda job: client.call("release", {"id": job.id}))


def move(client: Client, flags: argparse.Namespace) -> int:
    asked = {"before": flags.before, "after": flags.after}
    place = {name: id for name, id in asked.items() if id is not None} or {"to": flags.to}
    last_first = place == {"to": "front"} or "after" in place  # the one that is moved last comes first
    return each_job(client, flags, lambda job: client.call("move", {"id": job.id, **place}), last_first)


def each_job(client: Client, flags: argparse.Namespace, act: Callable[[Job], object], last_first: bool = False) -> int:
    """Do something to each job, once all of them are known to exist."""
    found = [client.job(id) for id in given_ids(flags)]
    for job in reversed(found) if last_first else found:
        act(job)
    if wants_json(flags):
        return dump([job.refresh().record for job in found])
    for job in found:
        print(f"{flags.command:<8}{job.id}")
    return 0


def queue(client: Client, flags: argparse.Namespace) -> int:
    answer = client.queue(flags.action)
    if wants_json(flags):
        return dump({key: value for key, value in answer.items() if key != "ok"})
    state = show.Text("paused", "yellow") if answer["paused"] else show.Text("running", "green")
    show.out.print(state.append(f", {show.counted(answer['queued'], 'job')} queued", "default"))
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

"""What may come next in a line of the console: commands, jobs, flags, values, ids, files; from parsers and server."""

import argparse
import os
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from clients.cli import batch, describing, flowing, running, show
from clients.cli.base import connection_options
from clients.cli.flags import JobParser
from clients.python import Client, ServerError

RECENT = 30  # jobs and artifacts that are offered
UNFINISHED = ("cancel", "skip", "hold", "release", "move")  # commands for jobs that have not ended


class Candidate(NamedTuple):
    """`goes_on`: more may follow without a space, as after a folder."""

    text: str
    about: str = ""
    goes_on: bool = False


def candidates(client: Client, parser: argparse.ArgumentParser, words: list[str], start: str) -> list[Candidate]:
    """What a line may go on with that has `words` already, where `start` of the next one is typed. `parser` is that of
    a whole line. Of a server that does not answer, nothing is offered."""
    try:
        return [each for each in _next(client, parser, words, start) if each.text.startswith(start)]
    except ServerError:
        return []


def _next(client: Client, parser: argparse.ArgumentParser, words: list[str], start: str) -> Iterator[Candidate]:
    commands = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    if not words:
        helps = {each.dest: each.help or "" for each in commands._choices_actions}
        yield from (Candidate(name, helps.get(name, "")) for name in commands.choices)
    elif command := commands.choices.get(words[0]):
        rest = any(each.nargs == argparse.REMAINDER for each in command._actions)
        first = [each for each in command._actions if not each.option_strings and each.nargs != argparse.REMAINDER]
        if words[0] == "retry":
            yield from _of_retry(client, words[1:], start)
        elif rest and len(words) > len(first):
            own = {"batch": batch.options, "flow": flowing.options}.get(words[0], running.run_options)()
            yield from _of_job(client, words[1], own, words[1 + len(first) :], start)
        else:
            yield from _of_parser(
                client, command, words[1:], start, lambda action: _values(client, action, words[0], start)
            )


def _of_retry(client: Client, words: list[str], start: str) -> Iterator[Candidate]:
    """Ids, then flags of the job."""
    ids = list(takewhile(lambda word: not word.startswith("--"), words))
    if len(ids) == len(words):
        yield from _jobs(client, ended=True)
    if ids:
        name = client.job(ids[0]).record["name"]
        if len(ids) == len(words):
            yield Candidate("--extend", "A program keeps what it has and is still wanted.")
        yield from _of_job(client, name, connection_options(), words[len(ids) :], start)


def _of_parser(
    client: Client, parser: argparse.ArgumentParser, words: list[str], start: str,
    values: Callable[[argparse.Action], Iterator[Candidate]],
) -> Iterator[Candidate]:  # fmt: skip
    """The values that the last flag takes, or else what the next positional takes, and the flags."""
    flags = {option: action for action in parser._actions for option in action.option_strings}
    last = max((place for place, word in enumerate(words) if word in flags), default=-1)
    given = len(words) - last - 1
    if last >= 0 and _takes(flags[words[last]], given):
        found = [*values(flags[words[last]]), *_files(flags[words[last]], start)]
        yield from found
        if flags[words[last]].nargs not in ("*", "+") or not given:
            return
    elif positionals := [each for each in parser._actions if not each.option_strings]:
        place = min(given if last < 0 else len(positionals), len(positionals) - 1)
        if given <= place or positionals[place].nargs in ("*", "+"):
            yield from (*values(positionals[place]), *_files(positionals[place], start))
    if start.startswith("-") or not start:
        for option, action in flags.items():
            if option.startswith("--") and (option not in words or action.nargs in ("*", "+")):
                yield Candidate(option, _help(action))


def _takes(action: argparse.Action, given: int) -> bool:
    return action.nargs in ("*", "+") or (action.nargs in (None, "?") and given < 1)


def _help(action: argparse.Action) -> str:
    return "" if action.help in (None, argparse.SUPPRESS) else str(action.help)


def _of_job(
    client: Client, name: str, own: argparse.ArgumentParser, words: list[str], start: str
) -> Iterator[Candidate]:
    """The flags of a job and `own` ones, with their help, and the values of each: what is allowed, entries of lists,
    ids, files."""
    about = client.describe(name, wait=False)
    if about is None:
        return
    parser = JobParser(about, own, client.call)

    def values(action: argparse.Action) -> Iterator[Candidate]:
        kind, _, inner = action.dest.partition(" ")
        if kind == "input":
            yield from _artifacts(client, about["inputs"][inner]["kind"])
        else:
            yield from _values(client, action, "run", start)

    yield from _of_parser(client, parser, words, start, values)


def _values(client: Client, action: argparse.Action, command: str, start: str) -> Iterator[Candidate]:
    """By what the parsers call it."""
    what = (action.metavar or "") if isinstance(action.metavar, str) else ""
    if offered := getattr(action, "offered", None) or action.choices:
        yield from (Candidate(str(each)) for each in offered)
    elif source := getattr(action, "list", None):
        yield from map(Candidate, client.choices(source))
    elif action.dest == "session" or what == "SESSION":
        yield from (Candidate(each["id"]) for each in client.call("sessions", {"limit": RECENT})["sessions"])
    elif action.dest == "list":
        yield from map(Candidate, describing.tree(client.plugins())["lists"])
    elif what == "FLOW":
        yield from map(Candidate, client.choices("call/flows"))
    elif what == "ARTIFACT":
        yield from _artifacts(client)
    elif action.dest == "id" or what == "ID":
        yield from _jobs(client, ended=False if command in UNFINISHED else None)
    elif action.dest == "job":
        yield from _announced(client, start)


def _announced(client: Client, start: str) -> Iterator[Candidate]:
    """The jobs, by their short names where these are enough and no plugin's is typed."""
    found = [(plugin["name"], job) for plugin in client.plugins() for job in plugin["jobs"]]
    names = [job["name"] for _, job in found]
    for plugin, job in found:
        name = job["name"] if names.count(job["name"]) == 1 and "." not in start else f"{plugin}.{job['name']}"
        yield Candidate(name, job["help"].partition("\n")[0])


def _jobs(client: Client, ended: bool | None = None) -> Iterator[Candidate]:
    for job in client.jobs(limit=RECENT):
        if ended in (None, job.state in show.ENDED):
            yield Candidate(job.id, f"{job.record['name']} {job.state} {job.record['params'].get('prompt', '')}"[:60])


def _artifacts(client: Client, kind: str | None = None) -> Iterator[Candidate]:
    for artifact in client.artifacts(limit=RECENT):
        if kind in (None, artifact.kind):
            about = f"{artifact.kind} {artifact.record.get('name') or ''} {show.age(artifact.record['created'])} ago"
            yield Candidate(artifact.id, " ".join(about.split()))


def _files(action: argparse.Action, start: str) -> Iterator[Candidate]:
    """For flags that take a file: those in the folder that the line names so far."""
    if action.type is not Path and action.metavar not in ("FILE", "PATH", "FOLDER", "FILE.json", "FLOW"):
        return
    typed, _, _ = start.rpartition("/")
    folder = Path(typed + "/" if start.startswith("/") or typed else ".").expanduser()
    try:
        entries = sorted(os.scandir(folder), key=lambda each: each.name)
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith("."):
            path = f"{typed}/{entry.name}" if "/" in start else entry.name
            yield Candidate(path + "/" if entry.is_dir() else path, goes_on=entry.is_dir())

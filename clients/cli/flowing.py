"""Flows: `flow` runs a file of jobs, or a saved flow, and saves one."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from clients.cli import running, show
from clients.cli.base import Command, Parser, announced, connection_options, dump, wants_json
from clients.cli.flags import JobParser, ready
from clients.python import Client, InvalidParams

USAGE = "clients.cli flow FLOW [flags]"
UNSAVED = {"text": "flows.run_texts", "json": "flows.run_values"}  # jobs, by what the flow gives


def add(command: Command) -> None:
    words = "Run jobs of which later ones use results of earlier ones: a file, or a saved flow."
    flowing = command("flow", flow, words, usage=USAGE)
    words = f"The name of a saved flow; or a .json file, or - for a pipe, that holds one, or {running.FORMS}."
    flowing.add_argument("file", metavar="FLOW", help=words)
    for action in options()._actions:
        if action.dest not in ("url", "token", "json"):
            flowing._add_action(action)
    flowing.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="The flow's own flags.")


def options() -> Parser:
    parser = running.flow_options()
    parser.add_argument("--show", action="store_true", help="Show previews and pictures in the terminal.")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", help="A parameter or an input; also as a flag.")
    parser.add_argument("--save", metavar="NAME", help="Save it under this name, as a job for everybody; run nothing.")
    for action in connection_options()._actions:
        parser._add_action(action)
    return parser


def flow(client: Client, flags: argparse.Namespace) -> int:
    data = content(flags.file)
    if data is None:
        about = announced(client, flags.file if "." in flags.file else f"flows.{flags.file}")
    elif isinstance(data, dict) and data.get("version", 1) != 1:
        about = checked(client, data, flags.file)
    else:
        about = None
    parser = JobParser(about or {"name": flags.file, "inputs": {}, "params": {}}, options(), client.call)
    given, params, inputs = parser.read(flags.words)
    given = argparse.Namespace(**vars(flags) | vars(given))
    if hasattr(given, "save"):
        return save(client, given, flags.file, data)
    params, inputs = with_set(parser, about, getattr(given, "set", []), params, inputs)
    if about is None:
        return run_jobs(client, given, data)
    inputs = ready(about, parser.complete(params, inputs))
    job = about["name"]
    if data is not None:
        job, params, inputs = unsaved(about, data, params, inputs)
    if hasattr(given, "plan"):
        return running.tell_plans([client.plan(job, params, inputs)], wants_json(given))
    running.check_target(getattr(given, "out", None), about)
    submitted = client.submit(job, params, inputs, **running.queueing(given))
    return running.finish(client, [submitted], given, wants_json(given))


def content(word: str) -> Any:
    """What is in a file or in a pipe; None where `word` is the name of a saved flow. Raises InvalidParams."""
    if word != "-" and not word.endswith(".json") and not Path(word).is_file():
        return None
    try:
        return json.loads(sys.stdin.buffer.read() if word == "-" else Path(word).read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidParams(f"{word}: it is not JSON: {error}.") from error


def checked(client: Client, data: dict[str, Any], word: str) -> dict[str, Any]:
    """A flow that is not saved, as a job is announced. Raises InvalidParams with all that is wrong with it."""
    (told,) = client.light("flows.check_flow", {"flow": data})
    if problems := told["problems"]:
        text = "\n".join(f"{each['field']}: {each['message']}" for each in problems)
        raise InvalidParams(f"{word} cannot be run:\n{text}", field=problems[0]["field"], errors=problems)
    return told | {"name": word, "light": False, "output": {"kind": told["gives"], "list": True}}


def with_set(
    parser: JobParser, about: dict[str, Any] | None, pairs: list[str], params: dict[str, Any], inputs: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """With what --set says, as a table would say it."""
    known = about or {"inputs": {}, "params": {}}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            if name in known["inputs"] and equals:
                read = next(action.type for action in parser._actions if action.dest == f"input {name}")
                inputs = inputs | {name: [*inputs.get(name, []), read(text)]}
            elif name in known["params"].get("properties", {}) and equals:
                params = params | {name: parser.read_cell(name, text)}
            else:
                names = ", ".join([*known["params"].get("properties", {}), *known["inputs"]]) or "none"
                raise InvalidParams(f"--set {pair}: say NAME=VALUE; names are {names}.")
        except argparse.ArgumentTypeError as error:
            raise InvalidParams(f"--set {name}: {error}") from error
    return params, inputs


def unsaved(
    about: dict[str, Any], data: dict[str, Any], params: dict[str, Any], inputs: dict[str, Any]
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The submission that runs a flow that is not saved: its inputs are told apart by their places."""
    given: dict[str, list[Any]] = {"images": [], "texts": []}
    values = dict(params)
    for name, found in inputs.items():
        items = found if isinstance(found, list) else [found]
        side = given["images" if about["inputs"][name]["kind"] in ("image", "mask") else "texts"]
        values[name] = [len(side) + number for number in range(len(items))]
        side += items
    sent = {name: items for name, items in given.items() if items}
    return UNSAVED.get(about["gives"], "flows.run"), {"flow": data, "values": values}, sent


def save(client: Client, flags: argparse.Namespace, word: str, data: Any) -> int:
    """Save a file's flow; also a saved one, under another name."""
    if data is None:
        data = client.light("flows.flow", {"name": word.removeprefix("flows.")})[0]["flow"]
    data = {"jobs": data} if isinstance(data, list) else data
    (said,) = client.light("flows.save_flow", {"name": flags.save, "flow": data})
    client.plugins()  # its job is announced by now
    if wants_json(flags):
        return dump(said)
    show.out.print(show.text(f"save      {said['job']}"))
    for problem in said["problems"]:
        show.err.print(show.text(f"          {problem['field']}: {problem['message']}", "yellow"))
    show.out.print(show.text(f"Next: python3 -m clients.cli flow {flags.save} --help"))
    return 0


def run_jobs(client: Client, flags: argparse.Namespace, data: Any) -> int:
    """A flow of version 1: the server takes its jobs as they are."""
    forms = running.forms_in(data, flags.file)
    for form in forms:
        announced(client, form["job"])
    if hasattr(flags, "plan"):
        return running.tell_plans([plan_of(client, form) for form in forms], wants_json(flags))
    jobs = client.flow([form | running.queueing(flags) for form in forms])
    return running.finish(client, jobs, flags, wants_json(flags))


def plan_of(client: Client, form: dict[str, Any]) -> dict[str, Any]:
    """The plan of one job of a flow; of one that needs results of another, what it is told only."""
    needs = [each for given in running.of_form(form).values() for each in given if isinstance(each, dict)]
    if needs:
        return {"job": form["job"], "params": form.get("params", {}), "count": None, "eta_seconds": None}
    return client.plan(form["job"], form.get("params"), form.get("inputs"))

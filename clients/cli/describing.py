"""Takes the parsers apart, for completion: every command and every job's flags as plain data."""

import argparse
from typing import Any

from clients.cli import batch, running
from clients.cli.base import connection_options
from clients.cli.commands import arguments
from clients.cli.flags import JobParser


def tree(plugins: list[dict[str, Any]]) -> dict[str, Any]:
    """{"options", "commands", "jobs", "lists"}: what `completion` builds its parsers from."""
    parser = arguments()
    commands = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    helps = {each.dest: each.help for each in commands._choices_actions}
    announced = [
        about | {"name": f"{plugin['name']}.{about['name']}"} for plugin in plugins for about in plugin["jobs"]
    ]
    jobs = {about["name"]: described(about) for about in announced}
    short = [about["name"].split(".", 1)[1] for about in announced]
    jobs |= {name.split(".", 1)[1]: each for name, each in jobs.items() if short.count(name.split(".", 1)[1]) == 1}
    lists = {action["list"] for job in jobs.values() for action in job["run"] if action["list"]}
    return {
        "options": [plain(action) for action in parser._actions if action is not commands],
        "commands": {
            name: {"help": helps[name], "actions": [plain(action) for action in each._actions]}
            for name, each in commands.choices.items()
        },
        "jobs": jobs,
        "lists": sorted(lists),
    }


def described(about: dict[str, Any]) -> dict[str, Any]:
    """A job's help, and the flags that `run` and `batch` take for it."""
    own = {"run": connection_options() if about["light"] else running.run_options(), "batch": batch.options()}
    actions = {name: JobParser(about, each, lambda *_: {})._actions for name, each in own.items()}
    return {"help": about["help"].partition("\n")[0]} | {
        name: [plain(action) for action in each] for name, each in actions.items()
    }


def plain(action: argparse.Action) -> dict[str, Any]:
    takes_none = action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction)
    return {
        "flags": list(action.option_strings), "dest": action.dest, "help": (action.help or "").replace("%", "%%"),
        "nargs": 0 if takes_none else action.nargs, "metavar": action.metavar, "list": getattr(action, "list", None),
        "offered": [str(each) for each in getattr(action, "offered", None) or action.choices or []],
    }  # fmt: skip

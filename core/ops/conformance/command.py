"""python3 server.py plugins test NAME: tests a plugin, one line for each claim."""

import argparse
from pathlib import Path

from core.errors import NotFound, PluginError
from core.library.near import did_you_mean
from core.ops.config import Config
from core.ops.packages.registry import Registry


def add_test(actions: "argparse._SubParsersAction") -> None:
    action = actions.add_parser("test", help="test a plugin against all that a plugin promises")
    action.add_argument("plugin", help="its name, or its folder")
    action.add_argument("--quick", action="store_true", help="only what takes seconds, without your models")
    action.set_defaults(run=run_test)


def run_test(arguments: argparse.Namespace, config: Config, registry: Registry) -> None:
    """Raises PluginError if the plugin does not pass."""
    from core.ops.conformance.checking import check  # imports what a client needs

    folder = find(arguments.plugin, config, registry)
    report = check(folder, config, lambda line: print(line, flush=True), arguments.quick)
    print(report.sum())
    if report.failed:
        raise PluginError(f"{folder.name} does not pass.")


def find(plugin: str, config: Config, registry: Registry) -> Path:
    """The folder of a plugin by its name, or where it is. Raises NotFound."""
    places = registry.places(config.plugins)
    if plugin in places:
        return places[plugin][1].resolve()
    if (Path(plugin) / "plugin.toml").is_file():
        return Path(plugin).resolve()
    known = did_you_mean(plugin, places) or f" There are {', '.join(places) or 'none'}."
    raise NotFound(f"there is no plugin {plugin[:100]!r}, and no folder with a plugin.toml.{known}")

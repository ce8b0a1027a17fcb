"""What there is and what is to be done about plugins, with or without a server: python3 server.py plugins ACTION."""

import argparse
import errno
import sys
from pathlib import Path

from core.errors import CoreError, NotFound
from core.library.near import meant_or_known
from core.ops import config
from core.ops.bootstrap import InstallError, explain
from core.ops.config import Config
from core.ops.conformance.command import add_test
from core.ops.packages import lifecycle
from core.ops.packages.developing import add_dev
from core.ops.packages.keeping import add_index, add_inspect, add_search
from core.ops.packages.models import add_fetch, add_models
from core.ops.packages.registry import Registry

EXPLAINED = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS)


def parser() -> argparse.ArgumentParser:
    """Each action sets `run`, which is called with (arguments, config, registry)."""
    made = argparse.ArgumentParser(prog="server.py plugins", description=__doc__, allow_abbrev=False)
    made.add_argument("--config", type=Path, help="settings file; default: config.toml beside server.py")
    actions = made.add_subparsers(dest="action", required=True, metavar="ACTION")
    for add in (
        lifecycle.add_all, add_enable, add_disable, add_test, add_dev, add_inspect, add_search, add_index, add_models,
        add_fetch,
    ):  # fmt: skip
        add(actions)
    return made


def main(words: list[str]) -> int:
    arguments = parser().parse_args(words)
    try:
        settings = config.load(arguments.config, {})
        arguments.run(arguments, settings, Registry(settings.packages))
    except (CoreError, OSError, InstallError) as error:
        hint = getattr(error, "extra", {}).get("hint") or ""
        text = explain(str(error)) if isinstance(error, OSError) and error.errno in EXPLAINED else f"{error} {hint}"
        print(f"stable-core: {text.rstrip()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def add_enable(actions: "argparse._SubParsersAction") -> None:
    action = actions.add_parser("enable", help="load a plugin that was disabled")
    action.add_argument("name")
    action.set_defaults(run=lambda arguments, config, registry: switch(arguments.name, config, registry, True))


def add_disable(actions: "argparse._SubParsersAction") -> None:
    action = actions.add_parser("disable", help="keep a plugin, but do not load it; its jobs wait")
    action.add_argument("name")
    action.set_defaults(run=lambda arguments, config, registry: switch(arguments.name, config, registry, False))


def switch(name: str, config: Config, registry: Registry, enable: bool) -> None:
    """Raises NotFound if there is no such plugin."""
    known = registry.places(config.plugins)
    if name not in known:
        raise NotFound(f"there is no plugin {name!r}.{meant_or_known(name, known)}")
    with registry.change() as state:
        others = [each for each in state.disabled if each != name]
        state.disabled = others if enable else sorted([*others, name])
    print("enable " if enable else "disable", name)

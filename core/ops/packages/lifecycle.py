"""What people type: `plugins install`, update, rollback, uninstall, list, info, settings and lock."""

import argparse
import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.errors import Conflict, CoreError, InvalidParams, NotFound
from core.library.catalogue import Fields
from core.library.near import meant_or_known
from core.ops import bootstrap, discovery, environments, processes, toml
from core.ops.config import Config
from core.ops.packages.indexes import Indexes, lines
from core.ops.packages.inspection import inspect
from core.ops.packages.installing import Installer, look_up
from core.ops.packages.registry import Registry, Release
from core.ops.start import ADDRESS
from core.ops.tokens import read_token

Actions = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run = Callable[[argparse.Namespace, Config, Registry], None]


def add_all(actions: Actions) -> None:
    install_ = _action(actions, "install", install, "fetch a plugin, show what is in it, ask, and install it")
    install_.add_argument(
        "source", help="folder, .zip, git address (@TAG or @COMMIT after it), or NAME[@VERSION] in an index"
    )
    _options(install_)
    update_ = _action(actions, "update", update, "the newest of what is installed; it is shown what is different")
    update_.add_argument("name", nargs="*", help="plugins; all that are installed if none is named")
    _options(update_)
    rollback_ = _action(actions, "rollback", rollback, "go back to the release before")
    rollback_.add_argument("name")
    rollback_.add_argument("--to", metavar="RELEASE", help="the release or version to go to, as info lists them")
    uninstall_ = _action(actions, "uninstall", uninstall, "remove a plugin that was installed; results and models stay")
    uninstall_.add_argument("name")
    uninstall_.add_argument("--yes", action="store_true", help="do not ask")
    _action(actions, "list", list_, "all plugins: installed, disabled, in folders, under development")
    info_ = _action(actions, "info", info, "what is in a plugin, and its releases")
    info_.add_argument("name", help="of a plugin that is here, or in an index")
    settings_ = _action(actions, "settings", settings, "show or set what a plugin lets you set")
    settings_.add_argument("name")
    settings_.add_argument("change", nargs="*", metavar="SETTING=VALUE", help="SETTING= gives back the plugin's own")
    lock_ = _action(actions, "lock", lock, "choose the newest packages that a plugin's requirements allow")
    lock_.add_argument("plugin", help="name of a plugin, or its folder")
    lock_.add_argument("--yes", action="store_true", help="do not ask")


def _action(actions: Actions, name: str, run: Run, text: str) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
    action.set_defaults(run=run)
    return action


def _options(action: argparse.ArgumentParser) -> None:
    action.add_argument("--ref", help="tag, branch or commit of a git repository")
    action.add_argument("--hash", help="install nothing but the content with this hash")
    action.add_argument("--yes", action="store_true", help="do not ask")


def install(arguments: argparse.Namespace, config: Config, registry: Registry) -> None:
    wanted = look_up(arguments.source, arguments.ref, arguments.hash, config)
    _did("install", _installer(arguments, config, registry).install(wanted), registry)


def update(arguments: argparse.Namespace, config: Config, registry: Registry) -> None:
    names = arguments.name or sorted(registry.read().plugins)
    if (arguments.ref or arguments.hash) and len(names) != 1:
        raise InvalidParams("--ref and --hash are of one plugin: name it.")
    failed = []
    for name in names:
        try:
            release = _installer(arguments, config, registry).update(name, arguments.ref, arguments.hash)
            _did("update", release, registry)
        except (CoreError, bootstrap.InstallError) as error:
            if len(names) == 1:
                raise
            print(f"stable-core: {name}: {error}", file=sys.stderr)
            failed.append(name)
    if failed:
        raise Conflict(f"not updated: {', '.join(failed)}.")


def rollback(arguments: argparse.Namespace, config: Config, registry: Registry) -> None:
    release = _installer(arguments, config, registry).rollback(arguments.name, arguments.to)
    print(f"rollback  {arguments.name} {release.version} ({release.id})")


def uninstall(arguments: argparse.Namespace, config: Config, registry: Registry) -> None:
    _installer(arguments, config, registry).uninstall(arguments.name)
    print(f"remove    {arguments.name}")


def list_(arguments: argparse.Namespace, config: Config, registry: Registry) -> None:
    for name, (what, folder) in registry.places(config.plugins).items():
        release, version = _active(registry, name), "?"
        with contextlib.suppress(bootstrap.InstallError, OSError):  # `info` tells of it
            version = environments.manifest(folder).get("version", "?")
        what = "disabled" if name in registry.read().disabled else what
        print(
            f"{what:<9} {discovery.printable(f'{name:<20} {version!s:<10}')} {_origin(release) if release else folder}"
        )


def info(arguments: argparse.Namespace, config: Config, registry: Registry) -> None:
    if arguments.name not in registry.places(config.plugins) and config.plugin_indexes:
        print("\n".join(lines(Indexes(config).find(arguments.name))))
        return
    what, folder = _place(arguments.name, config, registry)
    print("\n".join(inspect(folder).lines()))
    print(f"{what:<9} {folder}" + "  (disabled)" * (arguments.name in registry.read().disabled))
    if installed := registry.read().plugins.get(arguments.name):
        for release in reversed(installed.releases):
            runs = "  runs" * (release.id == installed.active)
            print(f"release   {release.id:<24} {_origin(release)}{runs}")


def settings(arguments: argparse.Namespace, config: Config, registry: Registry) -> None:
    """Without changes, show them. With a server that runs, they count at once."""
    _, folder = _place(arguments.name, config, registry)
    own = config.plugin_settings.pop(arguments.name, {})  # what is wrong with them is what may be mended here
    found = discovery.loaded(folder, config, bootstrap.say)
    if found.status != "ready":
        raise Conflict(f"{arguments.name} is refused: {found.error}")
    schema = found.settings_schema
    if not schema.get("properties"):
        raise NotFound(f"{arguments.name} has no settings.")
    changes = dict(_changes(arguments.change, schema["properties"]))
    wanted = toml.changed({arguments.name: own}, {arguments.name: changes}).get(arguments.name, {})
    if changes:
        checked = Fields(arguments.name, "setting", schema, lambda function, *values: function(*values)).check(wanted)
        _set(arguments.name, changes, config)
    else:
        checked = {name: about.get("default") for name, about in schema["properties"].items()} | own
    for name, about in schema["properties"].items():
        print(f"{name} = {json.dumps(checked.get(name))}  # {about.get('description', '')}".rstrip(" #"))


def _changes(given: list[str], known: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for word in given:
        name, equals, text = word.partition("=")
        if not equals:
            raise InvalidParams(f"{word[:100]!r} sets nothing. Say SETTING=VALUE.")
        if name not in known and text:
            raise InvalidParams(f"there is no setting {name[:100]!r}.{meant_or_known(name, known)}")
        try:
            value = json.loads(text) if text else None
        except ValueError:
            value = text
        kinds = [known.get(name, {}), *known.get(name, {}).get("anyOf", [])]
        only_text = any(kind.get("type") == "string" for kind in kinds) and not isinstance(value, str)
        yield name, text if only_text and text else value


def _set(name: str, changes: dict[str, Any], config: Config) -> None:
    """A server that runs has to do it: it knows what is set, and writes the same file."""
    try:
        processes.lock(config.data).close()
    except Conflict:
        from clients.python import Client, ServerError

        try:
            with Client((config.data / ADDRESS).read_text(), read_token()) as client:
                client.call("configure", {"plugin_settings": {name: changes}})
        except ServerError as error:
            raise Conflict(f"the server that runs does not take them: {error}") from error
    else:
        toml.change(config.file, {"plugin_settings": {name: changes}})


def lock(arguments: argparse.Namespace, config: Config, registry: Registry) -> None:
    folder = Path(arguments.plugin)
    if not (folder / "plugin.toml").is_file():
        what, folder = _place(arguments.plugin, config, registry)
        if what == "installed":
            _did("lock", _installer(arguments, config, registry).relock(arguments.plugin), registry)
            return
    folder = folder.resolve()
    print("write    ", environments.lock(folder, build=discovery.may_build(folder, config)))


def _installer(arguments: argparse.Namespace, config: Config, registry: Registry) -> Installer:
    show = functools.partial(print, flush=True)
    return Installer(config, registry, bootstrap.say, show, lambda question: arguments.yes or _ask(question))


def _ask(question: str) -> None:
    print(f"{question} [y/N] ", end="", flush=True)
    try:
        if input().strip().lower() not in ("y", "yes"):
            raise Conflict("as you said no, nothing was changed.")
    except EOFError:
        print()
        raise Conflict("nobody was there to be asked.", hint="--yes agrees beforehand.") from None


def _did(verb: str, release: Release | None, registry: Registry) -> None:
    if not release:
        return
    state = registry.read()
    name = next(name for name, each in state.plugins.items() if release in each.releases)
    print(f"{verb:<9} {name} {release.version} ({release.id})")
    if name in state.links:
        print(f"Next: end `plugins dev {name}`; until then, {state.links[name]} is what runs.")
    elif name in state.disabled:
        print(f"Next: python3 server.py plugins enable {name}")
    elif verb == "install":
        print("Next: python3 server.py; a server that runs has it already.")


def _place(name: str, config: Config, registry: Registry) -> tuple[str, Path]:
    places = registry.places(config.plugins)
    if name not in places:
        raise NotFound(f"there is no plugin {name[:100]!r}.{meant_or_known(name, places)}")
    return places[name]


def _active(registry: Registry, name: str) -> Release | None:
    state = registry.read()
    return state.plugins[name].release if name in state.plugins and name not in state.links else None


def _origin(release: Release) -> str:
    commit = f" ({release.commit[:12]})" if release.commit and release.commit != release.ref else ""
    return release.source + (f" at {release.ref}" if release.ref else "") + commit

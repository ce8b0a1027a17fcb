"""The commands `plugins models` and `plugins fetch`: which models plugins name, and having them."""

import argparse
import sys
import time
from collections.abc import Callable

from core.errors import Conflict, NotFound
from core.jobs import Row
from core.library import apps
from core.library.catalogue import Catalogue, PluginInfo
from core.library.models import Models
from core.library.near import did_you_mean
from core.ops import bootstrap, discovery
from core.ops.config import Config
from core.ops.packages.registry import Registry


def add_models(actions: "argparse._SubParsersAction") -> None:
    action = actions.add_parser("models", help="list the models that plugins name, with size, licence and hash")
    action.add_argument("name", nargs="?", help="of this plugin only")
    action.set_defaults(run=list_models)


def add_fetch(actions: "argparse._SubParsersAction") -> None:
    action = actions.add_parser("fetch", help="fetch a model that a plugin names, or go on with it")
    action.add_argument("model", metavar="KIND/NAME", help="as `plugins models` lists it")
    action.add_argument("--plugin", help="whose, if several plugins name one so")
    action.add_argument("--yes", action="store_true", help="do not ask whether the licence is accepted")
    action.set_defaults(run=fetch_model)


def list_models(arguments: argparse.Namespace, config: Config, registry: Registry) -> None:
    from core.library.inventory import inventory

    catalogue = known(config, registry)
    if arguments.name is not None and arguments.name not in catalogue.plugins:
        near = did_you_mean(arguments.name, catalogue.plugins)
        raise NotFound(f"there is no plugin {arguments.name!r}, or it is refused.{near}")
    offers = [each for kind in inventory(config.models, catalogue) for each in kind["fetchable"]]
    offers = [each for each in offers if arguments.name in (None, each["plugin"])]
    width = max((len(each["id"]) for each in offers), default=0)
    for each in offers:
        state = "there" if each["there"] else "partly" if each["part_bytes"] else "missing"
        print(f"{state:<8}{each['id']:<{width}}  {_about(each)}  ({each['plugin']})")
    if not offers:
        print(f"{arguments.name or 'No plugin'} names {'no' if arguments.name else 'a'} model to be fetched.")


def fetch_model(arguments: argparse.Namespace, config: Config, registry: Registry) -> None:
    from core.ops.packages import fetches, fetching

    catalogue = known(config, registry)
    offers = [(info.name, info.manifest) for info in catalogue.plugins.values()]
    model = fetches.find(offers, arguments.model, arguments.plugin)
    print(f"fetch   {model.id}  {_about(model.model_dump())}\nfrom    {model.address}", flush=True)
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise Conflict("nobody is here to accept the licence.", hint="Say --yes if you do.")
        if input("Fetch it under this licence? [y/N] ").strip().lower() not in ("y", "yes"):
            raise Conflict("nothing was fetched.")
    models = Models(config.models, catalogue.shipped_models())
    how = fetching.fetch(model, models, _progress())
    print(f"{'is' if how == 'there already' else 'wrote':<8}{models.folder / model.id}  {how}")


def known(config: Config, registry: Registry) -> Catalogue:
    """The plugins that there are, as far as their plugin.toml tells; none of their code runs."""
    catalogue = Catalogue(lambda function, *arguments: function(*arguments))
    catalogue.extra_models = apps.folders(config.extra_model_paths)
    for _, folder in registry.places(config.plugins).values():
        info = PluginInfo(folder.name, folder)
        discovery.read_manifest(info)
        if info.status == "installing":
            catalogue.plugins[info.name] = info
    return catalogue


def _about(model: Row) -> str:
    size = bootstrap.size(model["size_bytes"]) if model["size_bytes"] else "size not told"
    unknown = "compared with the hub's hash" if model["repo"] else "no hash: it cannot be verified"
    hashed = f"sha256 {model['sha256'][:16]}" if model["sha256"] else unknown
    return f"{size:>8}  {model['licence'] or 'licence not told'}  {hashed}"


def _progress() -> Callable[[str, int, int | None], None]:
    """Lines on stderr: in a terminal one that changes, else one for each tenth."""
    said = {"text": "", "at": 0.0}

    def tell(phase: str, done: int, total: int | None) -> None:
        share = f" of {bootstrap.size(total)} ({100 * done // total} %)" if total else ""
        tenth = f"{phase} {10 * done // total if total else 0}"
        if sys.stderr.isatty():
            if time.monotonic() - said["at"] > 0.2 or done == total:
                said["at"] = time.monotonic()
                print(
                    f"\r\x1b[K{phase:<8}{bootstrap.size(done)}{share}",
                    end="\n" * (done == total),
                    file=sys.stderr,
                    flush=True,
                )
        elif tenth != said["text"]:
            said["text"] = tenth
            print(f"{phase:<8}{bootstrap.size(done)}{share}", file=sys.stderr, flush=True)

    return tell

"""For who looks for plugins, and for who keeps an index: python3 server.py plugins search, inspect, index ..."""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.errors import Conflict, CoreError, InvalidParams
from core.library.near import did_you_mean
from core.ops import bootstrap
from core.ops.config import Config
from core.ops.discovery import API_VERSION
from core.ops.packages import indexes, sources
from core.ops.packages.findings import KINDS
from core.ops.packages.indexes import Entry, Indexes, verify
from core.ops.packages.inspection import JobSeen, Report, inspect
from core.ops.packages.installing import Installer, changes, look_up
from core.ops.packages.registry import Registry


def add_search(actions: "argparse._SubParsersAction") -> None:
    action = actions.add_parser("search", help="find plugins in the indexes that are set")
    action.add_argument("words", nargs="*", help="all have to occur: in name, description, publisher, or jobs (Image)")
    action.set_defaults(run=lambda arguments, config, registry: search(arguments.words, config, registry))


def add_inspect(actions: "argparse._SubParsersAction") -> None:
    action = actions.add_parser("inspect", help="show what is in a plugin; nothing of it is run")
    action.add_argument("source", help="folder, .zip, git address (@TAG or @COMMIT after it), or name in an index")
    action.add_argument(
        "--update", action="store_true", help="what an update of the installed plugin SOURCE would bring"
    )
    action.add_argument("--ref", help="tag, branch or commit of a git repository")
    action.add_argument("--json", action="store_true", help="print all that was found, as JSON")
    action.set_defaults(run=lambda arguments, config, registry: show(arguments, config, registry))


def add_index(actions: "argparse._SubParsersAction") -> None:
    index = actions.add_parser("index", help="read indexes anew; or keep one: entry, check")
    steps = index.add_subparsers(dest="step", required=True, metavar="STEP")
    refreshing = steps.add_parser("refresh", help="read the indexes that are set, now")
    refreshing.set_defaults(run=lambda arguments, config, registry: refresh(config))
    entry = steps.add_parser("entry", help="print the entry of a plugin for an index")
    entry.add_argument("source", help="git repository, like https://example.org/frame.git, or with @TAG after it")
    entry.add_argument("--ref", help="tag, branch or commit; default: the newest commit")
    entry.add_argument("--publisher", help="who answers for it; default: its author")
    entry.add_argument("--into", type=Path, metavar="FILE", help="add it to this index instead, which may be new")
    entry.set_defaults(run=lambda arguments, config, registry: print_entry(arguments))
    checking = steps.add_parser("check", help="say what is wrong with an index")
    checking.add_argument("file", type=Path)
    checking.add_argument("--fetch", action="store_true", help="fetch each plugin, and compare it with its entry")
    checking.add_argument("--base", type=Path, metavar="FILE", help="the index before: what is in it is not fetched")
    checking.set_defaults(
        run=lambda arguments, config, registry: check(arguments.file, arguments.fetch, arguments.base)
    )


def show(arguments: argparse.Namespace, config: Config, registry: Registry) -> dict[str, Any]:
    """Print and return what is there. Raises CoreError."""
    if arguments.update:
        looking = Installer(config, registry, bootstrap.say, print, lambda question: False)
        wanted = looking.newest(arguments.source, arguments.ref)
        release = registry.read().plugins[arguments.source].release
    else:
        wanted, release = look_up(arguments.source, arguments.ref, None, config), None
    report, commit = _look(wanted.source)
    if wanted.entry:
        verify(wanted.entry, report)
    different = []
    if release and release.hash != report.hash:
        different = list(changes(inspect(registry.place(arguments.source, release.id)), report))
    lines = [*report.lines(), *([f"commit    {commit}"] if commit else []), *different]
    about = {"source": wanted.entry.name if wanted.entry else str(wanted.source), "ref": wanted.source.ref}
    about |= {"kinds": {finding.kind: KINDS[finding.kind] for finding in report.warnings}}
    told = report.model_dump(mode="json") | about | {"commit": commit, "changes": different, "lines": lines}
    print(json.dumps(told, indent=1) if arguments.json else "\n".join(lines))
    return told


def search(words: list[str], config: Config, registry: Registry) -> None:
    if not config.plugin_indexes:
        hint = 'Name one in config.toml: plugin_indexes = ["https://example.org/plugins.git"].'
        raise Conflict("no index of plugins is set.", hint=hint)
    books = Indexes(config).books()
    _tell(books)
    found = indexes.search(books, words)
    installed = registry.read().plugins
    rows = [(entry, f"{entry.name} {entry.version}") for entry in found]
    width = max((len(text) for _, text in rows), default=0)
    for entry, text in rows:
        about = entry.description or entry.title
        marks = [f"installed {installed[entry.name].release.version}"] if entry.name in installed else []
        marks += [f"withdrawn: {entry.withdrawn}"] if entry.withdrawn else []
        marks += [f"needs api = {entry.api}"] if entry.api != API_VERSION else []
        print(f"{text:<{width}}  {about}" + (f" ({', '.join(marks)})" if marks else ""))
    if not found:
        near = did_you_mean(" ".join(words), {entry.name for book in books for entry in book.entries})
        print(f"No plugin has {' and '.join(words)}.{near}" if words else "The indexes name no plugin.")


def refresh(config: Config) -> None:
    """Raises Conflict if one cannot be read."""
    books = Indexes(config).books(0, lambda line: None)
    for book in books:
        print(f"read    {book.address}: {len(book.entries)} versions of {len({e.name for e in book.entries})} plugins")
    if _tell(books):
        raise Conflict("not all indexes could be read.")


def _tell(books: list[indexes.Book]) -> bool:
    notes = [note for book in books for note in book.notes]
    for note in notes:
        bootstrap.say(note)
    return bool(notes)


def print_entry(arguments: argparse.Namespace) -> None:
    source = sources.parse(arguments.source, arguments.ref)
    if source.kind != "git":
        text = f"{arguments.source} is a {source.kind}; an index names git repositories, which keep every version."
        raise InvalidParams(text)
    report, commit = _look(source)
    if report.errors:
        raise Conflict(f"{source} cannot be installed: {' '.join(report.errors)}")
    if report.licence == "" or not (publisher := arguments.publisher or report.author):
        missing = "a licence" if report.licence == "" else "an author; name a --publisher"
        raise Conflict(f"{source}: its plugin.toml names no {missing.removeprefix('a ').removeprefix('an ')}.")
    same = {key: getattr(report, key) for key in ("name", "version", "hash", "api", "licence", "title", "description")}
    same |= {key: getattr(report, key) for key in ("homepage", "size_bytes", "download", "jobs")}
    about = {"repo": source.place, "within": source.within, "commit": commit, "publisher": publisher}
    entry = Entry.model_validate(same | about)
    made = entry.model_dump(mode="json", exclude_defaults=True)
    if not arguments.into:
        print(json.dumps(made, indent=2, ensure_ascii=False))
        return
    _add(arguments.into, entry, made)
    print("write ", arguments.into)


def _add(path: Path, entry: Entry, made: dict[str, Any]) -> None:
    """Put it into an index, by name and the newest version first. Raises Conflict if that version is another one."""
    document: dict[str, Any] = {"index": 1, "plugins": []}
    if path.exists():
        indexes.read(path.read_bytes(), str(path))
        document = json.loads(path.read_bytes())
    kept = []
    for each in document["plugins"]:
        same = isinstance(each, dict) and (each.get("name"), each.get("version")) == (entry.name, entry.version)
        if same and (each.get("commit"), each.get("hash")) != (entry.commit, entry.hash):
            text = f"{path} has {entry} already, and it is another commit or hash."
            raise Conflict(text, hint="A version stays what it is. Its author makes a new one.")
        kept += [] if same else [each]
    document["plugins"] = sorted([*kept, made], key=lambda each: str(each.get("name")))
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    new.replace(path)


def check(path: Path, fetch: bool, base: Path | None) -> None:
    """Print a line for each entry. Raises Conflict if something is wrong."""
    _, entries, problems = indexes.read(path.read_bytes(), str(path))
    before = {str(entry): entry for entry in indexes.read(base.read_bytes(), str(base))[1]} if base else {}
    failed = len(problems)
    for problem in problems:
        print("failed ", problem)
    for entry in entries:
        old = before.pop(str(entry), None)
        wrong = list(_changed(entry, old) if old else _compared(entry) if fetch else ())
        failed += bool(wrong)
        for text in wrong:
            print(f"failed  {entry}: {text}")
        if not wrong:
            print(f"passed  {entry}" + ", as it was" * bool(old))
    for gone in before:
        print(f"failed  {gone}: it is gone. Keep it, and say in withdrawn why nobody should install it.")
        failed += 1
    if failed:
        raise Conflict(f"{path}: {failed} of {len(entries) + len(problems) + len(before)} are wrong.")


def _changed(entry: Entry, old: Entry) -> Iterator[str]:
    if (entry.commit, entry.hash) != (old.commit, old.hash):
        yield f"it was the commit {old.commit} with the hash {old.hash}. A version stays what it is."


def _compared(entry: Entry) -> Iterator[str]:
    """What is wrong with an entry, or with the plugin that it names."""
    try:
        report, _ = _look(entry.source)
    except (CoreError, OSError) as error:
        yield f"it cannot be fetched: {error}"
        return
    yield from report.errors
    for key in ("name", "version", "hash", "api", "licence", "jobs"):
        there, said = getattr(report, key), getattr(entry, key)
        if there != said:
            yield f"{key} is {_shown(said)} here, and {_shown(there)} in the plugin."


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {job}" if isinstance(job, JobSeen) else name for name, job in value.items()) or "none"
    return str(value)


def _look(source: sources.Source) -> tuple[Report, str | None]:
    """What is there, and the commit, of a git repository."""
    say: Callable[[str], None] = bootstrap.say
    with tempfile.TemporaryDirectory(prefix="stable-core-") as folder:
        fetched = sources.fetch(source, Path(folder, "plugin"), say)
        return inspect(fetched.folder), fetched.commit

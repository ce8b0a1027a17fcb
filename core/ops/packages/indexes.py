"""Lists of plugins that somebody keeps: which commit of which repository a name means, and what has to be in it.

An index is a JSON file: in a git repository, at an https address, or on this disk. It is read again when somebody asks
for it; if that fails, what it said before goes on counting. The first index that has a name decides what it means."""

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pydantic
from packaging.version import InvalidVersion, Version
from pydantic import Field

from core.errors import Conflict, CoreError, InvalidParams, NotFound
from core.library.near import did_you_mean
from core.ops import bootstrap
from core.ops.config import Config
from core.ops.discovery import API_VERSION, printable
from core.ops.packages import sources
from core.ops.packages.inspection import VERSION, JobSeen, Report, Text
from core.ops.packages.sources import NAME, Source

FILE = "index.json"  # in a git repository
MAX_BYTES, MAX_ENTRIES = 20_000_000, 50_000
FRESH_SECONDS = 600  # that long what was read is not read again, unless somebody asks for it
NAMED = re.compile(rf"({NAME.pattern})(?:@({VERSION}))?")
Say = Callable[[str], None]


class Entry(pydantic.BaseModel):
    """One version of a plugin. What it says of the plugin is for people; `hash` decides what is installed."""

    name: str = Field(pattern=f"^{NAME.pattern}$")
    version: str = Field(pattern=f"^{VERSION}$")
    repo: Text = Field(min_length=1, description="A git address: https://, ssh:// or git@host:path.")
    within: Text = Field("", description="The plugin's folder inside, where it is not the whole.")
    commit: str = Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")
    hash: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of all its files; `plugins index entry` works it out.")
    api: int = Field(ge=1, description="Version of the plugin API.")
    licence: Text = Field(min_length=1)
    publisher: Text = Field(min_length=1, description="Who answers for it.")
    title: Text = ""
    description: Text = ""
    homepage: Text = Field("", pattern="^(https?://.*)?$")
    size_bytes: int = Field(0, ge=0)
    download: Text = Field("", description="What its packages weigh, in words.")
    jobs: dict[Text, JobSeen] = Field({}, description="Its jobs, with types.")
    withdrawn: Text = Field("", description="Why nobody should install it any more.")

    @property
    def source(self) -> Source:
        return Source("git", self.repo, self.within, self.commit)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Index(pydantic.BaseModel):
    index: Literal[1] = Field(description="The version of this format.")
    title: Text = ""
    homepage: Text = ""
    plugins: list[Any] = Field(max_length=MAX_ENTRIES)


@dataclass
class Book:
    """What an index says. `notes` tell what could not be read, and since when."""

    address: str
    title: str
    entries: list[Entry]
    notes: list[str]


class Indexes:
    """Those that the settings name, in their order. Fetched ones are kept in `packages/.indexes`."""

    def __init__(self, config: Config):
        self._addresses, self._kept = config.plugin_indexes, config.packages / ".indexes"
        self._read: dict[str, tuple[tuple[int, int], Book]] = {}  # by address: the file's state, and what it said

    def books(self, fresh_seconds: float = FRESH_SECONDS, say: Say = bootstrap.say) -> list[Book]:
        """What they say; what was fetched longer ago is fetched again. Never fails: see `notes`."""
        return [self._book(address, fresh_seconds, say) for address in self._addresses]

    def known(self) -> list[Book]:
        """What they have said, without a look at the network."""
        return self.books(float("inf"), lambda line: None)

    def find(self, text: str, say: Say = bootstrap.say) -> Entry:
        """What NAME, the newest version that works here, or NAME@VERSION means now. Raises NotFound or Conflict."""
        match = NAMED.fullmatch(text)
        name, version = match.groups() if match else (text, None)
        if not self._addresses:
            hint = 'Name one in config.toml: plugin_indexes = ["https://example.org/plugins.git"]; or say where the '
            hint += f"plugin is: a git address, a zip, a folder ({'./' + text if Path(text).exists() else './FOLDER'})."
            raise NotFound(f"no index of plugins is set, so nobody knows what {text[:100]!r} is.", hint=hint)
        books = self.books(0, say)
        for book in books:
            for note in book.notes:
                say(note)
        entries = next((found for book in books if (found := [each for each in book.entries if each.name == name])), [])
        if not entries:
            near = did_you_mean(name, {entry.name for book in books for entry in book.entries})
            hint = f"The folder of that name is ./{text}." if Path(text).is_dir() else None
            raise NotFound(f"no index has a plugin {name[:100]!r}.{near}", hint=hint)
        if version:
            wanted = [entry for entry in entries if entry.version == version]
            if not wanted:
                there = ", ".join(entry.version for entry in newest_first(entries)[:10])
                raise NotFound(f"{name} has no version {version}. There are {there}.")
        else:
            wanted = [entry for entry in newest_first(entries) if not entry.withdrawn and entry.api == API_VERSION]
            wanted = wanted or newest_first(entries)
        return _usable(wanted[0])

    def _book(self, address: str, fresh_seconds: float, say: Say) -> Book:
        kept = self._kept / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.json"
        shown, note = printable(address), ""
        try:
            local = _local(address)
            if local is None and _age(kept) >= fresh_seconds and fresh_seconds != float("inf"):
                say(f"Reading the index {shown}.")
                data = fetch(address, self._kept)
                read(data, address)
                _keep(kept, data)
            if local is None and not kept.exists():
                return Book(shown, "", [], [f"The index {shown} has not been read yet."])
        except (CoreError, OSError) as error:
            note = f"The index {shown} cannot be read: {error}"
            if not kept.exists():
                return Book(shown, "", [], [note])
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.stat().st_mtime))
            note += f"\nWhat it said on {when} counts until it can be."
        try:
            about = (local or kept).stat()
            state = (about.st_mtime_ns, about.st_size)
            if self._read.get(address, (None,))[0] != state:
                index, entries, notes = read((local or kept).read_bytes(), address)
                self._read[address] = state, Book(shown, index.title, entries, notes)
        except (CoreError, OSError) as error:
            return Book(shown, "", [], [f"The index {shown} cannot be read: {error}"])
        book = self._read[address][1]
        return replace(book, notes=[*filter(None, [note]), *book.notes])


def newest_first(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: _sortable(entry.version), reverse=True)


def _sortable(version: str) -> tuple[bool, Any]:
    try:
        return True, Version(version)
    except InvalidVersion:
        return False, version


def _usable(entry: Entry) -> Entry:
    if entry.withdrawn:
        raise Conflict(f"{entry} was withdrawn from its index: {entry.withdrawn}", hint="Choose another version.")
    if entry.api != API_VERSION:
        way = "Update stable-core." if entry.api > API_VERSION else "Ask its author for a newer version."
        raise Conflict(f"{entry} is written for api = {entry.api}, this server has {API_VERSION}.", hint=way)
    return entry


def verify(entry: Entry, report: Report) -> None:
    """Raises Conflict if what was fetched is not what the index has named."""
    if (report.name, report.version, report.hash) != (entry.name, entry.version, entry.hash):
        raise Conflict(
            f"what is at {entry.commit} of {entry.repo} is not what the index names: that is {entry} with the hash "
            f"{entry.hash}, and there is {report.name} {report.version} with the hash {report.hash}.",
            hint="Do not install it. Tell whoever keeps the index.",
        )


def is_name(text: str) -> bool:
    """Whether it is NAME or NAME@VERSION; anything else is a source."""
    return bool(NAMED.fullmatch(text))


def search(books: Iterable[Book], words: Iterable[str]) -> list[Entry]:
    """The newest version of each plugin in which all words occur, also in the types of its jobs; by name."""
    found: dict[str, Entry] = {}
    for book in books:
        here: dict[str, Entry] = {}
        for entry in newest_first(book.entries):
            usable = not entry.withdrawn and entry.api == API_VERSION
            if entry.name not in found and (entry.name not in here or usable and here[entry.name].withdrawn):
                here[entry.name] = entry
        found |= here
    lowered = [word.lower() for word in words]
    return [entry for _, entry in sorted(found.items()) if all(word in _words(entry) for word in lowered)]


def _words(entry: Entry) -> str:
    jobs = " ".join(f"{name} {job}" for name, job in entry.jobs.items())
    return f"{entry.name} {entry.title} {entry.description} {entry.publisher} {entry.licence} {jobs}".lower()


def lines(entry: Entry) -> Iterator[str]:
    """For a terminal."""
    yield f"plugin    {entry.name} {entry.version}" + f"  {entry.title}" * bool(entry.title)
    for name in ("description", "publisher", "licence", "homepage", "withdrawn"):
        if text := getattr(entry, name):
            yield f"{'about' if name == 'description' else name:<9} {text}"
    yield f"source    {entry.source} at {entry.commit}"
    yield f"hash      {entry.hash}"
    for name, job in entry.jobs.items():
        yield f"job       {name} {job}"


def read(data: bytes, address: str) -> tuple[Index, list[Entry], list[str]]:
    """The index, its entries, and notes about those that cannot be used. Raises InvalidParams if it is none."""
    if len(data) > MAX_BYTES:
        raise InvalidParams(f"it is larger than {bootstrap.size(MAX_BYTES)}.")
    try:
        index = Index.model_validate(json.loads(data))
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "it"
        raise InvalidParams(f"it is no index of plugins: {printable(place)}: {printable(problem['msg'])}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidParams(f"it is no JSON: {printable(str(error))[:200]}.") from error
    entries: list[Entry] = []
    notes, seen = [], set()
    for number, each in enumerate(index.plugins):
        try:
            entry = Entry.model_validate(each)
            _reachable(entry, address)
            if str(entry) in seen:
                raise InvalidParams("it is there twice.")
            seen.add(str(entry))
            entries.append(entry)
        except (pydantic.ValidationError, CoreError) as error:
            problem = error.errors()[0] if isinstance(error, pydantic.ValidationError) else {"loc": (), "msg": error}
            about = [f"{each.get('name')} {each.get('version')}"] if isinstance(each, dict) else []
            place = ".".join(map(str, [f"plugins.{number}", *problem["loc"]]))
            text = f"{' '.join([place, *about])}: {problem['msg']}"
            notes.append(printable(text)[:500])
    return index, entries, notes


def _reachable(entry: Entry, address: str) -> None:
    """Whoever keeps an index elsewhere has no business with the files of this machine."""
    if not re.match(r"https://|ssh://|git@", entry.repo) and not _inside(address):
        raise InvalidParams(f"repo is {entry.repo[:100]!r}; an index names https://, ssh:// or git@ addresses.")
    source = sources.parse(entry.repo, entry.commit)
    if source.kind != "git" or source.within or source.place != entry.repo:
        raise InvalidParams(f"repo is {entry.repo[:100]!r}, which is no plain git address.")


def _local(address: str) -> Path | None:
    """The file, of an index that is one."""
    path = Path(address).expanduser()
    return path if path.is_file() or (path.suffix == ".json" and "://" not in address) else None


def _inside(address: str) -> bool:
    """Whether an index lies on this machine."""
    return (
        _local(address) is not None
        or bool(re.match(r"file://|https?://(127\.0\.0\.1|localhost)[:/]", address))
        or (Path(address).expanduser().exists())
    )


def fetch(address: str, folder: Path) -> bytes:
    """The bytes of an index that is elsewhere. Raises CoreError, or OSError."""
    if address.startswith("-"):
        raise InvalidParams(f"{address[:100]!r} is no address.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as name:
        if re.match(r"https?://.*\.json$", address):
            if not (address.startswith("https://") or _inside(address)):
                raise InvalidParams("http is read and changed by others on the way: use https.")
            sources.download(address, Path(name, FILE), MAX_BYTES)
            return Path(name, FILE).read_bytes()
        source = sources.parse(address)
        if source.kind != "git":
            raise InvalidParams(
                f"an index is a .json file or a git repository, and {address[:300]} is a {source.kind}."
            )
        return sources.file_of(source, FILE, Path(name, "repository"), MAX_BYTES)


def _keep(path: Path, data: bytes) -> None:
    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_bytes(data)
    new.replace(path)


def _age(path: Path) -> float:
    try:
        return max(0, time.time() - path.stat().st_mtime)
    except OSError:
        return float("inf")

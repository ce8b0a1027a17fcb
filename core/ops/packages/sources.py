"""Where a plugin comes from: a folder, a git repository, a zip. Fetching runs nothing of it and trusts nothing in it.

Only plain files arrive, with names that every system can hold and within limits. Of git, only what a branch or tag
holds is taken, file by file out of the repository's objects: there is no checkout, so no hook, filter or attribute of
it can act. Names that begin with a dot are left out, as is __pycache__."""

import contextlib
import errno
import lzma
import os
import re
import signal
import struct
import subprocess
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from core.errors import InvalidParams, NotFound, TooLarge
from core.ops.bootstrap import size
from core.ops.config import tomllib
from core.ops.discovery import printable

MAX_BYTES, MAX_FILES = 500_000_000, 10_000  # of a plugin; weights are fetched apart, as [[models]] of plugin.toml
MAX_FETCHED = 1_000_000_000  # of a repository with its history, or a zip
MAX_NAME = 200  # characters of a path, so that it fits below other folders on Windows, too
GIT_SECONDS, HTTP_SECONDS = 900, 60  # for all of it; without a byte
ZIP_SECONDS = 900
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")  # one with - before it would be an option of commands
REF = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock$))[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,199}")
COMMIT = re.compile(r"[0-9a-f]{7,64}")
HOST = r"[A-Za-z0-9_\[][A-Za-z0-9._:\[\]-]*"
SSH_SHORT = re.compile(rf"(?:[A-Za-z0-9_][A-Za-z0-9._-]*@){HOST}:(?!//)[^-].*")  # git@host:path
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
ELSEWHERE = {  # set in git's hooks, for example: they point at another repository
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
}  # fmt: skip
LFS = b"version https://git-lfs.github.com/spec/"
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, RuntimeError, EOFError, ValueError)
FORMS = (
    "Sources are a folder, a .zip (a file or https address), or a git repository (https://, ssh://, git@host:path, "
    "file://), with #subdirectory=PATH after it where the plugin is not the whole."
)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Fetched:
    """`folder` has the plugin's name; `source` and `ref` are what to ask for again, `commit` is what git gave."""

    folder: Path
    source: str
    ref: str | None = None
    commit: str | None = None


@dataclass(frozen=True)
class Source:
    """What a text asks for: `kind` is folder, zip, download or git; `within` the plugin's folder inside."""

    kind: str
    place: str
    within: str = ""
    ref: str | None = None

    def __str__(self) -> str:
        return f"{self.place}#subdirectory={self.within}" if self.within else self.place


def parse(text: str, ref: str | None = None) -> Source:
    """Raises InvalidParams. A git address may end in @REF; `ref` counts more."""
    shown = text[:300]
    if not text or text.startswith("-") or not text.isprintable():
        raise InvalidParams(f"{shown!r} is no source of a plugin. {FORMS}")
    place, _, fragment = text.partition("#subdirectory=")
    within = fragment.strip("/")
    if within:
        _portable(within)
    here, named = Path(place).expanduser(), place
    if here.exists():
        if not (here.is_dir() or here.is_file()):  # a pipe or a device never ends
            raise InvalidParams(f"{shown} is neither a folder nor a file. {FORMS}")
        bare = here.is_dir() and (here / "HEAD").is_file() and (here / "objects").is_dir()
        kind = "git" if bare or (ref and (here / ".git").exists()) else "folder" if here.is_dir() else "zip"
        place = here.resolve().as_uri() if kind == "git" else str(here.resolve())
    else:
        kind, place, inner = _address(place.removeprefix("git+"), shown)
        ref = inner if ref is None else ref
    if ref is not None and kind != "git":
        raise InvalidParams(f"{named[:300]} is a {kind}, which has no {ref[:100]!r}: only git repositories have refs.")
    if ref is not None and not REF.fullmatch(ref):
        raise InvalidParams(f"{ref[:100]!r} is no name of a tag, branch or commit.")
    return Source(kind, place, within, ref)


def _address(url: str, shown: str) -> tuple[str, str, str | None]:
    """(kind, address, ref that it ends in)."""
    head, _, last = url.rpartition("/")
    last, _, ref = last.partition("@")
    short = SSH_SHORT.fullmatch(url)
    if (head or short) and ref and not (short and not head):
        url = f"{head}/{last}"
    else:
        ref = ""
    if SSH_SHORT.fullmatch(url) and "::" not in url:
        return "git", url, ref or None
    try:
        parts = urlsplit(url)
        local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError as error:
        raise InvalidParams(f"{shown} is no address: {error}.") from error
    if parts.password or (parts.username and parts.scheme != "ssh"):
        raise InvalidParams(
            f"{parts.scheme}://{parts.hostname} with a name or password in it would be stored and shown. "
            "Leave it to git's credential helper, or use ssh."
        )
    if parts.scheme == "file" and not parts.netloc:
        if not Path(parts.path).exists():
            raise NotFound(f"there is no {parts.path}.")
        return "git", url, ref or None
    if parts.scheme not in ("https", "ssh") and not (parts.scheme == "http" and local):
        unsafe = {"http": " http is read and changed by others on the way: use https.", "git": " Use https or ssh."}
        hint = unsafe.get(parts.scheme) or f" There is no such folder or file, and it is no known address. {FORMS}"
        raise InvalidParams(f"{shown} cannot be fetched.{hint}")
    if not re.fullmatch(HOST, parts.netloc.rpartition("@")[2]) or parts.netloc.startswith("-"):
        raise InvalidParams(f"{shown} names no host.")
    if parts.path.lower().endswith(".zip") and parts.scheme != "ssh":
        return "download", f"{url}@{ref}" if ref else url, None
    return "git", url, ref or None


def fetch(source: Source, into: Path, say: Say, held: Any = None) -> Fetched:
    """Bring the plugin into the folder `into`, which must not be there yet; what fails may leave it half full.

    `held` is the lock file under which this happens: git holds it with us. Raises CoreError."""
    into.mkdir(parents=True)
    content, commit = Content(into / "content"), None
    if source.kind == "folder":
        _from_folder(Path(source.place), source.within, content)
    elif source.kind == "git":
        say(f"Fetching {source.place}{f' at {source.ref}' if source.ref else ''}.")
        commit = _from_git(source, into / "repository", content, held)
    else:
        path = Path(source.place)
        if source.kind == "download":
            path = into / "download.zip"
            say(f"Fetching {source.place}.")
            download(source.place, path)
        _from_zip(path, source.within, content)
    folder = into / name_of(content.folder)
    content.folder.rename(folder)
    return Fetched(folder, str(source), source.ref, commit)


def name_of(folder: Path) -> str:
    """The name that plugin.toml gives, which may be a folder's. Raises InvalidParams."""
    path = folder / "plugin.toml"
    if path.stat().st_size > 1_000_000:
        raise TooLarge("plugin.toml is larger than 1 MB.")
    try:
        name = tomllib.loads(path.read_text("utf-8")).get("name")
    except (ValueError, RecursionError) as error:
        raise InvalidParams(f"plugin.toml cannot be read: {error}") from error
    if (
        not isinstance(name, str)
        or not NAME.fullmatch(name)
        or name.lower() in {*DEVICES, "content", "repository", "__pycache__"}
    ):
        raise InvalidParams(
            f"plugin.toml: name is {str(name)[:100]!r}; it may have letters, digits, _ and -, 64 of them."
        )
    return name


class Content:
    """A new folder that fills with what comes; refuses what no plugin needs, or some system cannot hold."""

    def __init__(self, folder: Path):
        self.folder, self._bytes, self._files = folder, 0, 0
        self._names: dict[str, str] = {}  # as a system sees them that ignores case
        folder.mkdir()

    def add(self, name: str, stream: BinaryIO) -> None:
        """Write a file at the relative path `name`. Raises InvalidParams or TooLarge."""
        parts = _portable(name)
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            other = self._names.setdefault(_folded(path), path)
            if other != path or (depth == len(parts) and (self.folder / path).exists()):
                raise InvalidParams(f"{path} and {other} are the same name on some systems, or twice there.")
        self._files += 1
        _within_limits(self._files, self._bytes)
        target = self.folder.joinpath(*parts)
        if target.parent.is_file():
            raise InvalidParams(f"{name} is below a file.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while block := stream.read(1 << 20):
                self._bytes += len(block)
                _within_limits(self._files, self._bytes)
                file.write(block)


def _within_limits(files: int, bytes: int) -> None:
    if files > MAX_FILES:
        raise TooLarge(f"it holds over {MAX_FILES:,} files: that is no plugin, or it has things in it that are none.")
    if bytes > MAX_BYTES:
        text = f"it is larger than {size(MAX_BYTES)} unpacked, which is the limit."
        raise TooLarge(text, hint="Weights do not belong into a plugin: name them in plugin.toml as [[models]].")


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _portable(name: str) -> list[str]:
    """The parts of a relative path that Linux, macOS and Windows can hold, below where it is put."""
    parts = name.split("/")
    wrong = [
        part
        for part in parts
        if part in ("", ".", "..")
        or part[-1] in ". "
        or part.partition(".")[0].rstrip().lower() in DEVICES
        or not part.isprintable()
        or re.search(r'[<>:"|?*\\]', part)
    ]
    if wrong or len(name) > MAX_NAME:
        raise InvalidParams(f"it holds {name[:300]!r}, a name that not every system can hold below a folder.")
    return parts


def _counts(name: str) -> bool:
    """Whether a path is of the plugin, and not of the tools around it."""
    return not re.search(r"(^|/)(\.(?!\.?(/|$))|__pycache__(/|$))", name)


def _root(names: list[str], within: str) -> str:
    """The folder inside, "" or ending in /, that holds the plugin. Raises NotFound if that is none, or not clear."""
    folders = {name.removesuffix("plugin.toml") for name in names if PurePosixPath(name).name == "plugin.toml"}
    plugins = sorted(folder for folder in folders if f"{folder}__init__.py" in names and _counts(folder))
    wanted = f"{within}/" if within else ""
    if wanted in plugins:
        return wanted
    below = [folder for folder in plugins if folder.startswith(wanted)]
    if len(below) == 1 and not within:
        return below[0]
    found = ", ".join(folder.rstrip("/")[:100] for folder in below[:10])
    raise NotFound(
        f"there is no plugin in it{f' at {within}' if within else ''}: a folder with plugin.toml and __init__.py.",
        hint=f"Plugins are at {found}. Name one: SOURCE#subdirectory={found.split(',')[0]}" if found else None,
    )


def _from_folder(folder: Path, within: str, content: Content) -> None:
    names = []
    for path in _walk(folder / within if within else folder):
        names.append(path.relative_to(folder).as_posix())
        _within_limits(len(names), 0)
    root = _root(names, within)
    for name in names:
        if name.startswith(root):
            with open(folder / name, "rb", opener=no_link) as stream:
                content.add(name[len(root) :], stream)


def no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)  # it was none a moment ago


def _walk(folder: Path) -> Iterator[Path]:
    """The files below. Links would show what is elsewhere on this machine, so there may be none."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name) if folder.is_dir() else ():
        if not _counts(entry.name):
            continue
        if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
            raise InvalidParams(f"{entry.path} is a link or no file; a plugin is made of files and folders.")
        if entry.is_dir():
            yield from _walk(Path(entry.path))
        else:
            yield Path(entry.path)


def _from_zip(path: Path, within: str, content: Content) -> None:
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
            if len(entries) != sum(not entry.is_dir() for entry in archive.infolist()):
                raise InvalidParams("two of its files have the same name.")
            root = _root(list(entries), within)
            for name, entry in entries.items():
                if not _counts(name) or not name.startswith(root):
                    continue
                mode = entry.external_attr >> 16
                if mode & 0o170000 not in (0, 0o100000):
                    raise InvalidParams(f"{name[:300]} in it is a link or no file; a plugin is made of plain files.")
                with archive.open(entry) as stream:
                    content.add(name[len(root) :], stream)
    except (*BROKEN_ZIP, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that is what a place before the start gives
            raise
        raise InvalidParams(f"{path.name} is not a zip that can be read: {error}.") from error


def _check_directory(path: Path) -> None:
    """A list of millions of files would fill the memory before one of them is looked at."""
    length = path.stat().st_size
    if length > MAX_FETCHED:
        raise TooLarge(f"{path.name} takes {size(length)}, the limit is {size(MAX_FETCHED)}.")
    with path.open("rb") as file:
        file.seek(max(0, length - 70_000))
        end = file.read()
    at = end.rfind(b"PK\5\6")
    if b"PK\6\7" in end or (at >= 0 and struct.unpack_from("<L", end, at + 12)[0] > MAX_FILES * 500):
        raise TooLarge(f"{path.name} lists far too many files.")


def download(url: str, target: Path, limit: int = MAX_FETCHED) -> None:
    """Raises CoreError."""
    import requests
    import urllib3

    deadline = time.monotonic() + ZIP_SECONDS
    try:
        with requests.get(url, stream=True, timeout=HTTP_SECONDS) as answer, target.open("wb") as file:
            for each in (*answer.history, answer):
                if urlsplit(each.url).scheme != urlsplit(url).scheme:
                    raise InvalidParams(f"{url} leads to {each.url[:300]}, which is not {urlsplit(url).scheme}.")
            answer.raise_for_status()
            total = 0
            for block in _soon(answer):
                total += len(block)
                if total > limit:
                    raise TooLarge(f"{url} is larger than {size(limit)}, which is the limit.")
                if time.monotonic() > deadline:
                    raise NotFound(f"{url} did not come within {ZIP_SECONDS} s.")
                file.write(block)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise NotFound(f"{url} cannot be fetched: {error}") from error


def _soon(answer: Any) -> Iterator[bytes]:
    """What has come by now, and no wait for a whole block: else a slow server is never found out."""
    while block := answer.raw.read1(1 << 18, decode_content=True):
        yield block


def _from_git(source: Source, repository: Path, content: Content, held: Any) -> str:
    """Fill `content` with what the repository holds at the ref, and return the commit."""
    git = Git(source.place, repository, held)
    refs = git.refs()
    if not refs:
        raise NotFound(f"{source.place} is empty.")
    name = _ref_name(source.ref, refs)
    git.run("init", "--quiet", "--bare", "--template=", *git.format(refs), str(repository), at=None)
    fetch = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules")
    if name:
        git.run(*fetch, "--depth=1", "--", source.place, name)
        wanted = "FETCH_HEAD"
    else:  # also to know that it is one of this repository: hosts give out those of any fork under its address
        git.run(*fetch, "--", source.place, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        wanted = str(source.ref)
    commit = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{wanted}^{{commit}}", may_fail=True)
    commit = commit.decode().strip()
    if not commit or (not name and not git.run("for-each-ref", "--count=1", f"--contains={commit}")):
        raise NotFound(f"no branch or tag of {source.place} holds the commit {source.ref}.")
    if source.ref and COMMIT.fullmatch(source.ref) and source.ref not in refs and not commit.startswith(source.ref):
        raise NotFound(f"{source.place} has moved on from {source.ref} a moment ago. Try again.")
    git.unpack(commit, source.within, content)
    return commit


def file_of(source: Source, name: str, repository: Path, limit: int) -> bytes:
    """One file of a git repository, fetched into the new folder `repository`. Raises CoreError."""
    git = Git(source.place, repository)
    refs = git.refs()
    wanted = _ref_name(source.ref, refs) if refs else None
    if not wanted:
        raise NotFound(f"{source.place} has no {source.ref or 'commit'}.")
    git.run("init", "--quiet", "--bare", "--template=", *git.format(refs), str(repository), at=None)
    git.run("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--depth=1", "--", source.place, wanted)
    path = f"FETCH_HEAD:{source.within}/{name}" if source.within else f"FETCH_HEAD:{name}"
    if int(git.run("cat-file", "-s", path)) > limit:
        raise TooLarge(f"{name} of {source.place} is larger than {size(limit)}.")
    return git.run("cat-file", "blob", path)


def _ref_name(ref: str | None, refs: dict[str, str]) -> str | None:
    """What to ask the repository for: tags count before branches. None if it may be a commit inside."""
    if ref is None:
        return "HEAD"
    for name in (f"refs/tags/{ref}", f"refs/heads/{ref}", ref if ref.startswith("refs/") else ""):
        if name in refs:
            return name
    if not COMMIT.fullmatch(ref):
        short = [name.split("/", 2)[2] for name in refs if name.startswith("refs/tags/") and not name.endswith("^{}")]
        latest = f" Its tags are {', '.join(short[-10:])}." if short else " It has no tags."
        raise NotFound(f"the repository has no tag, branch or commit {ref!r}.{latest}")
    tips = [name for name, commit in refs.items() if commit == ref and name.startswith(("refs/tags/", "refs/heads/"))]
    return tips[0].removesuffix("^{}") if tips else None


def tags(url: str, held: Any = None) -> list[str]:
    """The tags of a repository. Raises CoreError."""
    names = Git(url, None, held).refs()
    return [name.removeprefix("refs/tags/") for name in names if name.startswith("refs/tags/") and name[-1] != "}"]


class Git:
    """git on a bare repository of our own. The person's settings count for reaching others (proxies, keys, credential
    helpers); those of the repository that is fetched never do. It never asks anything."""

    def __init__(self, url: str, repository: Path | None, held: Any = None):
        self._url, self._repository, self._held = url, repository, held
        scheme = (
            urlsplit(url).scheme if "://" in url else "ssh"
        )  # an encrypted address must not lead to one that is not
        own = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        self._environment = own | {
            "GIT_ALLOW_PROTOCOL": f"https:ssh:{scheme}", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C",
            "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
        }  # fmt: skip

    def refs(self) -> dict[str, str]:
        lines = self.run("ls-remote", "--quiet", "--", self._url, at=None).decode("utf-8", "replace").splitlines()
        pairs = [line.split("\t", 1) for line in lines if "\t" in line]
        return {name: commit for commit, name in pairs}

    def format(self, refs: dict[str, str]) -> list[str]:
        return ["--object-format=sha256"] if len(next(iter(refs.values()))) == 64 else []

    def unpack(self, commit: str, within: str, content: Content) -> None:
        listed = self.run("ls-tree", "-r", "-z", "-l", "--full-tree", commit).split(b"\0")[:-1]
        entries = {}
        for line in listed:
            about, _, path = line.partition(b"\t")
            mode, _, blob, length = about.split()
            entries[path.decode("utf-8", "surrogateescape")] = (mode.decode(), blob, length)
        root = _root(list(entries), within)
        wanted = [name for name in entries if name.startswith(root) and _counts(name)]
        for name in wanted:
            if entries[name][0] not in ("100644", "100755", "100664"):
                what = "a submodule" if entries[name][0] == "160000" else "a link"
                raise InvalidParams(f"{name[:300]} in it is {what}; a plugin is made of plain files.")
        _within_limits(len(wanted), sum(int(entries[name][2]) for name in wanted))
        with self._started("cat-file", "--batch", stdin=subprocess.PIPE) as process:
            for name in wanted:
                process.stdin.write(entries[name][1] + b"\n")
                process.stdin.flush()
                length = int(process.stdout.readline().split()[2])
                data = process.stdout.read(length)
                process.stdout.read(1)
                if data.startswith(LFS):
                    text = f"{name[:300]} is not in the repository, but in Git LFS, which is not fetched."
                    raise InvalidParams(text, hint="Its author can name it in plugin.toml as one of [[models]].")
                content.add(name[len(root) :], BytesIO(data))

    def run(self, *arguments: str, at: str | None = "repository", may_fail: bool = False) -> bytes:
        """What it prints. Raises NotFound with git's own words, or TooLarge."""
        deadline = time.monotonic() + GIT_SECONDS
        with self._started(*arguments, at=at, stderr=subprocess.PIPE) as process:
            while True:
                try:
                    output, words = process.communicate(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    if self._repository and _weight(self._repository) > MAX_FETCHED:
                        raise TooLarge(f"the repository is larger than {size(MAX_FETCHED)}, the limit.") from None
                    if time.monotonic() > deadline:
                        raise NotFound(f"git {arguments[0]} did not end within {GIT_SECONDS} s.") from None
        if process.returncode and not may_fail:
            lines = [line for line in words.decode("utf-8", "replace").splitlines() if line.strip()]
            said = "\n  ".join(printable(line[:300]) for line in lines[:6])
            hint = "A private one needs a key (ssh), or git's credential helper." if "could not read" in said else None
            raise NotFound(f"git {arguments[0]} failed:\n  {said}", hint=hint)
        return output

    @contextlib.contextmanager
    def _started(self, *arguments: str, at: str | None = "repository", **options: Any) -> Iterator[subprocess.Popen]:
        safe = [
            "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "submodule.recurse=false",
            "-c", "gc.auto=0", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60",
        ]  # fmt: skip
        where = ["--git-dir", str(self._repository)] if at else []
        streams = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
        try:
            process = subprocess.Popen(
                ["git", *safe, *where, *arguments], stdout=subprocess.PIPE, env=self._environment,
                start_new_session=True, cwd=Path("/") if os.name == "posix" else None,
                pass_fds=[self._held.fileno()] if self._held and os.name == "posix" else (), **streams,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise NotFound("git is not installed on this machine.", hint="Install it, or use a .zip.") from error
        try:
            yield process
        finally:
            for pipe in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(OSError):
                    pipe and pipe.close()
            if process.poll() is None:
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
            process.wait()


def _weight(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # it goes just now
            total += path.stat().st_size
    return total

"""Fetches a model that a plugin names: goes on where it stopped, and compares it with its hash before it is a model.

`python -m core.ops.packages.fetching` does it for a server, in a process of its own. What is not whole yet is a file
whose name begins with a dot, beside the place of the model; a second file says of what it is a part."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from core.errors import Conflict, CoreError, Forbidden, Internal, NotFound, TooLarge
from core.library.declared import DeclaredModel
from core.library.exports import FICLONE
from core.library.models import Models
from core.ops import bootstrap, ending, sandbox
from core.ops.packages import hub, sources
from core.ops.packages.hub import Remote

BLOCK, HASHED = 1 << 16, 1 << 20  # bytes: what a line that breaks may cost; what is hashed at once
SPARE = 100_000_000  # bytes that are left free on the disk
TRIES = 5  # without a byte more, before it is given up
CONNECT_SECONDS, SILENT_SECONDS = 20, 60
NOTES = ".fetched.json"  # in the folder of models: what is known of those that were fetched or compared
Tell = Callable[[str, int, int | None], None]  # what is being done, how many bytes of it are, of how many
Notes = dict[str, dict[str, Any]]


def fetch(model: DeclaredModel, models: Models, tell: Tell) -> str:
    """Returns what was done: "there already", "shared with FILE" or "fetched". Raises CoreError with the way out."""
    target = models.folder / model.kind / model.name
    try:
        with _alone(models.folder, tell):
            return _fetch(model, models, target, tell)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = f"the disk of {target.parent} is full; what was fetched of {model.id} is kept."
            raise TooLarge(text, hint="Free some space, then fetch it again: it goes on from there.") from error
        raise Internal(f"{model.id} cannot be written: {error}.") from error


def _fetch(model: DeclaredModel, models: Models, target: Path, tell: Tell) -> str:
    kind = models.folder / model.kind
    if kind in sandbox.written(models.folder) and not target.parent.resolve().is_relative_to(kind.resolve()):
        text = f"{target.parent} is a link that leads out of models/{model.kind}, where plugins in sandboxes write."
        raise Conflict(text, hint="Nothing was fetched. Look at that link, and remove it if it is not yours.")
    if target.exists():
        if model.size_bytes not in (None, target.stat().st_size) and target.is_file():
            text = f"{target} is there, and has {target.stat().st_size:,} bytes instead of {model.size_bytes:,}."
            raise Conflict(text, hint="Nothing was changed. Move it elsewhere, then fetch the model again.")
        return "there already"
    target.parent.mkdir(parents=True, exist_ok=True)
    notes = _read_notes(models.folder)
    if model.repo and not model.file:
        return _fetch_folder(model, hub.folder(model), target, models, notes, tell)
    remote = hub.file(model) if model.repo else Remote(model.url, model.size_bytes, model.sha256)
    return _fetch_file(model, remote, target, models, notes, tell)


def _fetch_folder(
    model: DeclaredModel, remotes: dict[str, Remote], target: Path, models: Models, notes: Notes, tell: Tell
) -> str:
    """File by file into a folder whose name has a dot until all are there. What is in it is whole, of this commit."""
    _no_links(part_of(target))
    part, total = part_of(target), sum(each.size or 0 for each in remotes.values())
    of = json.dumps([model.address, model.files])
    if not part.is_dir() or not _of(part).exists() or _of(part).read_text("utf-8") != of:
        _forget(part)
        part.mkdir()
        _of(part).write_text(of, "utf-8")
    _check_space(part, total - sum(_size(part / name) for name in remotes))
    before = 0
    for name, remote in remotes.items():
        if not (part / name).is_file():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            tell_all = lambda phase, done, _, before=before: tell(phase, before + done, total)  # noqa: E731
            _fetch_file(model, remote, part / name, models, notes, tell_all)
        before += remote.size or 0
    os.replace(part, target)
    _forget(part)
    moved = {str(target / name): notes.pop(str(part / name), None) for name in remotes}
    _write_notes(models.folder, notes | {path: note for path, note in moved.items() if note})
    return "fetched"


def _fetch_file(model: DeclaredModel, remote: Remote, target: Path, models: Models, notes: Notes, tell: Tell) -> str:
    part = part_of(target)
    _no_links(part)
    twin = _twin(remote, models, notes, tell)
    if twin:
        _forget(part)
        _share(twin, part, link=not (_strange(target, models.folder) or _strange(twin, models.folder)))
        digest = remote.hash
    else:
        _download(model, remote, part, tell)
        digest = _hash(part, remote.hash, lambda done: tell("check", done, part.stat().st_size))
    if remote.hash not in (None, digest):
        _forget(part)
        what = "sha256" if len(digest) == 64 else "git hash"
        text = f"{remote.url} is not what {model.id} is to be: its {what} is {digest} instead of {remote.hash}."
        hint = "Nothing of it was kept. If it is so again, it was changed where it comes from: ask the plugin's author."
        raise Conflict(text, hint=hint)
    os.replace(part, target)
    _forget(part)
    if len(digest) == 64:
        notes[str(target)] = _note(target, digest) | {"from": model.address, "licence": model.licence}
        _write_notes(models.folder, notes)
    return f"shared with {twin}" if twin else "fetched"


def part_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _of(part: Path) -> Path:
    return part.with_name(f"{part.name}.of")


def _forget(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
    part.unlink(missing_ok=True)
    _of(part).unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(folder: Path, tell: Tell) -> Iterator[None]:
    """One model after the other: two at once would only share the line, and both take the disk's last bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".fetch.lock").open("a+") as lock:
        while not bootstrap.try_lock(lock):
            tell("wait for another fetch", 0, None)
            time.sleep(0.5)
        yield


def _twin(remote: Remote, models: Models, notes: Notes, tell: Tell) -> Path | None:
    """A file on this machine that is the same. Those of the same size are hashed, once."""
    tops = [models.folder, *(Path(entry["path"]) for entry in models.shipped)]
    for path in _files(tops) if remote.hash and len(remote.hash) == 64 else ():
        with contextlib.suppress(OSError):
            about = path.stat()
            noted = notes.get(str(path), {})
            if noted.get("stamp") != [about.st_mtime_ns, about.st_size]:
                if about.st_size != remote.size:
                    continue
                digest = _hash(
                    path, None, lambda done, all=about.st_size, name=path.name: tell(f"compare {name}", done, all)
                )
                noted = notes[str(path)] = _note(path, digest)
            if noted["sha256"] == remote.hash:
                return path
    return None


def _files(tops: list[Path]) -> Iterator[Path]:
    for top in tops:
        if top.is_file():
            yield top
        for place, folders, names in os.walk(top):
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _strange(path: Path, folder: Path) -> bool:
    """Whether plugins in sandboxes could write there, so that what is there may change."""
    return any(path.resolve().is_relative_to(each.resolve()) for each in sandbox.written(folder))


def _no_links(part: Path) -> None:
    """Nothing is written through a link that somebody has put in the place of a part."""
    for path in (part, _of(part)):
        if path.is_symlink():
            path.unlink()


def _share(source: Path, part: Path, link: bool) -> None:
    """The bytes once on the disk, under two names: a reflink where the file system can, else a hard link, for nobody
    writes into weights, and deleting either leaves the other. A copy between disks."""
    try:
        import fcntl

        with source.open("rb") as theirs, part.open("wb") as ours:
            fcntl.ioctl(ours.fileno(), FICLONE, theirs.fileno())
    except (ImportError, OSError):
        part.unlink(missing_ok=True)
        try:
            if not link:
                raise OSError(errno.EPERM, "one of them can be written to")
            os.link(source.resolve(), part)
        except OSError:
            _check_space(part, source.stat().st_size)
            shutil.copyfile(source, part)


def _download(model: DeclaredModel, remote: Remote, part: Path, tell: Tell) -> None:
    """All of the file into `part`, which may have some of it."""
    fails, session = 0, requests.Session()
    _keep_what_fits(remote, part)
    while True:
        had = _size(part)
        try:
            return _go_on(model, remote, part, session, tell)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            fails = 1 if _size(part) > had else fails + 1
            if fails > TRIES:
                raise hub.unreachable(model, error) from error
            tell(f"try again in {2 ** (fails - 1)} s", _size(part), remote.size)
            time.sleep(2 ** (fails - 1))
        except requests.RequestException as error:  # it leads in a circle, or out of the web
            raise hub.unreachable(model, error) from error


def _keep_what_fits(remote: Remote, part: Path) -> None:
    """Drop what is part of another file, or of nobody knows what."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        of = json.loads(_of(part).read_text("utf-8"))
        if of["hash"] == remote.hash and (remote.hash or (of["url"] == remote.url and of["etag"])):
            remote.etag = of["etag"]
            return
    _forget(part)


def _go_on(model: DeclaredModel, remote: Remote, part: Path, session: requests.Session, tell: Tell) -> None:
    have = _size(part)
    if have and have == remote.size:
        return
    headers = remote.headers | {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if not remote.hash:
            headers["If-Range"] = remote.etag or ""
    with session.get(remote.url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, SILENT_SECONDS)) as answer:
        if answer.status_code == 416:
            if answer.headers.get("Content-Range") == f"bytes */{have}":
                return
            _forget(part)
            raise requests.ConnectionError("the part that is there is of another file")
        _check_answer(model, remote, answer)
        if answer.status_code != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            if answer.status_code == 206:
                raise requests.ConnectionError("another part came than was asked for")
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else remote.size
        if remote.size is not None and total != remote.size:
            text = f"{model.address} has {total:,} bytes instead of the {remote.size:,} that {model.id} is to have."
            raise Conflict(text, hint="Nothing was fetched. Ask the plugin's author.")
        _check_space(part, (total or have) - have)
        if not have:
            remote.etag = _strong(answer.headers.get("ETag"))
            of = {"hash": remote.hash, "url": remote.url, "etag": remote.etag}
            _of(part).write_text(json.dumps(of), "utf-8")
        with open(part, "ab" if have else "wb", opener=sources.no_link) as file:
            for block in answer.iter_content(BLOCK):
                have += len(block)
                if total is not None and have > total:
                    raise Conflict(f"{model.address} sends more than the {total:,} bytes that were told.")
                file.write(block)
                tell("fetch", have, total)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and have < total:
        raise requests.ConnectionError(f"it ended after {have:,} of {total:,} bytes")


def _check_answer(model: DeclaredModel, remote: Remote, answer: requests.Response) -> None:
    code, kind = answer.status_code, answer.headers.get("Content-Type", "")
    where = f"{model.address} answers {code} {answer.reason}"
    if code in (408, 425, 429) or code >= 500:
        raise requests.ConnectionError(where)
    if code in (401, 403):
        raise Forbidden(
            f"{where}: it is not for everybody.", hint=f"Fetch it in a browser, and put it into models/{model.kind}."
        )
    if code not in (200, 206):
        raise NotFound(f"{where}: it is not there (any more).", hint="Ask the plugin's author for another address.")
    ways = [each.url for each in (*answer.history, answer) if urlsplit(each.url).scheme != "https"]
    if not remote.hash and ways:
        raise Conflict(f"{model.address} leads to {ways[0][:200]}, where anybody on the way may change it.")
    if kind.startswith("text/html"):
        hint = f"It may ask people to log in. Fetch it in a browser, and put it into models/{model.kind}."
        raise Conflict(f"{model.address} answers with a web page instead of a file.", hint=hint)
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise Conflict(f"{model.address} packs the file although it was asked not to; it could not be compared.")


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed + SPARE:
        text = f"the disk of {part.parent} has {bootstrap.size(free)} free, and {bootstrap.size(needed)} are to come."
        raise TooLarge(text, hint="Free some space, or move the folder to a larger disk and leave a link in its place.")


def _strong(etag: str | None) -> str | None:
    """One that promises the same bytes."""
    return etag if etag and etag.startswith('"') else None


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _hash(path: Path, like: str | None, tell: Callable[[int], None]) -> str:
    """The sha256, or if `like` is as short as one of git's, that."""
    digest, done = hashlib.sha256(), 0
    if like and len(like) == 40:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)  # noqa: S324
    with path.open("rb") as file:
        while block := file.read(HASHED):
            digest.update(block)
            done += len(block)
            tell(done)
    return digest.hexdigest()


def _note(path: Path, digest: str) -> dict[str, Any]:
    about = path.stat()
    return {"sha256": digest, "stamp": [about.st_mtime_ns, about.st_size]}


def _read_notes(folder: Path) -> Notes:
    """Nothing if they are damaged: they only save time."""
    with contextlib.suppress(OSError, ValueError):
        notes = json.loads((folder / NOTES).read_text("utf-8"))
        return {
            path: about for path, about in notes.items() if {"sha256", "stamp"} <= about.keys() and Path(path).exists()
        }
    return {}


def _write_notes(folder: Path, notes: Notes) -> None:
    new = folder / f"{NOTES}.new"
    new.write_text(json.dumps(notes, indent=1), "utf-8")
    os.replace(new, folder / NOTES)


def main() -> None:
    """Told what to fetch by a line of JSON on stdin; prints lines of JSON that say how far it is. Ends with stdin."""
    asked = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=ending.end_with_stdin, args=([],), daemon=True).start()
    last = 0.0

    def tell(phase: str, done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last > 0.25 or done == total:
            last = time.monotonic()
            print(
                json.dumps({"state": "running", "phase": phase, "done_bytes": done, "total_bytes": total}), flush=True
            )

    try:
        models = Models(Path(asked["folder"]), asked["shipped"])
        how = fetch(DeclaredModel.model_validate(asked["model"]), models, tell)
        ended: dict[str, Any] = {"state": "done", "phase": how}
    except CoreError as error:
        ended = {"state": "failed", "error": error.wire()}
    print(json.dumps(ended), flush=True)
    os._exit(0)  # not held up by the thread that reads stdin


if __name__ == "__main__":
    main()

"""`import-jobs`: what InuDiffusion has in its jobs.json becomes results here, with their families and what was said of
them. The same again goes on where it was."""

import argparse
import base64
import hashlib
import itertools
import json
import re
import uuid
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path
from typing import Any

from clients.cli import show
from clients.cli.base import Command, dump, wants_json
from clients.python import Client, InvalidParams

APPROVED, TRASH = "checked_images", "to_delete"  # InuDiffusion's folders
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
FAMILY = re.compile(r".+@\d+(_\d+)*")  # a name that a picture gets when it is approved
EVERYTHING = 1_000_000


@dataclass
class Picture:
    """One that jobs.json names. `name` is its family's, `parent` that of the picture that it was made from."""

    name: str
    parent: str
    listed: str
    state: str
    path: Path | None = None


def add(command: Command) -> None:
    importing = command("import-jobs", run, "Take over pictures, families and choices from InuDiffusion's jobs.json.")
    importing.add_argument("file", type=Path, metavar="JOBS.json")
    help = "Where its pictures are, in whatever folders below; default: beside the file."
    importing.add_argument("--pictures", type=Path, metavar="FOLDER", help=help)
    importing.add_argument("--session", default="InuDiffusion", metavar="NAME", help="Default: InuDiffusion.")
    importing.add_argument("--plan", action="store_true", help="Tell what would come, and take nothing.")


def run(client: Client, flags: argparse.Namespace) -> int:
    pictures, notes = read(flags.file)
    find(pictures, flags.pictures or flags.file.resolve().parent)
    notes += [f"{each.listed}: there is no such file any more." for each in pictures if not each.path]
    there = [each for each in pictures if each.path]
    ids, taken = {}, 0
    client.session = flags.session
    known = {} if flags.plan else uploaded(client)
    for each in in_order(there) if not flags.plan else []:
        content = each.path.read_bytes()
        file = each.name + each.path.suffix.lower()
        found = known.get((file, hashlib.sha256(content).hexdigest()))
        if not found:
            found = client.upload(content, kind="image", name=file, source=ids.get(each.parent)).record
            taken += 1
        ids[each.name] = found["id"]
        if each.state != "new" and found["review"] == "new":
            client.call("review", {"ids": [found["id"]], "state": each.state})
    counts = {state: sum(each.state == state for each in there) for state in ("picked", "rejected", "new")}
    families = len({each.name.rpartition("@")[0] for each in there})
    if wants_json(flags):
        return dump(counts | {"families": families, "taken": taken, "artifacts": ids, "notes": notes})
    if flags.plan:
        rows = [{"name": each.name, "state": each.state, "from": each.parent, "file": each.path} for each in there]
        show.table(sorted(rows, key=lambda row: row["name"]), ["file"], "")
    for note in notes:
        show.err.print(show.text(note, "yellow"), soft_wrap=True)
    words = ", ".join(f"{number} {state}" for state, number in counts.items())
    count = f"{show.counted(len(there), 'picture')} of {show.counted(families, 'job')}: {words}"
    end = "Nothing was taken." if flags.plan else f"{taken} taken now into session {flags.session}."
    show.out.print(show.text(f"{count}. {end}"))
    return 0


def read(file: Path) -> tuple[list[Picture], list[str]]:
    """The pictures that a jobs.json names, and notes on what it has besides. Raises InvalidParams for another file."""
    try:
        jobs = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidParams(f"{file}: it is not JSON: {error}.") from error
    if not isinstance(jobs, dict) or not all(isinstance(job, dict) and "job_type" in job for job in jobs.values()):
        raise InvalidParams(
            f"{file}: it is no jobs.json of InuDiffusion.",
            hint='That is {"ID": {"job_type": "txt2img", "output_images": ["a.png"]}}.',
        )
    lists = {id: [each for each in job.get("output_images") or [] if isinstance(each, str)] for id, job in jobs.items()}
    used = {stem_of(each) for images in lists.values() for each in images}  # no other is to get such a name
    found, notes, names = [], [], dict[str, str]()
    for id, job in jobs.items():
        images = lists[id]
        if not images:
            notes.append(f"job {id} ({job['job_type']}, {job.get('status', 'unknown')}) has no pictures.")
        for number, listed in enumerate(images):
            stem = stem_of(listed)
            made_from = stem_of(job.get("starting_img") or "")
            root = made_from or short(id)
            numbered = (f"{root}{'_' if '@' in root else '@'}{k}" for k in itertools.count(number))
            # Variations and enlargements of one picture are both counted from 0.
            name = stem if FAMILY.fullmatch(stem) else next(each for each in numbered if each not in used)
            used.add(name)
            names[stem] = name
            checked = bool(job.get("images_checked")) and bool(FAMILY.fullmatch(stem))
            found.append(Picture(name, made_from, listed, "picked" if checked else "new"))
    for each in found:  # one that was approved has another name than before
        each.parent = names.get(each.parent, each.parent)
    return found, notes


def stem_of(path: str) -> str:
    """A file's name without its folder, of whatever system, and suffix."""
    return re.sub(r"\.(png|jpe?g|webp)$", "", re.split(r"[\\/]", path)[-1], flags=re.IGNORECASE)


def short(id: str) -> str:
    """A job's id as its pictures' names have it: the bytes of the UUID as 22 letters."""
    try:
        return base64.urlsafe_b64encode(uuid.UUID(id).bytes).decode().rstrip("=")
    except ValueError:
        return re.sub(r"[^\w-]+", "-", id)


def find(pictures: list[Picture], folder: Path) -> None:
    """Where the files are, and what was said of them: by the folder that they were moved to. Of several that are called
    so, the one that lies most as it is listed."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICTURES and path.is_file():
            files.setdefault(path.stem, []).append(path)
    taken: set[Path] = set()
    for each in pictures:
        listed = tuple(re.split(r"[\\/]", each.listed)[::-1])
        called = [*files.get(each.name, []), *files.get(stem_of(each.listed), [])]
        there = [path for path in called if path not in taken]
        if not there:
            continue
        each.path = max(
            there, key=lambda path: (
                path.stem == each.name, len(commonprefix([path.parts[::-1], listed])), APPROVED in path.parts,
            ),
        )  # fmt: skip
        taken.add(each.path)
        if APPROVED in each.path.parts or each.path.stem == each.name:
            each.state = "picked"
        if TRASH in each.path.parts:
            each.state = "rejected"


def in_order(pictures: list[Picture]) -> list[Picture]:
    """Each after the one that it was made from."""
    return sorted(pictures, key=lambda each: (each.name.rpartition("@")[2].count("_"), each.name))


def uploaded(client: Client) -> dict[tuple[str, str], dict[str, Any]]:
    """What an earlier run has taken: records by name and content."""
    found = client.artifacts(session=client.session, origin="upload", limit=EVERYTHING)
    return {(each.record.get("name") or "", each.record["sha256"]): dict(each.record) for each in found}

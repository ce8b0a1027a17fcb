"""`collect`: what was rejected, and what came of it, is moved to a folder or deleted; never what is kept, nor what that
was made from. Without saying which, it only tells."""

import argparse
import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import PIL.Image

from clients.cli import show
from clients.cli.base import Command, dump, wants_json
from clients.python import Artifact, Client, Conflict, InvalidParams
from core.library.embedded import claimed_id, from_exif

EVERYTHING = 1_000_000
AT_ONCE = 500  # deleted by one message
RELATIVES = 1000
Row = dict[str, Any]


def add(command: Command) -> None:
    collecting = command("collect", collect, "Tell which rejected results can go; move or delete them.")
    collecting.add_argument("--session", metavar="NAME", help="Of this session only.")
    collecting.add_argument("--job", metavar="JOB", help="Of this program only: what its jobs have made.")
    way = collecting.add_mutually_exclusive_group()
    way.add_argument("--trash", type=Path, metavar="FOLDER", help="Move them here; on the server they are deleted.")
    way.add_argument("--delete", action="store_true", help="Delete them for ever. Without both, nothing is done.")
    help = "Also their copies below this folder, for example the server's outputs, whatever they are called."
    collecting.add_argument("--files", type=Path, metavar="FOLDER", help=help)


def collect(client: Client, flags: argparse.Namespace) -> int:
    if flags.files and not flags.files.is_dir():
        raise InvalidParams(f"--files {flags.files}: there is no such folder.")
    gone, kept = branches(client, rejected(client, flags.session, flags.job))
    copies = files_of(gone, contents_besides(client, gone), flags.files) if flags.files else {}
    done = []
    if flags.trash or flags.delete:
        done, refused = remove(client, gone, copies, flags.trash)
        kept += refused
    if wants_json(flags):
        paths, why = [str(path) for each in copies.values() for path in each], {row["id"]: why for row, why in kept}
        return dump({"collected": [*gone], "removed": done, "kept": why, "files": paths})
    rows = [
        {"id": row["id"], "name": row.get("name"), "what": show.artifact(row), "made by": row.get("job_name")}
        for row in sorted(gone.values(), key=lambda row: (row.get("name") or "", row["id"]))
    ]  # fmt: skip
    show.table(rows, ["name"], "Nothing that was rejected can go.")
    for row, why in kept:
        show.err.print(show.text(f"stays  {row['id']}  {row.get('name') or ''}: {why}", "dim"), soft_wrap=True)
    count = f"{show.counted(len(gone), 'result')} and {show.counted(sum(map(len, copies.values())), 'file')}"
    if done:
        show.err.print(show.text(f"{count} {f'moved to {flags.trash}' if flags.trash else 'deleted'}."))
    elif gone:
        show.err.print(show.text(f"{count} can go: --trash FOLDER moves them, --delete deletes them."))
    return 0


def rejected(client: Client, session: str | None, job: str | None) -> list[Row]:
    found = [each.record for each in client.artifacts(limit=EVERYTHING, session=session, review="rejected")]
    if job:
        made_by, before = {job}, {}
        while page := client.call("jobs", {"parent": job, "limit": RELATIVES} | before)["jobs"]:
            made_by |= {each["id"] for each in page}
            before = {"before": page[-1]["id"]}
        found = [row for row in found if row.get("job") in made_by]
    return found


def branches(client: Client, found: Iterable[Row]) -> tuple[dict[str, Row], list[tuple[Row, str]]]:
    """Of what was rejected: what can go, by id, and what has to stay, with the reason. What a program has handed on has
    the same bytes as what it was given, and is one with it."""
    gone: dict[str, Row] = {}
    kept = []
    for row in found:
        if row["id"] in gone:
            continue
        above = client.call("lineage", {"id": row["id"], "limit": RELATIVES})["artifacts"]
        top = next((each for each in reversed(above) if each["sha256"] == row["sha256"]), row)
        asked = {"id": top["id"], "direction": "descendants", "depth": 100, "limit": RELATIVES}
        answer = client.call("lineage", asked)
        below = answer["artifacts"]
        same = [top, *(each for each in below if each["sha256"] == top["sha256"])]
        bad = {each["sha256"] for each in below if each["review"] == "rejected"}
        good = {each["sha256"] for each in [*same, *below] if each["review"] == "picked"}
        others = {each["sha256"] for each in below} - bad - {top["sha256"]}
        if top["sha256"] in good:
            kept.append((row, "it was picked, too"))
        elif others or good or answer["more"]:
            kept.append((row, f"{show.counted(len(others | good), 'result')} that nobody rejected came of it"))
        else:
            gone |= {each["id"]: each for each in same}
    return gone, kept


def contents_besides(client: Client, gone: dict[str, Row]) -> set[str]:
    """What results that stay consist of: the same picture may have been drawn twice, and rejected once."""
    return {each.record["sha256"] for each in client.artifacts(limit=EVERYTHING) if each.id not in gone}


def files_of(gone: dict[str, Row], staying: set[str], folder: Path) -> dict[str, list[Path]]:
    """Files that are what is collected, by its id: with the same bytes, where no result that stays has them; JPEGs and
    WebPs, which are converted, by the id inside them. Whatever somebody has edited is another picture, and stays."""
    by_content = {row["sha256"]: id for id, row in gone.items() if row["sha256"] not in staying}
    found: dict[str, list[Path]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        id = by_content.get(hashlib.sha256(path.read_bytes()).hexdigest()) if path.suffix == ".png" else None
        if path.suffix in (".jpg", ".webp"):
            try:
                with PIL.Image.open(path) as picture:
                    id = claimed_id(from_exif(picture))
            except (OSError, ValueError):
                continue
        if id in gone:
            found.setdefault(id, []).append(path)
    return found


def remove(
    client: Client, gone: dict[str, Row], copies: dict[str, list[Path]], trash: Path | None
) -> tuple[list[str], list[tuple[Row, str]]]:  # fmt: skip
    """The ids of those that were deleted, and those that an unfinished job needs. The files of the former go along."""
    contents: set[str] = set()
    done, refused = [], []
    if trash:
        trash.mkdir(parents=True, exist_ok=True)
        for id, row in gone.items():
            if row["sha256"] not in contents and id not in copies:
                with tempfile.TemporaryDirectory(dir=trash) as folder:  # another may be called the same
                    path = Artifact(client, id, row).save(Path(folder))
                    path.rename(free(trash / path.name))
            contents.add(row["sha256"])
    for start in range(0, len(gone), AT_ONCE):
        some = [*gone][start : start + AT_ONCE]
        try:
            done += client.call("delete", {"ids": some})["deleted"]
        except Conflict:
            for id in some:
                try:
                    done += client.call("delete", {"ids": [id]})["deleted"]
                except Conflict as error:
                    refused.append((gone[id], error.message))
    for path in (path for id in done for path in copies.get(id, ())):
        shutil.move(path, free(trash / path.name)) if trash else path.unlink()
    return done, refused


def free(path: Path) -> Path:
    """The path, with a number if there is something."""
    number, found = 2, path
    while found.exists():
        found, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return found

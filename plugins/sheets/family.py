"""The family of a picture: what it was made from, what was made of it, and of what it was made from."""

import re
from typing import Any

from core.plugin import Artifact, Context

SHEETS = re.compile(r"sheets\..*|.*[._]grid")  # what shows many pictures is none of the family


def lineage_tree(image: Artifact, params: Any, ctx: Context) -> Artifact:
    family = ctx.once("family", lambda: family_of(image, params, ctx))
    members, pictures = [], []
    for member in family["members"]:
        seen = member["kind"] in ("image", "mask")
        members.append({key: member[key] for key in ("caption", "review", "asked")})
        members[-1]["picture"] = len(pictures) if seen else -1
        pictures += [member["id"]] if seen else []
    looks = {name: getattr(params, name) for name in ("title", "thumbnail", "max_side", "background")}
    drawing = looks | {"members": members, "arrows": family["arrows"]}
    (tree,) = ctx.gather([ctx.submit("sheets.family_tree", drawing, {"images": pictures}, key="tree")])
    return tree.outputs[0]


def family_of(image: Artifact, params: Any, ctx: Context) -> dict[str, Any]:
    """{"members", "arrows": [[parent, child] by their places]}: the nearest ones, as many as `limit`."""
    rows = {image.id: {"artifact": image, "parents": [], "job_name": None, "review": "new", "name": None}}

    def look(start: Artifact, direction: str, depth: int) -> list[dict[str, Any]]:
        found = ctx.lineage(start, direction, depth=depth, limit=params.limit)
        found = [row for row in found if not SHEETS.fullmatch(row["job_name"] or "")]
        for row in found:
            rows.setdefault(row["artifact"].id, row)
        return found

    older = look(image, "ancestors", params.depth)
    parents = [row for row in older if row["depth"] == 1]
    rows[image.id]["parents"] = [row["artifact"].id for row in parents]
    if parents:  # which know what a picture itself is not told
        own = ctx.lineage(parents[0]["artifact"], "descendants", depth=1, limit=1_000)
        rows[image.id] = next((row for row in own if row["artifact"].id == image.id), rows[image.id])
    if params.relatives != "ancestors":
        look(image, "descendants", params.depth)
    if params.relatives == "all":
        for row in older:
            if not any(parent in rows for parent in row["parents"]):
                look(row["artifact"], "descendants", params.depth)
    return _told(image, _connected(image.id, rows, params.limit), params.label)


def _connected(start: str, rows: dict[str, dict[str, Any]], limit: int) -> dict[str, dict[str, Any]]:
    """Those that arrows lead to from `start`, either way, the nearest first: what is made from sheets is left out."""
    near: dict[str, list[str]] = {
        id: [parent for parent in row["parents"] if parent in rows] for id, row in rows.items()
    }
    for id in rows:
        for parent in rows[id]["parents"]:
            near.get(parent, []).append(id)
    found = [start]
    for id in found:
        found += [other for other in dict.fromkeys(near[id]) if other not in found]
        if len(found) >= limit:
            break
    return {id: rows[id] for id in found[:limit]}


def _told(image: Artifact, rows: dict[str, dict[str, Any]], label: str) -> dict[str, Any]:
    """What a program or a person handed on unchanged is one member with what it was."""
    same = {id: _unchanged(id, rows) for id in rows}
    places = {id: place for place, id in enumerate(dict.fromkeys(same.values()))}
    members = []
    for id in places:
        kept = [rows[id], *(row for other, row in rows.items() if same[other] == id)]
        reviews = {row["review"] for row in kept}
        members.append({
            "id": id, "kind": rows[id]["artifact"].kind, "asked": same[image.id] == id,
            "review": next((state for state in ("picked", "rejected") if state in reviews), "new"),
            "caption": _caption(kept, label),
        })  # fmt: skip
    arrows = {
        (places[same[parent]], places[same[id]])
        for id, row in rows.items()
        for parent in row["parents"]
        if parent in rows
    }
    return {"members": members, "arrows": sorted([a, b] for a, b in arrows if a != b)}


def _unchanged(id: str, rows: dict[str, dict[str, Any]]) -> str:
    """The oldest one that it is a copy of; itself, if of none."""
    sha256, seen = rows[id]["artifact"].sha256, {id}
    older = lambda each: each in rows and each not in seen and rows[each]["artifact"].sha256 == sha256  # noqa: E731
    while same := [each for each in rows[id]["parents"] if older(each)]:
        id = same[0]
        seen.add(id)
    return id


def _caption(kept: list[dict[str, Any]], label: str) -> str:
    if label == "name":
        return next((row["name"] for row in kept if row["name"]), "")
    seed = kept[0]["artifact"].facts.get("seed")
    if label == "seed":
        return "" if seed is None else f"seed {seed}"
    return (kept[0]["job_name"] or "upload").split(".")[-1] if label == "job" else ""

"""The program: all pictures and grids are submitted at once, then shown and named as they come."""

import math
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from core.library.naming import called
from core.plugin import Artifact, Child, Context, InvalidParams

from .options import SEEDS, SequenceParams
from .ordering import Picture, pictures, tags_of
from .original import configured
from .reading import Story, read, read_book
from .splitting import prompts_of

MOST = 10_000  # pictures
LOOKS = 20  # how often the program looks at what is there, at most
FROM_NOISE, FROM_PICTURE = "txt2img", "img2img"
COMMON = ("negative_prompt", "model", "steps", "cfg_scale", "sampler", "schedule", "eta", "width", "height")


def sequence(text: Artifact | None, given: SequenceParams, ctx: Context) -> list[Artifact]:
    params = configured(given, ctx.models)
    chapters = prompts_of(_story(text, given, params, ctx), params)
    _check(sum(map(len, chapters)) * len(params.styles), params)
    found = pictures(chapters, params)
    folder = _folder(params, (text and text.name) or params.book, ctx)
    called(f"{folder}/{found[0].tag}")  # raises before anything is drawn
    drawn = _submit(found, params, ctx)
    grids = _submit_grids(found, drawn, params, ctx)
    made: dict[str, Artifact] = {}
    for part in _parts(found):
        children = ctx.gather((drawn[each.key] for each in part), allow_failed=True)  # all others are still drawn
        made |= {each.key: child.outputs[0] for each, child in zip(part, children, strict=True) if child.outputs}
        there = [each for each in part if each.key in made]
        if params.save_individual:
            ctx.name_all((made[each.key], f"{folder}/{_word(each.tag)} {each.chapter}-{each.prompt}") for each in there)
        newest = next((each for each in reversed(there) if each.tag == found[0].tag), None)
        if params.preview and newest and ctx.wants_preview:
            ctx.preview(ctx.read(made[newest.key]))
    ctx.gather(drawn.values())
    results: list[Artifact] = []
    for chapter, squares in grids.items():
        done = [child.outputs[0] for child in ctx.gather(squares.values())]
        ctx.name_all(zip(done, (f"{folder}/{_word(tag)} grid-{chapter}" for tag in squares), strict=True))
        if params.save_individual:
            results += [made[each.key] for each in found if each.chapter == chapter]
        results += done
    return results


def _story(text: Artifact | None, given: SequenceParams, params: SequenceParams, ctx: Context) -> Story:
    """The one text that is given, or else the book that the settings name."""
    said = [name for name, there in (("text", text), ("story", given.story), ("book", given.book)) if there]
    if len(said) > 1:
        raise InvalidParams(f"there are several texts: {' and '.join(said)}. Give one of them.", field=said[-1])
    if text is not None:
        return read(ctx.read(text), params.form, text.name or "")
    if given.story:
        return read(given.story, params.form)
    if not params.book:
        text = "there is no text. Give one as `text` or `story`, or choose a book."
        raise InvalidParams(text, field="story", hint=f"Books are files in {ctx.models.folder / 'book'}.")
    there = ctx.models.entries("book")
    names = (params.book, params.book.replace("\\", "/").rpartition("/")[2])  # settings name a path
    return read_book(ctx.models.path("book", next((name for name in names if name in there), params.book)))


def _check(count: int, params: SequenceParams) -> None:
    if count > MOST:
        raise InvalidParams(
            f"that would be {count:,} pictures, the limit is {MOST:,}.", field="max_chapters",
            hint="Lower max_chapters, max_entries_per_chapter, or the number of styles.",
        )  # fmt: skip
    tags = tags_of(params)
    if twice := sorted({tag for tag in tags if tags.count(tag) > 1}):
        raise InvalidParams(
            f"styles: several have the file tag {twice[0]!r}, so that one's pictures would be called as the other's.",
            field="styles", hint="Give each a file_tag of its own.",
        )  # fmt: skip


def _submit(found: list[Picture], params: SequenceParams, ctx: Context) -> dict[str, Child]:
    """Those that start from others after these, as they name them; as many at once as can be."""
    drawn: dict[str, Child] = {}
    waiting: list[tuple[str, dict[str, Any]]] = []

    def send() -> None:
        children = ctx.submit_all([request for _, request in waiting])
        drawn.update(zip((key for key, _ in waiting), children, strict=True))
        waiting.clear()

    for picture in found:
        if picture.before and picture.before not in drawn:
            send()
        waiting.append((picture.key, _request(picture, drawn, params, ctx)))
    send()
    return drawn


def _request(picture: Picture, drawn: dict[str, Child], params: SequenceParams, ctx: Context) -> dict[str, Any]:
    seed = ctx.seed(picture.key) if params.seed < 0 else (params.seed + picture.number) % SEEDS
    wanted = {name: getattr(params, name) for name in COMMON} | {"prompt": picture.text, "seed": seed}
    if not picture.before:
        return {"job": FROM_NOISE, "params": wanted | params.more, "key": picture.key}
    wanted |= {"denoising_strength": picture.weight}
    before = {"image": drawn[picture.before]}
    return {"job": FROM_PICTURE, "params": wanted | params.more, "inputs": before, "key": picture.key}


def _submit_grids(
    found: list[Picture], drawn: dict[str, Child], params: SequenceParams, ctx: Context
) -> dict[int, dict[str, Child]]:
    """Of each chapter one for each style."""
    wanted: dict[tuple[int, str], list[Child]] = {}
    kept: dict[str, list[Child]] = {}
    for picture in found:
        before = kept.setdefault(picture.tag, []) if params.cumulative_grids else []
        cells = wanted.setdefault((picture.chapter, picture.tag), [*before])
        cells.append(drawn[picture.key])
        if params.cumulative_grids:
            before.append(drawn[picture.key])
    requests = [
        {"job": "sequence.chapter_grid", "inputs": {"images": cells}, "key": f"chapter {chapter}/grid/{tag}"}
        for (chapter, tag), cells in wanted.items()
    ]
    grids: dict[int, dict[str, Child]] = {}
    for (chapter, tag), child in zip(wanted, ctx.submit_all(requests), strict=True):
        grids.setdefault(chapter, {})[tag] = child
    return grids


def _parts(found: list[Picture]) -> Iterator[list[Picture]]:
    size = math.ceil(len(found) / LOOKS)
    return (found[begin : begin + size] for begin in range(0, len(found), size))


def _folder(params: SequenceParams, source: str, ctx: Context) -> str:
    """`source` is the name of the text's file, if it has one."""
    time = ctx.once("time", _now)
    mode = "progresive" if params.progressive else "independent"
    tags = " ".join(map(_word, tags_of(params)))
    key = params.key or PurePath(source).stem or "sequence"
    return params.folder.strip("/") or f"{_word(key)}/{mode}/{tags}/{time}"


def _now() -> str:
    import datetime

    return datetime.datetime.now().strftime("%Y-%m-%d %H-%M-%S")


def _word(text: str) -> str:
    """As a part of a path."""
    return text.replace("/", "-").replace("\\", "-")

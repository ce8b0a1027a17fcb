"""The programs: which cells each has, and how they are laid out."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from core.library import grids, sweeping
from core.plugin import Artifact, Context, InvalidParams

from . import pictures, typed
from .cells import LINE, PICTURE, Cell, Job, Layout, Value, arranged, in_a_square, layout, runs, zipped
from .options import Drawing, EachFile, GridParams, Plot, PromptMatrix, PromptsFrom, SweepParams
from .pictures import Thumbnails
from .running import run

OURS = {  # of A1111's options of a line, by what they are here
    "sampler_name": "sampler", "sd_model": "model", "subseed": "variation_seed",
    "subseed_strength": "variation_strength", "seed_resize_from_h": "seed_resize_height",
    "seed_resize_from_w": "seed_resize_width",
}  # fmt: skip
IGNORED = ("do_not_save_samples", "do_not_save_grid")
OPTIONAL = {"steps": 20, "cfg_scale": 7, "denoising_strength": 0.75, "width": 0, "height": 0}  # with their defaults
MOST_LINES, MOST_TOLD = 10_000, 20


def sweep(
    image: list[Artifact] | None, mask: Artifact | None, text: Artifact | None, params: SweepParams,
    thumbnails: Thumbnails, ctx: Context,
) -> list[Any]:  # fmt: skip
    about = _announced(params.job, ctx)
    kind = _job(about, params.params, params.random_seeds, ctx)
    groups: dict[str, list[Any]] = {}
    for place, axis in enumerate(params.axes):
        part = kind.dimension(axis.parameter, axis.values, f"axes.{place}.values")
        groups.setdefault(axis.zip or f"\n{place}", []).append(part)
    dimensions = [zipped(parts, "axes") for parts in groups.values()]
    images = image or []
    if len(images) > 1:
        each = [Value((), f"Picture {place + 1}", {PICTURE: one.id}, picture=place) for place, one in enumerate(images)]
        dimensions.append(each)
    if params.runs > 1:
        dimensions.append(runs(params.runs, _per_cell(params.params)))
    given = {**_ports(about, image=images[:1], mask=mask, text=text), **params.inputs}
    port = next((name for name, each in given.items() if each == images[:1]), "")

    def inputs(cell: Cell) -> dict[str, Any]:
        return given | ({port: [images[cell.picture]]} if cell.picture is not None else {})

    return run(about["name"], kind.cells(dimensions), arranged(dimensions), inputs, params, thumbnails, ctx)


def xyz_plot(
    image: Artifact | None, mask: Artifact | None, params: Plot, thumbnails: Thumbnails, ctx: Context
) -> list[Any]:
    about, common, given = _drawing(image, mask, params, ctx)
    kind = _job(about, common | _single(about), params.random_seeds, ctx)
    axes = [
        kind.dimension(getattr(params, f"{name}_type"), getattr(params, f"{name}_values"), f"{name}_values")
        for name in "xyz"
    ]
    strides = sweeping.strides([*map(len, axes)], [params.vary_x, params.vary_y, params.vary_z])
    x, y, z = axes = [
        [replace(value, further=number * stride) for number, value in enumerate(axis)]
        for axis, stride in zip(axes, strides, strict=True)
    ]
    return run(about["name"], kind.cells(axes), layout(x, y, [z]), lambda cell: given, params, thumbnails, ctx)


def prompt_matrix(
    image: Artifact | None, mask: Artifact | None, params: PromptMatrix, thumbnails: Thumbnails, ctx: Context
) -> list[Any]:
    about, common, given = _drawing(image, mask, params, ctx)
    kind = _job(about, common | _single(about), False, ctx)
    matrix = sweeping.Matrix(getattr(params, params.part_of), ", " if params.joint == "comma" else " ", params.at_start)
    if matrix.count > MOST_LINES:
        count = f"{matrix.count:,}" if matrix.count < 10**30 else "far too many"
        text = f"{params.part_of}: a matrix of {count} pictures is too large, the limit is {MOST_LINES:,}."
        raise InvalidParams(text, field=params.part_of)
    prompts = [*matrix.prompts()]
    values = [
        Value(((params.part_of, prompt),), "", {params.part_of: key}, place * params.different_seeds)
        for place, (prompt, key) in enumerate(zip(prompts, sweeping.each_once(prompts), strict=True))
    ]
    above, beside = matrix.words()
    grid = Layout(len(above), len(beside), above=above, beside=beside)
    return run(about["name"], kind.cells([values]), grid, lambda cell: given, params, thumbnails, ctx)


def prompts_from(
    text: Artifact | None, image: Artifact | None, mask: Artifact | None, params: PromptsFrom,
    thumbnails: Thumbnails, ctx: Context,
) -> list[Any]:  # fmt: skip
    about, common, given = _drawing(image, mask, params, ctx)
    kind = _job(about, common, not params.same_seed, ctx)
    source = (ctx.read(text) if text else "") + "\n" + params.prompts
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MOST_LINES:
        raise InvalidParams(f"prompts: there may be 1 to {MOST_LINES:,} lines, got {len(lines):,}.", field="prompts")
    options = _lines(lines, kind, params)
    values, further = [], 0
    for line, key, said in zip(lines, sweeping.each_once(lines), options, strict=True):
        around = {"prompt": params.prompt, "negative_prompt": params.negative_prompt}
        said = sweeping.inserted(said, around, params.insert == "start")
        counted = further if params.iterate_seed and "seed" not in said else 0
        values.append(Value(tuple(said.items()), line, {LINE: key}, counted))
        further += _per_cell(common | said)
    if params.iterate_seed:
        kind.random_seeds = False
    grid = in_a_square([value.label for value in values])
    return run(about["name"], kind.cells([values]), grid, lambda cell: given, params, thumbnails, ctx)


def each_file(files: list[Artifact], params: EachFile, thumbnails: Thumbnails, ctx: Context) -> list[Any]:
    about = _announced(params.job, ctx)
    kind = _job(about, params.params, False, ctx)
    port = params.input or next(iter(_ports(about, image=files[:1])))
    if port not in about["inputs"]:
        known = ", ".join(about["inputs"])
        raise InvalidParams(f"input: {about['name']} has no input {port!r}. It has {known}.", field="input")
    step = _per_cell(params.params) if params.seeds == "count" else 0
    values = [
        Value((), str(place + 1), {PICTURE: key}, place * step, place)
        for place, (one, key) in enumerate(zip(files, sweeping.each_once([one.id for one in files]), strict=True))
    ]
    grid = in_a_square([value.label for value in values])
    return run(
        about["name"], kind.cells([values]), grid, lambda cell: {port: files[cell.picture]}, params, thumbnails, ctx
    )


def grid(images: list[Artifact], params: GridParams, ctx: Context) -> tuple[pictures.Picture, dict[str, Any]]:
    """Taken one by one, so that a thousand need no memory."""
    cells: list[Artifact | None] = [*images]
    for place in sorted(set(params.empty)):
        cells.insert(min(place, len(cells)), None)
    columns = params.columns or in_a_square(cells).wide

    def taken() -> Any:
        for place, each in enumerate(cells):
            ctx.raise_if_cancelled()
            ctx.progress(place, len(cells), "grid")
            yield each and pictures.shown(each, ctx)

    words = {name: getattr(params, name) if params.legend else () for name in ("above", "beside", "captions")}
    picture = grids.grid(
        taken(), columns, **words, margin=params.margin, title=params.title, background=params.background,
        size=pictures.size_of(cells), count=len(cells), most_pixels=pictures.most(params),
    )  # fmt: skip
    return picture, pictures.infotext(cells)


def _announced(job: str, ctx: Context) -> dict[str, Any]:
    """What the job is: kept, as it may change, or not be there for a moment, while the program goes on. A program that
    is extended looks again."""
    return ctx.once(f"announced {ctx.job_id} {job[:100]}", lambda: ctx.announced(job))


def _job(about: dict[str, Any], params: dict[str, Any], random_seeds: bool, ctx: Context) -> Job:
    @functools.cache
    def known(kind: str) -> list[str]:
        return ctx.once(f"models {ctx.job_id} {kind}", lambda: [*ctx.models.entries(kind)])

    return Job(about["name"], about["params"], params, ctx.seed, known, random_seeds)


def _drawing(
    image: Artifact | None, mask: Artifact | None, params: Drawing, ctx: Context
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What the job is that draws, with which parameters, and from which inputs."""
    usual = "inpaint" if mask else "img2img" if image else "txt2img"
    about = _announced(params.job or usual, ctx)
    has, wanted = about["params"].get("properties", {}), {"prompt": params.prompt, "seed": params.seed}
    wanted |= {"negative_prompt": params.negative_prompt} if params.negative_prompt else {}
    for name, default in OPTIONAL.items():
        value = getattr(params, name)
        if (name in has or value != default) and (image or name != "denoising_strength"):
            wanted[name] = value
    named = {"sampler": params.sampler, "schedule": params.schedule, "model": params.model}
    wanted |= {name: value for name, value in named.items() if value} | params.more
    return about, wanted, _ports(about, image=image, mask=mask)


def _single(about: dict[str, Any]) -> dict[str, int]:
    """One picture for each cell, as in A1111."""
    return {name: 1 for name in ("batch_size", "n_iter") if name in about["params"].get("properties", {})}


def _per_cell(params: dict[str, Any]) -> int:
    """Pictures, and so seeds, that a job takes."""
    counts = [params.get(name, 1) for name in ("batch_size", "n_iter")]
    return counts[0] * counts[1] if all(isinstance(each, int) and each > 0 for each in counts) else 1


def _ports(about: dict[str, Any], **given: Any) -> dict[str, Any]:
    """The inputs of the job that take these: by name, or else the first of that kind. Raises InvalidParams."""
    ports, found = about["inputs"], {}
    for name, value in given.items():
        if not value:
            continue
        free = [port for port in ports if port not in found]
        fitting = [port for port in free if ports[port]["kind"] == name]
        fitting = fitting or [port for port in free if name == "image" and ports[port]["kind"] == "mask"]
        if not fitting:
            takes = ", ".join(ports) or "none"
            raise InvalidParams(f"{about['name']} takes no {name}. Its inputs: {takes}.", field=name)
        found[name if name in fitting else fitting[0]] = value
    return found


def _lines(lines: Sequence[str], kind: Job, params: PromptsFrom) -> list[dict[str, Any]]:
    """What each line asks for, by our names. Raises InvalidParams with all lines that are not understood."""
    known = {*kind.properties, *OURS, *IGNORED}
    made, wrong = [], []
    for number, line in enumerate(lines, 1):
        try:
            said = sweeping.line_options(line, known)
            words = {OURS.get(name, name): value or "true" for name, value in said.items() if name not in IGNORED}
            schemas = {name: typed.schema_of(name, kind.schema) for name in words}
            made.append({name: typed.value_of(value, schemas[name], kind.known) for name, value in words.items()})
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
            made.append({"prompt": line})
    if wrong and params.unknown_options == "refuse":
        more = f" And {len(wrong) - MOST_TOLD} more." if len(wrong) > MOST_TOLD else ""
        raise InvalidParams(f"prompts: {'; '.join(wrong[:MOST_TOLD])}.{more}", field="prompts")
    return made

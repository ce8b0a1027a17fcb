"""The programs: pictures in bulk, a person's choice among them, variations and large versions of what was picked."""

import difflib
import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from core.plugin import Artifact, Child, Context, InvalidParams

from . import names
from .options import (
    LARGEST,
    Asking,
    FinishParams,
    RoundsParams,
    VariationsParams,
    Varying,
    check,
    check_count,
    prompts,
    sizes,
)
from .recipes import recipe, scale_networks

SEEDS = 2**32
PARTS = 20  # after each of which a program shows what is there
SHOWN, THUMBNAIL = 9, 256  # pictures, pixels
DRAW, REDRAW = "txt2img", "img2img"
TAKEN = ("negative_prompt", "steps", "cfg_scale", "sampler", "schedule")  # by the drawing job as they are


@dataclass(frozen=True)
class Picture:
    """A picture on its way through the rounds. `recipe` are the parameters that draw it; `key` is its own in the
    program and means the same however many others are asked for."""

    key: str
    name: str
    recipe: dict[str, Any]
    inputs: dict[str, Any]
    job: str = DRAW
    parent: Artifact | None = None  # of a variation
    artifact: Artifact | None = None


def generate(params: Asking, ctx: Context) -> list[Picture]:
    return drawn(asked_for(params, ctx), params.folder, ctx)


def rounds(params: RoundsParams, ctx: Context) -> list[Picture]:
    """What is left after the last round."""
    if params.finish:  # before a person has picked for an hour
        check_finish(params, ctx)
    asked = asked_for(params, ctx)
    if params.forecast:
        quick = [forecast(each, params.forecast) for each in asked]
        liked = {each.name for each in picked(drawn(quick, f"{params.folder}/forecasts", ctx), "forecasts", ctx)}
        pool = drawn([each for each in asked if each.name in liked], params.folder, ctx)
    else:
        pool = picked(drawn(asked, params.folder, ctx), "pictures", ctx)
    numbers: dict[str, int] = {}
    most = params.variations * params.rounds + 1  # children of one picture
    for round in range(1, params.rounds + 1):
        made = drawn(varied(pool, params, params.more, numbers, ctx, most), params.folder, ctx)
        pool = surviving(pool, picked(made, f"variations {round}", ctx), params.parents)
    if params.finish:
        pool = drawn(finished(pool, params.finishing(), numbers, ctx, most), params.folder, ctx)
        if params.review_finished:
            pool = picked(pool, "finished", ctx)
    return pool


def check_finish(params: RoundsParams, ctx: Context) -> None:
    for width, height in sizes(params):
        large(width, height, params.finish_scale, "finish_scale")
    samplers = ctx.announced(REDRAW)["params"]["properties"].get("sampler", {}).get("enum", [])
    if params.finish_sampler and samplers and params.finish_sampler not in samplers:
        text = f"finish_sampler: {REDRAW} has no sampler {params.finish_sampler!r}."
        near = difflib.get_close_matches(params.finish_sampler, samplers) or samplers
        raise InvalidParams(text, field="finish_sampler", hint=f"There are {', '.join(near[:10])}.")


def large(width: int, height: int, scale: float, field: str = "scale") -> tuple[int, int]:
    """The size after enlarging. Raises InvalidParams if that cannot be drawn."""
    size = tuple(round(side * scale / 8) * 8 for side in (width, height))
    if max(size) > LARGEST:
        raise InvalidParams(
            f"{field}: {width}x{height} would become {size[0]}x{size[1]}; sides of {LARGEST} are the largest drawn.",
            field=field, hint="Take a smaller one, or the job sd_upscale, which draws in tiles.",
        )  # fmt: skip
    return size


def variations(images: list[Artifact], params: VariationsParams, ctx: Context) -> list[Picture]:
    """Of pictures that are there, wherever they are from."""
    check(params)
    given, numbers = known(images, params.prompt, ctx)
    return drawn(varied(given, params, params.more, numbers, ctx), params.folder, ctx)


def finish(images: list[Artifact], params: FinishParams, ctx: Context) -> list[Picture]:
    check(params)
    given, numbers = known(images, params.prompt, ctx)
    return drawn(finished(given, params, numbers, ctx), params.folder, ctx)


def known(images: list[Artifact], prompt: str, ctx: Context) -> tuple[list[Picture], dict[str, int]]:
    """Pictures that are there: how they were drawn, what they are called, and the first numbers that their children may
    have. A picture without a name that tells its family begins one."""
    if not images:
        raise InvalidParams("images: there is no picture.", field="images")
    run, given = ctx.once("root", names.new_root), []
    numbers: dict[str, int] = {}
    for number, image in enumerate({each.sha256: each for each in images}.values()):
        about = ctx.once(f"known/{image.id}", lambda image=image: about_of(image, ctx))
        told = recipe(about["infotext"]) | ({"prompt": prompt} if prompt else {})
        if not told["prompt"]:
            raise InvalidParams(
                f"images: {image.name or image.id} does not say what prompt drew it.", field="images",
                hint="Say it by the parameter prompt.",
            )  # fmt: skip
        size = {side: image.facts[side] for side in ("width", "height")}
        name = about["family"] or f"{run}{number:04}@0"
        numbers[name] = about["next"]
        given.append(Picture(image.id, name, size | told, {}, artifact=image))
    return given, numbers


def about_of(image: Artifact, ctx: Context) -> dict[str, Any]:
    """What is written in a picture, its family's name, and the next number among its children."""
    text = image.facts.get("infotext") or ctx.read(image).info.get("parameters") or ""
    same = [row for row in ctx.lineage(image) if row["artifact"].sha256 == image.sha256]  # that was handed on
    origin = same[-1]["artifact"] if same else image
    named = [image.name, *(row["name"] for row in same), *(row["name"] for row in ctx.lineage(image, depth=1))]
    name = next(filter(None, map(names.family, named)), None)
    below = ctx.lineage(origin, "descendants", depth=2, limit=1000) if name else []
    return {"infotext": text, "family": name, "next": names.next_number(name or "", (row["name"] for row in below))}


def asked_for(params: Asking, ctx: Context) -> list[Picture]:
    """The pictures of all prompts, in order, with their seeds, sizes and names."""
    check(params)
    lines, choices = prompts(params), sizes(params)
    check_count(len(lines) * params.count, "count")
    run, found = ctx.once("root", names.new_root), []
    for number, prompt in enumerate(lines):
        words = digest(prompt)
        inputs = expanded(prompt, ctx) if params.bang_tags and "!" in prompt else {}
        for k in range(params.count):
            key = f"picture/{words}/{k}"
            chance = random.Random(ctx.seed(key))
            width, height = chance.choice(choices)
            seed = (params.seed + k) % SEEDS if params.seed >= 0 else chance.randrange(SEEDS)
            drawing = {name: getattr(params, name) for name in TAKEN} | params.more
            drawing |= {"model": params.model} if params.model else {}
            drawing |= {"prompt": prompt, "seed": seed, "width": width, "height": height}
            name = names.child(f"{run}{number:04}", k, params.count)
            found.append(Picture(key, name, drawing, inputs))
    return found


def expanded(prompt: str, ctx: Context) -> dict[str, Child]:
    """The text that is drawn in place of a prompt with bang tags."""
    words = digest(prompt)
    written = ctx.submit("write_prompt", {"prompt": prompt}, key=f"prompt/{words}")
    return {"text": ctx.submit("expand_tags", {}, {"text": written}, key=f"tags/{words}")}


def forecast(picture: Picture, steps: int) -> Picture:
    """The same picture, cheaply."""
    return replace(picture, key=f"forecast/{picture.key}", recipe=picture.recipe | {"steps": steps})


def varied(
    pictures: list[Picture], params: Varying, more: dict[str, Any], numbers: dict[str, int], ctx: Context, most: int = 1
) -> list[Picture]:
    """The variations of pictures. `numbers` are the first numbers that their children may have, of `most` in all."""
    check_count(len(pictures) * params.variations, "variations")
    found = []
    for each in pictures:
        first = numbers.setdefault(each.name, 0)
        numbers[each.name] += params.variations
        for k in range(params.variations):
            key = f"{each.key}/{params.kind} {first + k}"
            seed = ctx.seed(key)
            drawing = each.recipe | more
            if params.variation_cfg_scale:
                drawing["cfg_scale"] = params.variation_cfg_scale
            if params.kind == "subseeds":
                drawing |= {"variation_seed": seed, "variation_strength": params.variation_strength}
            else:
                drawing |= {"seed": seed}
            name = names.child(each.name, first + k, max(most, first + params.variations))
            found.append(Picture(key, name, drawing, {}, parent=each.artifact))
    return found


def finished(
    pictures: Iterable[Picture], params: FinishParams, numbers: dict[str, int], ctx: Context, most: int = 1
) -> list[Picture]:  # fmt: skip
    """The pictures, enlarged and redrawn a little, with their own seeds."""
    found, takes = [], ctx.announced(REDRAW)["params"]["properties"]
    for each in pictures:
        first = numbers.setdefault(each.name, 0)
        numbers[each.name] += 1
        facts = each.artifact.facts
        width, height = large(facts["width"], facts["height"], params.scale)
        drawing = {name: value for name, value in each.recipe.items() if name in takes and "variation" not in name}
        drawing |= {"width": width, "height": height, "steps": params.steps} | params.more
        drawing |= {"denoising_strength": params.denoising_strength}
        drawing |= {"prompt": scale_networks(drawing["prompt"], params.lora_factor)}
        drawing |= {"sampler": params.sampler} if params.sampler else {}
        drawing |= {"cfg_scale": params.cfg_scale} if params.cfg_scale else {}
        key, name = f"{each.key}/finish", names.child(each.name, first, max(most, first + 1))
        found.append(Picture(key, name, drawing, {"image": each.artifact}, REDRAW))
    return found


def drawn(pictures: list[Picture], folder: str, ctx: Context) -> list[Picture]:
    """Draw them; of those that fail, it is told, and the others go on. Raises DependencyFailed if all do."""
    requests = [{"job": p.job, "params": p.recipe, "inputs": p.inputs, "key": p.key} for p in pictures]
    asked, made, part = ctx.submit_all(requests), [], len(requests) // PARTS + 1
    for start in range(0, len(asked), part):
        children = ctx.gather(asked[: start + part], allow_failed=True)
        show(children, ctx)
        new = [with_result(*pair) for pair in zip(pictures[start:], children[start:], strict=False) if pair[1].outputs]
        called(new, folder, ctx)
        made += new
    if asked and all(child.state != "done" for child in children):
        ctx.gather(asked)
    return made


def with_result(picture: Picture, child: Child) -> Picture:
    """The picture, there now, with the choices that were made in its prompts."""
    told = recipe(child.outputs[0].facts.get("infotext", ""))
    chosen = {name: told[name] for name in ("prompt", "negative_prompt", "dynamic_prompts") if told["prompt"]}
    return replace(picture, artifact=child.outputs[0], recipe=picture.recipe | chosen)


def show(children: list[Child], ctx: Context) -> None:
    """The newest of what is there, while the rest is drawn."""
    newest = [child.outputs[0] for child in children[-SHOWN:] if child.outputs]
    if not newest or not ctx.wants_preview:
        return
    from core.library.grids import square

    pictures = [ctx.read(each) for each in newest]
    for picture in pictures:
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
    ctx.preview(square(pictures, margin=4))


def called(pictures: list[Picture], folder: str, ctx: Context) -> None:
    """Give the pictures their names and parents; once, for a program is run again and again."""

    def name_all() -> bool:
        ctx.name_all((each.artifact, f"{folder}/{each.name}") for each in pictures)
        ctx.link_all((each.artifact, each.parent) for each in pictures if each.parent)
        return True

    if pictures:
        ctx.once(f"named/{digest(*(f'{each.artifact.id} {each.name}' for each in pictures))}", name_all)


def picked(pictures: list[Picture], what: str, ctx: Context) -> list[Picture]:
    """Those that a person has picked. Equal ones are proposed once."""
    firsts = {each.artifact.sha256: each.artifact for each in reversed(pictures)}
    asked = list({first.id: first for first in (firsts[each.artifact.sha256] for each in pictures)}.values())
    if not asked:
        return []
    said = ctx.review(asked, key=what)
    good = {each.sha256 for each, verdict in zip(asked, said, strict=True) if verdict == "picked"}
    found = [each for each in pictures if each.artifact.sha256 in good]
    text = f"{what}: {len(found)} of {len(pictures)} were picked."
    ctx.once(f"told/{what}/{len(pictures)}", lambda: ctx.log(text))
    return found


def surviving(parents: list[Picture], children: list[Picture], when: str) -> list[Picture]:
    """What goes on into the next round, family by family."""
    found, families = [], dict[str, list[Picture]]()
    for child in children:
        families.setdefault(child.key.rpartition("/")[0], []).append(child)
    for parent in parents:
        own = families.get(parent.key, [])
        if when == "always" or (when == "if none is picked" and not own):
            found.append(parent)
        found += own
    return found


def digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]

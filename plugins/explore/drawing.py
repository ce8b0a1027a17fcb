"""The programs: many pictures of a prompt, and many of a picture."""

import math
import re
import time
from typing import Any

from core.plugin import Artifact, Child, Context, Image, InvalidParams, said_by

from .naming import SCRATCH, folder_of, joined, stem_of
from .options import (
    LARGEST_SEED,
    SEEDS,
    ContinueParams,
    Drawing,
    ExploreParams,
    Settings,
    VaryParams,
    rests,
    size_of,
    steps_of,
)
from .transforms import Transform, named
from .varying import Redraw, correction, redraws, waves

PARTS = 20  # how often a program is waked to show what is there: each time it runs from the top
SAMPLERS = {"seed": "PLMS", "head": "DDIM"}
DIVISOR = 32  # of the sides of what is redrawn
MOST = 2_000  # redrawings


def explore(params: ExploreParams, ctx: Context, settings: Settings) -> list[Artifact]:
    prompt = _prompt(params, "", "Say what the pictures show.")
    return _explored(prompt, params.negative_prompt, params.cfg_scale, size_of(params, settings), params, ctx)


def go_on(image: Artifact | None, params: ContinueParams, ctx: Context, settings: Settings) -> list[Artifact]:
    """As the picture was drawn, but for what is asked for."""
    picture = image and ctx.read(image)
    prompt, negative, fields = said_by(picture) if picture else ("", "", {})
    prompt = _prompt(params, prompt, "Say what to go on with, or give one of its pictures.")
    size = size_of(params, settings)
    if picture and not size:
        size = {"width": max(8, picture.width // 8 * 8), "height": max(8, picture.height // 8 * 8)}
    scale = params.cfg_scale or _number(fields.get("CFG scale")) or ExploreParams.model_fields["cfg_scale"].default
    return _explored(prompt, params.negative_prompt or negative, scale, size, params, ctx)


def _explored(
    prompt: str, negative: str, scale: float, size: dict[str, int], params: ExploreParams, ctx: Context
) -> list[Artifact]:
    steps = params.steps or steps_of(scale, params.version)
    options = {"steps": steps, "cfg_scale": scale, "sampler": params.sampler or SAMPLERS[params.version]}
    options = _options(params, options | size | {"prompt": prompt, "negative_prompt": negative})
    folder = SCRATCH if params.scratch else folder_of(prompt, negative)
    started, seeds = _started(ctx), _seeds(params.seed, params.count, "picture", ctx)
    stems, requests = [], []
    for number, seed in enumerate(seeds, 1):
        stems.append(f"{folder}/{stem_of(started, number, scale, steps, seed, names=params.names)}")
        requests.append({"job": "txt2img", "params": options | {"seed": seed}, "key": f"picture {number}"})
    found, pictures = Found(stems, ctx), []
    for some in [[each] for each in requests] if params.cooling.strip() else [requests]:
        pictures += ctx.submit_all(some)
        if len(pictures) < len(requests):
            if not _is_planned(pictures[0]):
                found.take(pictures[-1:])
            _rest(params.cooling, len(pictures), ctx)
    results = found.take_all(pictures)
    if not params.scratch:
        _write_down(prompt, negative, params, ctx)
    _tell(results, folder, ctx)
    return results


def vary(image: Artifact, params: VaryParams, ctx: Context) -> list[Artifact]:
    picture = ctx.read(image)
    prompt, negative, _ = said_by(picture)
    prompt = _prompt(params, prompt, "The picture does not tell its prompt: say what it shows.")
    negative = params.negative_prompt or negative
    transform, loops = _transform(params, ctx)
    if loops * len(transform.program) > MOST:
        text = f"{loops} loops of {len(transform.program)} steps are too many pictures: the limit is {MOST:,}."
        raise InvalidParams(text, field="loops")
    chain = [*redraws(transform, _seeds(params.seed, loops, "loop", ctx))]
    options = {"steps": params.steps, "sampler": params.sampler, "negative_prompt": negative}
    options = _options(params, options | _reduced(picture))
    started, folder = _started(ctx), folder_of(prompt, negative)
    kept = [each for each in chain if each.saved]
    stems = [f"{folder}/{_stem(started, number, each, params)}" for number, each in enumerate(kept, 1)]
    found = Found(stems, ctx)
    drawn: dict[str | None, Any] = {None: image}
    last: dict[str | None, Any] = {None: image}  # in corrected colours, where they are corrected
    for wave in [[each] for each in chain] if params.cooling.strip() else waves(chain):
        starts = drawn if params.correction == "seed" else last
        requests = [_redrawing(each, options, prompt, starts[each.start]) for each in wave]
        children = {each.key: child for each, child in zip(wave, ctx.submit_all(requests), strict=True)}
        drawn |= children
        last |= children
        corrections = {each.key: _correcting(each, params, drawn[each.key], last, image) for each in wave}
        corrections = {key: request for key, request in corrections.items() if request}
        last |= zip(corrections, ctx.submit_all(corrections.values()), strict=True)
        if params.cooling.strip() and len(last) <= len(chain):
            (each,) = wave
            if not _is_planned(last[each.key]):
                found.take([last[each.key]]) if each.saved else ctx.gather([last[each.key]], allow_failed=True)
            _rest(params.cooling, len(last) - 1, ctx)
    results = found.take_all([last[each.key] for each in kept])
    _write_down(prompt, negative, params, ctx)
    _put_aside(chain, drawn, last, started, ctx)
    _tell(results, folder, ctx)
    if params.drift:
        results.append(_drift(chain, last, f"{folder}/{started}_drift", ctx))
    return results


class Found:
    """Results as they come: named, and shown while there are more to come. Each is of one child, in their order."""

    def __init__(self, stems: list[str], ctx: Context):
        self._stems, self._ctx, self._taken, self._made = stems, ctx, 0, []

    def take(self, children: list[Child]) -> None:
        """Wait for them. What could not be drawn is left out."""
        stems = self._stems[self._taken : self._taken + len(children)]
        ended = self._ctx.gather(children, allow_failed=True)
        made = [(child.outputs[0], stem) for child, stem in zip(ended, stems, strict=True) if child.outputs]
        self._ctx.name_all(made)
        self._taken, self._made = self._taken + len(children), [*self._made, *(artifact for artifact, _ in made)]
        if made and self._taken < len(self._stems) and self._ctx.wants_preview:
            self._ctx.preview(self._ctx.read(made[-1][0]))

    def take_all(self, children: list[Child]) -> list[Artifact]:
        """What all of them made, those that were taken before among them. Raises DependencyFailed if it is nothing."""
        part = math.ceil(len(children) / PARTS)
        while rest := children[self._taken :]:
            self.take(rest[:part])
        if len(self._made) < len(children):
            self._ctx.gather(children, allow_failed=bool(self._made))
            self._ctx.log(f"{len(children) - len(self._made)} of {len(children)} pictures could not be drawn.")
        return self._made


def _is_planned(child: Child) -> bool:
    """Whether it stands for one that is not there, as nothing is while a program is only planned."""
    return child.id.startswith("planned ")


def _rest(cooling: str, drawn: int, ctx: Context) -> None:
    """The pause after the picture of that number."""
    if seconds := rests(cooling, drawn):
        rest = ctx.submit("flows.wait", {"seconds": seconds}, key=f"rest {drawn}")
        if not _is_planned(rest):  # a plan goes on to what comes after
            ctx.gather([rest])


def _put_aside(
    chain: list[Redraw], drawn: dict[str | None, Any], last: dict[str | None, Any], started: str, ctx: Context
) -> None:
    """What was made on the way lies with what is tried out."""
    aside = {}
    for each in chain:
        stem = f"{SCRATCH}/{started}_{each.key.replace(' ', '-').replace('/', '_')}"
        aside |= {} if each.saved else {stem: last[each.key]}
        aside |= {} if drawn[each.key] is last[each.key] else {f"{stem}_uncorrected": drawn[each.key]}
    ended = ctx.gather(aside.values(), allow_failed=True)
    ctx.name_all([(child.outputs[0], stem) for stem, child in zip(aside, ended, strict=True) if child.outputs])


def _write_down(prompt: str, negative: str, params: Drawing, ctx: Context) -> None:
    """What a folder whose name tells nothing is for: prompt.txt in it; that of a picture that was given has it."""
    if not (params.prompt.strip() or params.negative_prompt.strip() or params.add.strip()):
        return
    text = f"{prompt}|{negative}" if negative.strip() else prompt
    (note,) = ctx.gather([ctx.submit("explore.prompt_text", {"text": text}, key="prompt")])
    ctx.name(note.outputs[0], f"{folder_of(prompt, negative)}/prompt")


def _tell(results: list[Artifact], folder: str, ctx: Context) -> None:
    ctx.log(f"{len(results)} {'picture' if len(results) == 1 else 'pictures'} in {folder}")


def _drift(chain: list[Redraw], last: dict[str | None, Any], stem: str, ctx: Context) -> Artifact:
    """How lightness and colours have gone, from the picture that was given through all that were made of it."""
    ended = ctx.gather([last[each.key] for each in chain], allow_failed=True)
    made = {each.key: child for each, child in zip(chain, ended, strict=True) if child.outputs}
    labels = ["given", *(key.replace("loop ", "").replace("/step ", ".") for key in made)]
    (plot,) = ctx.gather(
        [ctx.submit("drift_plot", {"labels": labels}, {"images": [last[None], *made.values()]}, key="drift")]
    )
    ctx.name(plot.outputs[0], stem)
    return plot.outputs[0]


def _prompt(params: Drawing, known: str, missing: str) -> str:
    prompt = joined(params.prompt if params.prompt.strip() else known, params.add)
    if not prompt.strip():
        raise InvalidParams("there is no prompt.", field="prompt", hint=missing)
    return prompt


def _options(params: Drawing, own: dict[str, Any]) -> dict[str, Any]:
    """What each job that draws is told. Raises InvalidParams where `more` says what has a parameter of its own."""
    own |= {"model": params.model, "schedule": params.schedule}
    if twice := params.more.keys() & {*own, "prompt", "seed", "cfg_scale", "denoising_strength"}:
        text = f"more: {', '.join(sorted(twice))} cannot be there."
        raise InvalidParams(text, field="more", hint="The job has a parameter of its own for it, or decides it.")
    return params.more | {name: value for name, value in own.items() if value != ""}


def _seeds(seed: int, count: int, what: str, ctx: Context) -> list[int]:
    """One for each picture or loop, the same each time; a seed that is given counts up."""
    if seed >= 0:
        return [(seed + number) % SEEDS for number in range(count)]
    return [ctx.seed(f"{what} {number}") % (LARGEST_SEED + 1) for number in range(1, count + 1)]


def _started(ctx: Context) -> str:
    return ctx.once("started", lambda: time.strftime("%Y-%m-%dT%H-%M-%S"))


def _number(text: str | None) -> float:
    return min(float(text), 30) if re.fullmatch(r"\d+(\.\d+)?", text or "") else 0


def _reduced(picture: Image) -> dict[str, int]:
    """The size that is redrawn, where it is not the picture's: cut down to multiples of 32."""
    width, height = (max(DIVISOR, side // DIVISOR * DIVISOR) for side in picture.size)
    return {"width": width, "height": height} if (width, height) != picture.size else {}


def _transform(params: VaryParams, ctx: Context) -> tuple[Transform, int]:
    """What is asked for, and in how many loops."""
    if params.program:
        found = Transform(program=params.program)
    else:
        known = f"transform {params.transform} {params.version}"  # as it was when the program began
        found = ctx.once(known, lambda: named(params.transform, params.version, ctx.models.folder).model_dump())
        found = Transform(**found)
    switches = {
        "multi_step": {"single-step": False, "multi-step": True}.get(params.chain),
        "loop_to_loop": {"off": False, "on": True}.get(params.loop_to_loop),
        "save_middle": {"off": False, "on": True}.get(params.save_middle),
    }
    found = found.model_copy(update={name: value for name, value in switches.items() if value is not None})
    return found, params.loops or (1 if params.seed >= 0 else found.loops)


def _redrawing(each: Redraw, options: dict[str, Any], prompt: str, start: Any) -> dict[str, Any]:
    own = {"prompt": joined(prompt, each.step.add), "cfg_scale": each.step.cfg_scale, "seed": each.seed}
    own |= {"denoising_strength": each.step.denoising_strength}
    return {"job": "img2img", "params": options | own, "inputs": {"image": start}, "key": each.key}


def _correcting(
    each: Redraw, params: VaryParams, drawn: Child, last: dict[str | None, Any], image: Artifact
) -> dict[str, Any] | None:
    options = correction(params.correction, each, params.blend, params.lightness)
    if options is None:
        return None
    reference = last[each.reference] if params.correction == "head" else image
    inputs = {"image": drawn, "reference": reference}
    return {"job": "match_colors", "params": options, "inputs": inputs, "key": f"{each.key}/colours"}


def _stem(started: str, number: int, each: Redraw, params: VaryParams) -> str:
    step = each.step
    return stem_of(started, number, step.cfg_scale, params.steps, each.seed, step.denoising_strength, params.names)

"""A walk between prompts and seeds: the pictures on the way."""

import dataclasses
import math

from core.plugin import InvalidParams, Result

from .conditioning import Condition
from .guidance import Conditions, Scheduled, current
from .options import Interpolate
from .shot import Shot
from .txt2img import from_noise, wanted_size

LONGEST = 77 * 100  # tokens


def stops(params: Interpolate) -> list[str]:
    """The prompts that the walk goes through, at equal distances."""
    return [params.prompt, *(line for line in params.to_prompts.splitlines() if line.strip())]


def draw(shot: Shot) -> Result:
    """Frame k of the walk: the texts' contexts mixed, and the noise (see `seeds.seeding`)."""
    params, prompts = shot.params, stops(shot.params)
    done = shot.k / (params.frames - 1) * (len(prompts) - 1)
    before = min(int(done), max(0, len(prompts) - 2))
    words = [shot.reads(prompt, params.negative_prompt, "to_prompts") for prompt in prompts[before : before + 2]]
    near = [shot.conditions(each, shot.way, *wanted_size(shot)) for each in words]
    return shot.result(shot.decode(from_noise(shot, mixed(near[0], near[-1], done - before))))


def mixed(one: Conditions, other: Conditions, share: float) -> Conditions:
    """Conditions of which `share`, 0 to 1, is the other's. Raises InvalidParams if one has more parts."""
    if len(one.parts) != len(other.parts):
        raise InvalidParams(
            f"to_prompts: a prompt with {len(one.parts)} parts joined by AND cannot become one with "
            f"{len(other.parts)}. Use as many in each.",
            field="to_prompts",
        )
    pairs = zip(one.parts, other.parts, strict=True)
    parts = [(a + (b - a) * share, _mixed(x, y, share)) for (a, x), (b, y) in pairs]
    negative = _mixed(one.negative, other.negative, share)
    refined = mixed(one.refined, other.refined, share) if one.refined else None
    return dataclasses.replace(one, parts=parts, negative=negative, refined=refined)


def _mixed(one: Scheduled, other: Scheduled, share: float) -> Scheduled:
    untils = sorted({until for until, _ in [*one, *other]})
    return [(until, _between(current(one, until), current(other, until), share)) for until in untils]


def _between(a: Condition, b: Condition, share: float) -> Condition:
    if math.lcm(a.tokens, b.tokens) > LONGEST:
        raise InvalidParams(
            f"to_prompts: {a.tokens} and {b.tokens} tokens cannot be mixed. Use prompts of about the same length.",
            field="to_prompts",
        )
    return a.mixed(b, share)
